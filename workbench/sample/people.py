"""Simulates people: who acts, on what, and how often. As in any community, few are very active and most are quiet."""

from __future__ import annotations

import random
from decimal import Decimal
from functools import partial
from typing import Final

from workbench.sample.calendar import SECOND
from workbench.sample.chance import Choice, Habits, Urn, chosen_then
from workbench.sample.journal import Cause, Command, Journal, JournalEvent
from workbench.sample.services.auth import Auth
from workbench.sample.services.chat import Chat
from workbench.sample.services.community import Community
from workbench.sample.services.legacy import CUT_OVER, LegacyAccounts
from workbench.sample.services.registration import LOBBY, Fate, Registrations
from workbench.sample.words import PLANS, TOPICS, Words, email_of

STAFF = ("1", "2", "3")
FIRST_ACCOUNT = 9001
"""The old service's first user id."""

_TOMBSTONES = 12  # at most: each is a call of its own
_FIRST_FATES: Final[dict[int, Fate]] = {
    4: "community is down",
    8: "chat never answers",
    10: "user cannot be deleted",
    12: "auth never answers",
}
_FATES: Final[tuple[Fate, ...]] = ("none", "community is down", "chat never answers", "user cannot be deleted", "auth never answers")
_FATE_WEIGHTS = (89.0, 6.0, 2.5, 1.5, 1.0)
_BOT_POSTS = (
    b'{"text": "build 17 passed", "seconds": 41.5}',
    b'{"text": "build 18 failed", "seconds": NaN}',
    b'{"text": "build 19 was cut o',
    b'[1, 2, 3,]',
    b'{"text": "\xff\xfe no UTF-8"}',
    b'{"text": "half a pair \\ud83d"}',
    b"",
    b"null",
)  # fmt: skip
"""The bot's posts, all flagged as JSON; only some of them are."""


class People:
    """The people around the services, as a source of commands.

    Parameters
    ----------
    rng
        The source of their choices.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        auth: Auth,
        chat: Chat,
        community: Community,
        registrations: Registrations,
        accounts: LegacyAccounts,
        rng: random.Random,
    ) -> None:
        self._journal, self._rng = journal, rng
        self._auth, self._chat, self._community = auth, chat, community
        self._registrations, self._accounts = registrations, accounts
        self._words = Words(rng)
        self._users, self._rooms, self._posts = Urn(rng), Urn(rng), Urn(rng)
        self._last_user = self._last_room = self._last_post = self._last_registration = 0
        self._last_account = FIRST_ACCOUNT - 1
        self._deleted = self._tombstones = self._bot_posts = 0
        self._habits = Habits(self._everyday(), rng)
        self._habits_before = Habits({**self._everyday(), self._use_accounts: 6.0}, rng)
        self._habits_at_launch = Habits({**self._everyday(), self._register: 9.0}, rng)

    def _everyday(self) -> dict[Choice, float]:
        return {
            self._talk: 52.0,
            self._log_in: 15.0,
            self._like: 8.0,
            self._comment: 7.0,
            self._publish: 2.0,
            self._visit_room: 4.0,
            self._edit_message: 1.6,
            self._post_by_bot: 1.0,
            self._attach: 0.8,
            self._run_room: 1.2,
            self._run_post: 1.4,
            self._award: 1.2,
            self._pay: 1.8,
            self._change_user: 2.2,
            self._change_roles: 0.7,
            self._delete_user: 0.12,
            self._register: 1.3,
        }

    def next_command(self) -> Command:
        """Return somebody's next command; it may have no effect."""
        clock = self._journal.clock
        habits = self._habits_at_launch if clock.is_launch else self._habits
        if clock.progress < CUT_OVER:
            habits = self._habits_before
        while True:
            command = habits.choose()
            if command is not None:
                return command

    def rival(self, stream: str) -> Command | None:
        """Return, rarely, somebody else's concurrent command on the same stream."""
        if self._rng.random() >= 0.004:
            return None
        category, _, key = stream.partition("-")
        if category == "room" and self._chat.recent.get(key):
            message_id, user_id = self._rng.choice(self._chat.recent[key])
            cause = self._journal.request(user_id)
            return partial(self._chat.send, cause, key, user_id, self._words.sentence(), reply_to=message_id)
        if category == "post":
            user_id = self._users.pick()
            return partial(self._community.comment, self._journal.request(user_id), key, user_id, self._words.sentence())
        return None

    # The beginning, and what comes at its time.

    def begin(self) -> None:
        """Put the first day and the turning points on the agenda."""
        journal, clock = self._journal, self._journal.clock
        self._last_user = self._last_room = 1
        founder = journal.request("1")
        self._users.add("1", balls=12)
        self._rooms.add(LOBBY, balls=90)
        create = partial(self._auth.create, founder, user_id="1", name="Ada Lovelace", email="ada@example.org", city="London", country="GB")
        first_steps: tuple[Command, ...] = (
            create,
            partial(self._auth.grant_role, founder, "1", "admin"),
            partial(self._chat.open, founder, LOBBY, name="Lobby", owner="1", is_private=False),
            partial(journal.describe, f"room-{LOBBY}", maxCount=5000),
            partial(self._community.welcome, founder, "1"),
            chosen_then(partial(self._talk_as, "1", LOBBY)),
        )
        for seconds, step in enumerate(first_steps):
            journal.later(seconds, step)
        for i in range(4):
            journal.later(10 + 5 * i, chosen_then(self._register))
            journal.later(12 + 5 * i, chosen_then(self._use_accounts))
        journal.later(60, partial(journal.describe, "users", maxAge=400 * 86_400, acl={"$r": ["$admins", "accounts"]}))
        journal.later(3_600, chosen_then(partial(self._open_room, maxAge=30 * 86_400, cacheControl=60)))
        journal.later(7_200, chosen_then(partial(self._open_room, maxCount=50)))
        seconds_in_all = (clock.until - clock.since) // SECOND
        journal.later(seconds_in_all * CUT_OVER, self._take_over_accounts)
        for share in (0.3, 0.42, 0.5, 0.58, 0.66):
            journal.later(seconds_in_all * share, chosen_then(self._delete_user))

    def on_registered(self, event: JournalEvent) -> None:
        self._users.add(event.body["userId"])

    def on_user_created(self, event: JournalEvent) -> None:
        """Count those in who were taken over from the old service; the others come in when their registration is completed."""
        if "legacyId" in event.body:
            self._users.add(event.stream[len("user-") :])

    def on_room_opened(self, event: JournalEvent) -> None:
        if event.stream != f"room-{LOBBY}":
            self._rooms.add(event.stream[len("room-") :])

    def on_post_published(self, event: JournalEvent) -> None:
        self._posts.add(event.stream[len("post-") :])

    def on_locked(self, event: JournalEvent) -> None:
        cause = Cause(event.cause.correlation_id, event.id, "1") if event.cause else self._journal.request("1")
        self._journal.later(self._rng.uniform(60, 7_200), partial(self._auth.unlock, cause, event.stream[len("user-") :]))

    def on_user_deleted(self, event: JournalEvent) -> None:
        """Decide what becomes of the stream: hidden, hidden and one day used again, deleted for good, or left as it is."""
        if event.body["reason"] == "registration undone":
            return
        user_id = event.stream[len("user-") :]
        fate = self._deleted % 5
        self._deleted += 1
        later = self._journal.later
        if fate in {0, 1, 4}:
            later(1_800, partial(self._auth.hide_stream, user_id))
        if fate == 1:
            later(2 * 86_400, chosen_then(partial(self._return_of, user_id)))
        if fate == 2 and self._tombstones < _TOMBSTONES:
            self._tombstones += 1
            later(1_800, partial(self._auth.tombstone_stream, user_id))

    # What is done every day. Each returns a command, or None where there is nothing to do it on.

    def _user(self) -> str | None:
        for _ in range(8):
            user_id = self._users.pick()
            if user_id in self._auth.users:
                return user_id
        return None

    def _talk(self) -> Command | None:
        room_id = self._rooms.pick()
        recent = self._chat.recent.get(room_id)
        if recent and self._rng.random() < 0.85:
            return self._talk_as(self._rng.choice(recent)[1], room_id)
        user_id = self._user()
        if user_id is None or room_id not in self._chat.rooms:
            return None
        if user_id not in self._chat.rooms[room_id].members:
            return partial(self._chat.join, self._journal.request(user_id), room_id, user_id)
        return self._talk_as(user_id, room_id)

    def _talk_as(self, user_id: str, room_id: str) -> Command | None:
        recent = self._chat.recent.get(room_id)
        cause, reply_to = self._journal.request(user_id), None
        if recent and self._rng.random() < 0.25:
            reply_to = recent[-1][0]
            cause = Cause(cause.correlation_id, reply_to, user_id)
        return partial(self._chat.send, cause, room_id, user_id, self._words.sentence(), reply_to=reply_to)

    def _visit_room(self) -> Command | None:
        user_id, room_id = self._user(), self._rooms.pick()
        if user_id is None or room_id not in self._chat.rooms:
            return None
        visit = self._chat.leave if user_id in self._chat.rooms[room_id].members else self._chat.join
        return partial(visit, self._journal.request(user_id), room_id, user_id)

    def _edit_message(self) -> Command | None:
        room_id = self._rooms.pick()
        recent = self._chat.recent.get(room_id)
        if not recent:
            return None
        message_id, user_id = self._rng.choice(recent)
        cause = Cause(self._journal.new_id(), message_id, user_id)
        if self._rng.random() < 0.2:
            return partial(self._chat.remove, cause, room_id, message_id)
        return partial(self._chat.edit, cause, room_id, message_id, self._words.sentence())

    def _post_by_bot(self) -> Command | None:
        content = _BOT_POSTS[self._bot_posts % len(_BOT_POSTS)]
        self._bot_posts += 1
        return partial(self._chat.post_as_bot, self._journal.request("bot"), self._rooms.pick(), content)

    def _attach(self) -> Command | None:
        # Sent as bytes. Every fourth is JSON all the same: the flag and the content are two things.
        if self._rng.random() < 0.25:
            content = b'{"rows": %d, "file": "export.json"}' % self._rng.randrange(1000)
        else:
            content = b"%PDF-1.7\n" + self._rng.randbytes(self._rng.randrange(50, 1500))
        return partial(self._chat.attach, self._journal.request(self._user()), self._rooms.pick(), content)

    def _run_room(self) -> Command | None:
        chance, room_id = self._rng.random(), self._rooms.any()
        room = self._chat.rooms.get(room_id)
        if chance < 0.35 or room is None:
            return self._open_room()
        cause = self._journal.request(room.owner)
        if chance < 0.6:
            return partial(self._chat.rename, cause, room_id, self._words.title())
        if chance < 0.95:
            return partial(self._chat.set_topic, cause, room_id, None if chance > 0.85 else self._words.sentence())
        return partial(self._chat.archive, cause, room_id) if room_id != LOBBY else None

    def _open_room(self, **metadata: int) -> Command | None:
        owner = self._user()
        if owner is None:
            return None
        self._last_room += 1
        room_id = str(self._last_room)
        if metadata:
            self._journal.later(1, partial(self._journal.describe, f"room-{room_id}", **metadata))
        return partial(
            self._chat.open,
            self._journal.request(owner),
            room_id,
            name=self._words.title(),
            owner=owner,
            is_private=self._rng.random() < 0.2,
        )

    def _publish(self) -> Command | None:
        author = self._user()
        if author is None:
            return None
        self._last_post += 1
        return partial(
            self._community.publish,
            self._journal.request(author),
            str(self._last_post),
            author=author,
            title=self._words.title(),
            text="\n".join(self._words.sentence() for _ in range(self._rng.randrange(1, 12))),
            tags=self._rng.sample(TOPICS, k=self._rng.randrange(0, 4)),
        )

    def _post(self) -> str | None:
        return self._posts.pick() if self._community.posts else None

    def _like(self) -> Command | None:
        post_id, user_id = self._post(), self._user()
        if post_id is None or user_id is None:
            return None
        return partial(self._community.like, self._journal.request(user_id), post_id, user_id)

    def _comment(self) -> Command | None:
        post_id, user_id = self._post(), self._user()
        if post_id is None or user_id is None:
            return None
        return partial(self._community.comment, self._journal.request(user_id), post_id, user_id, self._words.sentence())

    def _run_post(self) -> Command | None:
        post_id = self._post()
        if post_id is None:
            return None
        chance, post = self._rng.random(), self._community.posts[post_id]
        cause = self._journal.request(post.author)
        if chance < 0.5:
            return partial(self._community.edit, cause, post_id, title=self._words.title())
        if chance < 0.8:
            # The smallest, not any: a set of texts has another order in every process.
            return partial(self._community.unlike, cause, post_id, min(post.likes, default=""))
        staff = self._journal.request(self._rng.choice(STAFF))
        return partial(self._community.remove, staff, post_id, self._rng.choice(("spam", "off topic", "by the author")))

    def _award(self) -> Command | None:
        user_id = self._user()
        if user_id is None:
            return None
        weight = self._rng.choice((0.1, 0.25, 1.0, 1.5, 1 / 3))
        return partial(self._community.award, self._journal.request(), user_id, points=self._rng.randrange(1, 50), weight=weight)

    def _log_in(self) -> Command | None:
        user_id = self._user()
        if user_id is None:
            return None
        # Who mistyped once is likelier to do so again.
        right = self._rng.random() > (0.4 if self._auth.users[user_id].failed_logins else 0.07)
        device = self._rng.choice(("web", "android", "ios"))
        return partial(self._auth.log_in, self._journal.request(user_id), user_id, password_is_right=right, device=device)

    def _pay(self) -> Command | None:
        user_id = self._user()
        if user_id is None:
            return None
        price = dict(PLANS)[self._auth.users[user_id].plan]
        amount = price or Decimal(self._rng.randrange(50, 25_000)).scaleb(-2)
        return partial(self._auth.pay, self._journal.request(user_id), user_id, amount)

    def _change_user(self) -> Command | None:
        user_id = self._user()
        if user_id is None:
            return None
        cause, chance = self._journal.request(user_id), self._rng.random()
        user = self._auth.users[user_id]
        if chance < 0.3:
            city, country = self._words.city() if chance > 0.02 else (None, None)
            return partial(self._auth.move, cause, user_id, city=city, country=country)
        if chance < 0.45:
            return partial(self._auth.change_plan, cause, user_id, self._rng.choice(PLANS)[0])
        if chance < 0.55:
            image = b"\x89PNG\r\n\x1a\n" + self._rng.randbytes(self._rng.randrange(100, 2_000))
            return partial(self._auth.change_avatar, cause, user_id, image)
        if chance < 0.7:
            number = self._rng.randrange(1, 1000)
            return partial(self._auth.update, cause, user_id, email=email_of(user.name or "user", int(user_id) * 1000 + number))
        if chance < 0.8:
            return partial(self._auth.update, cause, user_id, name=self._words.name())
        if chance < 0.95:
            phone = None if user.phone else f"+49 421 {self._rng.randrange(10**6):06d}"
            return partial(self._auth.update, cause, user_id, phone=phone)
        # A number beyond 2**53, which no float holds.
        return partial(self._auth.update, cause, user_id, crmId=2**53 + self._rng.randrange(1, 2**40))

    def _change_roles(self) -> Command | None:
        user_id = self._user()
        if user_id is None:
            return None
        cause, roles = self._journal.request(self._rng.choice(STAFF)), self._auth.users[user_id].roles
        if roles and self._rng.random() < 0.4:
            return partial(self._auth.revoke_role, cause, user_id, min(roles))
        return partial(self._auth.grant_role, cause, user_id, self._rng.choice(("moderator", "editor", "support", "admin")))

    def _delete_user(self) -> Command | None:
        user_id = self._users.any()
        if user_id in STAFF or user_id not in self._auth.users:
            return None
        reason = self._rng.choice(("asked", "inactive", "fraud"))
        return partial(self._auth.delete, self._journal.request(user_id), user_id, reason)

    def _register(self) -> Command:
        self._last_user += 1
        self._last_registration += 1
        number, user_id = self._last_registration, str(self._last_user)
        name, (city, country) = self._words.name(), self._words.city()
        email = email_of(name, self._last_user)
        if number == 6 or (number > 12 and self._rng.random() < 0.02):
            email = self._auth.users["1"].email or email
        return partial(
            self._registrations.start,
            self._journal.request(user_id),
            str(number),
            user_id=user_id,
            name=name,
            email=email,
            city=city,
            country=country,
            fate=_FIRST_FATES.get(number, "none") if number <= 12 else self._rng.choices(_FATES, _FATE_WEIGHTS)[0],
        )

    def _return_of(self, user_id: str) -> Command:
        """Let a deleted user come back: the same stream, a new life."""
        name, (city, country) = self._words.name(), self._words.city()
        return partial(
            self._auth.create,
            self._journal.request(user_id),
            user_id=user_id,
            name=name,
            email=email_of(name, int(user_id) + 500_000),
            city=city,
            country=country,
        )

    def _use_accounts(self) -> Command | None:
        chance, accounts = self._rng.random(), self._accounts
        if chance < 0.12 or not accounts.users:
            self._last_account += 1
            name = self._words.name()
            return partial(accounts.add, self._last_account, name=name, email=email_of(name, self._last_account))
        user_id = self._rng.randrange(FIRST_ACCOUNT, self._last_account + 1)
        if chance < 0.9:
            return partial(accounts.log_in, user_id)
        return partial(accounts.rename, user_id, self._words.name()) if chance < 0.97 else partial(accounts.remove, user_id)

    def _take_over_accounts(self) -> None:
        """Take all users of the old service over to auth in one run: all at the same instant."""
        run = self._journal.request()
        for account in self._accounts.users.values():
            self._last_user += 1
            self._journal.later(
                5,
                partial(
                    self._auth.create,
                    run,
                    user_id=str(self._last_user),
                    name=account.name,
                    email=account.email,
                    city=None,
                    country=None,
                    legacyId=account.user_id,
                ),
            )
