"""The questions, over real lakes: what each means, and the laws that hold between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.laws import at_least
from tests.replay.asking import engine, entities, lake_of, timeline_in
from tests.replay.asking import event as recorded
from tests.strategies import CATEGORY, Recorded, frame, histories, projections
from workbench.errors import InvalidProjection, ReplayError, UsageError, ValueDoesNotFit
from workbench.fold.event_by_event.plan_fold import fold
from workbench.projection import Projection, event, on, plan_of
from workbench.timeline import Timeline

law = settings(max_examples=at_least(25))


class Thing(Projection, category=CATEGORY):
    name: str
    size: int = 0
    tags: set[str]

    handlers = (
        on("begun").create("name"),
        on("renamed").set(name=event.data["name"]),
        on("grown").add(size=event.data["by"]),
        on("tagged").include(tags=event.data["tag"]),
        on("untagged").exclude(tags=event.data["tag"]),
        on("ended").delete(),
    )


class ByOwner(Projection, category=CATEGORY, key=event.data["owner"]):
    size: int = 0
    handlers = (on("grown").add(size=event.data["by"]),)


HISTORY = [
    recorded(10, "begun", '{"name": "a"}', revision=0),
    recorded(20, "grown", '{"by": 3, "owner": "o"}', revision=1),
    recorded(30, "begun", '{"name": "b"}', stream="thing-2", revision=0),
    recorded(40, "tagged", '{"tag": "x"}', revision=2),
    recorded(50, "ended", stream="thing-2", revision=1),
    recorded(60, "renamed", '{"name": "c"}', revision=3),
    recorded(70, "grown", '{"by": 4, "owner": 7}', revision=4),
    recorded(80, "begun", '{"name": "d"}', stream="thing-2", revision=2),
    recorded(90, "other", '{"size": null}', revision=5),
]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("questions") / "lake", HISTORY)


def fields_of(projection: type[Projection]) -> list[str]:
    return [field.name for field in plan_of(projection).fields]


def replayed(projection: type[Projection], history: Sequence[Recorded]) -> pl.DataFrame:
    return fold(plan_of(projection), frame(history), errors="collect").state


# State


@law
@given(projections(), histories(max_size=12), st.booleans())
def test_the_state_at_every_position_is_the_replay_of_the_events_up_to_it(
    projection: type[Projection], history: list[Recorded], vectorised: bool
) -> None:
    with lake_of(history) as timeline, engine(columns=vectorised):
        for position in sorted({one.position for one in history}):
            prefix = replayed(projection, [one for one in history if one.position <= position])
            assert_frame_equal(prefix, wb.state(projection, timeline.upto(position=position), errors="collect"))


@law
@given(projections(), histories(), st.booleans())
def test_the_state_and_history_of_one_entity_are_its_rows_of_those_of_all(
    projection: type[Projection], history: list[Recorded], vectorised: bool
) -> None:
    with lake_of(history) as timeline, engine(columns=vectorised):
        state = wb.state(projection, timeline, errors="collect")
        versions = wb.history(projection, timeline, errors="collect")
        for key in ["1", "2", "x y", "thing-1", "nobody", *state["key"]]:
            mine = pl.col("key") == key
            assert_frame_equal(state.filter(mine), wb.state(projection, timeline, key=key, errors="collect"))
            assert_frame_equal(versions.filter(mine), wb.history(projection, timeline, key=key, errors="collect"))


def test_a_cutoff_inside_a_burst_of_equal_timestamps_is_exact(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, 9, tzinfo=UTC)
    at = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    burst = [recorded(number * 10, "grown", '{"by": 1}', at=at) for number in range(1, 9)]
    before = recorded(5, "begun", '{"name": "a"}', at=at - 1)
    timeline = timeline_in(tmp_path / "lake", [before, *burst, recorded(200, "grown", '{"by": 100}', at=at + 1)])
    assert wb.state(Thing, timeline.upto(moment))["size"].to_list() == [8]
    assert wb.state(Thing, timeline.upto(moment - timedelta(microseconds=1)))["size"].to_list() == [0]
    assert wb.state(Thing, timeline.upto(moment + timedelta(microseconds=1)))["size"].to_list() == [108]
    for number in range(1, 9):
        assert [number] == wb.state(Thing, timeline.upto(position=number * 10))["size"].to_list()


def test_a_rebuild_says_what_became_of_every_event_and_where_it_comes_from(now: Timeline) -> None:
    rebuilt = wb.rebuild(Thing, now)
    assert (rebuilt.counts.applied, rebuilt.counts.unhandled) == (8, {"other": 1})
    assert rebuilt.failures.is_empty()
    assert rebuilt.provenance.position == 90
    assert rebuilt.state["key"].to_list() == ["1", "2"]


def test_a_state_can_be_asked_up_to_a_revision_of_its_stream(now: Timeline) -> None:
    sizes = [wb.state(Thing, now, key="1", revision=revision)["size"].to_list() for revision in range(6)]
    assert sizes == [[0], [3], [3], [3], [7], [7]]
    assert wb.state(Thing, now, key="2", revision=1).is_empty()
    for key, revision in (("1", 6), ("1", -1), ("nobody", 0)):
        with pytest.raises(UsageError, match="has no revision"):
            wb.state(Thing, now, key=key, revision=revision)
    for projection, asked in ((Thing, None), (ByOwner, "o")):
        with pytest.raises(UsageError, match="revision= applies to one stream"):
            wb.state(projection, now, key=asked, revision=0)


def test_one_entity_is_answered_although_another_holds_a_value_that_does_not_fit(tmp_path: Path) -> None:
    history = [
        recorded(10, "grown", '{"owner": "a", "by": "much"}', revision=0),
        recorded(20, "grown", '{"owner": "b", "by": 2}', revision=1),
        recorded(30, "grown", '{"owner": 7, "by": 3}', revision=2),
    ]
    timeline = timeline_in(tmp_path / "lake", history)
    for vectorised in (True, False):
        with engine(columns=vectorised):
            assert wb.state(ByOwner, timeline, key="b")["size"].to_list() == [2]
            assert wb.state(ByOwner, timeline, key="7")["size"].to_list() == [3]
            with pytest.raises(ValueDoesNotFit, match=r"size = \"much\" does not fit"):
                wb.state(ByOwner, timeline)
            assert wb.state(ByOwner, timeline, errors="collect")["key"].to_list() == ["7", "b"]


def test_a_key_with_a_star_is_that_key_only(tmp_path: Path) -> None:
    history = [recorded(10, "grown", '{"by": 1}', stream="thing-*"), recorded(20, "grown", '{"by": 2}', stream="thing-1")]

    class Any_(Projection, category=CATEGORY):  # noqa: N801
        size: int = 0
        handlers = (on("grown").add(size=event.data["by"]),)

    timeline = timeline_in(tmp_path / "lake", history)
    for vectorised in (True, False):
        with engine(columns=vectorised):
            found = wb.rebuild(Any_, timeline, key="*")
            assert (found.state["size"].to_list(), found.counts.events) == ([1], 1)


# Selections that would change the meaning


def test_a_selection_that_would_change_the_state_is_refused_with_what_to_do(now: Timeline) -> None:
    after = now.after(position=20)
    for ask in (wb.state, lambda projection, timeline: wb.diff(projection, timeline, timeline)):
        with pytest.raises(UsageError, match=r"folds from the first event.*position 20: remove after\(\)"):
            ask(Thing, after)
    every: list[Any] = [
        wb.state,
        wb.history,
        lambda projection, timeline: wb.diff(projection, now, timeline),
        lambda projection, timeline: wb.first(projection, timeline, pl.lit(value=True)),
        lambda projection, timeline: wb.lineage(projection, timeline, key="1", field="size"),
    ]
    for ask in every:
        with pytest.raises(UsageError, match=r"selects only the types grown: remove types\(\)"):
            ask(Thing, now.types("grown"))
        with pytest.raises(UsageError, match=r"streams thing-1 would fold parts of entities: remove streams\(\); use key="):
            ask(ByOwner, now.streams("thing-1"))
        with pytest.raises(UsageError, match=r"categories thing would fold parts"):
            ask(ByOwner, now.categories(CATEGORY))


def test_streams_may_be_selected_where_each_is_an_entity(now: Timeline) -> None:
    assert wb.state(Thing, now.streams("thing-2"))["key"].to_list() == ["2"]
    assert wb.state(Thing, now.categories("other")).is_empty()
    assert_frame_equal(wb.state(Thing, now), wb.state(Thing, now.categories(CATEGORY)))


def test_events_of_the_system_never_become_state(tmp_path: Path) -> None:
    timeline = timeline_in(tmp_path / "lake", [*HISTORY, recorded(100, "$metadata", "{}", stream="$$thing-1")]).with_system()
    assert_frame_equal(wb.state(Thing, timeline), wb.state(Thing, timeline.upto(position=90)))

    class System(Projection, category="$$thing"):
        size: int = 0
        handlers = (on("$metadata").add(size=1),)

    for asked in (System, "$$thing"):
        with pytest.raises(InvalidProjection, match=r"system events never become state"):
            wb.state(asked, timeline)
    with pytest.raises(InvalidProjection, match=r"system events never become state"):
        wb.state(Thing, timeline.streams("$$thing-1"))


@pytest.mark.parametrize("asked", [7, Projection, int, None])
def test_what_is_no_projection_is_refused(now: Timeline, asked: Any) -> None:
    with pytest.raises(InvalidProjection, match="is not a projection: pass a class"):
        wb.state(asked, now)


# History and first


@law
@given(projections(), histories(), st.booleans(), st.integers(0, 12))
def test_after_bounds_the_rows_of_a_history_and_changes_none(
    projection: type[Projection], history: list[Recorded], vectorised: bool, index: int
) -> None:
    with lake_of(history) as timeline, engine(columns=vectorised):
        whole = wb.history(projection, timeline, errors="collect")
        bound = history[index].position if index < len(history) else 0
        bounded = wb.history(projection, timeline.after(position=bound), errors="collect")
        assert_frame_equal(whole.filter(pl.col("valid_from_position") > (bound if history else -1)), bounded)


@law
@given(projections(), histories(), st.booleans(), st.integers(1, 4))
def test_first_is_the_first_row_of_an_entitys_history_for_which_the_rule_holds(
    projection: type[Projection], history: list[Recorded], vectorised: bool, count: int
) -> None:
    with lake_of(history) as timeline, engine(columns=vectorised):
        versions = wb.history(projection, timeline, errors="collect")
        found = wb.first(projection, timeline, pl.col("event_count") >= count, errors="collect")
        expected: dict[str, Any] = {}
        for row in versions.iter_rows(named=True):
            if row["event_count"] >= count:
                expected.setdefault(row["key"], row)
        by_id = {f"00000000-0000-0000-0000-{one.prepare_position:012d}": one for one in history}
        assert expected.keys() == set(found["key"])
        for row in found.iter_rows(named=True):
            one = by_id[row["event_id"]]
            assert (one.position, one.stream, one.revision, one.type) == (
                row["position"],
                row["event_stream"],
                row["revision"],
                row["event_type"],
            )
            other = expected[row["key"]]
            assert (other["valid_from_position"], other["valid_from"]) == (row["position"], row["recorded_at"])
            assert [other[name] for name in fields_of(projection)] == [row[name] for name in fields_of(projection)]
        order = [(by_id[name].position, by_id[name].prepare_position) for name in found["event_id"]]
        assert sorted(order) == order


def test_a_rule_that_is_null_does_not_hold(now: Timeline) -> None:
    assert wb.first(Thing, now, pl.lit(None, dtype=pl.Boolean)).is_empty()
    assert wb.first(Thing, now, pl.lit(value=True)).height == 2
    assert wb.first(Thing, now, pl.col("name").str.contains("a"))["key"].to_list() == ["1"]
    assert wb.first(Thing, now.after(position=40), pl.col("size") > 3)["position"].to_list() == [70]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (pl.col("colour") == "red", r"names colour, which is not a column of a version; it has key, name, size, tags, event_type"),
        (pl.col("size") + 1, r"has the type Int64 and is not a condition"),
        (pl.col("name") > 3, r"cannot be evaluated"),
        (pl.col("tags").list.explode() == "x", r"is not a condition"),
        ("size >", r"The condition 'size >' is wrong at line 1, column 7: it ends too early"),
        ("colour = 'red'", r"column 1: a version has no colour; it has key, name, size, tags, event_type"),
        ("name > 3", r"column 8: name is String and cannot be compared with 3"),
        ("exists(name)", r"column 1: exists\(\) is always true, because a version has every field: write name is not null"),
        (3, r"3 is not a condition: write one like 'logins > 100'"),
    ],
)
def test_a_rule_that_cannot_be_asked_gets_its_sentence(now: Timeline, rule: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        wb.first(Thing, now, rule)


# Diff


@law
@given(projections(), histories(max_size=14), st.booleans(), st.integers(0, 13), st.integers(0, 13))
def test_a_diff_is_the_difference_of_two_states_and_names_the_first_event_that_made_it(
    projection: type[Projection], history: list[Recorded], vectorised: bool, one: int, two: int
) -> None:
    if not history:
        return
    cuts = [history[min(index, len(history) - 1)].position for index in (one, two)]
    fields = fields_of(projection)
    prefixes = [entities(replayed(projection, history[:count]), fields) for count in range(len(history) + 1)]
    counts = [sum(each.position <= cut for each in history) for cut in cuts]
    before, after = (prefixes[count] for count in counts)
    with lake_of(history) as timeline, engine(columns=vectorised):
        a, b = (timeline.upto(position=cut) for cut in cuts)
        found = wb.diff(projection, a, b, errors="collect")
        mirrored = wb.diff(projection, b, a, errors="collect")
        assert wb.diff(projection, a, a, errors="collect").is_empty()
    assert sorted(key for key in {*before, *after} if before.get(key) != after.get(key)) == found["key"].to_list()
    for row in found.iter_rows(named=True):
        key = row["key"]
        assert ("added" if key not in before else "removed" if key not in after else "changed") == row["change"]
        for side, name in ((before, "before"), (after, "after")):
            shown = row[name]
            assert side.get(key) == (None if shown is None else tuple(tuple(v) if isinstance(v, list) else v for v in shown.values()))
        if row["change"] == "changed":
            assert [name for name, x, y in zip(fields, before[key], after[key], strict=True) if x != y] == row["changed_fields"]
        diverged = next(
            count
            for count in range(len(history) + 1)
            if prefixes[min(count, counts[0])].get(key) != prefixes[min(count, counts[1])].get(key)
        )
        culprit = history[diverged - 1]
        assert culprit.position == row["diverged_position"]
        if sum(each.position == culprit.position for each in history) == 1:
            assert (f"00000000-0000-0000-0000-{culprit.prepare_position:012d}", culprit.type) == (
                row["diverged_event_id"],
                row["diverged_event_type"],
            )
    swapped = {"added": "removed", "removed": "added", "changed": "changed"}
    assert_frame_equal(
        found, mirrored.rename({"before": "after", "after": "before"}).with_columns(pl.col("change").replace(swapped)).select(found.columns)
    )


def test_a_diff_between_two_moments_names_what_changed_and_the_event(now: Timeline) -> None:
    rows = wb.diff(Thing, now.upto(position=40), now.upto(position=80)).to_dicts()
    assert [(row["key"], row["change"], row["changed_fields"], row["diverged_position"], row["diverged_event_type"]) for row in rows] == [
        ("1", "changed", ["name", "size"], 60, "renamed"),
        ("2", "changed", ["name"], 50, "ended"),
    ]
    assert (rows[0]["before"], rows[0]["after"]) == ({"name": "a", "size": 3, "tags": ["x"]}, {"name": "c", "size": 7, "tags": ["x"]})
    assert wb.diff(Thing, now.upto(position=40), now, key="2")["key"].to_list() == ["2"]


def test_two_histories_of_different_lakes_are_compared_event_by_event(now: Timeline, tmp_path: Path) -> None:
    without = timeline_in(tmp_path / "lake", [one for one in HISTORY if one.position != 60])
    (row,) = wb.diff(Thing, now, without).to_dicts()
    assert tuple(row[name] for name in ("key", "change", "changed_fields", "diverged_position", "diverged_event_type")) == (
        "1",
        "changed",
        ["name"],
        60,
        "renamed",
    )


def test_two_projections_are_compared_in_the_fields_that_both_have(now: Timeline) -> None:
    class Other(Projection, category=CATEGORY):
        colour: str
        size: int = 0
        handlers = (on("begun").create("colour"), on("grown").add(size=1))

    (one,) = wb.diff(Thing, now, now, other=Other).to_dicts()
    assert (
        one["change"],
        one["changed_fields"],
        one["before"]["size"],
        one["after"]["size"],
        one["diverged_position"],
    ) == ("changed", ["size"], 7, 2, 20)

    class Nothing(Projection, category=CATEGORY):
        colour: str
        handlers = (on("begun").create("colour"),)

    class Text(Projection, category=CATEGORY):
        size: str
        handlers = (on("begun").create("size"),)

    with pytest.raises(UsageError, match="no field in common"):
        wb.diff(Thing, now, now, other=Nothing)
    with pytest.raises(UsageError, match="only fields of one type can be compared"):
        wb.diff(Thing, now, now, other=Text)


# Lineage

_STEPS = st.lists(
    st.sampled_from(
        [
            ("renamed", "name"),
            ("grown", "by"),
            ("tagged", "tag"),
            ("ended", ""),
            ("begun", "name"),
        ]
    ),
    max_size=9,
)


@law
@given(_STEPS, st.booleans(), st.sampled_from(["name", "size", "tags"]))
def test_lineage_names_exactly_the_events_whose_removal_changes_the_value(
    steps: list[tuple[str, str]], vectorised: bool, field: str
) -> None:
    class Loose(Projection, category=CATEGORY):
        name: str
        size: int = 0
        tags: set[str]
        handlers = (
            on("begun").set(name=event.data["name"]),
            on("renamed").set(name=event.data["name"]),
            on("grown").add(size=event.data["by"]),
            on("tagged").include(tags=event.data["tag"]),
            on("ended").set(name="ended", size=0, tags=()),
        )

    history = [
        recorded(10 * number, type_, f'{{"{name}": {2**number if name == "by" else f"{chr(34)}v{number}{chr(34)}"}}}' if name else "{}")
        for number, (type_, name) in enumerate(steps, 1)
    ]
    with lake_of(history) as timeline, engine(columns=vectorised):
        found = wb.lineage(Loose, timeline, key="1", field=field)

    def value(events: Sequence[Recorded]) -> Any:
        state = replayed(Loose, events)
        return entities(state, [field])["1"] if state.height else None

    now = value(history)
    matter = [one.position for one in history if value([other for other in history if other is not one]) != now]
    # An event that sets what was there anyway gave the value too, and so did one that was the first of all.
    assert set(matter) - {10} <= set(found["position"])
    surplus = set(found["position"]) - set(matter)
    assert all(next(one for one in history if one.position == position).type == "ended" for position in surplus)


def test_lineage_begins_with_the_present_life_and_shows_what_each_event_changed(now: Timeline) -> None:
    rows = wb.lineage(Thing, now, key="1", field="size").to_dicts()
    assert [(row["position"], row["stream"], row["revision"], row["event_type"], row["before"], row["after"]) for row in rows] == [
        (20, "thing-1", 1, "grown", 0, 3),
        (70, "thing-1", 4, "grown", 3, 7),
    ]
    assert wb.lineage(Thing, now, key="2", field="name").select("event_type", "before", "after").rows() == [("begun", None, "d")]
    assert wb.lineage(Thing, now.upto(position=50), key="2", field="name").is_empty()
    assert wb.lineage(Thing, now, key="nobody", field="name").is_empty()
    assert wb.lineage(Thing, now.after(position=20), key="1", field="size")["position"].to_list() == [70]
    with pytest.raises(UsageError, match="Thing has no field 'colour'; it has name, size, tags"):
        wb.lineage(Thing, now, key="1", field="colour")


def test_lineage_of_a_greatest_value_is_the_event_that_held_it(tmp_path: Path) -> None:
    class Best(Projection, category=CATEGORY):
        best: int
        handlers = (on("scored").max(best=event.data["points"]),)

    points = [3, 9, 4, 9, 1]
    history = [recorded(10 * number, "scored", f'{{"points": {one}}}') for number, one in enumerate(points, 1)]
    timeline = timeline_in(tmp_path / "lake", history)
    assert wb.lineage(Best, timeline, key="1", field="best").select("position", "before", "after").rows() == [(20, 3, 9)]


# Folds and bare categories


def _thing(state: dict[str, Any] | None, one: Any) -> dict[str, Any] | None:
    match one.type:
        case "begun":
            return {"name": one.data["name"], "size": 0, "tags": []}
        case "ended":
            return None
        case _ if state is None:
            return None
        case "renamed":
            return {**state, "name": one.data["name"]}
        case "grown":
            return {**state, "size": state["size"] + one.data["by"]}
        case "tagged":
            return {**state, "tags": [*state["tags"], one.data["tag"]]}
    return state


def test_a_fold_answers_every_question_as_the_projection_that_means_the_same(now: Timeline) -> None:
    same = wb.Fold(_thing, category=CATEGORY)
    past = now.upto(position=40)
    fields = ["key", "name", "size", "tags"]
    assert_frame_equal(wb.state(Thing, now).select(fields), wb.state(same, now).select(fields))
    ours, theirs = (wb.history(one, now.upto(position=80)) for one in (Thing, same))
    assert_frame_equal(ours, theirs.select(ours.columns))
    assert_frame_equal(wb.diff(Thing, past, now), wb.diff(same, past, now))
    rule = pl.col("size") > 2
    shared = ["key", "size", "position", "event_id", "event_stream"]
    assert_frame_equal(wb.first(Thing, now, rule).select(shared), wb.first(same, now, rule).select(shared))
    assert_frame_equal(wb.lineage(Thing, now, key="1", field="size").slice(0), wb.lineage(same, now, key="1", field="size").slice(1))
    assert wb.history(same, now, key="nobody").is_empty()
    assert wb.lineage(same, now, key="nobody", field="size").is_empty()
    assert wb.state(same, now, key="1")["key"].to_list() == ["1"]


def test_a_fold_that_raises_says_at_which_event_or_leaves_it_out(now: Timeline) -> None:
    def broken(state: Any, one: Any) -> Any:
        return {"size": one.data["by"]}

    asked = wb.Fold(broken, category=CATEGORY)
    for ask in (wb.state, wb.history):
        with pytest.raises(KeyError) as raised:
            ask(asked, now)
        assert "in event 0 of stream 'thing-1' (begun" in raised.value.__notes__[0]
    assert wb.state(asked, now, errors="collect")["size"].to_list() == [4]
    assert wb.history(asked, now, errors="collect")["size"].to_list() == [3, 4]
    taken = wb.Fold(lambda state, one: {"event_type": 1}, category=CATEGORY)
    with pytest.raises(ReplayError, match="a state has the field event_type, which is a column of every history"):
        wb.history(taken, now)


_OBJECTS = st.dictionaries(
    st.sampled_from(["name", "key", "revision", "a b", "é", "_event_id", "data.key"]),
    st.sampled_from(['"x"', "1", "2.5", "null", "true", "[1]", '{"b": 1, "a": null}', "9223372036854775807", "12345678901234567890"]),
    max_size=4,
)


@law
@given(
    st.lists(st.tuples(st.sampled_from(["thing-1", "thing-2"]), st.sampled_from(["a", "b"]), st.none() | _OBJECTS), max_size=8),
    st.booleans(),
)
def test_a_bare_category_merges_payloads_and_the_last_write_of_a_key_wins(
    events: list[tuple[str, str, dict[str, str] | None]], vectorised: bool
) -> None:
    import orjson

    history = [
        recorded(number * 10, type_, None if found is None else "{" + ",".join(f'"{k}":{v}' for k, v in found.items()) + "}", stream=stream)
        for number, (stream, type_, found) in enumerate(events)
    ]
    merged: dict[str, dict[str, Any]] = {}
    for stream, _, found in events:
        merged.setdefault(stream[6:], {}).update(found or {})
    with lake_of(history) as timeline, engine(columns=vectorised):
        if not history:
            with pytest.raises(UsageError, match="has no category 'thing'; it has no events"):
                wb.state("thing", timeline)
            return
        state = wb.state("thing", timeline)
        assert wb.state("thing", timeline.upto(position=0)).columns == state.columns
        assert wb.history("thing", timeline).height == len(history)
    assert sorted(merged) == state["key"].to_list()
    for row in state.iter_rows(named=True):
        for key, text in merged[row["key"]].items():
            name = {"key": "data.data.key" if any("data.key" in (f or {}) for *_, f in events) else "data.key", "revision": "data.revision"}
            shown = row[name.get(key, key)]
            value = orjson.loads(text)
            if value is None:
                assert shown is None
            elif isinstance(shown, str) and state.schema[name.get(key, key)] == pl.String and not isinstance(value, str):
                assert orjson.loads(shown) == value
            else:
                assert shown in (value, orjson.dumps(value).decode())


def test_an_unknown_category_lists_those_that_there_are(now: Timeline) -> None:
    with pytest.raises(UsageError, match=r"has no category 'thng'; it has thing\."):
        wb.state("thng", now)


def test_the_lengths_of_lives_add_up(now: Timeline) -> None:
    """An event that ends a life and one that begins another part two rows of the same entity."""
    rows = wb.history(Thing, now, key="2").select("valid_from_position", "valid_to_position", "event_count").rows()
    assert rows == [(30, 50, 1), (80, None, 1)]
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(rows))
