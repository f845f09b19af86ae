"""Two projections of one history: which states other rules make of the same events."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.forks import lake_in_runs
from tests.laws import at_least
from tests.replay.asking import event as recorded
from tests.replay.asking import lake_of
from tests.strategies import Recorded, histories, projections
from workbench import Fold, Projection, Timeline, event, on
from workbench.errors import UsageError

law = settings(max_examples=at_least(8))


class Old(Projection, category="thing"):
    name: str
    size: int = 0
    handlers = (on("begun").create("name"), on("grown").add(size=event.data["by"]))


class New(Projection, category="thing"):
    """Counts only growth, takes a new name in, and knows an end."""

    name: str
    size: int = 0
    colour: str | None
    handlers = (
        on("begun").create("name", "colour"),
        on("grown").where(event.data["by"] > 0).add(size=event.data["by"]),
        on("ended").delete(),
    )


HISTORY = [
    recorded(10, "begun", '{"name": "a", "colour": "red"}'),
    recorded(20, "begun", '{"name": "b"}', stream="thing-2"),
    recorded(30, "grown", '{"by": 2}'),
    recorded(40, "grown", '{"by": -1}'),
    recorded(50, "ended", stream="thing-2"),
    recorded(60, "begun", '{"name": "c"}', stream="thing-3"),
    recorded(70, "grown", '{"by": 3}'),
]


def test_the_second_history_is_the_first_where_it_is_left_out() -> None:
    with lake_of(HISTORY) as timeline:
        found = wb.diff(Old, timeline, other=New)
        assert found.equals(wb.diff(Old, timeline, timeline, other=New))
    assert found.select("key", "change", "changed_fields", "diverged_position", "diverged_event_type").rows() == [
        ("1", "changed", ["size"], 40, "grown"),
        ("2", "removed", [], 50, "ended"),
    ]
    assert [before["size"] for before in found["before"]] == [4, 0]
    assert found["after"].to_list() == [{"name": "a", "size": 5, "colour": "red"}, None]


def test_one_history_and_one_projection_are_nothing_to_compare() -> None:
    with lake_of(HISTORY) as timeline, pytest.raises(UsageError, match="give a second timeline, or other="):
        wb.diff(Old, timeline)


def test_a_projection_is_compared_with_the_fold_that_it_replaces() -> None:
    def fold(state: dict[str, Any] | None, one: Any) -> dict[str, Any] | None:
        if one.type == "begun":
            return {"name": one.data["name"], "size": 0}
        return {**state, "size": state["size"] + one.data["by"]} if state and one.type == "grown" else state

    with lake_of(HISTORY) as timeline:
        assert wb.diff(Old, timeline, other=Fold(fold, category="thing")).height == 0
        assert wb.diff(Fold(fold, category="thing"), timeline, other=New)["key"].to_list() == ["1", "2"]


@law
@given(projections(), histories())
def test_the_same_rules_differ_nowhere(projection: type[Projection], history: list[Recorded]) -> None:
    with lake_in_runs(history) as timeline:
        assert wb.diff(projection, timeline, other=projection, errors="collect").height == 0


@law
@given(projections(keys=st.none()), projections(keys=st.none()), histories(max_size=12))
def test_two_projections_part_at_the_first_position_at_which_their_states_differ(
    one: type[Projection], other: type[Projection], history: list[Recorded]
) -> None:
    def fields(projection: type[Projection], timeline: Timeline, common: list[str]) -> dict[str, Any]:
        state = wb.state(projection, timeline, errors="collect")
        return dict(state.select("key", pl.struct(common)).iter_rows())

    common = [name for name in one.__annotations__ if name in other.__annotations__]
    with lake_in_runs(history) as timeline:
        if not common:
            return
        found = wb.diff(one, timeline, other=other, errors="collect")
        diverged: dict[str, int] = {}
        ends: list[dict[str, Any]] = [{}, {}]
        for position in sorted({each.position for each in history}):
            ends = [fields(projection, timeline.upto(position=position), common) for projection in (one, other)]
            for key in ends[0].keys() | ends[1].keys():
                if ends[0].get(key) != ends[1].get(key):
                    diverged.setdefault(key, position)
    differing = {key for key in ends[0].keys() | ends[1].keys() if ends[0].get(key) != ends[1].get(key)}
    assert set(found["key"]) == differing
    for key, position in found.select("key", "diverged_position").iter_rows():
        assert position <= diverged[key]
        if position < diverged[key]:  # they differed between two events of one position, and for that moment only
            assert sum(each.position == position for each in history) > 1
