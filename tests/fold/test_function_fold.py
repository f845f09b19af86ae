"""Folds by a Python function."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.replay.told import column, log, mixed
from tests.strategies import frame
from workbench.errors import InvalidProjection, ReplayError
from workbench.fold.event_by_event.function_fold import Fold, RecordedEvent, fold_function
from workbench.fold.results import Counts
from workbench.projection import event


@dataclass
class Account:
    """A state that is changed in place."""

    balance: float
    seen: list[str]


def account(state: Account, happened: RecordedEvent) -> Account | None:
    """Sum amounts; closing ends the account."""
    if happened.type == "closed":
        return None
    state.balance += happened.data["amount"]
    state.seen.append(happened.type)
    return state


def begun(state: dict[str, Any] | None, happened: RecordedEvent) -> dict[str, Any] | None:
    """Only ``begun`` begins."""
    if state is None and happened.type != "begun":
        return None
    return {**(state or {}), happened.type: happened.revision}


ACCOUNTS = Fold(account, category="user", initial=Account(0.0, []), version=1)


def _many(events: int) -> pl.DataFrame:
    return mixed(*((f"user-{index % 7}", "closed" if index % 11 == 0 else "paid", {"amount": index}) for index in range(events)))


def test_a_function_folds_states_that_become_columns() -> None:
    result, entities = fold_function(ACCOUNTS, mixed(("user-1", "paid", {"amount": 1.5}), ("user-2", "paid", {"amount": 2.0})))
    assert result.state.columns == ["key", "balance", "seen", "position", "revision", "recorded_at", "event_count"]
    assert result.state.select("key", "balance", "seen").rows() == [("1", 1.5, ["paid"]), ("2", 2.0, ["paid"])]
    assert datetime.fromtimestamp(1_700_000_000, UTC) == result.state["recorded_at"][0]
    assert sorted(entities) == ["1", "2"]
    assert Account(0.0, []) == ACCOUNTS.initial


def test_any_other_state_is_one_column() -> None:
    result, _ = fold_function(Fold(lambda state, _: state + 1, category="user", initial=int), log(("a", {}), ("b", {})))
    assert column(result.state, "state") == [2]
    empty, _ = fold_function(Fold(begun, category="user"), log())
    assert empty.state.height == 0


def test_none_ends_an_entity_and_events_on_an_absent_one_are_orphans() -> None:
    result, _ = fold_function(Fold(begun, category="user"), log(("x", {}), ("begun", {}), ("x", {})))
    assert Counts(applied=2, orphans=1) == result.counts
    assert result.state.select("begun", "x", "event_count").rows() == [(1, 2, 2)]
    closed, _ = fold_function(ACCOUNTS, log(("paid", {"amount": 1}), ("closed", {})))
    assert closed.state.height == 0


def test_a_key_from_a_place_and_several_categories() -> None:
    fold = Fold(begun, category=("user", "order"), key=event.data["k"])
    result, _ = fold_function(fold, mixed(("user-1", "begun", {"k": 5}), ("order-9", "x", {"k": "5"}), ("order-9", "x", {})))
    assert column(result.state, "key") == ["5"]
    assert Counts(applied=2, keyless=1) == result.counts


def test_processes_do_not_change_the_result() -> None:
    events = _many(200)
    alone, one_by_one = fold_function(ACCOUNTS, events, workers=1)
    together, shared = fold_function(ACCOUNTS, events, workers=2)
    assert_frame_equal(alone.state, together.state)
    assert alone.counts == together.counts
    assert one_by_one == shared


def test_a_fold_goes_on_from_an_earlier_one_without_changing_it() -> None:
    events = _many(60)
    whole, _ = fold_function(ACCOUNTS, events)
    first, entities = fold_function(ACCOUNTS, events.head(31))
    kept = copy.deepcopy(entities)
    second, _ = fold_function(ACCOUNTS, events.tail(29), initial=entities)
    assert_frame_equal(whole.state, second.state)
    assert whole.counts == first.counts + second.counts
    assert kept == entities
    together, _ = fold_function(ACCOUNTS, events.tail(29), initial=entities, workers=2)
    assert_frame_equal(whole.state, together.state)
    assert kept == entities


def test_an_error_in_the_function_says_at_which_event_or_is_collected() -> None:
    events = log(("paid", {"amount": 1}), ("paid", {}), ("paid", {"amount": 2}))
    for workers in (1, 2):
        with pytest.raises(KeyError) as raised:
            fold_function(ACCOUNTS, events, workers=workers)
        assert raised.value.__notes__ == ["in event 1 of stream 'user-1' (paid, id 00000000-0000-0000-0000-000000000020, position 20)"]
    result, _ = fold_function(ACCOUNTS, events, errors="collect")
    assert result.state.select("balance", "event_count").rows() == [(3.0, 2)]
    assert column(result.failures, "reason") == ["KeyError: 'amount'"]
    assert Counts(applied=2, failed=1) == result.counts


def test_what_an_event_changed_before_it_failed_is_taken_back() -> None:
    def breaks(state: list[int], happened: RecordedEvent) -> list[int]:
        state.append(happened.revision)
        return [state[0] // happened.data["by"], *state[1:]]

    result, _ = fold_function(Fold(breaks, category="user", initial=list), log(("t", {"by": 1}), ("t", {"by": 0})), errors="collect")
    assert column(result.state, "state") == [[0]]


def test_of_an_event_everything_can_be_read() -> None:
    seen: list[RecordedEvent] = []

    def look(state: None, happened: RecordedEvent) -> int:
        seen.append(happened)
        return 1

    fold_function(Fold(look, category="user"), log(("t", '{"a": 1, "a": 2}', {"$correlationId": "c"}), ("t", None)))
    first, second = seen
    assert (first.stream, first.category, first.type, first.revision, first.position) == ("user-1", "user", "t", 0, 10)
    assert (first.data, first.metadata, first.correlation_id, first.causation_id) == ({"a": 1}, {"$correlationId": "c"}, "c", None)
    assert (second.data, second.metadata) == (None, None)
    assert "event 1 of stream 'user-1'" in repr(second)
    assert second.event_id.endswith("20")
    assert datetime.fromtimestamp(1_700_000_000, UTC) == first.recorded_at


def test_states_that_are_no_rows_are_refused() -> None:
    with pytest.raises(ReplayError, match="a state has the field key, which is a column of every result"):
        fold_function(Fold(lambda state, _: {"key": 1}, category="user"), log(("t", {})))
    with pytest.raises(ReplayError, match="the states do not form one frame"):
        fold_function(Fold(_by_key, category="user"), mixed(("user-1", "t", {}), ("user-2", "t", {})))
    with pytest.raises(ReplayError, match="declare key="):
        fold_function(ACCOUNTS, mixed(("user", "t", {})))


def _by_key(state: object, happened: RecordedEvent) -> dict[str, object]:
    return {"a": [1] if happened.stream == "user-1" else "x"}


@pytest.mark.parametrize("changed", [{"category": ()}, {"category": ("a", "b")}, {"key": "userId"}, {"function": 3}])
def test_a_fold_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    parts: dict[str, Any] = {"function": begun, "category": "user", **changed}
    with pytest.raises(InvalidProjection):
        Fold(parts.pop("function"), **parts)


def test_no_process_is_refused() -> None:
    with pytest.raises(InvalidProjection, match="workers must be at least 1"):
        fold_function(ACCOUNTS, log(), workers=0)


def test_a_fingerprint_needs_a_version() -> None:
    assert None is Fold(begun, category="user").fingerprint()
    assert ACCOUNTS.fingerprint() == Fold(account, category="user", initial=Account(0.0, []), version=1).fingerprint()
    assert ACCOUNTS.fingerprint() != Fold(account, category="user", initial=Account(0.0, []), version=2).fingerprint()


def test_no_events_give_an_empty_state() -> None:
    result, entities = fold_function(ACCOUNTS, [frame([]), frame([])])
    assert (result.counts.events, entities) == (0, {})
