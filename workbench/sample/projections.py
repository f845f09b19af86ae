"""The sample's read models, declared as projections.

Each is equal, at every position, to the read model that its service keeps, see :mod:`.views`. Give one to a question::

    workbench state --projection workbench.sample.projections:User --lake data/demo --at 2026-03-01
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from workbench.projection import Digits, Projection, event, on, upcast

_data = event.data
_version = event.metadata["schemaVersion"]


class User(Projection, category="user"):
    """A user of the auth service. The versions of ``user.created`` differ in their names, and in where the city stands."""

    name: str
    email: str
    city: str | None
    country: str | None
    plan: str = "free"
    phone: str | None
    roles: set[str]
    logins: int = 0
    last_login: datetime | None
    failed_logins: int = 0
    is_locked: bool = False
    payments: int = 0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    spent: float = 0.0
    big_payments: int = 0

    upcasters = (
        upcast("user.created", when=_version == 1).rename(fullName="name", e_mail="email"),
        upcast("user.created", when=_version >= 2).move(city=_data["address"]["city"], country=_data["address"]["country"]),
    )
    handlers = (
        on("user.created").create("name", "email", "city", "country"),
        on("user.updated").set("name", "email", "phone"),
        on("user.moved").set(city=_data["address"]["city"], country=_data["address"]["country"]),
        on("user.logged_in").add(logins=1).set(last_login=event.recorded_at, failed_logins=0),
        on("user.login_failed").add(failed_logins=1),
        on("user.locked").set(is_locked=True),
        on("user.unlocked").set(is_locked=False, failed_logins=0),
        on("user.role_granted").include(roles=_data["role"]),
        on("user.role_revoked").exclude(roles=_data["role"]),
        on("user.plan_changed").set(plan=_data["to"]),
        on("user.paid").add(payments=1, paid=_data["amount"], spent=_data["amount"]),
        on("user.paid").where(_data["amount"] > 100).add(big_payments=1),
        on("user.deleted").delete(),
    )


class Room(Projection, category="room"):
    """A room of the chat service. Rooms were first recorded under another type, with the name as ``title``."""

    name: str
    owner: str
    is_private: bool = False
    topic: str | None
    members: set[str]
    messages: int = 0
    edits: int = 0
    removals: int = 0
    attachments: int = 0
    bot_posts: int = 0
    last_message: datetime | None
    is_archived: bool = False

    upcasters = (upcast("chat.room_created").rename(title="name").to("chat.room_opened"),)
    handlers = (
        on("chat.room_opened").create("name", "owner", "topic", is_private=_data["private"]),
        on("chat.room_renamed").set("name"),
        on("chat.topic_set").set("topic"),
        on("chat.member_joined").include(members=_data["userId"]),
        on("chat.member_left").exclude(members=_data["userId"]),
        on("chat.message_sent").add(messages=1).set(last_message=event.recorded_at),
        on("chat.message_edited").add(edits=1),
        on("chat.message_removed").add(removals=1),
        on("chat.attachment_added").add(attachments=1),
        on("chat.bot_posted").add(bot_posts=1),
        on("chat.room_archived").set(is_archived=True),
    )


class Post(Projection, category="post"):
    """A post of the community service."""

    author: str
    title: str
    tags: list[str]
    likes: set[str]
    comments: int = 0
    edits: int = 0
    is_removed: bool = False

    handlers = (
        on("community.post_published").create("title", "tags", author=_data["userId"]),
        on("community.post_edited").set("title").add(edits=1),
        on("community.post_liked").include(likes=_data["userId"]),
        on("community.post_unliked").exclude(likes=_data["userId"]),
        on("community.comment_added").add(comments=1),
        on("community.post_removed").set(is_removed=True),
    )


class Registration(Projection, category="registration"):
    """A registration; one that stays ``started`` or ``compensating`` is under way or stuck."""

    user_id: str
    email: str
    status: str = "started"
    done: list[str]
    undone: list[str]
    reason: str | None

    handlers = (
        on("registration.started").create("email", user_id=_data["userId"]),
        on("registration.step_completed").append(done=_data["service"], keep=10),
        on("registration.step_failed").set("reason", status="compensating"),
        on("registration.step_compensated").append(undone=_data["service"], keep=10),
        on("registration.completed").set(status="completed"),
        on("registration.compensated").set(status="compensated"),
        on("registration.failed").set("reason", status="failed"),
    )


class LegacyUser(Projection, category="users", key=_data["userId"]):
    """A user of the old accounts service, which keeps all of them in one stream: the key stands in the payload."""

    name: str
    email: str
    logins: int = 0

    handlers = (
        on("UserAdded").create("name", email=_data["mail"]),
        on("UserRenamed").set("name"),
        on("UserLoggedIn").add(logins=1),
        on("UserRemoved").delete(),
    )
