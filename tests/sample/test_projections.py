"""The sample's declared projections give, at every position, what the services keep themselves: two pieces of code that share none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import workbench as wb
from tests.sample.lake import write_sample
from workbench.projection import Projection
from workbench.sample import SampleSystem, generate
from workbench.sample.journal import JournalEvent
from workbench.sample.projections import LegacyUser, Post, Registration, Room, User
from workbench.sample.views import LegacyUserView, PostView, RegistrationView, RoomView, UserView

SIZE = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def _instant(ticks: int | None) -> datetime | None:
    return None if ticks is None else _EPOCH + timedelta(microseconds=ticks // 10)


def _user(view: UserView) -> Row:
    return {
        "name": view.name,
        "email": view.email,
        "city": view.city,
        "country": view.country,
        "plan": view.plan,
        "phone": view.phone,
        "roles": sorted(view.roles),
        "logins": view.logins,
        "last_login": _instant(view.last_login),
        "failed_logins": view.failed_logins,
        "is_locked": view.is_locked,
        "payments": view.payments,
        "paid": view.paid,
        "spent": view.spent,
        "big_payments": view.big_payments,
    }


def _room(view: RoomView) -> Row:
    return {
        "name": view.name,
        "owner": view.owner,
        "is_private": view.is_private,
        "topic": view.topic,
        "members": sorted(view.members),
        "messages": view.messages,
        "edits": view.edits,
        "removals": view.removals,
        "attachments": view.attachments,
        "bot_posts": view.bot_posts,
        "last_message": _instant(view.last_message),
        "is_archived": view.is_archived,
    }


def _post(view: PostView) -> Row:
    return {
        "author": view.author,
        "title": view.title,
        "tags": list(view.tags),
        "likes": sorted(view.likes),
        "comments": view.comments,
        "edits": view.edits,
        "is_removed": view.is_removed,
    }


def _registration(view: RegistrationView) -> Row:
    return {
        "user_id": view.user_id,
        "email": view.email,
        "status": view.status,
        "done": list(view.done),
        "undone": list(view.undone),
        "reason": view.reason,
    }


def _account(view: LegacyUserView) -> Row:
    return {"name": view.name, "email": view.email, "logins": view.logins}


CASES: dict[type[Projection], Callable[[SampleSystem], dict[str, Row]]] = {
    User: lambda system: {key: _user(view) for key, view in system.auth.users.items()},
    Room: lambda system: {key: _room(view) for key, view in system.chat.rooms.items()},
    Post: lambda system: {key: _post(view) for key, view in system.community.posts.items()},
    Registration: lambda system: {key: _registration(view) for key, view in system.registrations.registrations.items()},
    LegacyUser: lambda system: {str(key): _account(view) for key, view in system.accounts.users.items()},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JournalEvent]]:
    events = list(generate(events=SIZE, seed=5).events())
    return write_sample(tmp_path_factory.mktemp("sample") / "lake", events), events


@pytest.mark.parametrize("projection", CASES)
def test_a_projection_is_equal_to_the_services_read_model_at_every_position(
    sample: tuple[Path, list[JournalEvent]], projection: type[Projection]
) -> None:
    """Versions are put together to the state of each position; the read models are those of the same history, run again."""
    path, events = sample
    timeline = wb.open(path).timeline
    versions = wb.history(projection, timeline)
    begin: dict[int, list[Row]] = {}
    end: dict[int, list[str]] = {}
    for row in versions.iter_rows(named=True):
        begin.setdefault(row["valid_from_position"], []).append(row)
        if row["valid_to_position"] is not None:
            end.setdefault(row["valid_to_position"], []).append(row["key"])
    fields = [name for name in projection.__annotations__ if name in versions.columns]
    (category,) = projection.__plan__.categories
    state: dict[str, Row] = {}
    checked = 0
    system = generate(events=SIZE, seed=5)
    for index, event in enumerate(system.events()):
        position = (index + 1) * 100
        for key in end.get(position, ()):
            state.pop(key, None)
        for row in begin.get(position, ()):
            state[row["key"]] = {name: row[name] for name in fields}
        if event.stream.partition("-")[0] == category:
            checked += 1
            assert CASES[projection](system) == state, (position, event)
    assert checked > 60
    assert len(events) == SIZE
    final = wb.state(projection, timeline)
    assert state == {row["key"]: {name: row[name] for name in fields} for row in final.iter_rows(named=True)}


@pytest.mark.parametrize("projection", CASES)
def test_the_state_at_a_position_is_the_read_model_then(sample: tuple[Path, list[JournalEvent]], projection: type[Projection]) -> None:
    path, _ = sample
    timeline = wb.open(path).timeline
    system = generate(events=SIZE, seed=5)
    for index, _ in enumerate(system.events()):
        if index % 700 == 699:
            state = wb.state(projection, timeline.upto(position=(index + 1) * 100))
            expected = CASES[projection](system)
            rows = {row.pop("key"): row for row in state.iter_rows(named=True)}
            assert expected == {key: {name: row[name] for name in expected[key]} for key, row in rows.items()}


def test_the_history_has_what_makes_this_hard(sample: tuple[Path, list[JournalEvent]]) -> None:
    path, events = sample
    lives = wb.history(User, wb.open(path).timeline).filter(pl.col("event_count") == 1)
    assert lives["key"].is_duplicated().any(), "a user who came back"
    assert {1, 2, 3} == {event.version for event in events if event.type == "user.created"}
    assert {1, 2} == {event.version for event in events if event.type == "user.paid"}
    assert {"chat.room_created", "chat.room_opened", "$streamDeleted", "user.snapshot"} <= {event.type for event in events}


def test_every_type_that_is_not_handled_is_one_that_changes_no_view(sample: tuple[Path, list[JournalEvent]]) -> None:
    timeline = wb.open(sample[0]).timeline
    unhandled = {name for projection in CASES for name in wb.rebuild(projection, timeline).counts.unhandled}
    assert unhandled <= {"user.avatar_changed", "user.snapshot", "room.snapshot"}
