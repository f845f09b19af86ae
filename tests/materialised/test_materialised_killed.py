"""Materialising that is killed, meets another process, or runs out of room: answers stay those of a replay, and nothing half is left."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import workbench as wb
from tests.materialised.test_materialised import Seen, User, bits, seen, write
from tests.replay.processes import killed, side_by_side
from tests.strategies import Recorded, frame
from workbench.errors import StorageFull
from workbench.fold.dispatch import replay
from workbench.fold.event_by_event.function_fold import Fold
from workbench.lake import Lake, open_lake
from workbench.materialised import fold_point
from workbench.materialised import histories as kept
from workbench.materialised.histories import kept_answer, list_materialised, materialise
from workbench.projection import plan_of

FOLD = Fold(seen, category="user", version=1, state=Seen)


def events(first: int, count: int) -> pl.DataFrame:
    """Return events whose kind and entity follow from their number."""
    chosen = [random.Random(number).choice(("created", "in", "in", "renamed", "deleted")) for number in range(first, first + count)]
    return frame(
        [
            Recorded(
                stream=f"user-{number % 97}",
                revision=number // 97,
                type=kind,
                position=10 * number,
                prepare_position=10 * number,
                recorded_at=1_700_000_000_000_000 + number,
                data=f'{{"name": "{random.Random(number).randbytes(40).hex()}"}}',
                metadata=None,
            )
            for number, kind in enumerate(chosen, first)
        ]
    )


def last_number(path: Path) -> int:
    """Return the number of the last event of a lake."""
    return (open_lake(path).timeline.position or 0) // 10


def agree(lake: Lake) -> None:
    """Hold every kind of question against a replay."""
    plan, halfway = plan_of(User), lake.timeline.upto(position=last_number(Path(lake.path)) * 5)
    for timeline in (halfway, lake.timeline):
        expected = replay(plan, timeline, history=True)
        assert expected.history is not None
        rebuilt = wb.rebuild(User, timeline)
        assert (bits(expected.state), expected.counts) == (bits(rebuilt.state), rebuilt.counts)
        assert bits(expected.history) == bits(wb.history(User, timeline))
        mine = pl.col("key") == "5"
        assert bits(expected.history.filter(mine)) == bits(wb.history(User, timeline, key="5"))
        assert bits(replay(FOLD, timeline).state) == bits(wb.state(FOLD, timeline))


def files(path: Path) -> set[str]:
    """Return the files below a lake's stored, but for the lock."""
    root = path / "materialised"
    return {str(entry.relative_to(root)) for entry in root.rglob("*") if entry.is_file() and entry.name != ".lock"}


def named(path: Path) -> int:
    """Return how many files the manifests name."""
    [one, *_] = list_materialised(open_lake(path))
    return sum(1 + len(manifest.files) for manifest in one._stored.all())


def keep_on(path: str, ready: Any, rounds: int) -> None:
    """Export and materialise in turns, by the command and by questions, rewriting all now and then."""
    fold_point.WORTH_KEEPING = 1
    kept._SMALL = 400
    place, ready_at = Path(path), rounds
    while rounds:
        first = last_number(place) + 1
        lake = write(place, events(first, 200), first=_id(10))
        for projection in (User, FOLD):
            if rounds % 3:
                wb.state(projection, lake.timeline)
            else:
                for one in list_materialised(lake, projection):
                    one.remove()
            materialise(projection, lake)
        if rounds == ready_at:
            ready.set()
        rounds -= 1


def look_on(path: str, rounds: int) -> None:
    """Ask, and keep what is new, beside whoever else does."""
    fold_point.WORTH_KEEPING = 1
    kept._SMALL = 400
    for number in range(rounds):
        lake = open_lake(path)
        agree(lake)
        if number % 3 == 2:
            for one in list_materialised(lake):
                one.remove()
        materialise(User, lake)
        materialise(FOLD, lake)


def _id(position: int) -> str:
    return f"00000000-0000-0000-0000-{position:012d}"


@pytest.mark.slow
def test_whoever_is_killed_while_materialising_leaves_answers_as_they_were_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    write(path, events(1, 3000), first=_id(10))
    for delay in (0.02, 0.13, 0.29):
        killed(keep_on, path, after=delay)
        lake = open_lake(path)
        agree(lake)
        # What the killed one left lies there until the next two manifests: one is for readers of the old.
        for count in (1, 1):
            lake = write(path, events(last_number(path) + 1, count), first=_id(10))
            materialise(User, lake)
            materialise(FOLD, lake)
        agree(lake)
        for projection in (User, FOLD):
            for one in list_materialised(lake, projection):
                folder = path / "materialised" / one.folder
                assert {entry.suffix for entry in folder.iterdir()} <= {".json", ".parquet", ".bin"}
        assert kept_answer(plan_of(User), lake.timeline) is not None
        assert kept_answer(FOLD, lake.timeline) is not None


@pytest.mark.slow
def test_several_processes_keep_ask_and_remove_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    write(path, events(1, 1000), first=_id(10))
    side_by_side(keep_on, look_on, path, rounds=(6, 4))
    agree(open_lake(path))


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, which is refused as by a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 700, 4000])
def test_a_full_disk_is_said_by_who_asked_to_keep_and_not_met_by_who_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = tmp_path / "lake"
    lake = write(path, events(1, 3000), first=_id(10))
    for projection in (User, FOLD):
        with room_for(size), pytest.raises(StorageFull, match="No room is left"):
            materialise(projection, lake)
    assert files(path) == set()
    for projection in (User, FOLD):
        materialise(projection, lake)
    before, made = files(path), list_materialised(lake)
    assert len(before) == named(path)
    lake = write(path, events(3001, 3000), first=_id(10))
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    with room_for(size):
        for projection in (User, FOLD):
            with pytest.raises(StorageFull, match="No room is left"):
                materialise(projection, lake)
        agree(lake)
    assert before == files(path)
    assert made == list_materialised(lake)
    agree(lake)
    assert [one.positions[-1] for one in list_materialised(lake)] == [60_000, 60_000]
