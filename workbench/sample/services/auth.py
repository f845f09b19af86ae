"""The auth service: users, their logins, roles, plans and payments. One stream a user: ``user-<id>``."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from workbench.kurrent.bulk_writer import StreamState
from workbench.sample.calendar import to_text
from workbench.sample.journal import Append, Cause, Draft, Journal, JournalEvent, Tombstone
from workbench.sample.views import UserView

SCHEMA_CHANGES = {"user.created": (0.3, 0.65), "user.paid": (0.5,)}
"""When a type's next version came into use, as shares of the history's time."""

SNAPSHOT_EVERY = 50
_FAILURES_BEFORE_LOCK = 4


class Auth:
    """Users, as the auth service sees them.

    Attributes
    ----------
    users : dict[str, UserView]
        The read model: every user there is, by id.
    gone : set[str]
        Deleted users whose streams are not deleted for good.
    """

    def __init__(self, journal: Journal) -> None:
        self.users: dict[str, UserView] = {}
        self.gone: set[str] = set()
        self._emails: set[str | None] = set()
        self._journal = journal

    # Commands: each decides on the user as this service has seen it, and appends at the revision of that view.

    def _append(self, cause: Cause, user_id: str, *drafts: Draft) -> Append:
        return self._journal.append(f"user-{user_id}", *drafts, cause=cause, expected=self.users[user_id].revision)

    def create(
        self, cause: Cause, *, user_id: str, name: str, email: str, city: str | None, country: str | None, **more: Any
    ) -> Append | None:
        """Create a user; nothing where the email is taken.

        One who was deleted, and whose stream was too, may come back: the store takes the stream as a new one that goes on counting.
        """
        if email in self._emails or user_id in self.users:
            return None
        match self._journal.version("user.created"):
            case 1:
                body: dict[str, Any] = {"fullName": name, "e_mail": email, "city": city}
            case 2:
                body = {"name": name, "email": email, "address": {"city": city}}
            case _:
                body = {"name": name, "email": email, "address": {"city": city, "country": country}, "plan": "free"}
        created = Draft("user.created", body | more)
        return self._journal.append(f"user-{user_id}", created, cause=cause, expected=StreamState.NO_STREAM)

    def email_is_taken(self, email: str) -> bool:
        return email in self._emails

    def log_in(self, cause: Cause, user_id: str, *, password_is_right: bool, device: str) -> Append | None:
        """Let a user in; after four failures in a row the account is locked in the same append as the fifth."""
        user = self.users.get(user_id)
        if user is None or user.is_locked:
            return None
        if password_is_right:
            return self._append(cause, user_id, Draft("user.logged_in", {"device": device, "at": self._journal.instant()}))
        failed = Draft("user.login_failed", {"device": device, "reason": "password"})
        if user.failed_logins < _FAILURES_BEFORE_LOCK:
            return self._append(cause, user_id, failed)
        return self._append(cause, user_id, failed, Draft("user.locked", {"after": user.failed_logins + 1}))

    def unlock(self, cause: Cause, user_id: str) -> Append | None:
        user = self.users.get(user_id)
        return self._append(cause, user_id, Draft("user.unlocked", {})) if user and user.is_locked else None

    def move(self, cause: Cause, user_id: str, *, city: str | None, country: str | None) -> Append | None:
        if user_id not in self.users:
            return None
        return self._append(cause, user_id, Draft("user.moved", {"address": {"city": city, "country": country}}))

    def update(self, cause: Cause, user_id: str, **changes: Any) -> Append | None:
        """Change the fields that are given: one left out stays, null empties it."""
        email = changes.get("email")
        if user_id not in self.users or (email is not None and email in self._emails):
            return None
        return self._append(cause, user_id, Draft("user.updated", changes))

    def grant_role(self, cause: Cause, user_id: str, role: str) -> Append | None:
        user = self.users.get(user_id)
        if user is None or role in user.roles:
            return None
        return self._append(cause, user_id, Draft("user.role_granted", {"role": role, "by": cause.user_id}))

    def revoke_role(self, cause: Cause, user_id: str, role: str) -> Append | None:
        user = self.users.get(user_id)
        if user is None or role not in user.roles:
            return None
        return self._append(cause, user_id, Draft("user.role_revoked", {"role": role, "by": cause.user_id}))

    def pay(self, cause: Cause, user_id: str, amount: Decimal) -> Append | None:
        """Record a payment. Version 1 wrote what its language made of a number: 20, 19.9; version 2 keeps the cents: 19.90."""
        if user_id not in self.users:
            return None
        if self._journal.version("user.paid") == 1:
            written: Decimal | float = int(amount) if amount == int(amount) else float(amount)
            body: dict[str, Any] = {"amount": written}
        else:
            body = {"amount": amount, "currency": "EUR", "dueAt": self._journal.instant(digits=0, ahead=14 * 86_400)}
        return self._append(cause, user_id, Draft("user.paid", body))

    def change_plan(self, cause: Cause, user_id: str, plan: str) -> Append | None:
        user = self.users.get(user_id)
        if user is None or user.plan == plan:
            return None
        return self._append(cause, user_id, Draft("user.plan_changed", {"from": user.plan, "to": plan}))

    def change_avatar(self, cause: Cause, user_id: str, image: bytes) -> Append | None:
        if user_id not in self.users:
            return None
        return self._append(cause, user_id, Draft("user.avatar_changed", image, is_json=False))

    def delete(self, cause: Cause, user_id: str, reason: str) -> Append | None:
        return self._append(cause, user_id, Draft("user.deleted", {"reason": reason})) if user_id in self.users else None

    # What becomes of a deleted user's stream, as the operators decide.

    def hide_stream(self, user_id: str) -> Append | None:
        return self._journal.soft_delete(f"user-{user_id}") if user_id in self.gone else None

    def tombstone_stream(self, user_id: str) -> Tombstone | None:
        return self._journal.tombstone(f"user-{user_id}") if user_id in self.gone else None

    def take_snapshot(self, cause: Cause, user_id: str) -> Append | None:
        """Write the whole state down, so that a reader may begin there."""
        user = self.users.get(user_id)
        if user is None:
            return None
        body = {
            "revision": user.revision,
            "name": user.name,
            "email": user.email,
            "city": user.city,
            "plan": user.plan,
            "roles": sorted(user.roles),
            "logins": user.logins,
            "lastLogin": None if user.last_login is None else to_text(user.last_login),
            "payments": user.payments,
            "paid": user.paid,
        }
        return self._append(cause, user_id, Draft("user.snapshot", body))

    # The read model.

    def apply(self, event: JournalEvent) -> None:
        """Take an event of a user's stream into the read model."""
        user_id = event.stream[len("user-") :]
        if event.type == "user.created":
            self.users[user_id] = _created(event)
            self._emails.add(self.users[user_id].email)
            self.gone.discard(user_id)
            return
        if event.type == "$streamDeleted":
            self.gone.remove(user_id)
            return
        user, body = self.users[user_id], event.body
        user.revision = event.revision
        match event.type:
            case "user.logged_in":
                user.logins += 1
                user.last_login = event.ticks
                user.failed_logins = 0
            case "user.login_failed":
                user.failed_logins += 1
            case "user.locked":
                user.is_locked = True
            case "user.unlocked":
                user.is_locked, user.failed_logins = False, 0
            case "user.moved":
                user.city, user.country = body["address"]["city"], body["address"]["country"]
            case "user.updated":
                self._update(user, body)
            case "user.role_granted":
                user.roles.add(body["role"])
            case "user.role_revoked":
                user.roles.discard(body["role"])
            case "user.paid":
                amount = Decimal(str(body["amount"]))
                user.payments += 1
                user.paid += amount
                user.spent += float(amount)
                user.big_payments += amount > 100
            case "user.plan_changed":
                user.plan = body["to"]
            case "user.deleted":
                self._emails.discard(user.email)
                self.gone.add(user_id)
                del self.users[user_id]
                return
        if event.revision % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1 and event.cause is not None:
            cause = Cause(event.cause.correlation_id, event.id)
            self._journal.later(self._journal.rng.uniform(0.05, 2.0), partial(self.take_snapshot, cause, user_id))

    def _update(self, user: UserView, body: dict[str, Any]) -> None:
        if "email" in body:
            self._emails.discard(user.email)
            self._emails.add(body["email"])
            user.email = body["email"]
        if "name" in body:
            user.name = body["name"]
        if "phone" in body:
            user.phone = body["phone"]


def _created(event: JournalEvent) -> UserView:
    body = event.body
    if event.version == 1:
        return UserView(event.revision, body["fullName"], body["e_mail"], body["city"])
    address = body["address"]
    return UserView(event.revision, body["name"], body["email"], address["city"], address.get("country"))
