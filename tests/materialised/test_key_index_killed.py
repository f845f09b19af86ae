"""An index of keys whose writer is killed, meets others, or finds no room: answers stay those without it, and nothing half is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest

import workbench as wb
from tests.materialised.test_key_index import bring_up_to_date, make
from tests.materialised.test_materialised import bits, write
from tests.materialised.test_materialised_killed import files, last_number, room_for
from tests.replay.processes import killed, side_by_side
from tests.strategies import Recorded, frame
from workbench.errors import LakeError
from workbench.lake import Lake, open_lake
from workbench.materialised import fold_point, key_index
from workbench.materialised.histories import list_materialised
from workbench.materialised.key_index import streams_about
from workbench.projection import Projection, event, on, plan_of

_FIRST = "00000000-0000-0000-0000-000000000010"


class Group(Projection, category="user", key=event.data["group"]):
    size: int = 0
    handlers = (on("joined").add(size=1), on("left").subtract(size=1))


def events(first: int, count: int) -> pl.DataFrame:
    """Return events of 97 streams in 13 groups."""
    return frame(
        [
            Recorded(
                stream=f"user-{number % 97}",
                revision=number // 97,
                type="left" if number % 5 == 0 else "joined",
                position=10 * number,
                prepare_position=10 * number,
                recorded_at=1_700_000_000_000_000 + number,
                data=f'{{"group": "{number % 97 // 8}"}}',
                metadata=None,
            )
            for number in range(first, first + count)
        ]
    )


@contextmanager
def always() -> Iterator[None]:
    """Let an index be worth it however few events there are, and its files be small."""
    with mock.patch.object(fold_point, "WORTH_KEEPING", 1), mock.patch.object(key_index, "_ROWS", 40):
        yield


def agree(lake: Lake) -> None:
    """Hold questions for one entity against the state of all."""
    expected = wb.state(Group, lake.timeline)
    for key in ("0", "7", "12", "13"):
        assert bits(expected.filter(pl.col("key") == key)) == bits(wb.state(Group, lake.timeline, key=key))


def ask_on(path: str, ready: Any, rounds: int) -> None:
    """Export, make the index and ask in turns, removing what is kept now and then."""
    place, ready_at = Path(path), rounds
    with always():
        while rounds:
            lake = write(place, events(last_number(place) + 1, 100), first=_FIRST)
            for one in list_materialised(lake) if rounds % 3 == 0 else []:
                one.remove()
            make(Group, lake)
            agree(lake)
            if rounds == ready_at:
                ready.set()
            rounds -= 1


def look_on(path: str, rounds: int) -> None:
    """Ask beside whoever else does."""
    with always():
        for number in range(rounds):
            make(Group, open_lake(path))
            agree(open_lake(path))
            for one in list_materialised(open_lake(path)) if number % 3 == 2 else []:
                one.remove()


@pytest.mark.slow
def test_whoever_is_killed_while_writing_it_leaves_answers_as_they_were_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    write(path, events(1, 1000), first=_FIRST)
    for delay in (0.01, 0.08, 0.21):
        killed(ask_on, path, after=delay)
        with always():
            agree(open_lake(path))
            for count in (1, 1):  # what the killed one left lies there until the next two manifests: one is for readers of the old
                lake = write(path, events(last_number(path) + 1, count), first=_FIRST)
                make(Group, lake)
                agree(lake)
            assert streams_about(plan_of(Group), lake.timeline, ["0"]) == {f"user-{number}" for number in range(8)}
        [made] = list_materialised(lake)
        assert made.positions == (10 * last_number(path),)
        assert {entry.suffix for entry in (path / "materialised" / made.folder).iterdir()} == {".json", ".parquet"}


@pytest.mark.slow
def test_several_processes_ask_and_remove_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    write(path, events(1, 1000), first=_FIRST)
    side_by_side(ask_on, look_on, path, rounds=(6, 8))
    with always():
        agree(open_lake(path))


@pytest.mark.parametrize("size", [0, 500])
def test_a_full_disk_is_met_by_who_makes_it_and_not_by_who_asks_or_exports(tmp_path: Path, size: int) -> None:
    path = tmp_path / "lake"
    lake = write(path, events(1, 1000), first=_FIRST)
    with always():
        with room_for(size):
            with pytest.raises(LakeError):
                make(Group, lake)
            agree(lake)
        assert files(path) == set()
        make(Group, lake)
        agree(lake)
        before = files(path)
        assert before
        lake = write(path, events(1001, 300), first=_FIRST)
        with room_for(size):
            bring_up_to_date(path)
            agree(lake)
        assert before == files(path)
        bring_up_to_date(path)
        agree(lake)
        assert list_materialised(lake)[0].positions == (13_000,)
