"""What the charts of drift, lifespans, the store and activity show: the numbers of their results, and data that is only ever text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import workbench as wb
from tests.lakes import START, Recorded, community, write_lake
from workbench import charts, event
from workbench.charts import Chart
from workbench.errors import UsageError
from workbench.lake import open_lake
from workbench.timeline import Timeline

HOSTILE = "<script>alert(1)</script>$x$"
DRAWN: dict[str, Callable[[Timeline], Chart]] = {
    "drift": lambda timeline: charts.drift(wb.drift(timeline, timeline.types("a", HOSTILE))),
    "lifespans": lambda timeline: charts.lifespans(wb.lifespans(timeline), caption=str(timeline)),
    "rates": lambda timeline: charts.rates(wb.store_usage(timeline)),
    "stream_lengths": lambda timeline: charts.stream_lengths(wb.store_usage(timeline)),
    "active_users": lambda timeline: charts.active_users(wb.activity(timeline, actor=event.type)),
    "hours": lambda timeline: charts.hours(wb.activity(timeline, actor=event.type)),
    "retention": lambda timeline: charts.retention(wb.activity(timeline, actor=event.type)),
}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return open_lake(write_lake(tmp_path_factory.mktemp("lake"), community(600))).timeline


def traces(chart: Chart, kind: str = "bar") -> list[Any]:
    return [trace for trace in chart.to_plotly_json()["data"] if trace["type"] == kind]


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_states_its_question_and_its_source_and_has_its_numbers(history: Timeline, name: str) -> None:
    chart = DRAWN[name](history)
    assert chart.question.endswith("?")
    assert f"position {history.position}" in chart.caption
    assert chart.numbers.rows


@pytest.mark.parametrize("name", DRAWN)
def test_names_from_the_data_are_never_markup(tmp_path: Path, name: str) -> None:
    events = [Recorded(kind, START + timedelta(hours=place), f"{kind}-{place}") for place, kind in enumerate([HOSTILE, "a", HOSTILE, "b"])]
    figure = DRAWN[name](open_lake(write_lake(tmp_path, events)).timeline).to_plotly_json()
    shown = json.dumps({**figure, "layout": {**figure["layout"], "meta": None, "template": None}})
    assert "<script" not in shown
    assert "$x" not in shown


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("events", [0, 1])
def test_nothing_and_one_event_are_drawn_plainly(tmp_path: Path, name: str, events: int) -> None:
    timeline = open_lake(write_lake(tmp_path, [Recorded("a", START)])).timeline
    assert DRAWN[name](timeline if events else timeline.types("nothing")).caption


def test_bars_of_a_drift_are_the_changes_in_points(history: Timeline) -> None:
    found = wb.drift(history.upto(position=30_000), history.after(position=30_000))
    drawn = {row: value for trace in traces(charts.drift(found, top=50)) for row, value in zip(trace["y"], trace["x"], strict=True)}
    changed = found.terms.filter(pl.col("change") != 0)
    assert [drawn[row] for row in range(changed.height)] == pytest.approx([100 * change for change in changed["change"]])
    assert len(charts.drift(found).numbers.rows) == found.terms.height


def test_lifespans_reach_from_the_first_to_the_last_event(history: Timeline) -> None:
    frame = wb.lifespans(history, tz="Asia/Tokyo")
    drawn = {
        (base, round(length)) for trace in traces(charts.lifespans(frame)) for base, length in zip(trace["base"], trace["x"], strict=True)
    }
    first, last = (
        frame[name].dt.convert_time_zone("Asia/Tokyo").dt.replace_time_zone(None) for name in ("first_recorded_at", "last_recorded_at")
    )
    assert drawn == {(began.isoformat(), round((end - began).total_seconds() * 1000)) for began, end in zip(first, last, strict=True)}


def test_rates_and_lengths_are_those_of_the_report(history: Timeline) -> None:
    report = wb.store_usage(history)
    events, streams = traces(charts.rates(report))
    assert (list(events["y"]), list(streams["y"])) == (report.rates["events"].to_list(), report.rates["new_streams"].to_list())
    (lengths,) = traces(charts.stream_lengths(report))
    assert list(lengths["x"]) == report.histogram["streams"].to_list()
    assert list(lengths["y"])[:3] == ["1", "2 to 3", "4 to 7"]


def test_activity_is_drawn_day_by_day_and_hour_by_hour(history: Timeline) -> None:
    found = wb.activity(history, actor=event.stream, cohorts="1mo")
    month, week, day = traces(charts.active_users(found), "scatter")
    assert [list(trace["y"]) for trace in (month, week, day)] == [found.days[name].to_list() for name in ("monthly", "weekly", "daily")]
    (grid,) = traces(charts.hours(found), "heatmap")
    assert [count for row in grid["z"] for count in row] == found.hours["actions"].to_list()
    (cohorts,) = traces(charts.retention(found), "heatmap")
    shares = [share for row in cohorts["z"] for share in row if share is not None]
    assert shares == pytest.approx([100 * share for share in found.retention["share"]])


def test_a_long_caption_has_several_lines_and_room_for_them(history: Timeline) -> None:
    report = wb.store_usage(history)
    short, long = charts.rates(report, caption="Source"), charts.rates(report, caption="many words " * 40)
    assert long.layout.margin.b > short.layout.margin.b
    assert max(len(line) for line in long.layout.annotations[-1].text.split("<br>")) <= 110
    assert long.caption.startswith("many words many words")


@pytest.mark.parametrize("top", [0, 100])
def test_more_bars_than_can_be_told_apart_are_refused(history: Timeline, top: int) -> None:
    with pytest.raises(UsageError, match="can be told apart"):
        charts.drift(wb.drift(history, history), top=top)
    with pytest.raises(UsageError, match="can be told apart"):
        charts.lifespans(wb.lifespans(history), top=top)


def test_what_are_no_lifespans_is_refused() -> None:
    with pytest.raises(UsageError, match="Lifespans have a column"):
        charts.lifespans(pl.DataFrame({"type": ["a"]}))


def test_the_colours_of_a_heat_map_begin_at_nothing(tmp_path: Path) -> None:
    busy = [Recorded("a", START + timedelta(hours=hour), "a-1") for hour in range(7 * 24) for _ in range(5)]
    (grid,) = traces(charts.hours(wb.activity(open_lake(write_lake(tmp_path, busy)).timeline, actor=event.stream)), "heatmap")
    assert min(count for row in grid["z"] for count in row) == 5
    assert (grid["zmin"], grid["zmax"]) == (0, 5)


@pytest.mark.parametrize("name", sorted(DRAWN.keys() - {"hours"}))
def test_a_chart_without_data_has_no_axes_and_says_so(tmp_path: Path, name: str) -> None:
    empty = open_lake(write_lake(tmp_path, [])).timeline
    drawn = DRAWN[name](empty)
    assert "There is nothing to draw." in [note.text for note in drawn.layout.annotations]
    assert not any(drawn.layout[axis].visible for axis in drawn.to_plotly_json()["layout"] if axis.startswith(("xaxis", "yaxis")))
    assert "There is nothing to draw." not in [note.text for note in DRAWN[name](_one_event(tmp_path / "one")).layout.annotations]


def _one_event(path: Path) -> Timeline:
    return open_lake(write_lake(path, [Recorded("a", START), Recorded("b", START + timedelta(days=1))])).timeline
