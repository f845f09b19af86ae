"""Describes payloads: their fields, the fields' types, how often each is missing, and when that changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import polars as pl

from workbench.analysis import periods
from workbench.analysis.periods import CHANCE, Every, Extent, Periods
from workbench.errors import UsageError
from workbench.lake.json_paths import is_reachable, json_path
from workbench.lake.reading.event_filter import quoted
from workbench.payloads.shapes import ELEMENT, Known, Path, places, shapes, shown
from workbench.projection import plan
from workbench.projection.expressions import Value
from workbench.timeline import Timeline, ensure_timelines
from workbench.zones import check_zone

_INSTANT = pl.Datetime("us", "UTC")
_FIELDS = {
    "type": pl.String(),
    "version": pl.String(),
    "field": pl.String(),
    "kinds": pl.List(pl.String()),
    "events": pl.Int64(),
    "present": pl.Int64(),
    "absent_share": pl.Float64(),
    "null_share": pl.Float64(),
    "first_position": pl.Int64(),
    "first_recorded_at": _INSTANT,
    "last_position": pl.Int64(),
    "last_recorded_at": _INSTANT,
}
_CHANGES = {
    "position": pl.Int64(),
    "recorded_at": _INSTANT,
    "type": pl.String(),
    "field": pl.String(),
    "change": pl.String(),
    "before": pl.List(pl.String()),
    "after": pl.List(pl.String()),
}
_HELD = ("objects", "other_json", "bytes", "empty", "unreadable")
_PAYLOADS = {"type": pl.String(), "version": pl.String(), "events": pl.Int64(), **dict.fromkeys(_HELD, pl.Int64())}


@dataclass(frozen=True, slots=True)
class Schemas:
    """What a timeline's payloads are made of.

    Attributes
    ----------
    fields
        One row for each event type, version and field, by type, version and place: ``type``, ``version`` (null where an event has none),
        ``field`` (``address.city``, ``tags[]`` for the elements of an array), ``kinds`` (the most frequent first: ``text``,
        ``integer``, ``float``, ``boolean``, ``null``, ``object``, ``array``, ``mixed`` of elements of an array, ``map`` of an object with
        more than 500 different keys, which are then not fields), ``events`` (of type and version, with an object as payload), ``present``
        in so many of them, ``absent_share`` of them, ``null_share`` of those present, and the first and last event that has it. Inside of
        an array a key counts once for each event.
    changes
        What became of the fields of each type, in log order: ``position`` and ``recorded_at``; ``type``, ``field``; ``change``:
        ``came`` (its first event is later than the type's first), ``changed type`` (a kind of value appears that it never had), or
        ``vanished`` (its last event, while the type goes on); ``before`` and ``after``, the kinds. A whole number after fractions is no
        change. A field that some events lack while others have it is missing at an end of the history by chance: it came or vanished
        only where chance had less than one in a thousand, as in ``lifespans``.
    payloads
        One row for each type and version: ``events``, and of these with ``objects``, ``other_json``, ``bytes`` that are no JSON,
        ``empty``, and JSON that is ``unreadable`` (half a surrogate pair, or nested more than 100 levels deep).
    over_time
        With ``every``, one row for each period with events of a type, and each of its fields: ``period``, ``every``, ``type``, ``field``,
        ``events``, ``present``, ``nulls``. None without.
    """

    fields: pl.DataFrame
    changes: pl.DataFrame
    payloads: pl.DataFrame
    over_time: pl.DataFrame | None = None

    def _repr_html_(self) -> str:
        return "".join(frame._repr_html_() for frame in (self.fields, self.changes, self.payloads))


def schemas(timeline: Timeline, *, version: Value | None = None, every: Every | Literal["auto"] | None = None, tz: str = "UTC") -> Schemas:
    """Return which fields the payloads of each event type have, and values of which kinds.

    All events are read; none is sampled. 5 million events of 200 bytes take about six seconds on one core.

    Parameters
    ----------
    timeline
        Any history.
    version
        Where an event says which version of its type it is, such as ``event.metadata["schemaVersion"]``. Versions are then counted apart.
    every
        Also count by period, ``"1s"`` to ``"1y"`` or ``"auto"``, as in :func:`distribution`. See ``over_time`` of the result.
    tz
        The IANA name of the time zone in which periods begin.

    Returns
    -------
    Schemas
        ``fields`` has one row for each type and field, ``payloads`` one for each type, and ``changes`` what came, went or changed its
        kind.

    Raises
    ------
    UsageError
        ``version`` is not a path into an event, or ``every`` or ``tz`` is unknown.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> found = wb.schemas(now.types("user.created"), version=wb.event.metadata["schemaVersion"])
    >>> found.fields.filter(field="city").select("type", "version", "field", "events")
    shape: (1, 4)
    ┌──────────────┬─────────┬───────┬────────┐
    │ type         ┆ version ┆ field ┆ events │
    │ ---          ┆ ---     ┆ ---   ┆ ---    │
    │ str          ┆ str     ┆ str   ┆ i64    │
    ╞══════════════╪═════════╪═══════╪════════╡
    │ user.created ┆ 1       ┆ city  ┆ 74     │
    └──────────────┴─────────┴───────┴────────┘
    """
    ensure_timelines(timeline)
    by = {} if version is None else {"version": place_sql(version, name="version")}
    settled: Every | None = None
    cut: Periods | None = None
    if every is not None:
        periods.check_every(every)
        check_zone(tz)
        extent = Extent.of(timeline)
        settled = extent.settle(every)
        cut = Periods.of(extent, settled, tz)
        by["period"] = "period"
    counted = shapes(timeline, by=by) if cut is None else shapes(timeline, by=by, over=cut.with_period(), tables=cut.tables())
    rows = list(counted.iter_rows(named=True))
    found: dict[tuple[str, str | None], _Type] = {}
    known: dict[str, Known] = {}
    for row in rows:
        for path, kind in _places(row):
            known.setdefault(row["type"], Known()).take(path, kind)
    for row in rows:
        one = found.setdefault((row["type"], row.get("version")), _Type())
        one.take(row, known[row["type"]] if row["type"] in known else Known())
    ordered = dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] is not None, item[0][1] or "")))
    types: dict[str, _Type] = {}
    for (name, _), one in ordered.items():
        types.setdefault(name, _Type()).add(one)
    fields = pl.DataFrame([row for key, one in ordered.items() for row in one.fields(*key)], schema=_FIELDS, orient="row")
    payloads = pl.DataFrame([(*key, one.events, *one.held.values()) for key, one in ordered.items()], schema=_PAYLOADS, orient="row")
    changes = sorted((row for name, one in types.items() for row in one.changes(name)), key=lambda row: (row[0], row[2], row[3]))
    drop = ["version"] if version is None else []
    return Schemas(
        fields.drop(drop),
        pl.DataFrame(changes, schema=_CHANGES, orient="row"),
        payloads.drop(drop),
        None if settled is None else _over_time(rows, known, settled, tz),
    )


def place_sql(value: Value, *, name: str) -> str:
    """Return the SQL of the text of a value of an event.

    Raises
    ------
    UsageError
        It is not a value of an event, or DuckDB cannot address it.
    """
    if not isinstance(value, Value):
        raise UsageError(f"{name}={value!r} is not a value of an event: write {name}=event.metadata['schemaVersion'], for example.")
    place = value.value
    if isinstance(place, plan.Column):
        return f"{place.name}::VARCHAR"
    if not is_reachable(place.steps):
        raise UsageError(f"{name}={value} has a key with a character that DuckDB cannot search for: use another value.")
    return f"TRY(json_extract_string({place.root}, {quoted(json_path(place.steps))}))"


class _At(NamedTuple):
    """The position and time of an observation; at the same position, undated ones come first."""

    position: int
    recorded_at: datetime | None

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        return self._order < _At(*other)._order

    def __gt__(self, other: tuple[Any, ...]) -> bool:
        return self._order > _At(*other)._order

    def __sub__(self, other: _At) -> timedelta:
        """Return the time between two observations; zero if either is undated."""
        return timedelta() if self.recorded_at is None or other.recorded_at is None else self.recorded_at - other.recorded_at

    @property
    def _order(self) -> tuple[int, bool, datetime | None]:
        return self.position, self.recorded_at is not None, self.recorded_at


@dataclass(slots=True)
class _Seen:
    """The number of observations, and the first and last one."""

    events: int
    first: _At
    last: _At

    def add(self, other: _Seen) -> None:
        self.events += other.events
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)


@dataclass(slots=True)
class _Type:
    """Observations of the payloads of one type, or of one version of it."""

    events: int = 0
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_HELD, 0))
    kinds: dict[Path, dict[str, _Seen]] = field(default_factory=dict)
    objects: _Seen | None = None
    shapes: list[tuple[frozenset[Path], _Seen]] = field(default_factory=list)
    """The paths of each shape of objects."""

    def take(self, row: dict[str, Any], known: Known) -> None:
        """Add the events of one shape."""
        first, last = _At(row["first_position"], row["first_recorded_at"]), _At(row["last_position"], row["last_recorded_at"])
        seen = _Seen(row["events"], first, last)
        self.events += seen.events
        found = _kept(row, known)
        is_object = bool(found) and found[0][1] == "object"
        self.held["objects" if is_object else "other_json" if row["held"] == "json" else row["held"]] += seen.events
        if is_object:
            self._grow(seen)
            self.shapes.append((frozenset(path for path, _ in found), seen))
        for path, kind in found:
            _put(self.kinds, path, kind, seen)

    def add(self, other: _Type) -> None:
        """Add another version of the same type."""
        self.events += other.events
        for name, count in other.held.items():
            self.held[name] += count
        if other.objects is not None:
            self._grow(other.objects)
        self.shapes += other.shapes
        for path, kinds in other.kinds.items():
            for kind, seen in kinds.items():
                _put(self.kinds, path, kind, seen)

    def fields(self, name: str, version: str | None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the fields."""
        objects = 0 if self.objects is None else self.objects.events
        for path, kinds in self.kinds.items():
            if not path:
                continue
            by_events = sorted(kinds, key=lambda kind: (kind == "map", -kinds[kind].events, kind))
            seen = _together({kind: one for kind, one in kinds.items() if kind != "map"})
            nulls = kinds["null"].events if "null" in kinds else 0
            absent = 1 - seen.events / objects if objects else None
            yield (name, version, shown(path), by_events, objects, seen.events, absent, nulls / seen.events, *seen.first, *seen.last)

    def changes(self, name: str) -> Iterator[tuple[Any, ...]]:
        """Yield the changes of the fields."""
        if self.objects is None:
            return
        for path, kinds in self.kinds.items():
            if not path:
                continue
            seen = _together(kinds)
            known = sorted((kind for kind in kinds if kind not in ("null", "map")), key=lambda kind: kinds[kind].first)
            # An empty array does not change the type of the elements.
            is_element = path[-1] == ELEMENT
            if seen.first > self.objects.first and not is_element and not self._by_chance(path, seen, seen.first - self.objects.first):
                first = known[:1] if known and kinds[known[0]].first == seen.first else ["null"]
                yield (*seen.first, name, shown(path), "came", [], first)
            for at, kind in enumerate(known[1:], 1):
                if kind == "integer" and "float" in known[:at]:
                    continue
                if kinds[kind].first > kinds[known[0]].first:
                    yield (*kinds[kind].first, name, shown(path), "changed type", known[:at], [kind])
            if seen.last < self.objects.last and not is_element and not self._by_chance(path, seen, self.objects.last - seen.last):
                yield (*seen.last, name, shown(path), "vanished", known or ["null"], [])

    def _by_chance(self, path: Path, seen: _Seen, away: timedelta) -> bool:
        """Whether a field is so rare that it may be missing for this long by chance."""
        assert self.objects is not None
        lacking = (one for places, one in self.shapes if path not in places)
        if not any(one.first < seen.last and one.last > seen.first for one in lacking):
            return False  # every event between its first and its last one has it
        length = self.objects.last - self.objects.first
        return bool((1 - (away / length if length else 0.0)) ** seen.events >= CHANCE)

    def _grow(self, seen: _Seen) -> None:
        if self.objects is None:
            self.objects = _Seen(0, seen.first, seen.last)
        self.objects.add(seen)


def _put(kinds: dict[Path, dict[str, _Seen]], path: Path, kind: str, seen: _Seen) -> None:
    there = kinds.setdefault(path, {})
    if kind in there:
        there[kind].add(seen)
    else:
        there[kind] = _Seen(seen.events, seen.first, seen.last)


def _together(kinds: dict[str, _Seen]) -> _Seen:
    [first, *rest] = kinds.values()
    seen = _Seen(first.events, first.first, first.last)
    for other in rest:
        seen.add(other)
    return seen


def _places(row: dict[str, Any]) -> tuple[tuple[Path, str], ...]:
    return places(row["shape"]) if row["shape"] is not None else ()


def _kept(row: dict[str, Any], known: Known) -> list[tuple[Path, str]]:
    """Return the paths of a shape without the keys of maps; a map's path counts as a map and as an object."""
    found = []
    for path, kind in _places(row):
        if path not in known.kinds:
            continue
        found.append((path, kind))
        if kind == "object" and path and "map" in known.kinds[path]:
            found.append((path, "map"))
    return found


def _over_time(rows: list[dict[str, Any]], known: dict[str, Known], every: Every, tz: str) -> pl.DataFrame:
    events: dict[tuple[datetime, str], int] = {}
    present: dict[tuple[datetime, str, Path], list[int]] = {}
    for row in rows:
        if row["period"] is None:  # undated events
            continue
        found = [(path, kind) for path, kind in _kept(row, known.get(row["type"], Known())) if kind != "map"]
        key = (row["period"], row["type"])
        events[key] = events.get(key, 0) + (row["events"] if found and found[0] == ((), "object") else 0)
        for path, kind in found:
            counts = present.setdefault((*key, path), [0, 0])
            counts[0] += row["events"]
            counts[1] += row["events"] if kind == "null" else 0
    told = [
        (period, every, name, shown(path), count, *present.get((period, name, path), (0, 0)))
        for (period, name), count in sorted(events.items())
        if name in known
        for path in known[name].kinds
        if path
    ]
    schema = {
        "period": _INSTANT,
        "every": periods.PERIOD,
        "type": pl.String(),
        "field": pl.String(),
        "events": pl.Int64(),
        "present": pl.Int64(),
        "nulls": pl.Int64(),
    }
    return pl.DataFrame(told, schema=schema, orient="row").with_columns(pl.col("period").dt.convert_time_zone(tz))
