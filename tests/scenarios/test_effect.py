"""What a scenario comes to: its counts and measures are those of the states that the fork really has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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
from tests.sample.lake import write_sample
from tests.strategies import Recorded, histories
from workbench import Fold, Projection, Scenario, Timeline, event, on, whatif
from workbench.errors import InvalidProjection, UsageError
from workbench.sample import generate
from workbench.scenarios import Watched
from workbench.scenarios.measures import Measure

SCENARIOS = sorted((Path(__file__).parent.parent.parent / "pipelines" / "scenarios").glob("*.yaml"))


class Thing(Projection, category="thing"):
    name: str | None
    size: int = 0
    handlers = (
        on("thing.begun").create("name"),
        on("thing.changed").set(name=event.data["name"]),
        on("thing.counted").add(size=1),
        on("thing.ended").delete(),
    )


class Nothing(Projection, category="thing"):
    handlers = (on("thing.begun").create(), on("thing.ended").delete())


def counting(state: dict[str, int] | None, one: Any) -> dict[str, int] | None:
    return None if one.type == "thing.ended" else {**(state or {}), one.type: (state or {}).get(one.type, 0) + 1}


HISTORY = [
    recorded(10, "thing.begun", '{"name": "a"}'),
    recorded(20, "thing.begun", '{"name": "b"}', stream="thing-2"),
    recorded(30, "thing.counted"),
    recorded(40, "thing.ended", stream="thing-2"),
    recorded(50, "thing.begun", '{"name": "c"}', stream="thing-3"),
]


def asked(timeline: Timeline, *measures: str, projection: Any = Thing) -> Scenario:
    """Return the scenario that has the edits of a fork."""
    return Scenario(
        "what if", timeline.edits, projections=(Watched(projection, "Thing", tuple((one, Measure.parse(one)) for one in measures)),)
    )


@pytest.fixture
def now() -> Iterator[Timeline]:
    with lake_of(HISTORY) as timeline:
        yield timeline


def test_the_effect_of_a_scenario(now: Timeline) -> None:
    fork = now.drop(type="thing.ended").drop(stream="thing-3").patch(position=10, set={"name": "A"}).drop(stream="none")
    found = whatif(asked(fork, "count(*)", "sum(size)", "count(*) filter (where name = 'A')", "max(name)"), now)
    assert (found.events_before, found.events_after) == (5, 3)
    assert [effect.matched for effect in found.effects] == [1, 1, 1, 0]
    assert "matches no event" in found.effects[3].notes[0]
    (one,) = found.consequences
    assert (one.entities_before, one.entities_after) == (2, 2)
    assert {change: one.count(change) for change in ("added", "removed", "changed")} == {"added": 1, "removed": 1, "changed": 1}
    assert one.changed_fields == {"name": 1}
    assert [(each.name, each.before, each.after) for each in one.measures] == [
        ("count(*)", 2, 2),
        ("sum(size)", 1, 1),
        ("count(*) filter (where name = 'A')", 0, 1),
        ("max(name)", "c", "b"),
    ]
    assert one.diverged is not None
    assert (one.diverged["key"], one.diverged["diverged_position"]) == ("1", 10)
    assert one.diff.equals(wb.diff(Thing, now, fork))
    summary = found.summary.filter(pl.col("what").is_in(["events", "changed name", "max(name)"]))
    assert summary.rows() == [
        ("what if", "", "events", "5", "3"),
        ("what if", "Thing", "changed name", None, "1"),
        ("what if", "Thing", "max(name)", "c", "b"),
    ]


def test_a_scenario_that_changes_nothing_says_so(now: Timeline) -> None:
    found = whatif(asked(now.drop(stream="none"), "count(*)"), now)
    assert found.events_before == found.events_after
    (one,) = found.consequences
    assert (one.diverged, one.changed_fields, one.diff.height) == (None, {}, 0)
    assert one.measures[0].before == one.measures[0].after == 2


def test_a_scenario_of_an_earlier_moment_and_behind_other_edits(now: Timeline) -> None:
    found = whatif(asked(now.drop(type="thing.ended"), "count(*)"), now.drop(stream="thing-1").upto(position=40))
    (one,) = found.consequences
    assert (one.measures[0].before, one.measures[0].after) == (0, 1)
    assert [str(effect.edit) for effect in found.effects] == ["drop(type='thing.ended')"]


def test_folds_categories_and_projections_without_fields_are_watched_too(now: Timeline) -> None:
    fork = now.drop(type="thing.ended").insert(stream="thing-1", type="new", data={"size": 1}, at=30)
    fold = whatif(asked(fork, "count(*)", "sum(new)", projection=Fold(counting, category="thing")), now).consequences[0]
    assert [(each.before, each.after) for each in fold.measures] == [(2, 3), (0, 1)]
    merged = whatif(asked(fork, "max(name)", "count(*)", projection="thing"), now).consequences[0]
    assert [(each.before, each.after) for each in merged.measures] == [("c", "c"), (3, 3)]
    bare = whatif(asked(fork, "count(*)", projection=Nothing), now).consequences[0]
    assert [(each.before, each.after) for each in bare.measures] == [(2, 3)]


def test_merged_payloads_have_what_only_the_fork_has(now: Timeline) -> None:
    fork = now.patch(position=10, set={"colour": "red"}).insert(stream="thing-3", type="painted", data={"coats": 2}, at=50)
    (one,) = whatif(asked(fork, "count(*) filter (where colour = 'red')", "sum(coats)", projection="thing"), now).consequences
    assert one.changed_fields == {"coats": 1, "colour": 1}
    assert [(each.before, each.after) for each in one.measures] == [(0, 1), (0, 2)]
    begun = wb.diff("paint", now, now.insert(stream="paint-1", type="mixed", data={"a": 1}, at=50))
    assert begun.select("key", "change").rows() == [("1", "added")]
    rows = wb.steps("thing", now, key="1", against=fork)
    assert rows.filter("diverged").select("position", "against_after").to_dicts()[0]["against_after"]["colour"] == "red"


def test_what_cannot_be_watched_is_refused(now: Timeline) -> None:
    fork = now.drop(type="thing.ended")
    with pytest.raises(UsageError, match=r"a state has no colour; it has name, size\."):
        whatif(asked(fork, "sum(colour)"), now)
    with pytest.raises(UsageError, match="no category 'thin'"):
        whatif(asked(fork, projection="thin"), now)
    with pytest.raises(InvalidProjection, match=r"There is no file nowhere\.py"):
        whatif(asked(fork, projection="nowhere.py:Thing"), now)
    with pytest.raises(UsageError, match="remove after"):
        whatif(asked(fork), now.after(position=10))


@given(history=histories(max_size=15).filter(bool), data=st.data())
@settings(max_examples=at_least(12))
def test_measures_are_those_of_the_states_that_the_fork_has(history: list[Recorded], data: st.DataObject) -> None:
    calls = data.draw(edits(history))
    with lake_in_runs(history) as timeline:
        fork = edited(timeline, calls)
        found = whatif(asked(fork, "count(*)", "sum(size)", "count(*) filter (where name is null)"), timeline, errors="collect")
        sides = [wb.state(Thing, one, errors="collect") for one in (timeline, fork)]
        counts = [timeline.count(), fork.count()]
    (one,) = found.consequences
    assert [found.events_before, found.events_after] == counts
    assert [one.entities_before, one.entities_after] == [side.height for side in sides]
    assert one.entities_after - one.entities_before == one.count("added") - one.count("removed")
    for each, expected in zip(one.measures, [pl.len(), pl.col("size").sum(), pl.col("name").null_count()], strict=True):
        assert [each.before, each.after] == [side.select(expected).item() for side in sides]


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_scenarios_that_come_along_ask_something_of_the_sample(file: Path, tmp_path: Path) -> None:
    scenario = Scenario.load(file)
    timeline = wb.open(write_sample(tmp_path / "lake", list(generate(events=3_000).events()))).timeline
    found = whatif(scenario, timeline)
    assert scenario.question.endswith("?")
    assert all(effect.matched and not effect.notes for effect in found.effects)
    assert all(one.diff.height for one in found.consequences)
    assert any(each.before != each.after for one in found.consequences for each in one.measures)


def test_a_timeline_in_the_place_of_a_scenario_is_refused_with_what_to_ask_instead() -> None:
    with lake_of([recorded(10, "thing.begun", '{"name": "a"}')]) as now:
        fork = now.drop(type="thing.begun")
        with pytest.raises(UsageError, match=r"whatif\(\) expects a scenario, got a Timeline: .* call wb\.diff\(projection, now, fork\)"):
            whatif(fork, now)  # type: ignore[arg-type]  # what is refused
