"""What activity promises: it agrees with what the sample knows of its users, and with a count event by event."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.conftest import Sample
from tests.lakes import START, Recorded, write_lake
from tests.laws import at_least
from workbench import event
from workbench.analysis import Activity, activity
from workbench.analysis.activity import Cohort, Days
from workbench.errors import UsageError
from workbench.lake import open_lake
from workbench.timeline import Timeline

WHO = event.metadata["userId"]
DATA = event.data["by"]


def acted(at: datetime, who: str | None = "a", *, kind: str = "x", stream: str = "s-1") -> Recorded:
    return Recorded(kind, at, stream, json.dumps({} if who is None else {"by": who}))


def timeline_of(path: Path, events: list[Recorded]) -> Timeline:
    return open_lake(write_lake(path, events)).timeline


@pytest.fixture(scope="module")
def found(sample: Sample) -> Activity:
    return activity(sample.timeline, actor=WHO)


def within(sample: Sample, day: date, days: int) -> set[str]:
    """Who acted in so many days up to one, as the sample knows it."""
    active = sample.facts.active_users
    return set().union(*(active.get(day - timedelta(days=back), set()) for back in range(days)))


def test_actors_and_actions_are_those_that_the_sample_knows(sample: Sample, found: Activity) -> None:
    assert dict(found.actors.select("actor", "actions").iter_rows()) == dict(sample.facts.by_user)
    row = found.summary.row(0, named=True)
    assert row["actors"] == len(sample.facts.by_user)
    assert row["actions"] == sample.facts.by_user.total() == found.streams["actions"].sum() == found.hours["actions"].sum()
    assert row["actions"] + row["without_actor"] == sample.timeline.count()


def test_active_users_of_each_day_week_and_month_are_those_that_the_sample_knows(sample: Sample, found: Activity) -> None:
    assert found.days["actions"].sum() == sample.facts.by_user.total()
    assert found.days["new_actors"].sum() == len(sample.facts.by_user)
    for row in found.days.iter_rows(named=True):
        counts = tuple(len(within(sample, row["day"], days)) for days in (1, 7, 30))
        assert (row["daily"], row["weekly"], row["monthly"]) == counts
        assert row["stickiness"] == (pytest.approx(counts[0] / counts[2]) if counts[2] else None)


def test_cohorts_come_back_as_often_as_the_sample_knows(sample: Sample, found: Activity) -> None:
    first: dict[str, date] = {}
    weeks: dict[date, set[str]] = defaultdict(set)
    for day in sorted(sample.facts.active_users):
        monday = day - timedelta(days=day.weekday())
        weeks[monday] |= sample.facts.active_users[day]
        for user in sample.facts.active_users[day]:
            first.setdefault(user, monday)
    for cohort, size, age, actors, share in found.retention.iter_rows():
        members = {user for user, seen in first.items() if seen == cohort}
        assert size == len(members)
        assert actors == len(members & weeks[cohort + timedelta(weeks=age)])
        assert share == pytest.approx(actors / size)
    ages = found.retention.group_by("cohort").agg(pl.col("age").max(), rows=pl.len())
    assert {cohort + timedelta(weeks=age) for cohort, age, _ in ages.iter_rows()} == {max(weeks)}
    assert ages.filter(pl.col("rows") != pl.col("age") + 1).is_empty()


@pytest.mark.parametrize("every", ["1d", "1w", "1mo", "1q", "1y"])
def test_periods_count_each_actor_once(sample: Sample, every: Days) -> None:
    found = activity(sample.timeline, actor=WHO, every=every).over_time
    active = [(day, user) for day, users in sample.facts.active_users.items() for user in users]
    frame = pl.DataFrame(active, schema={"day": pl.Date, "user": pl.String}, orient="row")
    expected = frame.group_by(pl.col("day").dt.truncate(every)).agg(pl.col("user").n_unique()).sort("day")
    assert found.filter(pl.col("actors") > 0).select("period", "actors").rows() == expected.rows()
    assert found["every"].unique().to_list() == [every]
    assert (found["actions"].sum(), found["new_actors"].sum()) == (sample.facts.by_user.total(), len(sample.facts.by_user))


MOMENTS = st.lists(st.tuples(st.integers(0, 60 * 24), st.sampled_from(["a", "b", "", "ä", None])), min_size=1, max_size=40)


@settings(max_examples=at_least(20))
@given(moments=MOMENTS, tz=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]))
def test_hours_and_days_are_those_of_the_wall_clock(
    tmp_path_factory: pytest.TempPathFactory, moments: list[tuple[int, str | None]], tz: str
) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    events = [acted(start + timedelta(hours=hour, minutes=7 * place), who) for place, (hour, who) in enumerate(moments)]
    found = activity(timeline_of(tmp_path_factory.mktemp("lake"), events), actor=DATA, tz=tz)
    known = [one.at.astimezone(ZoneInfo(tz)) for one, (_, who) in zip(events, moments, strict=True) if who is not None]
    hours = Counter((moment.isoweekday(), moment.hour) for moment in known)
    assert {(weekday, hour): count for weekday, hour, count, _ in found.hours.iter_rows() if count} == dict(hours)
    assert dict(found.days.filter(pl.col("actions") > 0).select("day", "actions").iter_rows()) == Counter(one.date() for one in known)
    if known:
        assert found.hours["share"].sum() == pytest.approx(1)
        length = (max(known).date() - min(known).date()).days + 1
        assert found.days.height == length


def test_an_event_that_says_nobody_is_no_action(tmp_path: Path) -> None:
    events = [
        acted(START), acted(START, None), Recorded("x", START, data='{"by": null}'), Recorded("x", START, data='["by"]'),
        Recorded("x", START, binary=b"\xff"), Recorded("x", START, data='{"by": 7}'), Recorded("x", START, data='{"by": {"id": 1}}'),
    ]  # fmt: skip
    found = activity(timeline_of(tmp_path, events), actor=DATA)
    assert found.actors["actor"].to_list() == ["7", "a", '{"id":1}']
    assert found.summary.row(0, named=True)["without_actor"] == 4


@pytest.mark.parametrize("key", ["user id", "user.id", "it's", "$id", "ä", "0", "a/b"])
def test_any_plain_key_says_who_acts(tmp_path: Path, key: str) -> None:
    events = [Recorded("x", START, data=json.dumps({key: "one", "other": ["two"]}))]
    assert activity(timeline_of(tmp_path, events), actor=event.data[key]).actors["actor"].to_list() == ["one"]
    assert activity(timeline_of(tmp_path / "array", events), actor=event.data["other"][0]).actors["actor"].to_list() == ["two"]


def test_a_column_says_who_acts_too(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, [acted(START, stream="user-1"), acted(START, stream="user-2"), acted(START, stream="user-2")])
    assert activity(timeline, actor=event.stream).actors.select("actor", "actions").rows() == [("user-2", 2), ("user-1", 1)]


def test_only_the_types_that_are_named_are_actions(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, [acted(START, "a", kind="user.x"), acted(START, "b", kind="room.x"), acted(START, "c", kind="user.y")])
    assert activity(timeline, actor=DATA, actions="user.*").actors["actor"].to_list() == ["a", "c"]
    assert activity(timeline, actor=DATA, actions=["room.x", "user.y"]).actors["actor"].to_list() == ["b", "c"]


def test_what_if_counts_what_would_have_been_done(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, [acted(START, "a"), acted(START + timedelta(days=1), "b", kind="y")])
    fork = timeline.drop(type="y").insert(stream="s-1", type="x", at=START + timedelta(hours=1), data={"by": "c"})
    assert activity(fork, actor=DATA).actors["actor"].to_list() == ["a", "c"]


def test_an_empty_timeline_gives_empty_frames_of_the_same_columns(sample: Sample, found: Activity) -> None:
    empty = activity(sample.timeline.types("nothing"), actor=WHO)
    for name in ("over_time", "days", "actors", "streams", "retention"):
        assert getattr(empty, name).is_empty(), name
        assert getattr(empty, name).schema == getattr(found, name).schema, name
    assert (empty.hours.height, empty.hours["actions"].sum()) == (168, 0)
    assert empty.summary.row(0, named=True)["actions"] == 0
    assert empty.summary.schema == found.summary.schema


def test_a_year_without_actions_is_a_year_of_zeros(tmp_path: Path) -> None:
    found = activity(timeline_of(tmp_path, [acted(START), acted(START + timedelta(days=400))]), actor=DATA, cohorts="1mo")
    assert found.days.height == 401
    assert found.days["monthly"].sum() == 30 + 1
    assert found.days.filter(pl.col("monthly") == 0)["stickiness"].null_count() == 401 - 31
    assert found.retention["actors"].to_list() == [1, *[0] * 12, 1]


@pytest.mark.parametrize("cohorts", ["1d", "1w", "1mo"])
def test_cohorts_begin_where_their_periods_do(tmp_path: Path, cohorts: Cohort) -> None:
    moments = [datetime(2025, 12, 30, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)]
    found = activity(
        timeline_of(tmp_path, [acted(moment, str(place)) for place, moment in enumerate(moments)]), actor=DATA, cohorts=cohorts
    )
    expected = pl.Series([moment.date() for moment in moments]).dt.truncate(cohorts)
    assert found.retention.filter(pl.col("age") == 0)["cohort"].to_list() == expected.to_list()
    assert found.retention.filter(pl.col("actors") > 0)["age"].to_list() == [0, 0, 0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"actor": "userId"}, "not a value of an event"),
        ({"actor": event.metadata}, "name the value in it"),
        ({"actor": event.position}, "cannot be an actor"),
        ({"actor": event.data["a*"]}, "DuckDB cannot search for"),
        ({"actor": WHO, "every": "1h"}, "periods are '1d', '1w', '1mo', '1q', '1y' or 'auto'"),
        ({"actor": WHO, "cohorts": "1y"}, "cohorts are by '1d', '1w' or '1mo'"),
        ({"actor": WHO, "tz": "Berlin"}, "IANA name"),
    ],
)
def test_what_cannot_be_asked_is_refused(sample: Sample, asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        activity(sample.timeline, **asked)  # type: ignore[arg-type]  # the point of the test
