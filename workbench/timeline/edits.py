"""The edits that turn a timeline into a what-if.

An edit is a value: it names events and a change, and does no I/O. The lake applies a chain of edits when it executes a timeline with
them. Equal edits compare equal. The module is long because it defines all six edits, each with the checks of its arguments.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict, get_args
from uuid import UUID

from workbench.errors import InvalidTime, UsageError
from workbench.events import Cutoff, Selection, format_time
from workbench.projection import plan
from workbench.projection.event_conditions import where as condition_of
from workbench.projection.expressions import Where
from workbench.projection.fields import storable
from workbench.server_streams import Column, only_others
from workbench.timeline.bounds import Bound, Some

Cascade = Literal["causation", "correlation"]
Origin = Literal["recorded", "patched", "replaced", "inserted", "retimed"]
"""What edits did to an event of a fork. An inserted event stays ``inserted``; any other event that was moved is ``retimed``."""

_COLUMN_OF: dict[str, Column] = {
    "stream": "stream",
    "category": "category",
    "type": "type",
    "as_type": "type",
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])")
_ISO_SPAN = re.compile(
    r"P(?=.)(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?=.)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


class EditAddress(TypedDict, total=False):
    """Which events an edit is about, in words that all edits of recorded events share. An event must fit all that are given.

    Attributes
    ----------
    stream
        A name or several, in which ``*`` stands for any run of characters: ``"user-*"``.
    category
        A category or several, spelled exactly.
    type
        An event type or several, in which ``*`` stands for any run of characters.
    after, upto
        A range of times or positions, exclusive and inclusive, as in the methods of a timeline of the same names.
    position, event_id
        The position or the id of one event.
    where
        A condition on the event: SQL such as ``"data.amount > 100 and data.plan in ('pro', 'team')"`` (see ``workbench.conditions``), or an
        expression such as ``event.data["amount"] > 100``.

    Examples
    --------
    >>> spring: EditAddress = {"category": "user", "after": "2026-03-01"}
    >>> now = wb.open("data/demo").timeline
    >>> now.count() - now.drop(**spring).count()
    4186
    """

    stream: Some | None
    category: Some | None
    type: Some | None
    after: Bound | None
    upto: Bound | None
    position: int | None
    event_id: str | None
    where: Where | str | None


ADDRESS_WORDS = tuple(EditAddress.__annotations__)
"""The words of an address, in Python and in the YAML of scenarios."""


@dataclass(frozen=True, slots=True)
class EventAddress:
    """The events to which an edit applies: those that match every given part. System events never match.

    Attributes
    ----------
    after, upto
        A range, exclusive and inclusive, as in ``Timeline.after`` and ``Timeline.upto``.
    where
        A condition on the event, as the earlier edits left it.
    said
        The text of the condition.
    """

    selection: Selection = field(default_factory=Selection)
    after: Cutoff | None = None
    upto: Cutoff | None = None
    position: int | None = None
    event_id: str | None = None
    where: plan.Condition | None = None
    said: str = field(default="", compare=False)

    @classmethod
    def of(cls, method: str, address: EditAddress) -> EventAddress:
        """Check the arguments that all edits of recorded events share.

        Raises
        ------
        UsageError
            No argument is given, or one is not a valid name, position, id or condition.
        InvalidCondition
            The text of the condition is outside the language.
        InvalidTime
            A time has no time zone or cannot be parsed.
        """
        given: dict[str, Any] = {word: value for word, value in address.items() if value is not None}
        if not given:
            words = [f"{word}=" for word in ADDRESS_WORDS]
            raise UsageError(f'{method}() must say which events: {", ".join(words[:-1])} or {words[-1]}; stream="*" means all.')
        where = given.get("where")
        condition = condition_of(where) if isinstance(where, str) else where
        if condition is not None and not isinstance(condition, Where):
            raise UsageError(f"{method}(where={where!r}) is not a condition: write one like 'data.amount > 100'.")
        return cls(
            selection=Selection(
                streams=_names(method, "stream", given.get("stream")),
                categories=_names(method, "category", given.get("category")),
                types=_names(method, "type", given.get("type")),
            ),
            after=Cutoff.parse(given["after"]) if "after" in given else None,
            upto=Cutoff.parse(given["upto"]) if "upto" in given else None,
            position=_position(method, given["position"]) if "position" in given else None,
            event_id=_event_id(method, given["event_id"]) if "event_id" in given else None,
            where=None if condition is None else condition.condition,
            said="" if condition is None else str(condition),
        )

    def arguments(self) -> list[str]:
        """Return the given parts as the text of arguments."""
        chosen = self.selection
        named = [("stream", chosen.streams), ("category", chosen.categories), ("type", chosen.types)]
        parts = [f"{name}={(values[0] if len(values) == 1 else list(values))!r}" for name, values in named if values]
        parts += [f"{name}={_bound(cutoff)}" for name, cutoff in (("after", self.after), ("upto", self.upto)) if cutoff is not None]
        if self.position is not None:
            parts.append(f"position={self.position}")
        if self.event_id is not None:
            parts.append(f"event_id={self.event_id!r}")
        return [*parts, f"where={self.said}"] if self.where is not None else parts


@dataclass(frozen=True, slots=True)
class Drop:
    """Removes events; with ``cascade``, also the events that followed from them.

    ``causation`` also removes the events whose causation id is the id of a dropped one, transitively; ``correlation`` those that are later
    in the log and have the correlation id of a dropped one. Both apply across streams and categories.
    """

    address: EventAddress
    cascade: Cascade | None = None

    def __post_init__(self) -> None:
        if self.cascade is not None and self.cascade not in get_args(Cascade):
            raise UsageError(f"drop() expects cascade='causation' or 'correlation', got {self.cascade!r}.")

    def __str__(self) -> str:
        return _call("drop", *self.address.arguments(), *([f"cascade={self.cascade!r}"] if self.cascade else ()))


@dataclass(frozen=True, slots=True)
class Truncate:
    """Ends each stream before the first matching event."""

    address: EventAddress

    def __str__(self) -> str:
        return _call("truncate", *self.address.arguments())


@dataclass(frozen=True, slots=True)
class Patch:
    """Changes fields of the events' payloads. The rest of a payload stays byte for byte.

    Attributes
    ----------
    set
        Paths into the object, as keys from the outside in, and the new JSON text of each.
    unset
        Paths to remove.
    """

    address: EventAddress
    set: tuple[tuple[tuple[str, ...], str], ...] = ()
    unset: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, address: EventAddress, *, set: Mapping[str, Any] | None, unset: Iterable[str] | None) -> Patch:  # noqa: A002
        """Parse the fields: ``{"plan": "pro", "address.city": "Rome"}``; a dot separates keys, ``\\.`` is a dot in a key.

        Raises
        ------
        UsageError
            Nothing is set or unset, a name is invalid, or a value is not JSON.
        """
        if isinstance(unset, str):
            raise UsageError(f"patch() expects a list of names as unset=, such as [{unset!r}], got {unset!r}.")
        if set is not None and not isinstance(set, Mapping):
            raise UsageError(f"patch() expects names with values as set=, such as {{'plan': 'pro'}}, got {set!r}.")
        puts = tuple((_place(name), json_text(f"patch(set={name!r})", value)) for name, value in (set or {}).items())
        takes = tuple(map(_place, unset or ()))
        if not puts and not takes:
            raise UsageError("patch() needs set= or unset=, such as set={'plan': 'pro'}, unset=['trial'].")
        return cls(address, puts, takes)

    def __str__(self) -> str:
        parts = []
        if self.set:
            parts.append("set={" + ", ".join(f"{_named(place)!r}: {text}" for place, text in self.set) + "}")
        if self.unset:
            parts.append(f"unset={[_named(place) for place in self.unset]!r}")
        return _call("patch", *self.address.arguments(), *parts)


@dataclass(frozen=True, slots=True)
class Replace:
    """Replaces the events' payload, metadata or type; None keeps the recorded one. Payloads are JSON text."""

    address: EventAddress
    data: str | None = None
    metadata: str | None = None
    as_type: str | None = None

    def __post_init__(self) -> None:
        if self.data is None and self.metadata is None and self.as_type is None:
            raise UsageError("replace() needs a replacement: data=, metadata= or as_type=.")
        if self.as_type is not None:
            _own_name("replace", "as_type", self.as_type)

    def __str__(self) -> str:
        parts = [f"{name}={text}" for name, text in (("data", self.data), ("metadata", self.metadata)) if text is not None]
        return _call("replace", *self.address.arguments(), *parts, *([f"as_type={self.as_type!r}"] if self.as_type is not None else ()))


@dataclass(frozen=True, slots=True)
class Insert:
    """Adds one event.

    Attributes
    ----------
    at
        A time: the event comes after all events recorded by then. Or a position: the event comes right after it, at its time.
    event_id
        None to derive the id, deterministically, from the lake and the edit.
    """

    stream: str
    type: str
    at: Cutoff
    data: str = "{}"
    metadata: str | None = None
    event_id: str | None = None

    @classmethod
    def of(cls, *, stream: str, type: str, at: Bound, data: Any, metadata: Any, event_id: str | None) -> Insert:  # noqa: A002
        """Check the arguments.

        Raises
        ------
        UsageError
            A name is invalid or belongs to the system, or a payload is not JSON.
        InvalidTime
            The time has no time zone or cannot be parsed.
        """
        _own_name("insert", "stream", stream)
        _own_name("insert", "type", type)
        return cls(
            stream,
            type,
            Cutoff.parse(at),
            json_text("insert(data=...)", data),
            None if metadata is None else json_text("insert(metadata=...)", metadata),
            None if event_id is None else _event_id("insert", event_id),
        )

    def __str__(self) -> str:
        parts = [f"stream={self.stream!r}", f"type={self.type!r}", f"data={self.data}", f"at={_bound(self.at)}"]
        if self.metadata is not None:
            parts.append(f"metadata={self.metadata}")
        if self.event_id is not None:
            parts.append(f"event_id={self.event_id!r}")
        return _call("insert", *parts)


@dataclass(frozen=True, slots=True)
class Retime:
    """Moves the events by a duration, or a single event to another time.

    An event that is moved back to its recorded time returns to its recorded position.
    """

    address: EventAddress
    by: timedelta | None = None
    to: datetime | None = None

    @classmethod
    def of(cls, address: EventAddress, *, by: str | timedelta | None, to: Bound | None) -> Retime:
        """Parse a duration (``"-1h"``, ``"1d 12h"``, ``"PT90M"``, a timedelta) or a time.

        Raises
        ------
        UsageError
            Not exactly one of the two is given, or the duration is invalid.
        InvalidTime
            The time has no time zone or cannot be parsed.
        """
        if (by is None) == (to is None):
            raise UsageError("retime() needs either by=, a duration like '-1h', or to=, a time for one event.")
        if to is not None:
            moment = Cutoff.parse(to).time
            if moment is None:
                raise InvalidTime(f"retime() expects a time as to=, such as 2026-03-01T09:00:00Z, got {to!r}.")
            return cls(address, to=moment)
        assert by is not None
        return cls(address, by=span_of(by))

    def __str__(self) -> str:
        if self.to is not None:
            return _call("retime", *self.address.arguments(), f"to={format_time(self.to)!r}")
        assert self.by is not None
        return _call("retime", *self.address.arguments(), f"by={_span_text(self.by)!r}")


Edit = Drop | Truncate | Patch | Replace | Insert | Retime


@dataclass(frozen=True, slots=True)
class Effect:
    """What an edit came to in one lake, whatever the cutoff and the selection of the timeline.

    Attributes
    ----------
    matched
        How many events it took: dropped, changed, moved or inserted.
    cascaded
        How many more were dropped since they followed from those.
    notes
        What its author might not have meant, in sentences: it matched nothing, it puts an event before its stream began.
    """

    edit: Edit
    matched: int
    cascaded: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        also = f" and {self.cascaded:,} that followed" if self.cascaded else ""
        return f"{self.edit}: {self.matched:,} {'event' if self.matched == 1 else 'events'}{also}" + "".join(
            f"; {note}" for note in self.notes
        )


def span_of(value: str | timedelta) -> timedelta:
    """Parse a duration: a timedelta, ``"-1h"``, ``"1d 12h"`` (units ``s m h d w``), or ISO 8601 with weeks to seconds, ``"-PT90M"``.

    >>> span_of("-1h30m"), span_of("P1DT12H")
    (datetime.timedelta(days=-1, seconds=81000), datetime.timedelta(days=1, seconds=43200))

    Raises
    ------
    UsageError
        The value is not a duration.
    """
    if isinstance(value, timedelta):
        return value
    wrong = UsageError(f"{value!r} is not a duration: write -1h, 30m, 1d 12h (s, m, h, d, w) or PT90M.")
    if not isinstance(value, str):
        raise wrong
    text = value.strip()
    sign = -1 if text[:1] == "-" else 1
    text = text.lstrip("+-") if text[:1] in ("+", "-") else text
    try:
        iso = _ISO_SPAN.fullmatch(text)
        if iso is not None:
            units = ("weeks", "days", "hours", "minutes", "seconds")
            return sign * timedelta(**{unit: float(part) for unit, part in zip(units, iso.groups(), strict=True) if part is not None})
        if not text or _SPAN.sub("", text).strip():
            raise wrong
        return sign * sum((timedelta(**{_UNITS[unit]: float(part)}) for part, unit in _SPAN.findall(text)), timedelta())
    except OverflowError:
        raise wrong from None


def json_text(what: str, value: Any) -> str:
    """Serialise a value to JSON: None, booleans, numbers (a ``Decimal`` keeps its digits), text, times, lists, mappings with text keys.

    Raises
    ------
    UsageError
        The value is of another type; the message begins with ``what``.
    """
    match value:
        case None | bool() | int():
            return json.dumps(value)
        case float() | Decimal() if math.isfinite(value):
            return repr(value) if isinstance(value, float) else str(value)
        case str() if storable(value):
            return json.dumps(value, ensure_ascii=False)
        case datetime():
            return json.dumps(format_time(_zoned(what, value)))
        case date():
            return json.dumps(value.isoformat())
        case list() | tuple():
            return "[" + ",".join(json_text(what, one) for one in value) + "]"
        case Mapping() if all(storable(name) for name in value):
            return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{json_text(what, one)}" for name, one in value.items()) + "}"
    raise UsageError(f"{what} expects a JSON value, got {value!r}.")


def _zoned(what: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidTime(f"{what}: {moment.isoformat()} has no time zone.")
    return moment


def _names(method: str, name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise UsageError(f"{method}({name}=[]) is empty: give at least one name.")
    for one in names:
        _own_name(method, name, one)
    return names


def _own_name(method: str, name: str, given: object) -> None:
    if not isinstance(given, str) or not given or not storable(given):
        raise UsageError(f"{method}() expects a name as {name}=, got {given!r}.")
    if only_others(given, column=_COLUMN_OF[name]):
        raise UsageError(f"{method}({name}={given!r}) names system events, which cannot be edited.")


def _position(method: str, given: object) -> int:
    cutoff = Cutoff.parse(given) if isinstance(given, int) else None
    if cutoff is None or cutoff.position is None:
        raise UsageError(f"{method}() expects the position of an event, a whole number, as position=, got {given!r}.")
    return cutoff.position


def _event_id(method: str, given: object) -> str:
    try:
        return str(UUID(str(given)))
    except ValueError:
        raise UsageError(f"{method}() expects a UUID as event_id=, got {given!r}.") from None


def _place(name: object) -> tuple[str, ...]:
    if not isinstance(name, str) or not storable(name):
        raise UsageError(f"patch(): {name!r} is not a field name.")
    steps = tuple(re.sub(r"\\(.)", r"\1", step) for step in re.split(r"(?<!\\)\.", name))
    if not all(steps):
        raise UsageError(f"patch(): {name!r} is not a field name: a dot separates keys; write '\\.' for a dot in a key.")
    return steps


def _named(place: tuple[str, ...]) -> str:
    return ".".join(re.sub(r"([.\\])", r"\\\1", step) for step in place)


def _bound(cutoff: Cutoff) -> str:
    return str(cutoff.position) if cutoff.time is None else repr(format_time(cutoff.time))


def _span_text(span: timedelta) -> str:
    sign, left = ("-", -span) if span < timedelta() else ("", span)
    seconds = left.total_seconds()
    if not seconds or seconds != int(seconds):
        return f"{sign}{seconds:f}".rstrip("0").rstrip(".") + "s"
    parts = []
    whole = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        parts += [f"{count}{unit}"] if count else []
    return sign + " ".join(parts)


def _call(method: str, *arguments: str) -> str:
    return f"{method}({', '.join(arguments)})"
