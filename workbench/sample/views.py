"""The read models of the services: plain values, updated by plain code as events are recorded.

They share no code with the workbench's projections, so that each can be checked against the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal


@dataclass(slots=True)
class UserView:
    """A user of the auth service; a deleted one has none.

    Attributes
    ----------
    last_login : int or None
        The server's stamp of the last ``user.logged_in``, in ticks.
    failed_logins : int
        Failures since the last success.
    paid, spent
        The sum of all payments: exactly, and as floats added up in log order.
    big_payments : int
        Payments above 100.
    """

    revision: int
    name: str | None
    email: str | None
    city: str | None
    country: str | None = None
    plan: str = "free"
    phone: str | None = None
    roles: set[str] = field(default_factory=set)
    logins: int = 0
    last_login: int | None = None
    failed_logins: int = 0
    is_locked: bool = False
    payments: int = 0
    paid: Decimal = Decimal(0)
    spent: float = 0.0
    big_payments: int = 0


@dataclass(slots=True)
class RoomView:
    """A room of the chat service."""

    revision: int
    name: str
    owner: str
    is_private: bool = False
    topic: str | None = None
    members: set[str] = field(default_factory=set)
    messages: int = 0
    edits: int = 0
    removals: int = 0
    attachments: int = 0
    bot_posts: int = 0
    last_message: int | None = None
    is_archived: bool = False


@dataclass(slots=True)
class PostView:
    """A post of the community service."""

    revision: int
    author: str
    title: str
    tags: tuple[str, ...] = ()
    likes: set[str] = field(default_factory=set)
    comments: int = 0
    edits: int = 0
    is_removed: bool = False


@dataclass(slots=True)
class MemberView:
    """A member of the community service."""

    revision: int
    user_id: str
    points: int = 0
    reputation: float = 0.0
    banned_until: str | None = None
    bans: int = 0
    has_left: bool = False


RegistrationStatus = Literal["started", "completed", "compensating", "compensated", "failed"]


@dataclass(slots=True)
class RegistrationView:
    """A registration; one that stays ``started`` or ``compensating`` is under way or stuck."""

    revision: int
    user_id: str
    email: str
    status: RegistrationStatus = "started"
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class LegacyUserView:
    """A user of the old accounts service, which keeps all of them in the one stream ``users``."""

    user_id: int
    name: str
    email: str
    logins: int = 0
