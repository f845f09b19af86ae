"""The schema of exported events, and the values that all packages share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, Self

import pyarrow as pa

from workbench.errors import InvalidTime, UsageError

CategoryRule = Literal["first", "last"]
"""How to take a category from a stream's name: up to the first ``-``, or up to the last (KurrentDB's other setting)."""

EVENT_SCHEMA = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("prepare_position", pa.int64(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC")),
        pa.field("recorded_ticks", pa.int64(), nullable=False),
        pa.field("is_json", pa.bool_(), nullable=False),
        pa.field("data", pa.string()),
        pa.field("metadata", pa.string()),
        pa.field("data_bytes", pa.binary()),
        pa.field("metadata_bytes", pa.binary()),
        pa.field("correlation_id", pa.string()),
        pa.field("causation_id", pa.string()),
    ]
)
"""The columns of an exported event, in order.

``position`` and ``prepare_position`` are byte offsets in ``$all``; log order is ``(position, prepare_position)``.
``recorded_ticks`` counts 100 ns since the Unix epoch, exactly as the server stamped it; ``recorded_at`` is its floor to microseconds.
If the stamp is outside the years 1 to 9999, ``recorded_at`` is null and ``recorded_ticks`` keeps the stamp. Such an event is *undated*. In
answers about time it counts as recorded at the time of the event before it in the log.
``data`` and ``metadata`` are UTF-8 JSON text, byte for byte as recorded. If the recorded bytes are not valid JSON, they are in
``data_bytes`` or ``metadata_bytes`` instead; exactly one column of each pair is not null. An empty payload is zero bytes of
``data_bytes``. ``correlation_id`` and ``causation_id`` are ``$correlationId`` and ``$causationId`` of the metadata; a number becomes text,
as on the server. If an object has a key more than once, the first counts, in metadata as in payloads.
"""

FIRST_TICKS, LAST_TICKS = -621_355_968_000_000_000, 2_534_023_007_999_999_999
"""The ticks of the first instant of the year 1 and the last of the year 9999; an event with a stamp outside them is undated."""

MAX_POSITION = 2**63 - 1
"""The greatest position and revision that a lake can hold; the server's own unsigned sentinels are stored as this."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The point up to which a log has been copied.

    It names the last event *seen*, which a selection may have left out of the lake. ``complete_until`` is the instant until which the
    lake is known to be complete.
    """

    position: int
    prepare_position: int
    event_id: str
    complete_until: datetime

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands in log order."""
        return self.position, self.prepare_position


@dataclass(frozen=True, slots=True)
class EventAt:
    """One event of a log without its payload: its position, stream, revision, type and id."""

    position: int
    prepare_position: int
    stream: str
    revision: int
    event_id: str
    type: str

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands in log order."""
        return self.position, self.prepare_position

    def __str__(self) -> str:
        return f"event {self.event_id} ({self.type}, revision {self.revision} of stream {self.stream!r}, position {self.position})"


@dataclass(frozen=True, slots=True)
class Store:
    """The event store of which a lake is a copy.

    ``address`` is the address that was dialled, without credentials, for display. The identity is the log's first event: logs whose
    first events have the same position and id are the same.
    """

    address: str
    first_position: int | None = None
    first_event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects events that match every part that is not empty.

    Parameters
    ----------
    streams, types
        Names, in which ``*`` matches any run of characters: ``user-*``, ``chat.*``.
    categories
        Exact names of categories.
    system
        Whether to include the server's own streams: links of the system projections, statistics, accounts.
    """

    streams: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    system: bool = False

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return a selection from a mapping of its fields; lists, as in JSON, become tuples."""
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        return cls(**given)

    def __bool__(self) -> bool:
        return self.is_narrow or self.system

    @property
    def is_narrow(self) -> bool:
        """Whether names restrict the selection."""
        return bool(self.streams or self.categories or self.types)

    @property
    def is_everything(self) -> bool:
        """Whether the selection includes every event, system events too."""
        return self.system and not self.is_narrow

    def __str__(self) -> str:
        parts = [
            f"{name} {', '.join(values)}"
            for name, values in (("streams", self.streams), ("categories", self.categories), ("types", self.types))
            if values
        ]
        if not parts:
            return "everything" if self.system else "users' events"
        return "; ".join([*parts, "with system streams"] if self.system else parts)


def category_of(stream: str, rule: CategoryRule = "first") -> str:
    """Return the category of a stream: its name up to the first (or last) ``-``; a name without one is its own category.

    >>> category_of("user-42"), category_of("order-eu-7"), category_of("order-eu-7", "last"), category_of("users")
    ('user', 'order', 'order-eu', 'users')
    """
    cut = stream.find("-") if rule == "first" else stream.rfind("-")
    return stream if cut < 0 else stream[:cut]


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The end of a history, inclusive: a position, or a time that is resolved to a position once.

    >>> Cutoff.parse("2026-03-01")
    Cutoff(position=None, time=datetime.datetime(2026, 3, 1, 0, 0, tzinfo=datetime.timezone.utc))
    >>> Cutoff.parse("84731")
    Cutoff(position=84731, time=None)
    """

    position: int | None = None
    time: datetime | None = None

    @classmethod
    def parse(cls, value: str | int | datetime | date) -> Self:
        """Parse a cutoff: digits are a position, a date is its first instant in UTC, a time must have a zone.

        Raises
        ------
        InvalidTime
            The time has no zone, or the text is neither a time nor a position.
        """
        if isinstance(value, bool):
            raise InvalidTime(f"{value!r} is neither a time nor a position.")
        if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[0-9]+", value.strip())):
            return cls(position=_position(int(value)))
        return cls(time=parse_time(value))

    def __str__(self) -> str:
        return f"position {self.position}" if self.time is None else format_time(self.time)


def _position(value: int) -> int:
    if not 0 <= value <= MAX_POSITION:
        raise UsageError(f"{value} is not a position: positions range from 0 to {MAX_POSITION}.")
    return value


def parse_time(value: str | datetime | date) -> datetime:
    """Return an instant in UTC from RFC 3339 text, a datetime with a zone, or a date (its first instant in UTC).

    More than six digits of a second are truncated, as a lake truncates the server's ticks.

    Raises
    ------
    InvalidTime
        The value has no time zone or is not a time.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    elif not isinstance(value, str):
        raise InvalidTime(f"{value!r} is neither a time nor a position.")
    else:
        text = value.strip()
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
                return parse_time(date.fromisoformat(text))
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidTime(
                f"{value!r} is not a time: write it like 2026-03-01T09:00:00Z, or 2026-03-01 for that day's first instant in UTC."
            ) from None
    if moment.tzinfo is None or moment.utcoffset() is None:
        written = moment.isoformat()
        raise InvalidTime(f"{str(value)!r} has no time zone: write {written}Z for UTC or an offset like {written}+01:00.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidTime(f"{str(value)!r} is outside the years 1 to 9999 in UTC.") from None


FORMULA = r"^[=+\-@\t\r\n]"
"""The first characters of a text that a spreadsheet may read as a formula when it opens a CSV file (OWASP, "CSV Injection")."""


def format_time(moment: datetime) -> str:
    """Return an instant as RFC 3339 text in UTC, with as many digits of a second as it has.

    >>> format_time(datetime(2026, 3, 1, 9, tzinfo=UTC))
    '2026-03-01T09:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
