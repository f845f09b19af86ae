"""Finds what in a history does not fit a projection: values that are missing or have the wrong type, for each path that it reads."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.errors import UsageError
from workbench.payloads.shapes import ELEMENT, Path, places, shapes
from workbench.projection import plan as ir
from workbench.projection.declaration import Projection, plan_of
from workbench.projection.evaluation import places as places_of
from workbench.replay.rebuild import rebuild
from workbench.timeline import Timeline, ensure_timelines
from workbench.timeline.extraction import Root

_SCHEMA = {
    "type": pl.String(),
    "place": pl.String(),
    "fields": pl.List(pl.String()),
    "kinds": pl.List(pl.String()),
    "events": pl.Int64(),
    "absent": pl.Int64(),
    "nulls": pl.Int64(),
    "misfits": pl.Int64(),
    "first_absent_position": pl.Int64(),
    "first_null_position": pl.Int64(),
    "first_misfit_position": pl.Int64(),
    "reason": pl.String(),
}


def breaks(projection: type[Projection], timeline: Timeline) -> pl.DataFrame:
    """Return, for each path that a projection reads, how many events lack it and how many values do not fit.

    All events are looked at: an error does not stop the count.

    Parameters
    ----------
    projection
        A class that extends `Projection`.
    timeline
        The history to fold, from its first event to its cutoff.

    Returns
    -------
    polars.DataFrame
        One row for each event type as recorded and each path read by handlers, conditions and upcasters, sorted by both:

        - ``type``; ``place``, such as ``event.data['city']``, null for a type of which no path is read. An index of an array stands for
          any of its elements.
        - ``fields`` that get their values from there; ``kinds`` of value found there.
        - ``events`` of the type, 0 for a type that is handled but was never recorded; how many of them are ``absent`` or ``nulls``; and
          ``misfits``, the events without effect because a value does not fit one of ``fields``, whichever path it came from. If upcasters
          take a value from one of several paths, each is absent in the events of the others.
        - ``first_absent_position``, ``first_null_position`` and ``first_misfit_position``; ``reason``, why the first misfit does not fit.

    Raises
    ------
    UsageError
        The projection is not a class that extends `Projection`; or the timeline selects a part of the events.

    Examples
    --------
    >>> from workbench.analysis import breaks
    >>> from workbench.sample.projections import User
    >>> found = breaks(User, wb.open("data/demo").timeline)
    >>> found.filter(type="user.moved").select("place", "events", "absent", "nulls", "misfits")
    shape: (2, 5)
    ┌─────────────────────────────────┬────────┬────────┬───────┬─────────┐
    │ place                           ┆ events ┆ absent ┆ nulls ┆ misfits │
    │ ---                             ┆ ---    ┆ ---    ┆ ---   ┆ ---     │
    │ str                             ┆ i64    ┆ i64    ┆ i64   ┆ i64     │
    ╞═════════════════════════════════╪════════╪════════╪═══════╪═════════╡
    │ event.data['address']['city']   ┆ 242    ┆ 0      ┆ 14    ┆ 0       │
    │ event.data['address']['country… ┆ 242    ┆ 0      ┆ 14    ┆ 0       │
    └─────────────────────────────────┴────────┴────────┴───────┴─────────┘
    """
    ensure_timelines(timeline)
    given: object = projection
    if not (isinstance(given, type) and issubclass(given, Projection)):
        raise UsageError(f"breaks() expects a class that extends Projection, got {projection!r}.")
    compiled = plan_of(projection)
    failures = rebuild(projection, timeline, errors="collect").failures
    ours = timeline.categories(*compiled.categories)
    seen = {root: _seen(ours, root) for root in _roots(compiled)}
    rows: list[tuple[Any, ...]] = []
    for handled in compiled.types:
        read = dict.fromkeys(places_of(handled))
        if not read:
            rows.append((handled.type, None, [], [], _events(seen.get("data") or _seen(ours, "data"), handled.type), *(None,) * 7))
        for path in read:
            fields = _fields(handled, path)
            counted = _counted(seen[path.root].get(handled.type, []), path)
            misfits = failures.filter((pl.col("type") == handled.type) & pl.col("field").is_in(fields)).sort("position")
            first = misfits.row(0, named=True) if misfits.height else None
            rows.append(
                (
                    handled.type,
                    str(path),
                    fields,
                    counted["kinds"],
                    counted["events"],
                    counted["absent"],
                    counted["nulls"],
                    misfits.height,
                    counted["first_absent"],
                    counted["first_null"],
                    None if first is None else first["position"],
                    None if first is None else f"{first['field']} = {first['value']}: {first['reason']}",
                )
            )
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("type", "place", maintain_order=True)


_Shapes = dict[str, list[dict[str, Any]]]


def _roots(compiled: ir.Plan) -> list[Root]:
    return sorted({path.root for handled in compiled.types for path in places_of(handled)})


def _seen(timeline: Timeline, root: Root) -> _Shapes:
    found: _Shapes = {}
    for row in shapes(timeline, root=root).iter_rows(named=True):
        found.setdefault(row["type"], []).append(row)
    return found


def _events(seen: _Shapes, name: str) -> int:
    return sum(row["events"] for row in seen.get(name, []))


def _fields(handled: ir.HandledType, path: ir.Path) -> list[str]:
    """Return the fields that get values from a path."""
    found = {
        operation.field
        for branch in handled.branches
        for handler in branch.handlers
        for operation in handler.operations
        if path in places_of(operation)
    }
    return sorted(found)


def _counted(rows: list[dict[str, Any]], path: ir.Path) -> dict[str, Any]:
    asked: Path = tuple(step if isinstance(step, str) else ELEMENT for step in path.steps)
    found: dict[str, Any] = {"events": 0, "absent": 0, "nulls": 0, "first_absent": None, "first_null": None}
    kinds: dict[str, int] = {}
    for row in rows:
        kind = None if row["shape"] is None else dict(places(row["shape"])).get(asked)
        found["events"] += row["events"]
        if kind is None:
            _count(found, "absent", "first_absent", row)
        elif kind == "null":
            _count(found, "nulls", "first_null", row)
        if kind is not None:
            kinds[kind] = kinds.get(kind, 0) + row["events"]
    return found | {"kinds": sorted(kinds, key=lambda kind: (-kinds[kind], kind))}


def _count(found: dict[str, Any], name: str, first: str, row: dict[str, Any]) -> None:
    found[name] += row["events"]
    found[first] = row["first_position"] if found[first] is None else min(found[first], row["first_position"])
