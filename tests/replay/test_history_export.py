"""Histories that are written to a file: what is in it, and that it is whole or not there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.laws import at_least
from tests.replay.asking import event, timeline_in
from tests.strategies import CATEGORY, Recorded, histories, projections
from workbench import event as its
from workbench.errors import UsageError, ValueDoesNotFit, WorkbenchError
from workbench.projection import Projection, on

law = settings(max_examples=at_least(25))


class Thing(Projection, category=CATEGORY):
    size: int = 0
    handlers = (on("grown").add(size=its.data["size"]),)


HISTORY = [
    event(10, "grown", '{"size": 3}'),
    event(20, "grown", '{"size": 4}', stream="thing-2"),
    event(30, "grown", '{"size": 5}', revision=1),
]


@law
@given(projections(), histories(), st.integers(0, 3))
def test_a_written_history_is_the_history(
    tmp_path_factory: pytest.TempPathFactory, projection: type[Projection], log: list[Recorded], without: int
) -> None:
    place = tmp_path_factory.mktemp("written")
    timeline = timeline_in(place / "lake", log)
    if without < len(log):
        timeline = timeline.after(position=log[without].position)
    expected = wb.history(projection, timeline, errors="collect")
    rows = wb.write_history(projection, timeline, place / "history.parquet", errors="collect")
    found = pl.read_parquet(place / "history.parquet")
    assert rows == found.height
    assert_frame_equal(expected, found.sort("key", maintain_order=True))
    assert [one.name for one in place.iterdir() if one.name != "lake"] == ["history.parquet"]


def test_columns_are_chosen_and_a_fold_is_written_too(tmp_path: Path) -> None:
    timeline = timeline_in(tmp_path / "lake", HISTORY)
    assert wb.write_history(Thing, timeline, tmp_path / "h.parquet", fields=["size"]) == 3
    assert pl.read_parquet(tmp_path / "h.parquet").columns == ["key", "size", "event_type", "valid_from_position", "valid_from"]
    # Whatever reads Parquet knows these.
    assert list(map(str, pq.read_schema(tmp_path / "h.parquet").types)) == ["string", "int64", "string", "int64", "timestamp[us, tz=UTC]"]
    assert wb.write_history(wb.Fold(lambda state, _: state + 1, category=CATEGORY, initial=0), timeline, tmp_path / "h.parquet") == 3
    assert pl.read_parquet(tmp_path / "h.parquet").sort("valid_from_position")["key"].to_list() == ["1", "2", "1"]
    with pytest.raises(UsageError, match="A history has no column 'colour'; it has key, size"):
        wb.write_history(Thing, timeline, tmp_path / "h.parquet", fields=["colour"])
    with pytest.raises(UsageError, match="name a file in an existing directory"):
        wb.write_history(Thing, timeline, tmp_path / "none" / "h.parquet")


def test_statistics_stand_where_a_reader_can_leave_something_out_by_them(tmp_path: Path) -> None:
    wb.write_history(Thing, timeline_in(tmp_path / "lake", HISTORY), tmp_path / "h.parquet")
    metadata = pq.ParquetFile(tmp_path / "h.parquet").metadata.row_group(0)
    with_them = {column.path_in_schema for at in range(metadata.num_columns) if (column := metadata.column(at)).is_stats_set}
    rising = {"revision", "event_count", "valid_from_position", "valid_to_position", "valid_from", "valid_to"}
    assert with_them == {"key", *rising}


def test_what_stood_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "h.parquet"
    target.write_text("as it was")
    with pytest.raises(ValueDoesNotFit, match="size"):
        wb.write_history(Thing, timeline_in(tmp_path / "bad", [*HISTORY, event(40, "grown", '{"size": "x"}', revision=2)]), target)
    timeline = timeline_in(tmp_path / "lake", HISTORY)
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", _full)
    with pytest.raises(WorkbenchError, match=r"cannot be written: No space left on device\. The incomplete file was removed\."):
        wb.write_history(Thing, timeline, target)
    assert target.read_text() == "as it was"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad", "h.parquet", "lake"]


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
