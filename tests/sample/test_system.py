"""The sample system: one history for a seed, read models that are right after every event, and a realistic shape."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.events import category_of
from workbench.kurrent import ANY, NO_STREAM, STREAM_EXISTS
from workbench.sample import SampleSystem, generate
from workbench.sample.calendar import UNTIL, SampleClock, SchemaVersions, to_datetime, to_ticks
from workbench.sample.journal import SOFT_DELETED, TOMBSTONE_REVISION, Append, Draft, Journal, JournalEvent

SIZE = 12_000


@pytest.fixture(scope="module")
def finished() -> tuple[SampleSystem, list[JournalEvent]]:
    system = generate(events=SIZE, seed=5)
    return system, list(system.events())


def _digest(events: Iterator[JournalEvent]) -> str:
    digest = hashlib.sha256()
    for event in events:
        parts = (event.id, event.stream, str(event.revision), event.type, str(event.ticks), str(event.is_json))
        digest.update("\0".join(parts).encode() + event.data + event.metadata)
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "from tests.sample.test_system import _digest; from workbench.sample import generate;"
        "print(_digest(generate(events=4000, days=30, seed=10).events()))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True, timeout=60
    )
    assert there.stdout.strip() == _digest(generate(events=4000, days=30, seed=10).events())


def test_another_seed_gives_another_history() -> None:
    assert len({_digest(generate(events=300, seed=seed).events()) for seed in range(4)}) == 4


@given(events=st.integers(1, 700), days=st.integers(1, 120), seed=st.integers(0, 10_000))
def test_a_history_has_exactly_as_many_events_as_asked_for(events: int, days: int, seed: int) -> None:
    system = generate(events=events, days=days, seed=seed)
    recorded = list(system.events())
    assert len(recorded) == system.facts.events == events
    assert all(system.facts.since - 3_600 * 10**7 < event.ticks < system.facts.until for event in recorded)


@pytest.mark.parametrize(("events", "days"), [(0, 1), (1, 0), (-5, 3)])
def test_a_history_of_nothing_is_wrong_use(events: int, days: int) -> None:
    with pytest.raises(UsageError, match="needs at least 1 event and 1 day"):
        generate(events=events, days=days)


def test_requests_hold_the_same_events_as_the_history(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system = generate(events=SIZE, seed=5)
    recorded: list[JournalEvent] = []
    for request in system.requests():
        recorded.extend(request.recorded)
    assert recorded == finished[1]


def test_exactly_the_stale_appends_are_refused() -> None:
    heads: dict[str, int] = {}
    hidden: set[str] = set()
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for request in generate(events=SIZE, seed=5).requests():
        if isinstance(request, Append):
            head = heads.get(request.stream, -1)
            expected = request.expected
            fits = (
                expected is ANY
                or expected == head
                or ((head < 0 or request.stream in hidden) if expected is NO_STREAM else head >= 0 and expected is STREAM_EXISTS)
            )
            outcomes[fits, request.refused] += 1
            if fits:
                for event in request.recorded:
                    heads[event.stream] = event.revision
                    if event.type == "$metadata":
                        (hidden.add if event.body.get("$tb") == SOFT_DELETED else hidden.discard)(event.stream[2:])
                assert [event.revision for event in request.events] == list(range(head + 1, head + 1 + len(request.events)))
    assert outcomes[True, True] == outcomes[False, False] == 0
    assert outcomes[False, True] > 10


def test_a_deleted_stream_takes_an_append_as_a_new_one_does() -> None:
    clock = SampleClock(events=1, days=1, until=UNTIL, rng=random.Random(1))
    journal = Journal(clock=clock, versions=SchemaVersions({}), rng=random.Random(1))

    def accepts_a_first_event() -> bool:
        append = journal.append("user-1", Draft("user.created", {}), cause=journal.request(), expected=NO_STREAM)
        return journal.accepts(append)

    def record(request: Append) -> None:
        for event in request.recorded:
            journal.record(event)

    assert accepts_a_first_event()
    record(journal.append("user-1", Draft("user.created", {}), cause=journal.request(), expected=NO_STREAM))
    assert not accepts_a_first_event()
    record(journal.soft_delete("user-1"))
    assert accepts_a_first_event()
    again = journal.append("user-1", Draft("user.created", {}), cause=journal.request(), expected=NO_STREAM)
    assert [(event.stream, event.revision) for event in again.recorded] == [("user-1", 1), ("$$user-1", 1)]
    record(again)
    assert not accepts_a_first_event()


def test_revisions_count_up_in_every_stream_and_ids_are_unique(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    revisions: dict[str, list[int]] = defaultdict(list)
    for event in finished[1]:
        revisions[event.stream].append(event.revision)
    for stream, numbers in revisions.items():
        recorded = numbers[:-1] if numbers[-1] == TOMBSTONE_REVISION else numbers
        assert recorded == list(range(len(recorded))), stream
    ids = [event.id for event in finished[1] if event.id]
    assert len(set(ids)) == len(ids)


def test_causes_are_requests_or_earlier_events_of_the_same_conversation_or_one_replied_to(
    finished: tuple[SampleSystem, list[JournalEvent]],
) -> None:
    correlation_of: dict[str, str] = {}
    followed = 0
    for event in finished[1]:
        if event.cause is None:
            assert event.stream == "users" or event.type.startswith("$")
            continue
        metadata = orjson.loads(event.metadata)
        assert metadata["$correlationId"] == event.cause.correlation_id
        cause = metadata["$causationId"]
        if cause != event.cause.correlation_id:
            assert cause in correlation_of, "a cause comes before its effect"
            if not event.type.startswith("chat.message_"):
                assert correlation_of[cause] == event.cause.correlation_id
                followed += 1
        correlation_of[event.id] = event.cause.correlation_id
    assert followed > 500


def test_a_registration_leads_through_all_services_in_one_conversation(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system, events = finished
    conversations: dict[str, list[JournalEvent]] = defaultdict(list)
    for event in events:
        if event.cause is not None:
            conversations[event.cause.correlation_id].append(event)
    whole = 0
    for several in conversations.values():
        conversation = [event for event in several if not event.type.endswith(".snapshot")]
        if not conversation or conversation[-1].type != "registration.completed":
            continue
        whole += 1
        assert [event.type for event in conversation] == [
            "registration.started",
            "user.created",
            "registration.step_completed",
            "chat.member_joined",
            "registration.step_completed",
            "community.member_welcomed",
            "registration.step_completed",
            "registration.completed",
        ]
        assert conversation[-1].ticks == conversation[-2].ticks, "the last two are one append"
    assert whole == Counter(view.status for view in system.registrations.registrations.values())["completed"] > 100


def test_a_failed_registration_is_undone_in_every_service(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system, _ = finished
    by_status = defaultdict(list)
    for view in system.registrations.registrations.values():
        by_status[view.status].append(view)
    assert {"completed", "compensated", "compensating", "failed", "started"} == set(by_status)
    for view in by_status["compensated"]:
        assert view.undone == ("chat", "auth")
        assert view.user_id not in system.auth.users
        assert view.user_id not in system.chat.rooms["1"].members
        assert view.user_id not in system.community.members
    assert {view.reason for view in by_status["failed"]} == {"email is taken", "auth refused to delete the user"}


class _NaiveUsers:
    """Users folded from nothing but the bytes, in the plainest way: what the read model is held against."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}

    def take(self, event: JournalEvent) -> None:
        if category_of(event.stream) != "user" or not event.is_json or event.type == "$streamDeleted":
            return
        key, data = event.stream[5:], orjson.loads(event.data)
        if event.type == "user.created":
            version = orjson.loads(event.metadata)["schemaVersion"]
            name, email = (data["fullName"], data["e_mail"]) if version == 1 else (data["name"], data["email"])
            city = data["city"] if version == 1 else data["address"]["city"]
            self.users[key] = {"name": name, "email": email, "city": city, "roles": set(), "logins": 0, "last": None, "cents": 0}
            return
        user = self.users[key]
        if event.type == "user.deleted":
            del self.users[key]
        elif event.type == "user.moved":
            user["city"] = data["address"]["city"]
        elif event.type == "user.updated":
            user.update({field: data[field] for field in ("name", "email") if field in data})
        elif event.type == "user.logged_in":
            user["logins"] += 1
            user["last"] = event.ticks
        elif event.type.startswith("user.role_"):
            (user["roles"].add if event.type == "user.role_granted" else user["roles"].discard)(data["role"])
        elif event.type == "user.paid":
            user["cents"] += round(data["amount"] * 100)


def test_the_read_model_of_users_is_right_after_every_event() -> None:
    system, naive = generate(events=2_500, seed=9), _NaiveUsers()
    emails: set[str] = set()
    for event in system.events():
        naive.take(event)
        emails |= {user["email"] for user in naive.users.values()}
        read_model = {
            key: {
                "name": user.name,
                "email": user.email,
                "city": user.city,
                "roles": user.roles,
                "logins": user.logins,
                "last": user.last_login,
                "cents": user.paid * 100,
            }
            for key, user in system.auth.users.items()
        }
        assert read_model == naive.users, event
    held = {user["email"] for user in naive.users.values()}
    assert len(held) < len(emails)
    assert {email for email in emails if system.auth.email_is_taken(email)} == held, "an email that was given up is free"


def test_the_read_models_of_rooms_posts_and_accounts_agree_with_the_events(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system, events = finished
    counts = Counter((event.stream, event.type) for event in events)
    members: dict[str, set[str]] = defaultdict(set)
    likes: dict[str, set[str]] = defaultdict(set)
    accounts: dict[int, str] = {}
    for event in events:
        body = orjson.loads(event.data) if event.is_json and event.type not in {"chat.bot_posted", "$streamDeleted"} else {}
        if event.type == "chat.member_joined":
            members[event.stream].add(body["userId"])
        elif event.type == "chat.member_left":
            members[event.stream].remove(body["userId"])
        elif event.type == "community.post_liked":
            likes[event.stream].add(body["userId"])
        elif event.type == "community.post_unliked":
            likes[event.stream].remove(body["userId"])
        elif event.type in {"UserAdded", "UserRenamed"}:
            accounts[body["userId"]] = body["name"]
        elif event.type == "UserRemoved":
            del accounts[body["userId"]]
    for key, room in system.chat.rooms.items():
        stream = f"room-{key}"
        assert room.members == members[stream]
        assert (room.messages, room.edits) == (counts[stream, "chat.message_sent"], counts[stream, "chat.message_edited"])
        assert room.is_archived == bool(counts[stream, "chat.room_archived"])
    for key, post in system.community.posts.items():
        assert (post.likes, post.comments) == (likes[f"post-{key}"], counts[f"post-{key}", "community.comment_added"])
    assert {key: user.name for key, user in system.accounts.users.items()} == accounts


def test_a_snapshot_holds_the_state_before_it() -> None:
    system = generate(events=20_000, seed=4)
    before: dict[str, Any] = {}
    seen = Counter[str]()
    for event in system.events():
        if event.type == "user.snapshot":
            user, body = before[event.stream], orjson.loads(event.data)
            assert body["revision"] == event.revision - 1
            assert (body["name"], body["email"], body["logins"], body["roles"], body["payments"]) == user
            seen["user"] += 1
        elif event.type == "room.snapshot":
            body = orjson.loads(event.data)
            assert (body["name"], body["messages"]) == before[event.stream]
            seen["room"] += 1
        key = event.stream.partition("-")[2]
        if key in system.auth.users and event.stream.startswith("user-"):
            view = system.auth.users[key]
            before[event.stream] = (view.name, view.email, view.logins, sorted(view.roles), view.payments)
        elif key in system.chat.rooms and event.stream.startswith("room-"):
            before[event.stream] = (system.chat.rooms[key].name, system.chat.rooms[key].messages)
    assert seen["user"] > 10
    assert seen["room"] > 10


def test_a_small_history_already_has_one_of_everything() -> None:
    system = generate(events=5_000, seed=1)
    events = list(system.events())
    versions = defaultdict(set)
    for event in events:
        versions[event.type].add(event.version)
    assert versions["user.created"] == {1, 2, 3}
    assert versions["user.paid"] == versions["chat.message_sent"] == {1, 2}
    assert {"chat.room_created", "chat.room_opened", "user.snapshot", "room.snapshot"} <= set(versions)
    assert system.facts.tombstoned
    assert system.facts.soft_deleted
    assert any(event.type == "user.created" and event.revision > 0 for event in events), "somebody came back"
    settings_ = {key for event in events if event.type == "$metadata" for key in event.body}
    assert {"$tb", "$maxCount", "$maxAge", "$acl", "$cacheControl"} == settings_
    assert {event.metadata for event in events if event.stream == "users"} >= {b"", b"host=accounts-1; app=3.2"}
    assert any(b"\\u" in event.data for event in events if event.stream == "users"), "the old service escapes"
    assert {event.type for event in events if not event.is_json} == {"chat.attachment_added", "user.avatar_changed", "$streamDeleted"}
    assert {event.data for event in events if event.type == "chat.bot_posted"} >= {b"", b"[1, 2, 3,]"}
    paid = [event.data for event in events if event.type == "user.paid"]
    assert any(b'"amount":' in data and data.split(b'"amount":')[1][:1].isdigit() and b"0," in data for data in paid)
    updates = [event.body for event in events if event.type == "user.updated"]
    assert any(update.get("crmId", 0) > 2**53 for update in updates)
    assert any("phone" in update and update["phone"] is None for update in updates)


def test_a_decimal_keeps_its_digits_in_the_payload() -> None:
    amounts = [e for e in generate(events=8_000, seed=3).events() if e.type == "user.paid" and e.version == 2]
    written = [event.data.split(b'"amount":')[1].split(b",")[0].decode() for event in amounts]
    assert [Decimal(text) for text in written] == [event.body["amount"] for event in amounts]
    assert any(text.endswith("0") and "." in text for text in written)


def test_all_users_of_the_old_service_were_taken_over_at_one_instant(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    imported = [event for event in finished[1] if event.type == "user.created" and "legacyId" in event.body]
    assert len(imported) > 5
    assert len({event.ticks for event in imported}) == 1
    assert max(event.ticks for event in finished[1] if event.stream == "users") < imported[0].ticks


def test_the_clock_ran_backwards_once_and_ticks_are_finer_than_microseconds(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system, events = finished
    steps = [later.ticks - earlier.ticks for earlier, later in pairwise(events)]
    assert sum(step < 0 for step in steps) == system.facts.steps_back == 1
    assert min(steps) <= -47 * 10**7
    assert sum(step == 0 for step in steps) > 20
    assert any(event.ticks % 10 for event in events)


def test_few_streams_are_very_active_and_many_are_quiet(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    sizes = sorted(finished[0].facts.by_stream.values(), reverse=True)
    assert sum(sizes[: len(sizes) // 50]) > 0.3 * SIZE
    assert sizes[len(sizes) // 2] <= 6
    assert sizes[0] < 0.3 * SIZE


def test_weekends_are_quiet_days_grow_and_launch_day_stands_out() -> None:
    days = Counter(to_datetime(event.ticks).date() for event in generate(events=30_000, seed=8).events())
    weeks: dict[bool, list[int]] = {True: [], False: []}
    for day, count in days.items():
        weeks[day.weekday() >= 5].append(count)
    assert sum(weeks[True]) / len(weeks[True]) < 0.75 * sum(weeks[False]) / len(weeks[False])
    first, last = date(2026, 1, 1), date(2026, 3, 31)
    assert sum(days[first + timedelta(n)] for n in range(14)) * 2 < sum(days[last - timedelta(n)] for n in range(14))
    assert max(days, key=lambda day: days[day]) == first + timedelta(54)


def test_the_facts_are_those_of_the_events(finished: tuple[SampleSystem, list[JournalEvent]]) -> None:
    system, events = finished
    facts = system.facts
    assert facts.by_type == Counter(event.type for event in events)
    assert facts.by_category == Counter(category_of(event.stream) for event in events)
    assert sum(facts.by_service.values()) == sum(facts.by_stream.values()) == SIZE
    active: dict[date, set[str]] = defaultdict(set)
    for event in events:
        user_id = (orjson.loads(event.metadata) if event.metadata.startswith(b"{") else {}).get("userId")
        if user_id is not None:
            active[to_datetime(event.ticks).date()].add(user_id)
    assert facts.active_users == active


def test_a_history_ends_where_it_is_told_to_whatever_day_it_is() -> None:
    until = datetime(2025, 7, 1, 12, tzinfo=UTC)
    events = list(SampleSystem(events=400, days=7, seed=1, until=until).events())
    assert to_datetime(events[-1].ticks) < until
    assert to_datetime(events[0].ticks) >= until - timedelta(days=7)
    assert to_ticks(UNTIL) == 17_750_016_000_000_000
