"""``steps``: what each event of an entity did to it, alone and beside another history."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.forks import edited, edits, lake_in_runs
from tests.laws import at_least
from tests.replay.asking import event as recorded
from tests.replay.asking import lake_of
from tests.strategies import Recorded, histories, projections
from workbench import Fold, Projection, event, on, upcast
from workbench.errors import UsageError, ValueDoesNotFit
from workbench.replay.steps import steps


class Thing(Projection, category="thing"):
    name: str
    size: int = 0
    handlers = (
        on("begun").create("name"),
        on("grown").where(event.data["by"] != 0).add(size=event.data["by"]),
        on("named").set(name=event.data["name"]),
        on("ended").delete(),
    )


class ByMail(Projection, category="thing", key=event.data["mail"]):
    size: int = 0
    handlers = (on("grown").add(size=event.data["by"]), on("ended").delete())


HISTORY = [
    recorded(10, "grown", '{"by": 1, "mail": "a"}'),
    recorded(20, "begun", '{"name": "Ann"}'),
    recorded(30, "seen"),
    recorded(40, "grown", '{"by": 2, "mail": "a"}'),
    recorded(50, "grown", '{"by": 0, "mail": "b"}'),
    recorded(60, "begun", '{"name": "Bob"}', stream="thing-2"),
    recorded(70, "named", '{"name": "Ann"}'),
    recorded(80, "ended", '{"mail": "a"}'),
    recorded(90, "begun", '{"name": "Zoe"}'),
]


def counting(state: dict[str, Any] | None, one: Any) -> dict[str, Any] | None:
    """Count events; change the state in place, as a user's function may; end at ``ended``; fail at ``seen``."""
    if one.type == "ended":
        return None
    if one.type == "seen":
        raise KeyError("boom")
    if state is None:
        return {"seen": 1}
    state["seen"] += 1
    state["last"] = one.type
    return state


def told(rows: pl.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return rows.select(names).rows()


def test_every_event_of_an_entity_is_a_step_and_those_without_effect_say_why() -> None:
    with lake_of(HISTORY) as timeline:
        rows = steps(Thing, timeline, key="1")
    assert told(rows, "position", "outcome", "changed_fields", "why") == [
        (10, "orphan", [], "the entity did not exist"),
        (20, "began", ["name", "size"], None),
        (30, "unhandled", [], "no handler takes its type"),
        (40, "changed", ["size"], None),
        (50, "unmatched", [], "no handler's condition holds"),
        (70, "unchanged", [], None),
        (80, "ended", ["name", "size"], None),
        (90, "began", ["name", "size"], None),
    ]
    ann = {"name": "Ann", "size": 0}
    grown = {"name": "Ann", "size": 2}
    assert [before for before, _ in told(rows, "before", "after")] == [None, None, ann, ann, grown, grown, grown, None]
    assert [after for _, after in told(rows, "before", "after")] == [None, ann, ann, grown, grown, grown, None, {"name": "Zoe", "size": 0}]
    assert told(rows, "event_type", "revision", "stream")[1] == ("begun", 20, "thing-1")
    assert (rows.filter(pl.col("outcome") != "unhandled")["microseconds"] > 0).all()


def test_where_the_key_stands_in_the_events_those_are_steps_that_say_so() -> None:
    with lake_of(HISTORY) as timeline:
        rows = steps(ByMail, timeline, key="a")
        assert told(rows, "position", "outcome") == [(10, "began"), (40, "changed"), (80, "ended")]
        assert steps(ByMail, timeline, key="c").height == 0
    hidden = [recorded(10, "grown", '{"by": 1, "mail": "\\u0061\\/b"}'), recorded(20, "grown", '{"by": 1, "mail": 42}'), *HISTORY[2:]]
    with lake_of(hidden) as timeline:
        assert steps(ByMail, timeline, key="a/b")["position"].to_list() == [10]
        assert steps(ByMail, timeline, key="42")["position"].to_list() == [20]


def lift(data: dict[str, Any], _: Any) -> dict[str, Any]:
    return {"mail": data["address"].lower(), "by": data["n"]}


class Lifted(Projection, category="thing", key=event.data["mail"]):
    size: int = 0
    upcasters = (upcast("old").apply(lift, version=1).to("grown"),)
    handlers = (on("grown").add(size=event.data["by"]),)


def test_an_upcasters_function_may_say_whose_event_it_is_and_what_it_cannot_lift_may_be_anybodys() -> None:
    history = [
        recorded(10, "old", '{"address": "A", "n": 1}'),
        recorded(20, "grown", '{"mail": "a", "by": 2}'),
        recorded(30, "old", '{"address": "B", "n": 1}'),
        recorded(40, "old", "{}"),
    ]
    with lake_of(history) as timeline:
        rows = steps(Lifted, timeline, key="a", errors="collect")
        assert told(rows, "position", "outcome", "after") == [
            (10, "began", {"size": 1}),
            (20, "changed", {"size": 3}),
            (40, "failed", {"size": 3}),
        ]
        with pytest.raises(KeyError, match="address"):
            steps(Lifted, timeline, key="a")


def test_the_name_of_a_category_merges_its_payloads_step_by_step() -> None:
    with lake_of(HISTORY) as timeline:
        rows = steps("thing", timeline, key="2")
    assert rows["after"].to_list() == [{"by": None, "mail": None, "name": "Bob"}]
    assert rows["changed_fields"].to_list() == [["name"]]


def test_a_fold_is_stepped_through_and_what_its_function_raises_names_the_event() -> None:
    fold = Fold(counting, category="thing")
    with lake_of(HISTORY) as timeline:
        with pytest.raises(KeyError, match="boom") as raised:
            steps(fold, timeline, key="1")
        assert "event 30 of stream 'thing-1'" in raised.value.__notes__[0]
        rows = steps(fold, timeline, key="1", errors="collect")
        plain = steps(fold, timeline.upto(position=20), key="1")
    assert told(rows, "position", "outcome", "changed_fields")[1:4] == [
        (20, "changed", ["seen", "last"]),
        (30, "failed", []),
        (40, "changed", ["seen", "last"]),
    ]
    assert rows["why"][2] == "the function raised KeyError: 'boom'"
    assert rows["outcome"].to_list()[-2:] == ["ended", "began"]
    assert plain["after"].to_list() == [{"seen": 1, "last": None}, {"seen": 2, "last": "begun"}]


def test_a_value_that_does_not_fit_stops_or_is_a_step_that_failed() -> None:
    history = [recorded(10, "begun"), recorded(20, "grown", '{"by": 1.5}'), recorded(30, "grown", '{"by": 1}')]
    with lake_of(history) as timeline:
        with pytest.raises(ValueDoesNotFit, match="size"):
            steps(Thing, timeline, key="1")
        rows = steps(Thing, timeline, key="1", errors="collect")
    assert rows["outcome"].to_list() == ["began", "failed", "changed"]
    assert rows["why"][1] == "size = 1.5 does not fit: it is not a whole number"
    assert rows["after"][1] == rows["before"][1] == {"name": None, "size": 0}


def test_after_bounds_the_rows_and_no_state() -> None:
    with lake_of(HISTORY) as timeline:
        whole, bounded = steps(Thing, timeline, key="1"), steps(Thing, timeline.after(position=30), key="1")
        assert bounded.drop("microseconds").equals(whole.drop("microseconds").filter(pl.col("position") > 30))
        fork = timeline.drop(position=40)
        late = steps(Thing, timeline.after(position=50), key="1", against=fork)
        assert late["position"].to_list() == [70, 80, 90]
        assert late["differs"].to_list() == [True, False, False]
        assert not late["diverged"].any()  # they had diverged before the first row


def test_types_are_refused_since_they_would_change_what_the_entity_is() -> None:
    with lake_of(HISTORY) as timeline, pytest.raises(UsageError, match=r"steps\(\) folds every event"):
        steps(Thing, timeline.types("begun"), key="1")


def test_a_what_if_stands_beside_what_was_recorded() -> None:
    with lake_of(HISTORY) as timeline:
        fork = (
            timeline.drop(position=40)
            .patch(position=70, set={"name": "Eve"})
            .insert(stream="thing-1", type="grown", data={"by": 9}, at=50)
            .retime(position=90, to="2023-11-14T22:14:35Z")
        )
        rows = steps(Thing, timeline, key="1", against=fork)
    assert told(rows.filter(pl.col("position") >= 40), "position", "side", "outcome", "against_outcome", "against_origin", "differs") == [
        (40, "timeline", "changed", "not there", None, True),
        (50, "both", "unmatched", "unmatched", "recorded", True),
        (50, "against", "not there", "changed", "inserted", True),
        (70, "both", "unchanged", "changed", "patched", True),
        (70, "against", "not there", "changed", "retimed", True),
        (80, "both", "ended", "ended", "recorded", False),
        (90, "timeline", "began", "not there", None, True),
    ]
    assert rows.filter("diverged")["position"].to_list() == [40]
    size = rows.filter(pl.col("position").is_in([40, 50])).select(
        pl.col("after").struct["size"], against=pl.col("against_after").struct["size"]
    )
    assert size.rows() == [(2, 0), (2, 0), (2, 9)]


def test_an_entity_of_one_side_only_stands_beside_nothing() -> None:
    with lake_of(HISTORY) as timeline:
        fork = timeline.insert(stream="thing-3", type="begun", data={"name": "New"}, at=70)
        rows = steps(Thing, timeline, key="3", against=fork)
        assert told(rows, "side", "outcome", "after", "against_outcome", "diverged") == [("against", "not there", None, "began", True)]
        assert steps(Thing, timeline, key="none", against=fork).height == 0


@given(history=histories(), projection=projections(), data=st.data())
@settings(max_examples=at_least(12))
def test_steps_end_in_the_state_and_stand_where_the_versions_of_the_history_do(
    history: list[Recorded], projection: type[Projection], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(["1", "2", "x-y", "7"]))
    with lake_in_runs(history) as timeline:
        rows = steps(projection, timeline, key=key, errors="collect")
        state = wb.state(projection, timeline, key=key, errors="collect")
        versions = wb.history(projection, timeline, key=key, errors="collect")
    fields = [field for field in state.columns if field not in ("key", "position", "revision", "recorded_at", "event_count")]
    last = [after for after in rows["after"].to_list()[-1:] if after is not None]
    assert state.select(pl.struct(fields).alias("after"))["after"].to_list() == last
    standing = rows.filter(pl.col("outcome").is_in(["began", "changed", "unchanged"]))
    assert standing["position"].to_list() == versions["valid_from_position"].to_list()
    assert standing["after"].to_list() == versions.select(after=pl.struct(fields))["after"].to_list()
    assert all(before == after for before, after in zip(rows["before"][1:], rows["after"][:-1], strict=True))


@given(history=histories(max_size=15).filter(bool), projection=projections(keys=st.none()), data=st.data())
@settings(max_examples=at_least(12))
def test_two_histories_part_where_diff_says_and_end_in_their_states(
    history: list[Recorded], projection: type[Projection], data: st.DataObject
) -> None:
    calls = data.draw(edits(history))
    with lake_in_runs(history) as timeline:
        fork = edited(timeline, calls)
        rows = steps(projection, timeline, key="1", against=fork, errors="collect")
        found = wb.diff(projection, timeline, fork, key="1", errors="collect")
        alone = [steps(projection, one, key="1", errors="collect") for one in (timeline, fork)]
        same = steps(projection, timeline, key="1", against=timeline, errors="collect")
    assert rows["differs"].to_list()[-1:] in ([found.height == 1], [])
    if found.height:
        diverged = rows.filter("diverged")
        assert diverged.select("position", "event_id").rows() == found.select("diverged_position", "diverged_event_id").rows()
    for side, prefix, frame in (("timeline", "", alone[0]), ("against", "against_", alone[1])):
        its = rows.filter(pl.col("side").is_in([side, "both"]))
        assert its["position"].to_list() == frame["position"].to_list()
        assert its[f"{prefix}after"].to_list() == frame["after"].to_list()
        assert its[f"{prefix}outcome"].to_list() == frame["outcome"].to_list()
    assert set(same["side"]) <= {"both"}
    assert not same["differs"].any()
