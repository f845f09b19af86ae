"""The benchmark's users as aggregates of the library `eventsourcing`, in its SQLite store."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class User(Aggregate):
    """What the projection `tests.bench.users.User` is, with the library's own means."""

    @event("Created")
    def __init__(self, name: str, email: str) -> None:
        self.name = name
        self.email = email
        self.city: str | None = None
        self.logins = 0
        self.fees = 0.0
        self.paid = Decimal(0)
        self.roles: set[str] = set()

    @event("Renamed")
    def rename(self, name: str, email: str) -> None:
        self.name, self.email = name, email

    @event("Moved")
    def move(self, city: str) -> None:
        self.city = city

    @event("LoggedIn")
    def log_in(self) -> None:
        self.logins += 1

    @event("Paid")
    def pay(self, amount: Decimal, fee: float) -> None:
        self.paid += amount
        self.fees += fee

    @event("RoleGranted")
    def grant(self, role: str) -> None:
        self.roles.add(role)

    @event("RoleRevoked")
    def revoke(self, role: str) -> None:
        self.roles.discard(role)


def rebuild(place: Path, users: dict[int, list[tuple[str, dict[str, Any]]]]) -> dict[str, Any]:
    """Write the events, then time how the repository rebuilds each aggregate from them."""
    with TemporaryDirectory(dir=place) as scratch:
        store = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{scratch}/events.db"}
        application: Application[UUID] = Application(env=store)
        aggregates, events = [], 0
        for history in users.values():
            user = _lived(history)
            events += len(user.pending_events)
            application.save(user)
            aggregates.append(user.id)
        began = time.perf_counter()
        for aggregate in aggregates:
            application.repository.get(aggregate)
        return {"seconds": time.perf_counter() - began, "events": events}


def _lived(history: list[tuple[str, dict[str, Any]]]) -> User:
    """Let a user live through a history; what the projection does not read, and the end of a life, leave no event."""
    user: User | None = None
    for kind, payload in history:
        if kind == "user.created":
            if user is None:
                user = User(name=payload["name"], email=payload["email"])
            else:
                user.rename(name=payload["name"], email=payload["email"])
        elif user is None:
            continue
        elif kind == "user.moved":
            user.move(city=payload["address"]["city"])
        elif kind == "user.logged_in":
            user.log_in()
        elif kind == "user.paid":
            user.pay(amount=Decimal(str(payload["amount"])), fee=payload["fee"])
        elif kind == "user.role_granted":
            user.grant(role=payload["role"])
        elif kind == "user.role_revoked":
            user.revoke(role=payload["role"])
    assert user is not None
    return user
