"""What is materialised answers as a replay does, bit for bit, at every moment before and after; what is damaged answers nothing."""

from __future__ import annotations

import os
import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.laws import at_least
from tests.replay.told import Told, log
from tests.strategies import Recorded, frame, histories, projections
from workbench.errors import InvalidProjection, UsageError, ValueDoesNotFit
from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.fold.dispatch import replay
from workbench.fold.event_by_event.function_fold import Fold, Folded, RecordedEvent
from workbench.fold.event_by_event.plan_fold import fold
from workbench.fold.event_columns import with_event_columns
from workbench.fold.results import history_schema
from workbench.lake import Lake, LakeWriter, open_lake
from workbench.materialised import fold_point
from workbench.materialised import histories as kept
from workbench.materialised.histories import kept_answer, kept_versions, list_materialised, materialise
from workbench.materialised.snapshots import decoded, encoded
from workbench.materialised.stored_file import Unusable
from workbench.projection import Projection, event, on, plan_of, upcast
from workbench.timeline import Timeline

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


class User(Projection, category="user"):
    name: str
    logins: int = 0
    roles: set[str]

    handlers = (
        on("created").create("name"),
        on("renamed").set(name=event.data["name"]),
        on("in").add(logins=1),
        on("granted").include(roles=event.data["role"]),
        on("deleted").delete(),
    )


EVENTS: list[Told] = [
    ("created", {"name": "Ann"}),
    ("in", {}),
    ("granted", {"role": "b"}),
    ("deleted", {}),
    ("in", {}),
    ("created", {"name": "Bo"}),
    ("granted", {"role": "a"}),
    ("in", {}),
]


def write(path: Path, events: pl.DataFrame, *, first: str = "00000000-0000-0000-0000-000000000001") -> Lake:
    """Add events to a lake, as one export."""
    with LakeWriter.open(path, store=Store("esdb://store.example", 0, first), selection=Selection()) as writer:
        last = events.row(-1, named=True)
        table = events.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(EVENT_SCHEMA)
        writer.append(table, Checkpoint(last["position"], last["prepare_position"], last["event_id"], UNTIL))
    return open_lake(path)


def bits(rows: pl.DataFrame) -> tuple[Any, list[tuple[str, ...]]]:
    return rows.schema, [tuple(map(repr, row)) for row in rows.rows()]


def at_every_position(lake: Lake) -> Iterator[Timeline]:
    yield lake.timeline
    for position in sorted(set(lake.timeline.with_system().events().collect()["position"].to_list())):
        yield lake.timeline.upto(position=position)


def agree(projection: type[Projection], lake: Lake, *, used: bool = True) -> None:
    """Hold what is kept against the event-by-event engine, for all entities and for one, at every position."""
    plan = plan_of(projection)
    events = lake.timeline.events().collect()
    for timeline in at_every_position(lake):
        recorded = events.filter(pl.col("position") <= (timeline.position or 0))
        for asked in (plan, with_event_columns(plan)[0]):
            expected = fold(asked, recorded, history=True, errors="collect")
            assert expected.history is not None
            for key in (None, "1"):
                mine = pl.lit(value=True) if key is None else pl.col("key") == key
                history = kept.history_of(asked, timeline, key=key, errors="collect")
                assert bits(expected.history.filter(mine)) == bits(history)
                if asked is not plan:
                    continue
                assert bits(expected.state.filter(mine)) == bits(kept.state_of(plan, timeline, key=key, errors="collect"))
            if asked is plan:
                rebuilt = wb.rebuild(projection, timeline, errors="collect")
                assert bits(expected.failures) == bits(rebuilt.failures)  # first: with counts that are not kept come failures
                assert expected.counts == rebuilt.counts
            if expected.failures.height:
                with pytest.raises(ValueDoesNotFit):
                    kept.state_of(plan, timeline)
                with pytest.raises(ValueDoesNotFit):
                    kept.history_of(plan, timeline)
        if used:
            assert kept_answer(plan, timeline, errors="collect") is not None
            assert kept_versions(plan, timeline, key="nobody", errors="collect") is not None


@settings(max_examples=at_least(6), suppress_health_check=list(HealthCheck))
@given(projections(), histories(max_size=8).filter(bool), st.integers(0, 8), st.integers(0, 8), st.sampled_from([0, 3, 10**9]))
def test_what_is_kept_answers_as_a_replay_does_at_every_position_before_and_after(
    projection: type[Projection], events: list[Recorded], first: int, second: int, worth: int
) -> None:
    cuts = sorted({min(first, len(events)), min(second, len(events)), len(events)} - {0})
    table = frame(events)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_point, "WORTH_KEEPING", worth)
        patch.setattr(kept, "_SMALL", 4)
        path, start, parted = Path(folder) / "lake", 0, False
        for cut in cuts:
            lake = write(path, table.slice(start, cut - start))
            if start == 0:
                materialise(projection, lake, errors="collect")
            # An export that ends inside of a transaction and goes on at the same position makes what was kept invalid for good.
            parted = parted or (start > 0 and events[start].position == events[start - 1].position)
            agree(projection, lake, used=not parted)
            start = cut
        materialise(projection, lake, errors="collect")
        agree(projection, lake)


def test_it_is_used_by_every_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    lake = write(tmp_path, events)
    halfway = lake.timeline.upto(position=30)

    def ask() -> list[pl.DataFrame]:
        return [
            wb.state(User, lake.timeline),
            wb.state(User, halfway, key="1"),
            wb.history(User, lake.timeline.after(position=20)),
            wb.diff(User, halfway, lake.timeline),
            wb.first(User, lake.timeline, pl.col("logins") > 0),
        ]

    expected = ask()
    found = materialise(User, lake)
    assert (found.name, found.kind, found.positions, found.rows) == ("User", "history", (80,), 6)
    monkeypatch.setattr(kept, "replay", None)
    assert [bits(one) for one in expected] == [bits(one) for one in ask()]


SHOUTED: list[str] = []


def shout(data: Any, metadata: Any) -> Any:
    SHOUTED.append(data["name"])
    return {**data, "name": data["name"].upper()}


class Lifted(Projection, category="user"):
    name: str
    logins: int = 0
    upcasters = (upcast("created").apply(shout, version=1),)
    handlers = (on("created").create("name"), on("in").add(logins=1), on("deleted").delete())


@pytest.mark.parametrize("first", [1, 3, 4, 5])
def test_a_function_among_the_upcasters_is_run_for_new_events_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    events = log(*EVENTS)
    materialise(Lifted, write(tmp_path, events.head(first)))
    lake = write(tmp_path, events.tail(-first))
    agree(Lifted, lake)
    SHOUTED.clear()
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    wb.history(Lifted, lake.timeline.after(position=30))
    materialise(Lifted, lake)
    assert set(SHOUTED) == {"Bo"}
    assert list_materialised(lake)[0].positions == (80,)
    agree(Lifted, lake)


def test_what_became_of_the_events_is_kept_too_and_folded_for_only_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS, ("seen", {}))
    materialise(User, write(tmp_path, events.head(6)))
    lake = write(tmp_path, events.tail(-6))
    expected = replay(plan_of(User), lake.timeline)
    earlier, one = replay(plan_of(User), lake.timeline.upto(position=50)), replay(plan_of(User), lake.timeline, key="1")
    asked: list[Timeline] = []

    def replayed(subject: Any, timeline: Timeline, **more: Any) -> Any:
        asked.append(timeline)
        return replay(subject, timeline, **more)

    monkeypatch.setattr("workbench.replay.rebuild.replay", replayed)
    whole, before, alone = (
        wb.rebuild(User, lake.timeline),
        wb.rebuild(User, lake.timeline.upto(position=50)),
        wb.rebuild(User, lake.timeline, key="1"),
    )
    assert [whole.is_counted, before.is_counted, alone.is_counted] == [True, False, False]
    assert (expected.counts, 0) == (whole.counts, whole.failures.height)
    assert (asked, expected.counts.orphans, expected.counts.unhandled) == ([], 1, {"seen": 1})
    assert (earlier.counts, one.counts) == (before.counts, alone.counts)
    assert before.counts == before.counts
    assert len(asked) == 2


def test_what_came_after_is_folded_and_kept_once_it_is_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    made = materialise(User, write(tmp_path, events.head(3)))
    lake = write(tmp_path, events.tail(-3))
    wb.state(User, lake.timeline)
    assert list_materialised(lake) == [made]
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 5)
    wb.state(User, lake.timeline.upto(position=70))
    wb.state(User, lake.timeline, key="1")
    assert list_materialised(lake) == [made]
    wb.state(User, lake.timeline)
    [found] = list_materialised(lake)
    assert found.positions == (80,)
    agree(User, lake)


def test_whoever_reads_by_the_manifest_before_finds_its_files_until_the_next_one(tmp_path: Path) -> None:
    events = log(*EVENTS)
    made = materialise(User, write(tmp_path, events.head(4)))
    stored, manifests = made._stored, []
    for part in (None, events.slice(4, 2), events.tail(2)):
        if part is not None:
            materialise(User, write(tmp_path, part))
        manifest = stored.find(made.folder)
        assert manifest is not None
        manifests.append(manifest)
        for held in manifests[-2:]:
            stored.check(made.folder, held.files)
    assert {part.path for part in manifests[0].files} - {part.path for part in manifests[-1].files}
    with pytest.raises(Unusable):
        stored.check(made.folder, manifests[0].files)


def test_a_changed_projection_reads_nothing_of_the_old_one(tmp_path: Path) -> None:
    lake = write(tmp_path, log(*EVENTS))
    materialise(User, lake)

    class Renamed(Projection, category="user"):
        name: str
        logins: int = 0
        roles: set[str]
        handlers = (*User.handlers[:2], on("in").add(logins=2), *User.handlers[3:])

    assert kept_answer(plan_of(Renamed), lake.timeline) is None
    assert kept_answer(plan_of(User), lake.timeline) is not None


def test_other_engines_and_other_categories_read_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = write(tmp_path, log(*EVENTS))
    materialise(User, lake)
    assert kept_answer(plan_of(User), open_lake(tmp_path, category="last").timeline) is None
    monkeypatch.setattr(fold_point, "KEPT_VERSION", fold_point.KEPT_VERSION + 1)
    assert kept_answer(plan_of(User), lake.timeline) is None


def test_clustering_keeps_it_valid_and_another_log_ends_it(tmp_path: Path) -> None:
    events = log(*EVENTS)
    for start in range(0, 8, 2):
        lake = write(tmp_path / "a", events.slice(start, 2))
    materialise(User, lake)
    with LakeWriter.open(tmp_path / "a", store=Store("esdb://store.example"), selection=Selection()) as writer:
        assert writer.cluster().files_added
    agree(User, open_lake(tmp_path / "a"))
    # The same store, exported anew into another directory, into which what was kept is moved.
    other = write(tmp_path / "b", events)
    (tmp_path / "a" / "materialised").rename(tmp_path / "b" / "materialised")
    assert kept_answer(plan_of(User), other.timeline) is None


def test_a_selection_a_hidden_part_and_an_older_reader_are_never_answered_from_it(tmp_path: Path) -> None:
    events = log(*EVENTS)
    older = write(tmp_path, events.head(4))
    lake = write(tmp_path, events.tail(-4))
    materialise(User, lake)
    plan = plan_of(User)
    for timeline in (lake.timeline.streams("user-*"), lake.timeline.visible(), lake.timeline.types("in"), lake.timeline.categories("user")):
        assert kept_answer(plan, timeline) is None
        with pytest.raises(UsageError, match=r"a part of the history|remove types"):
            materialise(User, timeline)
    assert kept_answer(plan, older.timeline) is None
    assert bits(replay(plan, older.timeline).state) == bits(wb.state(User, older.timeline))
    assert kept_answer(plan, older.timeline.upto(position=30)) is not None


def test_events_that_do_not_fit_stop_a_question_as_they_stop_a_replay(tmp_path: Path) -> None:
    lake = write(tmp_path, log(("created", {"name": "Ann"}), ("renamed", {"name": 1}), ("in", {}), ("renamed", {"name": 2})))
    with pytest.raises(ValueDoesNotFit, match="name = 1"):
        materialise(User, lake)
    assert not list_materialised(lake)
    materialise(User, lake, errors="collect")
    agree(User, lake)
    with pytest.raises(ValueDoesNotFit, match="name = 1"):
        wb.state(User, lake.timeline)
    assert kept_answer(plan_of(User), lake.timeline.upto(position=10)) is not None


def test_whatever_is_damaged_is_replayed_and_made_anew(tmp_path: Path) -> None:
    lake = write(tmp_path, log(*EVENTS))
    made = materialise(User, lake)
    expected = bits(wb.history(User, lake.timeline))
    folder = tmp_path / "materialised" / made.folder
    for name in sorted(entry.name for entry in folder.iterdir()):
        whole = (folder / name).read_bytes()
        for spoilt in (b"", whole[:-9], b"foreign", *(_flipped(whole, at) for at in range(0, len(whole), 307))):
            (folder / name).write_bytes(spoilt)
            assert expected == bits(wb.history(User, lake.timeline)), (name, spoilt)
            assert bits(replay(plan_of(User), lake.timeline).state) == bits(wb.state(User, lake.timeline))
        (folder / name).unlink()
        assert expected == bits(wb.history(User, lake.timeline))
        (folder / name).write_bytes(whole)
    [entry, *_] = folder.glob("*.parquet")
    entry.write_bytes(_flipped(entry.read_bytes(), 60))
    materialise(User, lake)
    assert kept_versions(plan_of(User), lake.timeline) is not None


def _flipped(content: bytes, at: int, *, bits: int = 0x40) -> bytes:
    return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]


def flips(file: Path) -> Iterator[int]:
    """Change one bit of each byte of a file, each alone, and yield where."""
    whole, chosen = file.read_bytes(), random.Random(5)
    for at in range(len(whole)):
        file.write_bytes(_flipped(whole, at, bits=1 << chosen.randrange(8)))
        yield at
    file.write_bytes(whole)


def test_no_changed_byte_of_a_history_is_taken_for_what_was_written(tmp_path: Path) -> None:
    made = materialise(User, write(tmp_path, log(*EVENTS)))
    stored, schema, found = made._stored, history_schema(with_event_columns(plan_of(User))[0]), 0
    manifest = stored.find(made.folder)
    assert manifest is not None
    parts = manifest.files
    expected = bits(stored.read_rows(made.folder, parts, columns=schema.names(), schema=schema))
    for part in parts:
        for at in flips(tmp_path / "materialised" / made.folder / part.path):
            try:
                assert bits(stored.read_rows(made.folder, parts, columns=schema.names(), schema=schema)) == expected, at
            except Unusable:
                found += 1
    assert found == sum(part.bytes - len(b"PAR1") for part in parts)  # nobody reads the first bytes of a Parquet file


def test_no_changed_byte_of_a_snapshot_is_taken_for_what_was_written(tmp_path: Path) -> None:
    def count(state: int | None, event: RecordedEvent) -> int:
        return (state or 0) + event.revision

    made = materialise(Fold(count, category="user", version="1"), write(tmp_path, log(*EVENTS)))
    manifest = made._stored.find(made.folder)
    assert manifest is not None
    [part] = manifest.files
    for _ in flips(tmp_path / "materialised" / made.folder / part.path):
        with pytest.raises(Unusable):
            made._stored.read_bytes(made.folder, part)
    for at in flips(tmp_path / "materialised" / made.folder / "manifest.json"):
        assert made._stored.find(made.folder) is None, at
    assert made._stored.find(made.folder) == manifest


def test_a_writer_that_fails_leaves_the_old_one_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    made = materialise(User, write(tmp_path, events.head(6)))
    lake = write(tmp_path, events.tail(-6))
    folder = tmp_path / "materialised" / made.folder
    before = sorted(folder.iterdir())

    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(wb.errors.WorkbenchError, match="No room"):
            materialise(User, lake)
        patch.setattr(fold_point, "WORTH_KEEPING", 1)
        agree(User, lake)
    assert before == sorted(folder.iterdir())
    assert list_materialised(lake) == [made]


@pytest.mark.parametrize("projection", [User, Fold(lambda state, happened: {"n": 1}, category="user", version=1)])
def test_a_manifest_that_cannot_be_written_leaves_no_files_and_folders_without_one_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, projection: type[Projection] | Fold
) -> None:
    lake = write(tmp_path, log(*EVENTS, ("renamed", {"name": 1})))

    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(wb.errors.WorkbenchError, match="No room"):
            materialise(projection, lake, errors="collect")
    [folder] = [entry for entry in (tmp_path / "materialised").iterdir() if entry.is_dir()]
    assert list(folder.iterdir()) == []
    left = tmp_path / "materialised" / "left"
    left.mkdir()
    (left / "half.parquet").write_bytes(b"PAR1")
    materialise(projection, lake, errors="collect")
    assert not left.exists()
    assert kept_answer(projection if isinstance(projection, Fold) else plan_of(projection), lake.timeline, errors="collect") is not None


def test_a_reader_without_the_right_to_write_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    made = materialise(User, write(tmp_path, events.head(6)))
    lake = write(tmp_path, events.tail(-6))
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    opened = os.open

    def denied(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", denied)
    agree(User, lake)
    assert list_materialised(lake) == [made]
    with pytest.raises(wb.errors.WorkbenchError, match="No permission"):
        materialise(User, lake)


def test_while_another_process_writes_a_question_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    made = materialise(User, write(tmp_path, events.head(6)))
    lake = write(tmp_path, events.tail(-6))
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    with made._stored.writing(wait=True):
        agree(User, lake)
    assert list_materialised(lake) == [made]


def test_it_can_be_listed_and_removed(tmp_path: Path) -> None:
    lake = write(tmp_path, log(*EVENTS))
    assert list_materialised(lake) == []
    made = materialise(User, lake)
    materialise("user", lake)
    assert [one.name for one in list_materialised(lake)] == ["User", "user"]
    assert list_materialised(lake, User) == [made]
    made.remove()
    assert [one.name for one in list_materialised(lake)] == ["user"]
    assert kept_answer(plan_of(User), lake.timeline) is None
    made.remove()


@dataclass
class Seen:
    """What a fold of the tests keeps."""

    types: list[str]
    last: datetime | None = None


def seen(state: Seen | None, happened: RecordedEvent) -> Seen | None:
    if happened.type == "deleted":
        return None
    known = state if state is not None else Seen([])
    known.types.append(happened.type)
    known.last = happened.recorded_at
    return known


def _folded(fold: Fold, timelines: Sequence[Timeline], *, key: str | None) -> None:
    for timeline in timelines:
        assert bits(replay(fold, timeline, key=key).state) == bits(wb.state(fold, timeline, key=key))


def test_a_fold_goes_on_from_its_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(*EVENTS)
    fold = Fold(seen, category="user", version=1, state=Seen)
    lake = write(tmp_path, events.head(5))
    materialise(fold, lake.timeline.upto(position=20))
    found = materialise(fold, lake)
    assert (found.kind, found.positions) == ("snapshots", (20, 50))
    lake = write(tmp_path, events.tail(-5))
    _folded(fold, list(at_every_position(lake)), key=None)
    _folded(fold, list(at_every_position(lake)), key="1")
    looked_at: list[int] = []

    def noting(state: Seen | None, happened: RecordedEvent) -> Seen | None:
        looked_at.append(happened.position)
        return seen(state, happened)

    again = replace(fold, function=noting)
    monkeypatch.setattr(noting, "__qualname__", seen.__qualname__)
    wb.state(again, lake.timeline)
    assert looked_at == [60, 70, 80]
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 1)
    wb.state(fold, lake.timeline)
    assert list_materialised(lake)[0].positions == (20, 80)
    older = open_lake(tmp_path).timeline.upto(position=60)
    assert materialise(fold, older).positions == (20, 60, 80)
    assert materialise(fold, lake).positions == (20, 60, 80)
    materialise(fold, lake.timeline.upto(position=80))
    lake = write(tmp_path, log(*EVENTS, ("in", {})).tail(1))
    assert materialise(fold, lake).positions == (20, 60, 80, 90)
    _folded(fold, list(at_every_position(lake)), key=None)
    assert kept_answer(replace(fold, version=2), lake.timeline) is None


@pytest.mark.parametrize("at", [10, 30, 40, 60])
def test_a_snapshot_before_the_rows_that_are_asked_for_saves_the_events_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    lake = write(
        tmp_path, pl.concat([log(*EVENTS), log(("in", {}), ("in", {}), stream="user-2").with_columns(pl.col("^.*position$") + 75)])
    )
    fold = Fold(seen, category="user", version=1, state=Seen)
    bounded = [lake.timeline.after(position=position) for position in (10, 20, 30, 40, 50, 60, 85, 90, 95)]

    def ask(fold: Fold) -> list[tuple[Any, Any]]:
        rule = pl.col("types").list.len() > 1
        histories = [bits(wb.history(fold, timeline, key=key)) for timeline in bounded for key in (None, "1")]
        return histories + [bits(wb.first(fold, timeline, rule)) for timeline in bounded]

    expected = ask(fold)
    everything = wb.history(fold, lake.timeline)
    for timeline, found in zip(bounded, expected[::2], strict=False):
        later = everything.filter(pl.col("valid_from_position") > timeline.after_position)
        assert bits(later) == found
    materialise(fold, lake.timeline.upto(position=at))
    assert expected == ask(fold)
    looked_at: list[int] = []

    def noting(state: Seen | None, happened: RecordedEvent) -> Seen | None:
        looked_at.append(happened.position)
        return seen(state, happened)

    monkeypatch.setattr(noting, "__qualname__", seen.__qualname__)
    wb.history(replace(fold, function=noting), lake.timeline.after(position=60))
    assert min(looked_at) > at


def test_a_function_without_a_version_is_not_kept(tmp_path: Path) -> None:
    lake = write(tmp_path, log(*EVENTS))
    with pytest.raises(UsageError, match="version="):
        materialise(Fold(seen, category="user"), lake)
    assert list_materialised(lake) == []


class _Mischief:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.getenv, ("HOME",)


def test_a_snapshot_holds_values_and_runs_nothing(tmp_path: Path) -> None:
    lake = write(tmp_path, log(*EVENTS))
    fold = Fold(lambda state, happened: {"x": _Mischief()}, category="user", version=1)
    with pytest.raises(InvalidProjection, match=r"its states cannot be kept \(Encoding objects of type .*_Mischief.* unsupported"):
        materialise(fold, lake)
    assert list_materialised(lake) == []


class Held(NamedTuple):
    """A state of a user's class that holds what JSON has not."""

    seats: frozenset[int]
    price: Decimal
    since: datetime


HELD = Held(frozenset({1, 2}), Decimal("1.10"), datetime(2026, 3, 1, tzinfo=UTC))


def _through_a_snapshot(state: Any, of: Any = None) -> Any:
    fold = Fold(lambda _, happened: state, category="user", version=1, state=of)
    found = decoded(encoded({"1": Folded(state, 1, 2, None, 3)}, fold), fold)
    assert found is not None
    return found["1"].state


def test_a_state_comes_back_as_it_was() -> None:
    plain = {"a": [True, None, "x", 2**63 - 1, float("inf")], "b": {"c": datetime(2026, 3, 1, tzinfo=UTC)}}
    assert _through_a_snapshot(plain) == plain
    assert repr(_through_a_snapshot({"a": float("nan")})) == "{'a': nan}"
    assert _through_a_snapshot({"a": {3}}, dict[str, set[int]]) == {"a": {3}}
    found = _through_a_snapshot(HELD, Held)
    assert found == HELD
    assert type(found) is Held


@pytest.mark.parametrize("state", [HELD, Seen(["in"]), {"a": {3}}, {"a": (1, 2)}, {"a": Decimal("1.10")}, {"a": 2**70}, OrderedDict(a=1)])
def test_a_state_that_would_come_back_as_another_is_refused_with_what_to_do(state: Any) -> None:
    with pytest.raises(InvalidProjection, match=r"its states cannot be kept .*name their type once, as in Fold\(…, state=Cart\)"):
        _through_a_snapshot(state)
