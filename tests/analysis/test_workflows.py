"""What became of workflows: held against what the sample's generator knows, and against a plain count."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.analysis.traced import BEGIN, Traced, timeline_in
from tests.laws import at_least
from tests.sample.lake import write_sample
from workbench.analysis.workflows import OUTCOMES, Workflow, workflows
from workbench.errors import UsageError
from workbench.sample import SampleSystem, generate
from workbench.timeline import Timeline

law = settings(max_examples=at_least(15))

ORDER = Workflow(start="placed", done=("shipped", "collected"), compensated="undone", failed="lost*", stuck_after="1m")
REGISTRATION = Workflow(
    start="registration.started",
    done="registration.completed",
    compensated="registration.compensated",
    failed="registration.failed",
    stuck_after="1h",
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleSystem, Timeline]:
    system = generate(events=6_000, seed=5)
    events = list(system.events())
    return system, wb.open(write_sample(tmp_path_factory.mktemp("workflows") / "lake", events)).timeline


def test_registrations_come_to_what_the_service_that_leads_them_knows(sample: tuple[SampleSystem, Timeline]) -> None:
    system, now = sample
    found = workflows(REGISTRATION, now)
    said = {"completed": "completed", "compensated": "compensated", "failed": "failed"}
    expected = Counter(said.get(view.status, "open") for view in system.registrations.registrations.values())
    counted = Counter(outcome if outcome in said else "open" for outcome in found.traces["outcome"])
    assert counted == expected
    assert min(counted.values()) > 0
    assert found.traces.height == len(system.registrations.registrations)


def test_counts_add_up_whichever_way_they_are_counted(sample: tuple[SampleSystem, Timeline]) -> None:
    found = workflows(REGISTRATION, sample[1])
    traces = found.traces.height
    assert found.outcomes["outcome"].to_list() == list(OUTCOMES)
    assert found.outcomes["traces"].sum() == found.variants["traces"].sum() == found.steps["last"].sum() == traces
    assert found.variants.select(OUTCOMES).sum().row(0) == tuple(found.outcomes["traces"])
    assert found.steps["events"].sum() == found.traces["events"].sum()
    assert found.process["count"].sum() == found.traces["events"].sum() - traces
    assert found.outcomes["share"].sum() == pytest.approx(1)
    assert found.variants["variant"].to_list() == list(range(1, found.variants.height + 1))
    assert found.variants["traces"].is_sorted(descending=True)
    joined = found.traces.join(found.variants, on="variant")
    assert (joined["events"] == joined["types"].list.len()).all()


NAMES = ("placed", "paid", "shipped", "undone", "lost.once", "lost.twice", "noted")


@law
@given(
    st.lists(
        st.builds(
            Traced,
            st.sampled_from(NAMES),
            st.sampled_from(["a", "b", "c'", None]),
            seconds=st.integers(-50, 400).map(float),
        ),
        max_size=25,
    ),
    st.none() | st.integers(0, 250),
)
def test_every_figure_is_that_of_a_plain_count(tmp_path_factory: pytest.TempPathFactory, events: list[Traced], upto: int | None) -> None:
    now = timeline_in(tmp_path_factory.mktemp("plain") / "lake", events)
    now = now if upto is None else now.upto(position=upto, stale=True)
    kept = events if upto is None else events[: upto // 10]
    until = max((one.seconds for one in kept), default=0.0)
    ways: dict[str, list[Traced]] = defaultdict(list)
    for one in kept:
        if one.correlation_id is not None and (one.correlation_id in ways or one.type == "placed"):
            ways[one.correlation_id].append(one)
    rows = []
    follows: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, way in ways.items():
        ends = [one for one in way if one.type in ("shipped", "undone", "lost.once", "lost.twice")]
        last = way[-1].seconds
        came = (
            {"s": "completed", "u": "compensated", "l": "failed"}[ends[-1].type[0]] if ends else "stuck" if last < until - 60 else "running"
        )
        end = ends[-1].seconds if ends else last
        rows.append((name, came, timedelta(seconds=end - way[0].seconds), len(way), way[-1].type))
        for one, other in pairwise(way):
            follows[one.type, other.type].append(other.seconds - one.seconds)
    found = workflows(ORDER, now)
    assert found.traces.select("correlation_id", "outcome", "duration", "events", "last_type").rows() == rows
    medians = {pair: statistics.median(spans) for pair, spans in follows.items()}
    process = found.process.select("from_type", "to_type", "count", pl.col("took_p50").dt.total_microseconds() / 1e6).rows()
    assert {(one, other): (count, median) for one, other, count, median in process} == {
        pair: (len(follows[pair]), pytest.approx(median, abs=1e-6)) for pair, median in medians.items()
    }
    variants = Counter(tuple(one.type for one in way) for way in ways.values())
    assert {tuple(types): count for types, count in found.variants.select("types", "traces").iter_rows()} == variants


STORY = [
    Traced("noted", "a", 0),
    Traced("placed", "a", 1),
    Traced("placed", "b", 2),
    Traced("paid", "a", 4, stream="payment-1"),
    Traced("shipped", "a", 10),
    Traced("mailed", "a", 12),
    Traced("lost.once", "b", 20),
    Traced("shipped", "b", 30),
    Traced("placed", "c", 40),
    Traced("placed", None, 41),
    Traced("ticked", None, 99),
]


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return timeline_in(tmp_path_factory.mktemp("story") / "lake", STORY)


def test_a_trace_begins_with_its_start_and_its_last_end_decides(now: Timeline) -> None:
    found = workflows(ORDER, now)
    assert found.traces.select("correlation_id", "outcome", "duration", "events").rows() == [
        ("a", "completed", timedelta(seconds=9), 4),
        ("b", "completed", timedelta(seconds=28), 3),
        ("c", "running", timedelta(0), 1),
    ]
    assert found.traces["ended_at"].to_list() == [BEGIN + timedelta(seconds=10), BEGIN + timedelta(seconds=30), None]
    assert found.unseen == ("collected", "undone")
    assert found.until == BEGIN + timedelta(seconds=99)


@pytest.mark.parametrize(("after", "outcome"), [("58s", "stuck"), ("59s", "running"), ("1m", "running"), (None, "running")])
def test_one_is_stuck_when_nothing_happened_for_longer_than_it_may(now: Timeline, after: str | None, outcome: str) -> None:
    waiting = Workflow(start="placed", done="shipped", stuck_after=after)
    assert workflows(waiting, now).traces["outcome"].to_list()[-1] == outcome


def test_the_cutoff_says_when_it_is_and_without_one_until_when_the_lake_is_complete(tmp_path: Path) -> None:
    now = timeline_in(tmp_path / "lake", STORY[:4], complete_until=BEGIN + timedelta(hours=1))
    assert workflows(ORDER, now).outcomes["traces"].to_list() == [0, 0, 0, 2, 0]
    past = now.upto(BEGIN + timedelta(seconds=63))
    assert workflows(ORDER, past).traces["outcome"].to_list() == ["running", "stuck"]
    assert workflows(ORDER, past).until == BEGIN + timedelta(seconds=63)


def test_a_what_if_has_other_outcomes(now: Timeline) -> None:
    fork = now.drop(type="shipped").insert(
        stream="order-9", type="undone", at=BEGIN + timedelta(seconds=50), metadata={"$correlationId": "c"}
    )
    assert workflows(ORDER, fork).traces["outcome"].to_list() == ["stuck", "failed", "compensated"]


def test_an_empty_history_has_empty_tables_and_says_none(tmp_path: Path, now: Timeline) -> None:
    for nothing in (timeline_in(tmp_path / "lake", []), now.types("mailed")):
        found = workflows(ORDER, nothing)
        full = workflows(ORDER, now)
        for name in ("traces", "steps", "variants", "process"):
            assert_frame_equal(getattr(found, name), getattr(full, name).clear())
        assert found.outcomes["traces"].to_list() == [0] * 5
        assert found.outcomes["share"].to_list() == [None] * 5
        assert str(found).endswith(": none")


def test_names_that_are_declared_wrongly_are_refused(now: Timeline) -> None:
    for said, words in (
        ({"start": "a", "done": "a"}, "names 'a' as start= and as done="),
        ({"start": (), "done": "b"}, "has no start=: name the event types with which it begins"),
        ({"start": "a", "done": ()}, "has no done="),
        ({"start": "a", "done": 7}, "done= of a workflow expects names of event types, got 7"),
        ({"start": "a", "done": ""}, "expects names of event types, got ''"),
        ({"start": "a", "done": "b", "stuck_after": "soon"}, "soon"),
        ({"start": "a", "done": "b", "stuck_after": "-1h"}, "is not a span of time"),
    ):
        with pytest.raises(UsageError, match=words):
            Workflow(**said)
    with pytest.raises(UsageError, match=r"Events of type 'lost\.once' fit done= and failed="):
        workflows(Workflow(start="placed", done="lost.*", failed="*.once"), now)
