"""The complete sample system: three services, a saga, a legacy service, and the people who use them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from workbench.errors import UsageError
from workbench.events import category_of, parse_time
from workbench.sample.calendar import UNTIL, SampleClock, SchemaVersions
from workbench.sample.facts import RunningCounts
from workbench.sample.journal import Append, Command, Journal, JournalEvent, Request
from workbench.sample.people import People
from workbench.sample.services.auth import SCHEMA_CHANGES as AUTH_CHANGES
from workbench.sample.services.auth import Auth
from workbench.sample.services.chat import SCHEMA_CHANGES as CHAT_CHANGES
from workbench.sample.services.chat import Chat
from workbench.sample.services.community import Community
from workbench.sample.services.legacy import LegacyAccounts
from workbench.sample.services.registration import Registrations

_MOST_COMMANDS_IN_VAIN = 10_000  # far beyond what chance does: the system has come to a standstill


class SampleSystem:
    """A history in the making, with the services that make it and their read models.

    The same arguments give the same history to the byte: ids, payloads, stamps. It runs once, by :meth:`events` or by
    :meth:`requests`; the read models are then those of the last event that was handed out.

    Parameters
    ----------
    events
        The exact number of events that the store will hold, including its own (``$metadata``, ``$streamDeleted``).
    days
        The number of days over which they are spread.
    seed
        The seed of all random choices.
    until
        The end of the last day, exclusive.

    Attributes
    ----------
    auth, chat, community, registrations, accounts
        The services. Their read models are ``auth.users``, ``chat.rooms``, ``community.posts``, ``community.members``,
        ``registrations.registrations`` and ``accounts.users``.
    facts : RunningCounts
        What is true of the history so far.

    Examples
    --------
    >>> system = SampleSystem(events=500, days=10, seed=7)
    >>> for event in system.events():
    ...     if event.type == "user.role_granted":
    ...         break
    >>> event.stream, event.revision, system.auth.users["1"].roles
    ('user-1', 1, {'admin'})
    """

    def __init__(self, *, events: int, days: int = 90, seed: int = 1, until: datetime = UNTIL) -> None:
        if events < 1 or days < 1:
            raise UsageError(f"A sample needs at least 1 event and 1 day, got events={events}, days={days}.")
        self._clock = SampleClock(events=events, days=days, until=parse_time(until), rng=random.Random(f"{seed}/clock"))
        self._journal = journal = Journal(
            clock=self._clock, versions=SchemaVersions(AUTH_CHANGES | CHAT_CHANGES), rng=random.Random(f"{seed}/journal")
        )
        self.facts = RunningCounts(since=self._clock.since, until=self._clock.until)
        self.auth = auth = Auth(journal)
        self.chat = chat = Chat(journal)
        self.community = community = Community(journal)
        self.registrations = Registrations(journal, auth=auth, chat=chat, community=community)
        self.accounts = LegacyAccounts(journal)
        self._people = people = People(
            journal,
            auth=auth,
            chat=chat,
            community=community,
            registrations=self.registrations,
            accounts=self.accounts,
            rng=random.Random(f"{seed}/people"),
        )
        self._read_models: dict[str, Callable[[JournalEvent], None]] = {
            "user": auth.apply,
            "room": chat.apply,
            "post": community.apply,
            "member": community.apply,
            "registration": self.registrations.apply,
            "users": self.accounts.apply,
        }
        self._subscribers: dict[str, list[Callable[[JournalEvent], None]]] = defaultdict(list)
        for event_type, subscriber in (
            ("user.deleted", chat.on_user_deleted),
            ("user.deleted", community.on_user_deleted),
            ("user.deleted", people.on_user_deleted),
            ("user.created", people.on_user_created),
            ("user.locked", people.on_locked),
            ("chat.room_created", people.on_room_opened),
            ("chat.room_opened", people.on_room_opened),
            ("community.post_published", people.on_post_published),
            ("community.post_removed", community.on_post_removed),
            ("community.member_banned", community.on_member_banned),
            ("registration.completed", people.on_registered),
        ):
            self._subscribers[event_type].append(subscriber)
        for event_type in Registrations.ANSWERS:
            self._subscribers[event_type].append(self.registrations.on_event)
        self._decided = self._run()

    def events(self) -> Iterator[JournalEvent]:
        """Run the system event by event, in log order; after each, the read models have just taken it in.

        Yields
        ------
        Event
            Every event that the store will hold. Refused appends leave none.
        """
        for request in self._decided:
            for event in request.recorded:
                self._apply(event)
                yield event

    def requests(self) -> Iterator[Request]:
        """Run the system request by request, as they go to the store, those that it must refuse among them."""
        for request in self._decided:
            for event in request.recorded:
                self._apply(event)
            yield request

    def _apply(self, event: JournalEvent) -> None:
        self._journal.record(event)
        category = category_of(event.stream)
        if (read_model := self._read_models.get(category)) is not None:
            read_model(event)
        self.facts.count(event, category)

    def _run(self) -> Iterator[Request]:
        """Yield one request after the other. The consumer applies each before the next is decided."""
        moments, clock, journal = self._clock.moments, self._clock, self._journal
        done = vain = 0
        clock.now = moments[0]
        self._people.begin()
        while done < len(moments):
            due, moment = journal.next_due, max(clock.now, moments[done])
            is_organic = due is None or due > moment
            if is_organic:
                clock.now = moment
                command = self._people.next_command()
            else:
                assert due is not None
                clock.now = max(clock.now, due)
                command = journal.take_due()
            before = done
            for request in self._carried_out(command, left=len(moments) - done, may_race=is_organic):
                yield request
                recorded = request.recorded
                done += len(recorded)
                for event in recorded:
                    for subscriber in self._subscribers.get(event.type, ()):
                        subscriber(event)
            vain = 0 if done > before else vain + 1
            if vain > _MOST_COMMANDS_IN_VAIN:
                raise RuntimeError(f"The sample system made no progress after {done} events.")

    def _carried_out(self, command: Command, *, left: int, may_race: bool) -> Iterator[Request]:
        """Run a command under optimistic concurrency: where its stream has moved on meanwhile, it is refused and decides again."""
        request = command()
        if request is None or len(request.recorded) > left:
            return
        rival = self._people.rival(request.stream) if may_race else None
        first = rival() if rival is not None else None
        if first is not None and len(request.recorded) + len(first.recorded) <= left:
            yield first
            if isinstance(request, Append) and not self._journal.accepts(request):
                self.facts.conflicts += 1
                yield replace(request, refused=True)
            request = command()
            if request is None:
                return
        yield request


def generate(*, events: int, days: int = 90, seed: int = 1, until: datetime = UNTIL) -> SampleSystem:
    """Return a sample system that will write so many events; nothing runs before its events or requests are asked for."""
    return SampleSystem(events=events, days=days, seed=seed, until=until)
