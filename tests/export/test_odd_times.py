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


WILD = [LAST + 1, FIRST - 1, 2**63 - 1, -(2**63), 9_000_000_000_000_000_000]
"""Stamps that are no instants, of 64 bits."""


@pytest.mark.needs("timestamps", "empty log")
def test_a_stamp_that_is_no_instant_is_kept_exactly_and_counted(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "lake"
    stamps = [NOW, *WILD, NOW + 10]
    for number, stamp in enumerate(stamps):
        store.append("user-1", [NewEvent(uuid4(), "happened", b'{"number":%d}' % number, created=stamp)])
    summary = wb.export_log(store.uri, path)
    assert (summary.events_kept, summary.undated_events) == (7, 5)
    assert [note for note in summary.notes if "5 events have time stamps outside the years 1 to 9999" in note]
    lake = wb.open(path)
    rows = lake.timeline.events().select("recorded_ticks", "recorded_at").collect()
    assert rows["recorded_ticks"].to_list() == stamps
    assert rows["recorded_at"].is_null().to_list() == [False, *[True] * 5, False]
    asked = lake.sql("select recorded_ticks from events where recorded_at is null order by position").pl()
    assert asked["recorded_ticks"].to_list() == WILD
    lake.verify()
    info = lake.info()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert info.undated_events == 5
    assert info.first_recorded_at == epoch + timedelta(microseconds=NOW // 10)
    assert info.last_recorded_at == epoch + timedelta(microseconds=NOW // 10 + 1)
    assert any("5 events have time stamps outside" in note for note in info.notes)
