"""What enriching promises: to each event the state that another entity had then, and never a later one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.forks import edited, edits, lake_in_runs
from tests.laws import at_least
from tests.replay.asking import event as recorded
from tests.replay.asking import timeline_in
from tests.strategies import CATEGORY, Recorded, histories
from workbench.analysis.enrich import enrich
from workbench.errors import UsageError
from workbench.fold.event_by_event.function_fold import RecordedEvent
from workbench.fold.event_by_event.plan_fold import fold
from workbench.projection import Projection, event, on, plan_of
from workbench.timeline import Timeline

law = settings(max_examples=at_least(10))


class Thing(Projection, category=CATEGORY):
    """It is born, changes, dies and may be born again."""

    name: str
    size: int = 0

    handlers = (
        on("thing.begun").create("name"),
        on("thing.started").create("name"),
        on("thing.changed").set(name=event.data["name"]),
        on("thing.counted").add(size=1),
        on("thing.ended").delete(),
    )


COLUMNS = ["key", "name", "size", "position", "revision", "recorded_at", "event_count"]


def told(frame: pl.DataFrame, prefixes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return what is added to each row, worked out by a fold of the events up to it."""
    states = [fold(plan_of(Thing), events, errors="collect").state for events in prefixes]
    rows = [
        one.filter(pl.col("key") == key).select(COLUMNS[1:]).row(0) if key in one["key"] else (None,) * 6
        for one, key in zip(states, frame["about"], strict=True)
    ]
    schema = {f"thing_{name}": fold(plan_of(Thing), [], errors="collect").state.schema[name] for name in COLUMNS[1:]}
    return pl.DataFrame(rows, schema=schema, orient="row")


@law
@given(st.data(), histories(max_size=16).filter(bool), st.booleans())
def test_each_event_gets_the_state_of_the_history_up_to_it(data: st.DataObject, history: list[Recorded], before: bool) -> None:
    keys = st.sampled_from(["1", "2", "x-y", "nobody", None])
    with lake_in_runs(history) as now:
        events = now.events().collect()
        drawn = data.draw(st.lists(keys, min_size=events.height, max_size=events.height))
        asked = events.with_columns(pl.Series("about", drawn, dtype=pl.String)).sample(fraction=1, shuffle=True, seed=7)
        found = enrich(asked, Thing, timeline=now, on="about", before=before, errors="collect")
        upto = [events.filter(pl.col("position") < at if before else pl.col("position") <= at) for at in asked["position"]]
        assert_frame_equal(found.select(asked.columns), asked)
        assert_frame_equal(found.drop(asked.columns), told(asked, upto))


@law
@given(st.data(), histories(max_size=12).filter(bool), st.booleans())
def test_of_a_what_if_the_order_of_its_events_counts_and_not_their_positions_alone(
    data: st.DataObject, drawn: list[Recorded], before: bool
) -> None:
    # A position that several recorded events share is never split between two: here each has its own.
    history = [replace(one, position=10 * n, prepare_position=10 * n) for n, one in enumerate(drawn)]
    calls = data.draw(edits(history))
    with lake_in_runs(history) as now:
        fork = edited(now, calls)
        events = fork.events().collect()
        keys = st.lists(st.sampled_from(["1", "2", "new"]), min_size=events.height, max_size=events.height)
        asked = events.with_columns(pl.Series("about", data.draw(keys), dtype=pl.String))
        found = enrich(asked, Thing, timeline=fork, on="about", before=before, errors="collect")
        upto = [events.head(row if before else row + 1) for row in range(events.height)]
        assert_frame_equal(found.drop(asked.columns), told(asked, upto))


HISTORY = [
    recorded(10, "thing.begun", '{"name": "a"}', revision=0),
    recorded(20, "other.noted", '{"thing": "1"}', stream="other-1"),
    recorded(30, "thing.changed", '{"name": "b"}', revision=1),
    recorded(40, "thing.ended", revision=2),
    recorded(50, "other.noted", '{"thing": "1"}', stream="other-1"),
]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("enrich") / "lake", HISTORY)


def test_a_result_of_sql_is_enriched_and_keeps_its_order(now: Timeline) -> None:
    asked = now.sql("select position, data ->> 'thing' as about from events where category = 'other' order by position desc")
    found = enrich(asked, Thing, timeline=now, on="about", prefix="its_")
    assert_frame_equal(enrich(asked.pl(), Thing, timeline=now, on="about", prefix="its_"), found)
    assert found.select("position", "about", "its_name", "its_size", "its_position").rows() == [
        (50, "1", None, None, None),
        (20, "1", "a", 0, 10),
    ]


def test_keys_may_be_whole_numbers_and_frames_lazy(now: Timeline) -> None:
    asked = now.events().select("position", about=pl.lit(1))
    assert enrich(asked, Thing, timeline=now, on="about")["thing_name"].to_list() == ["a", "a", "b", None, None]
    assert enrich(asked, Thing, timeline=now, on="about", before=True)["thing_name"].to_list() == [None, "a", "a", "b", None]


def test_one_that_ends_at_the_position_of_its_beginning_was_not_there_after_it(tmp_path: Path) -> None:
    begun = recorded(10, "thing.begun", '{"name": "a"}', revision=0)
    ended = replace(recorded(10, "thing.ended", revision=1), prepare_position=11)
    timeline = timeline_in(tmp_path / "lake", [begun, ended])
    assert enrich(pl.DataFrame({"position": [10], "about": ["1"]}), Thing, timeline=timeline, on="about")["thing_name"].to_list() == [None]


def test_a_fold_gives_its_states_too(now: Timeline) -> None:
    def count(state: dict[str, int] | None, event: RecordedEvent) -> dict[str, int]:
        return {"size": (state or {"size": 0})["size"] + 1}

    asked = now.events().select("position", about=pl.lit("1"))
    found = enrich(asked, wb.Fold(count, category=CATEGORY), timeline=now, on="about")
    assert found["count_size"].to_list() == [1, 1, 2, 3, 3]


def test_a_frame_or_a_history_without_rows_gives_none(now: Timeline, tmp_path: Path) -> None:
    nothing = pl.DataFrame(schema={"position": pl.Int64, "about": pl.String})
    assert enrich(nothing, Thing, timeline=now, on="about").is_empty()
    assert enrich(nothing, Thing, timeline=timeline_in(tmp_path / "lake", []), on="about").columns[2:4] == ["thing_name", "thing_size"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"position": [10]}, "no column 'about' with the other entity's key"),
        ({"about": ["1"]}, "no column 'position' with the event's place"),
        ({"position": [10], "about": [1.5]}, "'about' has the type Float64: cast it to text"),
        ({"position": ["10"], "about": ["1"]}, "'position' has the type String: a position in the log is a whole number"),
        ({"position": [60], "about": ["1"]}, "has an event at position 60, but the timeline ends at 50"),
        ({"position": [10], "about": ["1"], "thing_size": [1]}, "already has a column 'thing_size'"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(now: Timeline, columns: dict[str, list[object]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        enrich(pl.DataFrame(columns), Thing, timeline=now, on="about")


@pytest.mark.parametrize("frame", [None, 7])
def test_what_is_no_frame_is_refused(now: Timeline, frame: object) -> None:
    with pytest.raises(UsageError, match=r"The first argument of enrich\(\) must be a table, such as a data frame, got"):
        enrich(frame, Thing, timeline=now, on="about")


def test_what_the_store_hid_at_each_event_is_not_known(now: Timeline) -> None:
    with pytest.raises(UsageError, match=r"remove visible\(\)"):
        enrich(now.events().with_columns(about=pl.lit("1")), Thing, timeline=now.visible(), on="about")
