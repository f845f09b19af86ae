"""A diff reads no more than what can differ: which case is chosen, and what each case reads."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import polars as pl
import pytest

import workbench as wb
from tests.replay.asking import timeline_in
from tests.replay.test_forks import HISTORY, ByK, Thing
from workbench.fold.dispatch import replay
from workbench.fold.event_by_event.function_fold import Fold, RecordedEvent
from workbench.materialised import histories
from workbench.projection import plan_of
from workbench.replay import diff as diffing
from workbench.replay.diff import Case, choose
from workbench.timeline import Timeline


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("cases") / "lake", HISTORY)


def counted(state: int | None, event: RecordedEvent) -> int:
    return (state or 0) + 1


def test_each_case_is_chosen_where_its_reason_holds(now: Timeline) -> None:
    thing, by_k = plan_of(Thing), plan_of(ByK)
    dropped, patched = now.drop(position=20), now.patch(type="thing.*", set={"name": "z"})
    few = choose(thing, now, dropped, key=None)
    assert (few.case, [one.streams for one in few.b.selections]) == (Case.FEW_STREAMS, [("thing-1",)])
    assert choose(Fold(counted, category="thing"), now, dropped, key=None).case == Case.FEW_STREAMS
    assert choose(thing, dropped, patched, key="1").case == Case.FEW_STREAMS
    keys = choose(by_k, now, dropped, key=None)
    assert (keys.case, keys.keys, [one.streams for one in keys.b.selections]) == (Case.FEW_KEYS, ("x",), [("thing-1", "thing-2")])
    assert choose(by_k, now, dropped, key="x").case == Case.SEPARATE
    assert choose(by_k, now, now.drop(position=40), key=None).case == Case.TWO_MOMENTS  # it touches no event that has a key
    with mock.patch.object(diffing, "_FEW_STREAMS", 0), mock.patch.object(diffing, "_FEW_KEYS", 0):
        assert choose(thing, now, patched, key=None).case == Case.WHOLE_FORK
        for a, b in ((patched, now), (dropped, patched), (now.visible(), patched.visible())):
            assert choose(thing, a, b, key=None).case == Case.SEPARATE
        assert choose(thing, now, patched, key="1").case == Case.SEPARATE
        assert choose(by_k, now, patched, key=None).case == Case.SEPARATE
    assert choose(thing, now.upto(position=30), now, key=None).case == Case.TWO_MOMENTS
    assert choose(thing, now.upto(position=30), dropped, key=None).case == Case.SEPARATE


@pytest.mark.parametrize("kept", [30, 60])
@pytest.mark.parametrize("entities", [["1"], ["1", "2"]])
def test_versions_that_a_whole_fork_needs_besides_are_read_from_what_is_materialised(
    tmp_path: Path, kept: int, entities: list[str]
) -> None:
    now = timeline_in(tmp_path / "lake", HISTORY)
    # Of each entity the first event that is touched changes nothing.
    fork = now.patch(position=20, set={"name": "b"}).drop(position=40)
    if "2" in entities:
        fork = fork.patch(position=50, set={"name": "d"}).drop(position=60)
    expected = wb.diff(Thing, now, fork)
    assert expected["key"].to_list() == entities
    wb.materialise(Thing, now.upto(position=kept, stale=True))
    with mock.patch.object(diffing, "_FEW_STREAMS", -1), mock.patch.object(histories, "replay", wraps=replay) as folded:
        assert wb.diff(Thing, now, fork).equals(expected)
    recorded = [call.args[1].after_position for call in folded.call_args_list if not call.args[1].edits]
    [forked] = [call.kwargs["keys"] for call in folded.call_args_list if call.args[1].edits]
    assert isinstance(forked, pl.Series)
    assert (recorded, forked.sort().to_list()) == ([] if kept == 60 else [kept], entities)
