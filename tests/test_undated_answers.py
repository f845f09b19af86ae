"""One event with a wild stamp changes no answer in which the stamp does not matter, and stops none in which it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import workbench as wb
from tests.sample.lake import row_of
from workbench import Projection, event, on
from workbench.events import EVENT_SCHEMA, FIRST_TICKS, LAST_TICKS, Checkpoint, Selection, Store
from workbench.fold.event_by_event.plan_fold import fold
from workbench.lake import Lake, LakeWriter
from workbench.sample import generate
from workbench.sample.projections import LegacyUser, Post, Registration, Room, User

Row = dict[str, Any]
WILD = (2**63 - 1, -(2**63), LAST_TICKS + 1, FIRST_TICKS - 1)
TYPES = ("user.created", "user.logged_in", "user.login_failed", "user.moved", "user.paid")
WORKFLOW = wb.Workflow(start="registration.started", done="registration.completed", compensated="registration.compensated")


class Seen(Projection, category="user"):
    """When the events of a user were recorded: the stamp matters to each field."""

    last: datetime | None
    earliest: datetime | None
    latest: datetime | None
    times: list[datetime]
    events: int = 0
    late: int = 0

    handlers: ClassVar = [
        *(on(name).set(last=event.recorded_at).add(events=1).append(times=event.recorded_at, keep=4) for name in TYPES),
        *(on(name).min(earliest=event.recorded_at).max(latest=event.recorded_at) for name in TYPES),
        *(on(name).where(event.recorded_at > datetime(2026, 2, 1, tzinfo=UTC)).add(late=1) for name in TYPES),
    ]


def count(state: Row, recorded: Any) -> Row:
    return {"events": state["events"] + 1, "dated": state["dated"] + (recorded.recorded_at is not None)}


COUNTED = wb.Fold(function=count, category="user", initial={"events": 0, "dated": 0})


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row_of(one, (index + 1) * 100) for index, one in enumerate(generate(events=1_500, seed=5).events())]


def write(path: Path, rows: list[Row]) -> Lake:
    """Write rows in several exports, so that some files have no undated event."""
    store = Store("esdb://sample.example:2113", first_position=100, first_event_id=rows[0]["event_id"])
    until = max(one["recorded_at"] for one in rows if one["recorded_at"] is not None) + timedelta(seconds=1)
    with LakeWriter.open(path, store=store, selection=Selection()) as writer:
        for first in range(0, len(rows), 400):
            part = rows[first : first + 400]
            last = part[-1]
            checkpoint = Checkpoint(last["position"], last["position"], last["event_id"], until)
            writer.append(pa.Table.from_pylist(part, schema=EVENT_SCHEMA), checkpoint)
    return wb.open(path)


def undated(rows: list[Row], *chosen: int) -> list[Row]:
    wild = {index: WILD[number % len(WILD)] for number, index in enumerate(chosen)}
    return [{**one, "recorded_at": None, "recorded_ticks": wild[index]} if index in wild else one for index, one in enumerate(rows)]


def in_order(rows: list[Row]) -> list[int]:
    """Return the users' events that were recorded behind the one before them, and before the next."""
    ticks = [one["recorded_ticks"] for one in rows]
    inner = range(1, len(rows) - 1)
    return [index for index in inner if ticks[index - 1] < ticks[index] < ticks[index + 1] and rows[index]["type"] in TYPES]


def frames(answer: Any) -> Iterator[pl.DataFrame]:
    """Yield the frames of an answer."""
    if isinstance(answer, pl.LazyFrame):
        yield answer.collect()
    elif isinstance(answer, pl.DataFrame):
        yield answer
    elif isinstance(answer, (list, tuple)):
        for one in answer:
            yield from frames(one)
    elif is_dataclass(answer):
        for one in fields(answer):
            yield from frames(getattr(answer, one.name))


Ask = Callable[[wb.Timeline], Any]
PROJECTIONS = (User, Room, Post, Registration, LegacyUser)
INDEPENDENT: dict[str, Ask] = {
    **{f"state of {one.__name__}": partial(wb.state, one) for one in PROJECTIONS},
    **{f"history of {one.__name__}": partial(wb.history, one) for one in PROJECTIONS},
    "series": lambda now: [wb.series(one, now, pl.len(), every="1d") for one in PROJECTIONS],
    "diff": lambda now: wb.diff(User, now.upto("2026-03-01"), now),
    "diff of a fork": lambda now: wb.diff(User, now, now.drop(type="user.moved")),
    "first": lambda now: wb.first(User, now, pl.col("logins") > 2),
    "steps": lambda now: wb.steps(User, now, key="3").drop("microseconds"),
    "lineage": lambda now: wb.lineage(User, now, key="3", field="failed_logins"),
    "enrich": lambda now: wb.enrich(now.events().drop("recorded_ticks").with_columns(one=pl.lit("3")), User, timeline=now, on="one"),
    "events": lambda now: now.events().drop("recorded_ticks"),
    "sql": lambda now: now.sql("select * exclude (recorded_ticks) from events order by position").pl(),
    "distribution": wb.distribution,
    "lifespans": wb.lifespans,
    "drift": lambda now: wb.drift(now.upto("2026-03-01"), now.after("2026-03-01")),
    "schemas": wb.schemas,
    "breaks": lambda now: wb.analysis.breaks(User, now),
    "workflows": lambda now: wb.workflows(WORKFLOW, now),
}
"""Answers in which the stamp of one event, in its order among the others, decides nothing."""


@pytest.fixture(scope="module")
def both(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Lake, Row]:
    """The sample's history, the same with one undated event, and that event as it was."""
    folder = tmp_path_factory.mktemp("undated")
    chosen = next(index for index in in_order(rows)[60:] if rows[index]["type"] == "user.login_failed")
    return write(folder / "plain", rows), write(folder / "wild", undated(rows, chosen)), rows[chosen]


@pytest.mark.parametrize("asked", INDEPENDENT)
def test_an_answer_that_does_not_need_the_stamp_is_the_same(both: tuple[Lake, Lake, Row], asked: str) -> None:
    """Where the event's own time is shown, it is null."""
    plain, wild, chosen = both
    expected, found = (list(frames(INDEPENDENT[asked](lake.timeline))) for lake in (plain, wild))
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        times = [name for name, dtype in one.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"]
        shown = one.with_columns(pl.when(pl.col(name) != chosen["recorded_at"]).then(name).alias(name) for name in times)
        assert_frame_equal(shown, other)


def test_what_a_materialised_history_answers_is_the_same(both: tuple[Lake, Lake, Row], rows: list[Row], tmp_path: Path) -> None:
    _, wild, chosen = both
    index = rows.index(chosen)
    lake = write(tmp_path, undated(rows, index))
    wb.materialise(User, lake.timeline)
    assert_frame_equal(wb.history(User, wild.timeline), wb.history(User, lake.timeline))
    assert_frame_equal(wb.state(User, wild.timeline.upto("2026-03-01")), wb.state(User, lake.timeline.upto("2026-03-01")))


@pytest.fixture(scope="module")
def many(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The sample's history, in which every fifth event is undated."""
    return write(tmp_path_factory.mktemp("many"), undated(rows, *range(0, len(rows), 5)))


def test_the_two_engines_agree_about_what_is_undated(many: Lake) -> None:
    events = many.timeline.events().collect()
    by_event = fold(Seen.__plan__, events, history=True)
    assert_frame_equal(by_event.state, wb.state(Seen, many.timeline))
    assert by_event.history is not None
    history = wb.history(Seen, many.timeline)
    assert_frame_equal(by_event.history, history)
    assert history["valid_from"].null_count() > 0
    assert history.filter(pl.col("valid_to").is_null() & pl.col("valid_to_position").is_not_null()).height > 0


def test_a_function_gets_none_for_a_time_that_is_no_instant(many: Lake) -> None:
    folded = wb.state(COUNTED, many.timeline)
    recorded = many.timeline.categories("user").events().collect()
    assert folded.select((pl.col("events") - pl.col("dated")).sum()).item() == recorded["recorded_at"].null_count() > 0


def test_what_has_no_time_is_counted_where_times_are_counted(many: Lake) -> None:
    recorded = many.timeline.events().collect()
    missing = recorded["recorded_at"].null_count()
    store = wb.store_usage(many.timeline)
    assert store.summary.select("events", "undated_events").row(0) == (recorded.height, missing)
    assert store.rates["events"].sum() == recorded.height - missing
    by_day = wb.distribution(many.timeline, every="1d")
    assert by_day["count"].sum() == recorded.height - missing
    whole = wb.activity(many.timeline, actor=event.stream).summary.row(0, named=True)
    assert (whole["actions"], whole["undated_actions"]) == (recorded.height - missing, missing)


def test_nothing_stops_at_undated_events(many: Lake, tmp_path: Path) -> None:
    now = many.timeline
    for ask in INDEPENDENT.values():
        assert list(frames(ask(now)))
    for name in ("log.json", "log.sqlite"):
        written = wb.analysis.export_ocel(now, tmp_path / name)
        assert written.undated == now.events().collect()["recorded_at"].null_count()
    wb.publish(now, tmp_path / "tables")
    many.write_duckdb(tmp_path / "lake.duckdb")
    assert wb.schemas(now, every="1w").over_time is not None
    for correlation_id in now.events().collect()["correlation_id"].drop_nulls().unique().sort().head(20):
        assert str(wb.trace(now, correlation_id)).startswith(correlation_id)
    assert now.visible().count() == now.visible().events().collect().height


def test_charts_are_drawn_of_undated_events(many: Lake) -> None:
    now, charts = many.timeline, wb.charts
    for correlation_id in now.events().collect()["correlation_id"].drop_nulls().unique().sort().head(20):
        charts.trace(wb.trace(now, correlation_id))
    charts.workflows(wb.workflows(WORKFLOW, now))
    charts.rates(wb.store_usage(now))
    charts.distribution(wb.distribution(now, every="1w"))
    charts.lifespans(wb.lifespans(now))


def test_a_type_whose_events_are_all_undated_is_counted_and_has_no_time(rows: list[Row], tmp_path: Path) -> None:
    [kind] = {one["type"] for one in rows if one["type"] == "user.created"}
    lake = write(tmp_path, undated(rows, *(index for index, one in enumerate(rows) if one["type"] == kind)))
    now = lake.timeline
    span = wb.lifespans(now).row(by_predicate=pl.col("type") == kind, named=True)
    assert (span["first_recorded_at"], span["first_period"], span["is_new"], span["is_vanished"]) == (None, None, False, False)
    assert span["count"] == wb.distribution(now).row(by_predicate=pl.col("type") == kind, named=True)["count"] > 0
    wb.charts.lifespans(wb.lifespans(now))
    assert wb.schemas(now).fields.filter(type=kind)["first_recorded_at"].null_count() > 0
    written = wb.analysis.export_ocel(now, tmp_path / "log.json")
    assert '"1970-' not in written.path.read_text()
