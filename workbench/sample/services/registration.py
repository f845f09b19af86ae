"""The registration saga: it leads one registration through the three services, and undoes what was done where one fails.

A saga decides on its own stream, ``registration-<id>``, and nowhere else. What it asks the services to do are commands; what they
answer are their own events, which it knows by the correlation id of the registration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from workbench.kurrent.bulk_writer import StreamState
from workbench.sample.journal import Append, Cause, Command, Draft, Journal, JournalEvent
from workbench.sample.services.auth import Auth
from workbench.sample.services.chat import Chat
from workbench.sample.services.community import Community
from workbench.sample.views import RegistrationView

LOBBY = "1"
"""The room that every new user joins."""

Fate = Literal["none", "community is down", "chat never answers", "user cannot be deleted", "auth never answers"]
"""What goes wrong on the way, if anything; the last two happen while a registration is undone."""


@dataclass(slots=True)
class _Applicant:
    registration_id: str
    user_id: str
    name: str
    email: str
    city: str
    country: str
    fate: Fate


class Registrations:
    """Registrations, as the process manager sees them.

    Attributes
    ----------
    registrations : dict[str, RegistrationView]
        The read model: every registration, by id.
    """

    ANSWERS: ClassVar = (
        "registration.started",
        "registration.step_completed",
        "registration.step_failed",
        "registration.step_compensated",
        "user.created",
        "user.deleted",
        "chat.member_joined",
        "chat.member_left",
        "community.member_welcomed",
    )
    """The event types that a registration goes on from."""

    def __init__(self, journal: Journal, *, auth: Auth, chat: Chat, community: Community) -> None:
        self.registrations: dict[str, RegistrationView] = {}
        self._journal, self._auth, self._chat, self._community = journal, auth, chat, community
        self._applicants: dict[str, _Applicant] = {}  # by correlation id, while the registration is under way

    def start(
        self, cause: Cause, registration_id: str, *, user_id: str, name: str, email: str, city: str, country: str, fate: Fate
    ) -> Append | None:
        """Begin a registration. ``fate`` is what the services will do to it; it is not recorded."""
        applicant = _Applicant(registration_id, user_id, name, email, city, country, fate)
        self._applicants[cause.correlation_id] = applicant
        started = Draft("registration.started", {"userId": user_id, "name": name, "email": email})
        return self._journal.append(f"registration-{registration_id}", started, cause=cause, expected=StreamState.NO_STREAM)

    def on_event(self, event: JournalEvent) -> None:
        """Take the next step of the registration that an event belongs to, if it belongs to one."""
        applicant = self._applicants.get(event.cause.correlation_id) if event.cause else None
        if applicant is None:
            return
        assert event.cause is not None
        cause = Cause(event.cause.correlation_id, event.id)
        command = self._next(applicant, cause, event)
        if command is not None:
            self._journal.later(self._journal.rng.lognormvariate(-1.0, 0.8), command)

    def _next(self, who: _Applicant, cause: Cause, event: JournalEvent) -> Command | None:
        note = partial(self._note, cause, who.registration_id)
        match event.type, (event.body or {}).get("service"):
            # Onwards: auth, chat, community.
            case "registration.started", _:
                return partial(self._create_user, who, cause)
            case "user.created", _:
                return partial(note, Draft("registration.step_completed", {"service": "auth"}))
            case "registration.step_completed", "auth" if who.fate != "chat never answers":
                return partial(self._chat.join, cause, LOBBY, who.user_id)
            case "chat.member_joined", _ if event.stream == f"room-{LOBBY}":
                return partial(note, Draft("registration.step_completed", {"service": "chat"}))
            case "registration.step_completed", "chat" if who.fate == "none":
                return partial(self._community.welcome, cause, who.user_id)
            case "registration.step_completed", "chat":
                reason = "503 from community, five times"
                return partial(note, Draft("registration.step_failed", {"service": "community", "reason": reason}))
            case "community.member_welcomed", _:
                done = Draft("registration.step_completed", {"service": "community"})
                return partial(note, done, Draft("registration.completed", {"userId": who.user_id}))
            # Back: chat, auth.
            case "registration.step_failed", _:
                return partial(self._chat.leave, cause, LOBBY, who.user_id, reason="registration undone")
            case "chat.member_left", _:
                return partial(note, Draft("registration.step_compensated", {"service": "chat"}))
            case "registration.step_compensated", "chat" if who.fate == "user cannot be deleted":
                return partial(note, Draft("registration.failed", {"reason": "auth refused to delete the user"}))
            case "registration.step_compensated", "chat" if who.fate != "auth never answers":
                return partial(self._auth.delete, cause, who.user_id, "registration undone")
            case "user.deleted", _:
                undone = Draft("registration.step_compensated", {"service": "auth"})
                return partial(note, undone, Draft("registration.compensated", {}))
        return None

    def _create_user(self, who: _Applicant, cause: Cause) -> Append | None:
        if self._auth.email_is_taken(who.email):
            return self._note(cause, who.registration_id, Draft("registration.failed", {"reason": "email is taken"}))
        return self._auth.create(cause, user_id=who.user_id, name=who.name, email=who.email, city=who.city, country=who.country)

    def _note(self, cause: Cause, registration_id: str, *drafts: Draft) -> Append | None:
        registration = self.registrations[registration_id]
        return self._journal.append(f"registration-{registration_id}", *drafts, cause=cause, expected=registration.revision)

    def apply(self, event: JournalEvent) -> None:
        """Take an event of a registration's stream into the read model."""
        registration_id = event.stream[len("registration-") :]
        body: dict[str, Any] = event.body
        if event.type == "registration.started":
            self.registrations[registration_id] = RegistrationView(event.revision, body["userId"], body["email"])
            return
        registration = self.registrations[registration_id]
        registration.revision = event.revision
        match event.type:
            case "registration.step_completed":
                registration.done += (body["service"],)
            case "registration.step_failed":
                registration.status, registration.reason = "compensating", body["reason"]
            case "registration.step_compensated":
                registration.undone += (body["service"],)
            case "registration.completed":
                registration.status = "completed"
            case "registration.compensated":
                registration.status = "compensated"
            case "registration.failed":
                registration.status, registration.reason = "failed", body["reason"]
        if registration.status in {"completed", "compensated", "failed"}:
            assert event.cause is not None
            del self._applicants[event.cause.correlation_id]
