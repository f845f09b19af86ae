"""A trace as a tree: whatever its causes are, every event is there once, and what is odd is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.traced import Traced, id_of, timeline_in
from workbench.analysis.traces import trace
from workbench.display import spelled
from workbench.errors import UsageError


def test_effects_stand_below_their_causes(tmp_path: Path) -> None:
    events = [
        Traced("placed", cause="c"),
        Traced("other", "d", 0.5),
        Traced("paid", seconds=1, cause=1, stream="payment-1"),
        Traced("packed", seconds=2, cause=1),
        Traced("receipt", seconds=2.25, cause=3, stream="payment-1"),
        Traced("shipped", seconds=200, cause=4),
    ]
    found = trace(timeline_in(tmp_path / "lake", events), "c")
    assert str(found).splitlines() == [
        "c: 5 events since 2026-03-01T09:00:00Z",
        "placed  order-1@0  +0 s",
        "├─ paid  payment-1@0  +1 s",
        "│  └─ receipt  payment-1@1  +2.25 s",
        "└─ packed  order-1@2  +2 s",
        "   └─ shipped  order-1@3  +3 min 20 s",
    ]
    assert found.problems == ()
    assert found.events["depth"].to_list() == [0, 1, 2, 1, 2]
    assert found.events["parent"].to_list() == [None, 0, 1, 0, 3]
    assert found.events["since_cause"].to_list()[1:] == [timedelta(seconds=one) for one in (1, 1.25, 2, 198)]


def test_causes_that_are_missing_strange_or_go_in_circles_are_said(tmp_path: Path) -> None:
    events = [
        Traced("first"),
        Traced("elsewhere", "d", stream="user-7"),
        Traced("uncaused"),
        Traced("dangling", cause=99),
        Traced("foreign", cause=2),
        Traced("itself", cause=6),
        Traced("early", cause=8),
        Traced("late", cause=1),
        Traced("round", cause=10),
        Traced("and round", cause=11),
        Traced("again", cause=9),
        Traced("twin", id=id_of(1)),
        Traced("child of twins", cause=1),
    ]
    found = trace(timeline_in(tmp_path / "lake", events), "c")
    assert set(found.problems) == {
        "uncaused (event 1 of order-1): names no cause",
        f"dangling (event 2 of order-1): its cause {id_of(99)} is not in this history",
        "foreign (event 3 of order-1): its cause is elsewhere of user-7, which has the correlation id d",
        "itself (event 4 of order-1): names itself as its cause",
        "early (event 5 of order-1): its cause comes later in the log",
        "round (event 7 of order-1): its causes lead back to it, through 2 other events",
        "and round (event 8 of order-1): its cause comes later in the log",
        "twin (event 10 of order-1): names no cause",
        "child of twins (event 11 of order-1): its cause's id stands in 2 events before it; the last one counts",
    }
    parents = {row["type"]: row["parent"] for row in found.events.iter_rows(named=True)}
    place = {name: row for row, name in enumerate(found.events["type"])}
    assert parents["early"] == place["late"]
    assert parents["child of twins"] == place["twin"]
    assert parents["round"] is None
    assert parents["again"] == place["round"]
    assert parents["and round"] == place["again"]


NOTATIONS = [str.upper, lambda text: text.replace("-", ""), lambda text: f"{{{text.upper()}}}", lambda text: f" {text}"]


@pytest.mark.parametrize("written", NOTATIONS)
def test_a_cause_is_found_in_whatever_notation_its_id_is_written(tmp_path: Path, written: Callable[[str], str]) -> None:
    first, second, command = (f"{letter}0000000-0000-4000-8000-00000000000f" for letter in "abc")
    events = [
        Traced("placed", command, cause=written(command), id=first),
        Traced("paid", command, cause=written(first), id=second),
        Traced("shipped", command, cause=written(second)),
        Traced("span", command, cause="A0000000-00004-000-8000-00000000000f"),
    ]
    now = timeline_in(tmp_path / "lake", events)
    found = trace(now, command).events
    assert found["depth"].to_list() == [0, 1, 2, 0]
    assert found["note"].to_list()[:3] == [None, None, None]
    dropped = now.drop(type="placed", cascade="causation")
    assert dropped.events().collect()["type"].to_list() == ["span"]


@given(st.lists(st.none() | st.integers(1, 12), min_size=1, max_size=11))
def test_every_event_is_there_once_below_its_cause(tmp_path_factory: pytest.TempPathFactory, causes: list[int | None]) -> None:
    events = [Traced(f"type {number}", cause=cause) for number, cause in enumerate(causes, 1)]
    found = trace(timeline_in(tmp_path_factory.mktemp("trees") / "lake", events), "c")
    assert sorted(found.events["position"]) == [10 * number for number in range(1, len(causes) + 1)]
    parents, depths = found.events["parent"].to_list(), found.events["depth"].to_list()
    for row, parent in enumerate(parents):
        assert depths[row] == (0 if parent is None else depths[parent] + 1)
        assert parent is None or parent < row
        if parent is not None:
            assert found.events["causation_id"][row] == found.events["event_id"][parent]
        elif row:
            assert found.events["note"][row] is not None or found.events["causation_id"][row] is not None
    assert len(str(found).splitlines()) == len(causes) + 1


def test_a_chain_of_thousands_is_no_trouble(tmp_path: Path) -> None:
    events = [Traced("step", cause=number or None) for number in range(3000)]
    found = trace(timeline_in(tmp_path / "lake", events), "c")
    assert found.events["depth"].to_list() == list(range(3000))


def test_a_what_if_has_its_own_tree(tmp_path: Path) -> None:
    now = timeline_in(tmp_path / "lake", [Traced("placed"), Traced("paid", cause=1), Traced("shipped", cause=2)])
    found = trace(now.drop(type="paid"), "c")
    assert found.events["type"].to_list() == ["placed", "shipped"]
    assert found.problems == (f"shipped (event 2 of order-1): its cause {id_of(2)} is not in this history",)


def test_an_id_that_no_event_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No event has the correlation id 'nobody'"):
        trace(timeline_in(tmp_path / "lake", [Traced("placed")]), "nobody")


def test_spans_are_spelled_for_people() -> None:
    spans = [0, 0.000_012, 0.35, 1.5, 59.99, 60, 3599.6, 3661, 90_000, -0.5]
    assert [spelled(timedelta(seconds=one)) for one in spans] == [
        "0 s", "0.012 ms", "350 ms", "1.5 s", "60 s", "1 min", "1 h", "1 h 1 min", "1 d 1 h", "-500 ms",
    ]  # fmt: skip
