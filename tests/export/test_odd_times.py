"""Time stamps that no clock of today shows are copied exactly, and never stop an export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

import workbench as wb
from tests.stores import NewEvent, Store

NOW = 17_672_256_000_000_000
FIRST, LAST = -621_355_968_000_000_000, 2_534_023_007_999_999_999
"""The first stamp of the year 1, and the last of the year 9999."""

STAMPS = [NOW, FIRST, -10_000_000_001, -15, -1, 0, 1_000_000_000_000_000_000, LAST, NOW + 5]


def export(store: Store, path: Path) -> wb.Lake:
    for number, stamp in enumerate(STAMPS):
        store.append("user-1", [NewEvent(uuid4(), "happened", b'{"number":%d}' % number, created=stamp)])
    wb.export_log(store.uri, path)
    return wb.open(path)


@pytest.mark.needs("timestamps", "empty log")
def test_every_time_that_a_server_can_record_is_copied_exactly(store: Store, tmp_path: Path) -> None:
    lake = export(store, tmp_path / "lake")
    rows = lake.timeline.events().select("recorded_ticks", "recorded_at").collect()
    assert rows["recorded_ticks"].to_list() == STAMPS
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert rows["recorded_at"].to_list() == [epoch + timedelta(microseconds=stamp // 10) for stamp in STAMPS]
    lake.verify()
    info = lake.info()
    assert (info.events, info.first_recorded_at, info.last_recorded_at) == (
        9,
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    )


@pytest.mark.needs("timestamps", "empty log")
def test_a_time_before_1970_is_late_or_not_by_its_whole_microseconds(store: Store, tmp_path: Path) -> None:
    timeline = export(store, tmp_path / "lake").timeline
    for stamp in STAMPS[1:6]:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamp // 10)
        past = timeline.upto(moment)
        upto = max(number for number, other in enumerate(STAMPS) if other // 10 <= stamp // 10)
        assert past.count() == upto + 1
        assert past.late == sum(other // 10 > stamp // 10 for other in STAMPS[: upto + 1])
        counted = past.sql(f"select count(*) from events where epoch_us(recorded_at) > {stamp // 10}").pl()
        assert counted.equals(pl.DataFrame({"count_star()": [past.late]}))
