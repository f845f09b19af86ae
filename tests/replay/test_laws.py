"""Laws of folding, over random projections and histories."""

from __future__ import annotations

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.laws import at_least
from tests.strategies import CATEGORY, Recorded, declared, frame, histories, projections
from workbench.fold.event_by_event.plan_fold import fold
from workbench.fold.results import FoldResult, history_schema, state_schema
from workbench.projection import Projection, event, fingerprint, plan_of, upcast

law = settings(max_examples=at_least(40))


def replay(projection: type[Projection], history: list[Recorded], *, initial: pl.DataFrame | None = None) -> FoldResult:
    """Fold a history, failures collected."""
    return fold(plan_of(projection), frame(history), initial=initial, history=True, errors="collect")


@given(projections(), histories(), st.integers(0, 25))
def test_a_fold_goes_on_from_an_earlier_one(projection: type[Projection], history: list[Recorded], cut: int) -> None:
    whole = replay(projection, history)
    first = replay(projection, history[:cut])
    second = replay(projection, history[cut:], initial=first.state)
    assert_frame_equal(whole.state, second.state)
    assert whole.counts == first.counts + second.counts
    assert_frame_equal(whole.failures, pl.concat([first.failures, second.failures]))


@law
@given(projections(), histories())
def test_the_history_at_a_position_is_the_replay_up_to_it(projection: type[Projection], history: list[Recorded]) -> None:
    whole = replay(projection, history)
    assert whole.history is not None
    assert history_schema(plan_of(projection)) == whole.history.schema
    fields = [field.name for field in plan_of(projection).fields]
    for position in sorted({one.position for one in history}):
        upto = replay(projection, [one for one in history if one.position <= position]).state
        assert state_schema(plan_of(projection)) == upto.schema
        valid = whole.history.filter(
            pl.col("valid_from_position") <= position,
            pl.col("valid_to_position").is_null() | (pl.col("valid_to_position") > position),
        )
        shared = ["key", *fields, "revision", "event_count"]
        assert_frame_equal(upto.select(shared), valid.select(shared))
        assert_frame_equal(upto.select("position", "recorded_at"), valid.select(position="valid_from_position", recorded_at="valid_from"))


@given(projections(keys=st.none()), histories(), st.randoms(use_true_random=False))
def test_the_order_of_independent_streams_does_not_matter(
    projection: type[Projection], history: list[Recorded], chance: random.Random
) -> None:
    streams = sorted({one.stream for one in history})
    chance.shuffle(streams)
    grouped = [one for stream in streams for one in history if one.stream == stream]
    there, here = replay(projection, history), replay(projection, grouped)
    assert_frame_equal(there.state, here.state)
    assert there.history is not None
    assert here.history is not None
    assert_frame_equal(there.history, here.history)
    assert_frame_equal(there.failures, here.failures)
    assert there.counts == here.counts


@law
@given(projections(), histories(), st.integers(1, 7))
def test_batches_do_not_matter_and_every_event_counts_once(projection: type[Projection], history: list[Recorded], size: int) -> None:
    events = frame(history)
    whole = replay(projection, history)
    batches = fold(plan_of(projection), events.iter_slices(size), history=True, errors="collect")
    assert_frame_equal(whole.state, batches.state)
    assert whole.counts == batches.counts
    assert events.filter(pl.col("category") == CATEGORY).height == whole.counts.events
    assert whole.counts.failed == whole.failures.height


@law
@given(st.data(), histories(), st.sampled_from([None, "k"]))
def test_upcasters_mean_the_same_compiled_away_or_run(data: st.DataObject, history: list[Recorded], place: str | None) -> None:
    key = None if place is None else event.data[place]
    compiled = data.draw(projections(keys=st.just(key)))
    fields = [field.name for field in plan_of(compiled).fields]
    types = sorted({handler.type for handler in compiled.handlers})
    run = declared(
        fields,
        compiled.handlers,
        chain=[*compiled.upcasters, *(upcast(event_type).apply(_as_it_is, version=1) for event_type in types)],
        key=key,
        defaults=[name for name in fields if name in compiled.__dict__],
    )
    there, here = replay(compiled, history), replay(run, history)
    assert_frame_equal(there.state, here.state)
    assert_frame_equal(there.failures, here.failures)
    assert there.counts == here.counts


def _as_it_is(data: object, metadata: object) -> object:
    return data


@given(projections())
def test_a_fingerprint_is_stable(projection: type[Projection]) -> None:
    assert fingerprint(projection) == fingerprint(plan_of(projection))
