"""The users that replays are measured on: their events, as a lake, and the projections that fold them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from workbench.events import EVENT_SCHEMA, Checkpoint, Selection, Store
from workbench.projection import Digits, Projection, event, on

BATCH = 200_000
STEP = 400
"""Bytes from one position to the next."""
_TICKS = 10_000
"""Time from one byte to the next, in 100 ns."""
HANDLERS = (
    on("user.created").create("name", "email"),
    on("user.moved").set(city=event.data["address"]["city"]),
    on("user.logged_in").add(logins=1),
    on("user.paid").add(fees=event.data["fee"], paid=event.data["amount"]),
    on("user.role_granted").include(roles=event.data["role"]),
    on("user.role_revoked").exclude(roles=event.data["role"]),
    on("user.deleted").delete(),
)
TYPES = ("user.created", "user.moved", "user.logged_in", "user.paid", "user.role_granted", "user.role_revoked", "user.deleted")
PATHS = ("$.name", "$.email", "$.address.city", "$.fee", "$.amount", "$.role")


class User(Projection, category="user"):
    """Keyed by stream."""

    name: str | None
    email: str | None
    city: str | None
    logins: int = 0
    fees: float = 0.0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    roles: set[str]
    handlers = HANDLERS


class Person(Projection, category="user", key=event.data["userId"]):
    """The same across streams."""

    name: str | None
    email: str | None
    city: str | None
    logins: int = 0
    fees: float = 0.0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    roles: set[str]
    handlers = HANDLERS


PROJECTIONS = {"stream": User, "payload": Person}


def write_lake(path: Path, events: int, *, streams: int, clustered: bool, days: float | None = None) -> None:
    """Write a lake of users' events, 0.4 seconds from one to the next or over so many days."""
    from workbench.lake import LakeWriter

    chance = np.random.default_rng(7)
    store = Store("esdb://bench", 0, _event_id(0))
    revisions = np.zeros(streams, dtype=np.int64)
    ticks = _TICKS if days is None else int(days * 864_000_000_000) // (events * STEP)
    with LakeWriter.open(path, store=store, selection=Selection()) as writer:
        for first in range(0, events, BATCH):
            count = min(BATCH, events - first)
            table = batch(chance, first, chance.integers(0, streams, count), revisions, ticks)
            last = first + count - 1
            writer.append(table, Checkpoint(last * STEP, last * STEP, _event_id(last), datetime(2030, 1, 1, tzinfo=UTC)))
        if clustered:
            writer.cluster()


def batch(chance: np.random.Generator, first: int, users: Any, revisions: Any, apart: int = _TICKS) -> pa.Table:
    count = len(users)
    kinds, picks, cents = (chance.integers(0, most, count).tolist() for most in (100, 1000, 10_000_000))
    fees = chance.random(count).tolist()
    types, payloads, numbers = [], [], []
    for user, kind, pick, cent, fee in zip(users.tolist(), kinds, picks, cents, fees, strict=True):
        number = int(revisions[user])
        revisions[user] += 1
        name, own = _event(0 if number == 0 else kind, user, pick, cent, fee)
        types.append(name)
        payloads.append(f'{{"userId":"u{user}",{own}{_TAIL % (user, cent, pick)}}}')
        numbers.append(number)
    positions = np.arange(first, first + count, dtype=np.int64) * STEP
    ticks = 17_672_256_000_000_000 + positions * apart
    columns = {
        "position": positions,
        "prepare_position": positions,
        "stream": [f"user-{user}" for user in users.tolist()],
        "category": ["user"] * count,
        "revision": numbers,
        "event_id": [_event_id(number) for number in range(first, first + count)],
        "type": types,
        "recorded_at": pa.array(ticks // 10).cast(pa.timestamp("us", tz="UTC")),
        "recorded_ticks": ticks,
        "is_json": [True] * count,
        "data": payloads,
        "metadata": ['{"$correlationId":"c"}'] * count,
        "data_bytes": pa.nulls(count, pa.binary()),
        "metadata_bytes": pa.nulls(count, pa.binary()),
        "correlation_id": ["c"] * count,
        "causation_id": pa.nulls(count, pa.string()),
    }
    return pa.table(columns).cast(EVENT_SCHEMA)


_TAIL = (
    '"requestId":"%08x-%08x-%04x","source":"web","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"'
)
_NAMES, _CITIES, _ROLES = (
    ("Ada", "Grace", "Edsger", "Käthe"),
    ("Berlin", "Paris", "São Paulo", "Oslo"),
    ("admin", "editor", "viewer", "owner"),
)


def _event(kind: int, user: int, pick: int, cent: int, fee: float) -> tuple[str, str]:
    """Return an event's type and its own part of the payload."""
    if kind < 1:
        return "user.created", f'"name":"{_NAMES[pick % 4]} {pick}","email":"u{user}@example.org",'
    if kind < 20:
        return "user.moved", f'"address":{{"street":"Main Street {pick}","city":"{_CITIES[pick % 4]}"}},'
    if kind < 55:
        return "user.logged_in", f'"ip":"10.0.{pick % 256}.{cent % 256}","device":"d{pick}",'
    if kind < 80:
        return "user.paid", f'"amount":{cent // 100}.{cent % 100:02d},"fee":{fee!r},"currency":"EUR",'
    if kind < 90:
        return "user.role_granted", f'"role":"{_ROLES[pick % 4]}",'
    if kind < 96:
        return "user.role_revoked", f'"role":"{_ROLES[pick % 4]}",'
    if kind < 98:
        return "user.noted", f'"note":"n{pick}",'
    return "user.deleted", '"reason":"asked",'


def _event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"
