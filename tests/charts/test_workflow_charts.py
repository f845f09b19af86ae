"""Charts of series, workflows and traces: the numbers that they were given, in the places where they are looked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.analysis.traced import Traced, timeline_in
from workbench import charts
from workbench.analysis.traces import trace
from workbench.analysis.workflows import Workflow, Workflows, workflows
from workbench.errors import UsageError

STORY = [
    Traced("placed", "a<b>", 0, cause="a<b>"),
    Traced("paid", "a<b>", 3, cause=1, stream="payment-1"),
    Traced("placed", "b", 10, stream="order-2"),
    Traced("paid", "a<b>", 12, cause=1, stream="payment-1"),
    Traced("placed", "a<b>", 20, cause=2),
    Traced("shipped $x$", "a<b>", 60, cause=5),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Workflows:
    return workflows(Workflow(start="placed", done="shipped*"), timeline_in(tmp_path_factory.mktemp("charts") / "lake", STORY))


def test_a_series_has_a_line_for_each_number_on_a_scale_of_its_own() -> None:
    at = pl.datetime_range(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 30, 22, tzinfo=UTC), "1d", eager=True, time_zone="UTC")
    frame = pl.DataFrame({"at": at.dt.convert_time_zone("Europe/Berlin"), "position": [1, 2], "users <1>": [3, None], "plan": ["a", "b"]})
    chart = charts.series(frame.with_columns(paid=pl.Series(["1.50", "2.50"]).cast(pl.Decimal(10, 2))), caption="of a test")
    assert [list(line.y) for line in chart.data] == [[3, None], [1.5, 2.5]]
    assert chart.data[0].x[0] == "2026-03-29 00:00:00"
    assert [line.yaxis for line in chart.data] == ["y", "y2"]
    assert "users &lt;1&gt;" in [note.text for note in chart.layout.annotations]
    assert chart.caption == "of a test"
    assert [column.label for column in chart.numbers.columns] == ["At (Europe/Berlin)", "Users <1>", "Plan", "Paid"]
    for wrong in (frame.drop("at"), frame.select("at", "position", "plan")):
        with pytest.raises(UsageError):
            charts.series(wrong)


def test_outcomes_have_a_bar_each_also_those_that_none_came_to(found: Workflows) -> None:
    chart = charts.workflows(found)
    assert [bar.x[0] for bar in chart.data] == [1, 0, 0, 0, 1]
    texts = [note.text for note in chart.layout.annotations]
    assert any(text.startswith("1  ·  50") and text.endswith("half within 1 min") for text in texts)
    assert chart.caption == str(found.timeline)


def test_a_process_map_has_an_arc_for_each_pair_and_a_ring_for_what_follows_itself(found: Workflows) -> None:
    chart = charts.process_map(found)
    arcs = chart.data[:-1]
    assert len(arcs) == found.process.height == 4
    dotted = [arc for arc in arcs if arc.line.dash == "dot"]
    assert len(dotted) == 2  # paid follows itself, and placed follows paid
    rings = [arc for arc in dotted if arc.y[0] == pytest.approx(arc.y[-1])]
    assert len(rings) == 1
    assert any("shipped &#36;x&#36;" in note.text for note in chart.layout.annotations)


def test_a_trace_has_a_row_for_each_event_and_bars_from_cause_to_effect(found: Workflows) -> None:
    chart = charts.trace(trace(found.timeline, "a<b>"))
    bars = {line.y[at]: (line.x[at], line.x[at + 1]) for line in chart.data for at in range(0, len(line.x), 3)}
    assert bars == {0: (0, 0), 1: (0, 3), 2: (3, 20), 3: (20, 60), 4: (0, 12)}
    assert chart.question == "What caused what in a<b>?"
    assert len(chart.numbers.rows) == 5


def test_charts_of_nothing_are_plain(tmp_path: Path) -> None:
    nothing = workflows(Workflow(start="placed", done="shipped"), timeline_in(tmp_path / "lake", []))
    assert [bar.x[0] for bar in charts.workflows(nothing).data] == [0] * 5
    assert len(charts.process_map(nothing).data) == 1
    with_no_steps = pl.DataFrame(schema={"at": pl.Datetime("us", "UTC"), "position": pl.Int64, "count": pl.Int64})
    assert list(charts.series(with_no_steps).data[0].y) == []


def test_long_traces_are_cut_and_say_so(tmp_path: Path) -> None:
    now = timeline_in(tmp_path / "lake", [Traced("step", cause=number or None, seconds=number) for number in range(120)])
    chart = charts.trace(trace(now, "c"))
    assert sum(len(one.y) for one in chart.data) == 3 * 100
    assert "the first 100 of 120 events" in chart.caption
    assert timedelta(seconds=119) in trace(now, "c").events["since_start"]
