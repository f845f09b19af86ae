"""The chart of schemas: its cells are the shares of the frame, and names from the data are only ever text."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import workbench as wb
from tests.lakes import START, Recorded, write_lake
from workbench.charts import schemas as chart_of
from workbench.errors import UsageError
from workbench.lake import open_lake

HOSTILE = "<b>x</b>"


def test_cells_are_shares_of_events_and_periods_without_events_are_empty(tmp_path: Path) -> None:
    days = ((0, "{}"), (0, '{"a": 1}'), (2, f'{{"a": 1, "{HOSTILE}": 2}}'))
    events = [Recorded("t", START + timedelta(days=day), data=data) for day, data in days]
    events.append(Recorded("u", START + timedelta(days=1), data='{"z": 1}'))
    timeline = open_lake(write_lake(tmp_path, events)).timeline
    found = wb.schemas(timeline, every="1d")
    chart = chart_of(found, type="t", caption=str(timeline))
    [cells] = chart.to_plotly_json()["data"]
    assert [list(row) for row in cells["z"]] == [[0.5, 1.0], [0.0, 1.0]]
    assert HOSTILE not in str(chart.to_plotly_json()["data"]) + str(chart.layout.yaxis)
    assert chart.question == "Which fields do the payloads of t have?"
    assert chart.caption.startswith(f"{timeline}. The stronger the colour")
    assert len(chart.numbers.rows) == 4
    with pytest.raises(UsageError, match="Say which type"):
        chart_of(found)
    with pytest.raises(UsageError, match="no type 'x'"):
        chart_of(found, type="x")
    with pytest.raises(UsageError, match="over time"):
        chart_of(wb.schemas(timeline))
    with pytest.raises(UsageError, match="out of range"):
        chart_of(found, type="t", top=0)
    empty = chart_of(wb.schemas(timeline.types("none"), every="auto"))
    assert empty.question == "Which fields do payloads have?"
