"""What charts and tables promise: the numbers of the frame, colours that stay apart, and data that is only ever text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.charts.vision import KINDS, contrast, difference
from tests.lakes import Recorded, write_lake
from workbench.analysis.distribution import distribution
from workbench.analysis.periods import Every
from workbench.charts import PALETTES, Chart, template
from workbench.charts import distribution as distribution_chart
from workbench.display.tables import Table, distinct_labels, facts, in_bytes, percent, table
from workbench.errors import UsageError
from workbench.lake import open_lake

START = datetime(2026, 1, 5, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


def totals(counts: dict[str, int]) -> pl.DataFrame:
    whole = sum(counts.values())
    frame = pl.DataFrame({"type": list(counts), "count": list(counts.values())}, schema={"type": pl.String, "count": pl.Int64})
    return frame.with_columns((pl.col("count") / whole).alias("share"))


def periods(counts: dict[str, list[int]], *, every: str = "1d", start: datetime = START, tz: str = "UTC") -> pl.DataFrame:
    length = len(next(iter(counts.values()), []))
    first = pl.Series([start]).dt.convert_time_zone(tz)
    starts = [first.dt.offset_by(every.replace("1", str(place), 1))[0].astimezone(UTC) for place in range(length)]
    rows = [(starts[place], every, name, values[place]) for place in range(length) for name, values in counts.items()]
    schema = {"period": pl.Datetime("us", "UTC"), "every": pl.Enum(get_args(Every)), "type": pl.String(), "count": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("period").dt.convert_time_zone(tz))


def bars(chart: Chart) -> list[Any]:
    return [trace for trace in chart.to_plotly_json()["data"] if trace["type"] == "bar"]


def test_bars_hold_the_counts_in_the_order_of_the_frame() -> None:
    chart = distribution_chart(totals({"a": 7, "b": 2, "c": 1}))
    assert [value for trace in bars(chart) for value in trace["x"]] == [7, 2, 1]
    assert chart.numbers.rows == (("a", "7", "70.00 %"), ("b", "2", "20.00 %"), ("c", "1", "10.00 %"))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(1, 20))
def test_what_has_no_bar_of_its_own_is_counted_as_other(counts: list[int], top: int) -> None:
    chart = distribution_chart(totals({f"t{place}": count for place, count in enumerate(counts)}), top=top)
    drawn = [value for trace in bars(chart) for value in trace["x"]]
    assert sum(drawn) == sum(counts)
    assert len(drawn) == min(len(counts), top + 1)
    assert len(chart.numbers.rows) == len(counts)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(1, 5))
def test_stacks_over_time_add_up_to_the_counts_of_each_period(types: int, length: int, top: int) -> None:
    counts = {f"t{place}": [place + step for step in range(length)] for place in range(types)}
    chart = distribution_chart(periods(counts), top=top)
    stacks = [sum(column) for column in zip(*(trace["y"] for trace in bars(chart)), strict=True)]
    assert stacks == [sum(column) for column in zip(*counts.values(), strict=True)]
    assert len(bars(chart)) == min(types, top + 1)


def test_a_type_called_other_is_not_mixed_up_with_the_rest() -> None:
    counts = {"other (1 type)": [5], **{f"t{place}": [1] for place in range(5)}}
    assert [trace["y"] for trace in bars(distribution_chart(periods(counts)))] == [[5], [1], [1], [1], [1], [1]]


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(
    ("every", "first", "name"),
    [("1h", "5 Jan 2026, 01:00", "hour"), ("1d", "Mon 5 Jan 2026", "day"),
     ("1w", "week of 5 Jan 2026", "week"), ("1mo", "January 2026", "month"), ("1q", "quarter 1 of 2026", "quarter"),
     ("1y", "2026", "year")],
)  # fmt: skip
def test_periods_are_named_on_the_wall_clock_of_the_frame(every: str, first: str, name: str, length: int) -> None:
    chart = distribution_chart(periods({"a": [1] * length}, every=every, tz="Europe/Berlin"))
    assert chart.numbers.columns[0].label == name.capitalize()
    assert chart.numbers.rows[0][0] == first
    assert chart.layout.xaxis.title.text == f"by {name}, Europe/Berlin"
    assert chart.layout.yaxis.title.text == f"events per {name}"
    assert f"The first and the last {name} may be incomplete" in chart.caption
    assert bars(chart)[0]["x"][0] == first


@pytest.mark.parametrize("every", get_args(Every))
def test_a_chart_names_every_period_that_a_distribution_counts_by(tmp_path: Path, every: Every) -> None:
    timeline = open_lake(write_lake(tmp_path, [Recorded("a", START)])).timeline
    chart = distribution_chart(distribution(timeline, every=every))
    names = ("second", "minute", "quarter of an hour", "hour", "day", "week", "month", "quarter", "year")
    assert chart.layout.yaxis.title.text == f"events per {dict(zip(get_args(Every), names, strict=True))[every]}"


def test_an_hour_that_a_clock_shows_twice_has_two_bars_told_apart_by_their_offsets() -> None:
    frame = periods({"a": [1, 10, 20, 3], "b": [0, 1, 2, 0]}, every="1h", start=datetime(2025, 10, 25, 23, tzinfo=UTC), tz="Europe/Berlin")
    chart = distribution_chart(frame)
    hours = ["26 Oct 2025, 01:00", "26 Oct 2025, 02:00 +02:00", "26 Oct 2025, 02:00 +01:00", "26 Oct 2025, 03:00"]
    assert [trace["x"] for trace in bars(chart)] == [hours, hours]
    assert [trace["y"] for trace in bars(chart)] == [[1, 10, 20, 3], [0, 1, 2, 0]]
    assert [row[:2] for row in chart.numbers.rows] == list(zip(hours, ("1", "10", "20", "3"), strict=True))
    assert list(chart.layout.xaxis.ticktext) == ["01:00<br>26 Oct", "02:00<br>+02", "02:00<br>+01", "03:00"]
    assert [row[0] for row in table(frame.filter(type="a")).rows[1:3]] == ["2025-10-26 02:00 +02:00", "2025-10-26 02:00 +01:00"]


@given(st.integers(1, 400), st.sampled_from(get_args(Every)))
def test_an_axis_labels_no_more_bars_than_have_room_each_under_itself(length: int, every: str) -> None:
    chart = distribution_chart(periods({"a": [1] * length}, every=every))
    ticks = list(chart.layout.xaxis.tickvals)
    assert set(ticks) <= set(bars(chart)[0]["x"])
    assert min(length, 3) <= len(ticks) <= 7
    assert ("<br>" in chart.layout.xaxis.ticktext[0]) == (every != "1y")


@pytest.mark.parametrize("frame", [totals({}), periods({})])
def test_nothing_to_draw_is_drawn_as_nothing(frame: pl.DataFrame) -> None:
    chart = distribution_chart(frame)
    assert [value for trace in bars(chart) for value in trace["x"]] == []
    assert chart.numbers.rows == ()


@pytest.mark.parametrize("name", [HOSTILE, '<a href="https://evil.example">x</a>', "$x^2$", "a<br>b", "&lt;b&gt;", "", "\x00\n"])
def test_names_from_the_data_are_never_markup_in_a_chart(name: str) -> None:
    for chart in (
        distribution_chart(totals({name: 3, "b": 1}), question=name, caption=name),
        distribution_chart(periods({name: [3], "b": [1]}), question=name, caption=name),
    ):
        figure = chart.to_plotly_json()
        figure["layout"]["xaxis"].pop("ticktext", None)  # dates, with our own line breaks
        shown = json.dumps({**figure, "layout": {**figure["layout"], "meta": None, "template": None}})
        for trace in figure["data"]:
            shown = shown.replace(json.dumps(trace.get("hovertemplate")), "")
        assert "<" not in shown
        assert "$" not in shown
        assert "\\u0000" not in shown
        assert "\\n" not in shown


def test_a_long_name_is_cut_in_its_middle_and_whole_in_the_numbers() -> None:
    name = "a" * 60 + "." + "z" * 60
    chart = distribution_chart(totals({name: 1}))
    labels = [note["text"] for note in chart.to_plotly_json()["layout"]["annotations"]]
    assert f"{'a' * 15}…{'z' * 14}" in labels
    assert chart.numbers.rows[0][0] == name


def test_long_names_that_differ_in_their_middles_only_stay_apart() -> None:
    names = ["a" * 1500 + letter + "z" * 1500 for letter in "xyz"]
    chart = distribution_chart(totals(dict.fromkeys(names, 1)))
    labels = [note["text"] for note in chart.to_plotly_json()["layout"]["annotations"]][::2]
    assert labels == [f"{'a' * 15}…{'z' * 14}", f"{'a' * 14}…2…{'z' * 13}", f"{'a' * 14}…3…{'z' * 13}"]
    over_time = distribution_chart(periods({name: [1] for name in names}))
    assert [trace["name"] for trace in bars(over_time)] == labels
    for shown in ([row[0] for row in chart.numbers.rows], [column.label for column in over_time.numbers.columns[1:]]):
        assert len(set(shown)) == len(shown)
        assert max(map(len, shown)) <= 200


@given(st.lists(st.text(st.sampled_from("a \\x0u\n\x00\x1b\u202e…2"), min_size=1), unique=True), st.integers(7, 20))
def test_labels_of_different_names_look_different(names: list[str], longest: int) -> None:
    labels = distinct_labels(names, longest)
    assert list(labels) == names
    assert len(set(labels.values())) == len(names)
    for label in labels.values():
        assert len(label) <= longest
        assert label.isprintable()
        assert label == " ".join(label.split())  # a browser would not show other spaces


def test_what_cannot_be_seen_in_a_name_is_written_out() -> None:
    frame = pl.DataFrame({"type": ["a\nb", "a\0b", "a b", "\x1b[31mred", "\u202eltr", "\U000e0041", r"a\x0ab", r"App\Events"], "count": 1})
    written = [
        r"a\x0ab", r"a\x00b", "a b", r"\x1b[31mred", r"\u202eltr", r"\U000e0041", r"a\x5cx0ab", r"App\Events",
    ]  # fmt: skip
    assert [row[0] for row in table(frame).rows] == written
    assert [row[0] for row in distribution_chart(frame.with_columns(share=pl.lit(0.125)), top=2).numbers.rows] == written


def test_line_breaks_in_a_caption_are_spaces() -> None:
    caption = "Source: here,\n    up to \x1b[31mthere"
    said = r"Source: here, up to \x1b[31mthere"
    assert distribution_chart(totals({"a": 1}), caption=caption).caption == said
    assert table(totals({"a": 1}), caption=caption).caption == said


def test_a_long_fact_is_shortened() -> None:
    assert [value for _, value in facts({"type": "a" * 3000}).values] == ["a" * 15 + "…" + "a" * 14]


def test_no_chart_has_a_way_to_the_network() -> None:
    chart = distribution_chart(totals({"a": 1}))
    bundle = chart._repr_mimebundle_()
    config = bundle["application/vnd.plotly.v1+json"]["config"]
    assert (config["showSendToCloud"], config["plotlyServerURL"]) == (False, "")
    assert "text/html" not in bundle
    page = chart.to_html(include_plotlyjs=False, full_html=False)
    assert "http" not in page
    assert '"showSendToCloud": false' in page


@pytest.mark.parametrize(
    ("frame", "top", "said"),
    [
        (pl.DataFrame({"a": [1]}), None, "has a column"),
        (totals({"a": 1}), 0, "top=0"),
        (periods({"a": [1]}), 6, "between 1 and 5"),
        (periods({"a": [1]}).drop("every"), None, "a column 'every'"),
        (pl.concat([periods({"a": [1]}), periods({"a": [1]}, every="1w")]), None, "the same in all rows"),
    ],
)
def test_what_cannot_be_drawn_is_refused(frame: pl.DataFrame, top: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        distribution_chart(frame, top=top)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_colours_stay_apart_for_every_kind_of_colour_vision(ground: Literal["light", "dark"], kind: str) -> None:
    palette = PALETTES[ground]
    for one, other in combinations([*palette["series"], palette["rest"]], 2):
        assert difference(one, other, kind) >= 10, (one, other)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_text_and_bars_stand_out_from_their_ground(ground: Literal["light", "dark"]) -> None:
    palette = PALETTES[ground]
    assert min(contrast(palette[ink], palette["ground"]) for ink in ("ink", "quiet")) >= 4.5
    assert min(contrast(colour, palette["ground"]) for colour in palette["series"]) >= 3
    # Links have the first colour of the series.
    assert contrast(palette["series"][0], palette["ground"]) >= 4.5


def test_templates_are_plain_json() -> None:
    assert json.loads(json.dumps(template("dark"))) == template("dark")


def test_a_table_escapes_all_that_comes_from_the_data() -> None:
    frame = pl.DataFrame({HOSTILE: [HOSTILE], "b": ["<img src=x onerror=alert(1)>"], "share": [0.5]})
    html = table(frame, caption=HOSTILE, bars="share")._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "<script" not in facts({HOSTILE: HOSTILE}).to_html()


def test_a_table_has_headings_for_columns_and_rows() -> None:
    html = table(pl.DataFrame({"type": ["a.b"], "count": [1]})).to_html()
    assert '<th scope="col">Type</th><th scope="col" class="number">Count</th>' in html
    assert '<th scope="row">a.<wbr>b</th><td class="number">1</td>' in html


def test_cells_read_as_people_write_them() -> None:
    moment = datetime(2026, 3, 1, 9, 30, 59, tzinfo=UTC)
    frame = pl.DataFrame(
        {"n": [1234567, None], "x_share": [0.00001, None], "d_bytes": [1500, 0], "last_position": [1234567, 1],
         "at": [moment, None], "ok": [True, False], "f": [1.5, 2.25], "day": [moment.date(), None]},
    )  # fmt: skip
    assert table(frame).rows == (
        ("1,234,567", "< 0.01 %", "1.5 kB", "1234567", "2026-03-01 09:30", "yes", "1.50", "2026-03-01"),
        ("—", "—", "0 B", "1", "—", "no", "2.25", "—"),
    )


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    shown = table(pl.DataFrame({"a": range(1001)}), rows=1000)
    assert (len(shown.rows), shown.note) == (1000, "1 more row not shown.")


def test_a_table_that_has_no_rows_says_so() -> None:
    assert table(pl.DataFrame({"a": []})).note == "There are none."
    assert "There are none." in table(pl.DataFrame({"a": []})).to_html()


def test_a_table_writes_spans_lists_and_decimals_for_people() -> None:
    frame = pl.DataFrame(
        {"a": [1], "took": [timedelta(minutes=3, seconds=7)], "kinds": [["text", None]], "none": [[]], "paid": [Decimal("1234.50")]}
    )
    assert table(frame).rows == (("1", "3 min 7 s", "text, —", "—", "1,234.50"),)


def test_the_heading_over_the_names_of_rows_stands_at_the_left_as_they_do() -> None:
    html = table(pl.DataFrame({"days": [1], "count": [2]})).to_html()
    assert '<th scope="col">Days</th><th scope="col" class="number">Count</th>' in html


def test_a_table_survives_the_journey_inside_a_figure() -> None:
    shown = table(pl.DataFrame({"a": ["x"], "share": [0.5]}), bars="share", caption="c", rows=1)
    assert Table.from_json(json.loads(json.dumps(shown.to_json()))) == shown


@given(st.integers(0, 10**17))
def test_sizes_keep_three_digits_and_grow_with_their_bytes(size: int) -> None:
    amount, unit = in_bytes(size).split()
    scale = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}[unit]
    assert float(amount) * scale == pytest.approx(size, rel=0.05)
    assert float(amount) < 1000 or unit == "PB"


@given(st.floats(0, 1))
def test_a_share_that_is_there_is_never_shown_as_nothing(share: float) -> None:
    assert (percent(share) == "0.00 %") == (share == 0)
