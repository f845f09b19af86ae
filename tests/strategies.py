"""Hypothesis strategies that several parts share: random projections, and random histories that they meet.

They aim at what engines get wrong: absent and null, duplicate keys, numbers at the edge of their types, escapes, values of the wrong
type, clocks that run backwards, binary payloads, several events at one position, deletions and rebirths, old versions of events.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from types import new_class
from typing import Annotated, Any

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from workbench.events import EVENT_SCHEMA
from workbench.projection import Digits, Json, Projection, event, on, upcast
from workbench.projection.expressions import Value, Where
from workbench.projection.handlers import On
from workbench.projection.upcasters import Upcast

CATEGORY = "thing"
TYPES = ("thing.begun", "thing.changed", "thing.counted", "thing.ended")
OLD_TYPES = ("thing.started",)
UNHANDLED = "thing.ignored"

_FIELDS: dict[str, Any] = {
    "name": str,
    "title": str | None,
    "size": int,
    "ratio": float | None,
    "balance": Annotated[Decimal, Digits(12, scale=2)],
    "active": bool,
    "seen": datetime | None,
    "extra": Json,
    "roles": set[str],
    "ranks": set[int] | None,
    "tags": list[str],
    "notes": list[Json],
    "moments": list[datetime],
}
_DEFAULTS: dict[str, Any] = {
    "name": "unknown",
    "size": 7,
    "ratio": 0.5,
    "balance": Decimal("1.5"),
    "active": True,
    "roles": frozenset({"b", "a"}),
    "tags": ("x",),
}
_ELEMENT = {"roles": "name", "ranks": "size", "tags": "name", "notes": "extra", "moments": "seen"}

# What a payload's place most often holds: the field's own kind, now and then anything.
_TEXTS = ["", "Ann", "Zoë", "a b c", "true", "7", "1.50", "\u0000", "日本", 'q"\\/', "2026-03-01T09:00:00Z", "\U0001f600"]
_INTEGERS = ["0", "1", "-1", "7", "42", "-0", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "123456789012345678901"]
_NUMBERS = ["0.5", "1.0", "1e3", "1.10", "-0.0", "2.50", "0.1", "9007199254740993.0", "1e16", "5e-324", "1E+2", "0.1000000000000000055"]
_BEYOND = ["1e999", "-1e400"]
_HALVES = ['"\\ud800"', '"a\\udc00b"']
"""Texts with half a surrogate pair, which JSON can hold and UTF-8 cannot."""
_INSTANTS = [
    "2026-03-01T09:00:00Z",
    "2026-03-01T09:00:00.1234567+01:30",
    "1969-12-31 23:59:59.999999999z",
    "0001-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-03-01T09:00:00",
]
_KEYS = ["k", "name", "size", "ratio", "balance", "active", "seen", "extra", "roles", "old", "deep"]
_CONSTANTS: dict[str, Sequence[Any]] = {
    "name": ["Bob", "", "é", None],
    "title": ["Dr", None],
    "size": [1, -3, 2**63 - 1, None],
    "ratio": [0.1, 2, -1.5, None],
    "balance": [Decimal("0.01"), 3, None],
    "active": [True, False, None],
    "seen": [datetime(2026, 1, 1, tzinfo=UTC), None],
    "extra": ["x", 1, 1.0, True, None],
    "roles": [(), ("z", "a"), None],
    "ranks": [(3, 1), None],
    "tags": [("p", "p"), None],
    "notes": [(1, "x"), None],
    "moments": [(datetime(2026, 1, 1, tzinfo=UTC),), None],
}


@cache
def scalars() -> st.SearchStrategy[str]:
    """JSON texts of scalars."""
    texts = st.builds(json.dumps, st.sampled_from(_TEXTS + _INSTANTS), ensure_ascii=st.booleans())
    return st.one_of(st.sampled_from([*_INTEGERS, *_NUMBERS, *_BEYOND, "true", "false", "null", *_HALVES]), texts)


@cache
def values(depth: int = 2) -> st.SearchStrategy[str]:
    """JSON texts of any values, duplicate keys and spaces included."""
    if depth == 0:
        return scalars()
    inner = values(depth - 1)
    arrays = st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    return st.one_of(scalars(), arrays, _objects(st.tuples(st.sampled_from(_KEYS), inner)))


@cache
def _fitting(name: str) -> st.SearchStrategy[str]:
    """JSON texts that fit a field of this name, most of them."""
    if name in _ELEMENT:
        element = _fitting(_ELEMENT[name])
        return st.one_of(element, st.lists(element, max_size=4).map(lambda items: f"[{','.join(items)}]"))
    match name:
        case "size":
            return st.sampled_from(["0", "1", "7", "-0", "-12", "1.0", "1e3", "4000000000000000000"])
        case "ratio" | "balance":
            return st.sampled_from(["0", "1", "-2", "0.5", "1.10", "0.1", "0.3", "-0.0", "1e3", "99.99"])
        case "active":
            return st.sampled_from(["true", "false"])
        case "seen":
            return st.sampled_from(_INSTANTS[:3]).map(json.dumps)
        case "extra":
            return values(2)
        case "k":
            return st.sampled_from(['"1"', '"2"', "1", '"x y"', '""', "null", "2.0"])
        case "deep":
            return _objects(st.sampled_from(["name", "size", "k"]).flatmap(lambda key: st.tuples(st.just(key), _fitting(key))))
    return st.builds(json.dumps, st.sampled_from(_TEXTS), ensure_ascii=st.booleans())


def _objects(members: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[str]:
    spaced = st.tuples(members, st.sampled_from(["", "", "", " ", "\n"]), st.booleans())

    def write(drawn: Sequence[tuple[tuple[str, str], str, bool]]) -> str:
        written = []
        for (key, value), space, escaped in drawn:
            shown = f'"\\u{ord(key[0]):04x}{key[1:]}"' if escaped and len(drawn) > 4 else json.dumps(key)
            written.append(f"{shown}{space}:{space}{value}")
        return "{" + ",".join(written) + "}"

    return st.lists(spaced, max_size=7).map(write)


@cache
def payloads() -> st.SearchStrategy[str | None]:
    """JSON texts of payloads, most of them objects whose members fit; None where the payload is no JSON."""
    members = st.sampled_from(_KEYS).flatmap(
        lambda key: st.tuples(st.just(key), st.one_of(_fitting(key), _fitting(key), _fitting(key), st.just("null"), values(1)))
    )
    return st.one_of(_objects(members), _objects(members), _objects(members), values(1), st.none())


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event of a random history."""

    stream: str
    revision: int
    type: str
    position: int
    prepare_position: int
    recorded_at: int
    data: str | None
    metadata: str | None


@st.composite
def histories(draw: st.DrawFn, *, max_size: int = 25) -> list[Recorded]:
    """Histories in log order: several streams, clocks that run backwards, several events at one position."""
    position, clock = 0, 1_700_000_000_000_000
    history: list[Recorded] = []
    revisions: dict[str, int] = {}
    for _ in range(draw(st.integers(0, max_size))):
        step = draw(st.sampled_from([0, 10, 10, 10, 25]))
        position += step
        prepare = position if step or not history else history[-1].prepare_position + 1
        clock += draw(st.sampled_from([1, 1_000, -5_000, 0]))
        stream = draw(st.sampled_from(["thing-1", "thing-1", "thing-2", "thing-x-y", "other-1"]))
        revisions[stream] = revisions.get(stream, -1) + 1
        event_type = draw(st.sampled_from([*TYPES, *TYPES, *OLD_TYPES, UNHANDLED]))
        metadata = draw(st.sampled_from([None, "{}", '{"v": 1}', '{"v": 2}', '{"v": "2", "$correlationId": "c"}', '{"v": 3, "v": 1}']))
        history.append(Recorded(stream, revisions[stream], event_type, position, prepare, clock, draw(payloads()), metadata))
    return history


def frame(history: Sequence[Recorded]) -> pl.DataFrame:
    """Return a history as the frame that a timeline gives."""
    rows = [
        {
            "position": one.position,
            "prepare_position": one.prepare_position,
            "stream": one.stream,
            "category": one.stream.partition("-")[0],
            "revision": one.revision,
            "event_id": f"00000000-0000-0000-0000-{one.prepare_position:012d}",
            "type": one.type,
            "recorded_at": one.recorded_at,
            "recorded_ticks": one.recorded_at * 10,
            "is_json": True,
            "data": one.data,
            "metadata": one.metadata,
            "data_bytes": b"\xff" if one.data is None else None,
            "metadata_bytes": b"" if one.metadata is None else None,
            "correlation_id": "c" if one.metadata is not None and "$correlationId" in one.metadata else None,
            "causation_id": None,
        }
        for one in history
    ]
    found = pl.from_arrow(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA))
    assert isinstance(found, pl.DataFrame)
    return found


def _places(name: str) -> st.SearchStrategy[Value]:
    """Where a field's value comes from: mostly the place of its own name."""
    own = event.data[name if name == "roles" else _ELEMENT.get(name, name)]
    rest = [event.data["deep"]["name"], event.data["deep"]["size"], event.data["extra"], event.data["roles"][0], event.data["old"]]
    return st.sampled_from([own, own, own, own, *rest, event.metadata["v"], event.data[0]])


@cache
def conditions() -> st.SearchStrategy[Where]:
    """Conditions over payloads and columns."""
    data = event.data
    simple = st.sampled_from(
        [
            data["size"] > 1,
            data["size"] <= 2.5,
            data["ratio"] != 1,
            data["name"] == "Ann",
            data["name"] >= "B",
            data["active"] == True,  # noqa: E712  # a condition on the event
            data["seen"] < datetime(2026, 3, 1, 8, tzinfo=UTC),
            data["name"].is_null(),
            data["name"].exists(),
            data["size"].isin(0, 7, 1.0),
            data["roles"][0] == "Ann",
            event.revision < 3,
            event.recorded_at >= datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
            event.correlation_id == "c",
            event.type != "thing.changed",
            event.metadata["v"] == 1,
        ]
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
            st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
            inner.map(lambda one: ~one),
        ),
        max_leaves=3,
    )


_VERBS: dict[str, Sequence[str]] = {
    "name": ["set", "max", "min"],
    "title": ["set"],
    "size": ["set", "add", "add", "subtract", "max", "min"],
    "ratio": ["set", "add", "add", "subtract", "max"],
    "balance": ["set", "add", "add", "subtract", "min"],
    "active": ["set"],
    "seen": ["set", "max", "min"],
    "extra": ["set"],
    "roles": ["set", "include", "include", "exclude"],
    "ranks": ["set", "include", "exclude"],
    "tags": ["set", "append", "append"],
    "notes": ["append"],
    "moments": ["append", "set"],
}


@st.composite
def handlers(draw: st.DrawFn, *, event_type: str, fields: Sequence[str]) -> On:
    """One handler of a type, with changes of some of the fields."""
    handler = on(event_type)
    if draw(st.sampled_from([True, False, False])):
        handler = handler.where(draw(conditions()))
    deletes = draw(st.sampled_from([True, False])) if event_type == "thing.ended" else False
    if not deletes and draw(st.sampled_from([True, False])) and event_type in ("thing.begun", "thing.changed"):
        handler = handler.create(*draw(st.lists(st.sampled_from(fields), max_size=2, unique=True)))
    for name in draw(st.lists(st.sampled_from(fields), min_size=0 if deletes or handler.creates else 1, max_size=3)):
        verb = draw(st.sampled_from(_VERBS[name]))
        constants = [one for one in _CONSTANTS[name] if verb == "set" or one is not None]
        columns = {"size": [event.revision], "ratio": [event.position], "seen": [event.recorded_at], "title": [event.correlation_id]}
        source = draw(st.one_of(_places(name), _places(name), st.sampled_from([*constants, *columns.get(name, ())])))
        keep = {"keep": draw(st.integers(1, 4))} if verb == "append" else {}
        handler = getattr(handler, verb)(**keep, **{name: source})
    return handler.delete() if deletes else handler


@cache
def upcasters() -> st.SearchStrategy[list[Upcast]]:
    """Chains of upcasters that lead to handled types."""
    data, version = event.data, event.metadata["v"]
    begun, changed = "thing.begun", "thing.changed"
    started = st.sampled_from(
        [
            upcast("thing.started").to(begun),
            upcast("thing.started").rename(old="name").default(size=3).to(begun),
            upcast("thing.started", when=version == 1).to(begun),
            upcast("thing.started", when=data["size"] > 1).retype(name=int).to(begun),
        ]
    )
    steps = st.sampled_from(
        [
            upcast(begun, when=version == 1).rename(old="name"),
            upcast(begun, when=version == 1).default(name="none", ratio=1.5, active=None),
            upcast(begun, when=version == 1).move(name=data["deep"]["name"]),
        ]
    )
    second = st.sampled_from(
        [
            upcast(begun, when=version == 2).split("name", into=("title", "old"), by=" "),
            upcast(begun, when=version == 2).retype(name=str, size=int, ratio=float, active=bool),
            upcast(begun, when=version == 2).move(size=data["deep"]["size"]).rename(size="balance"),
        ]
    )
    every = st.sampled_from(
        [
            upcast(changed).retype(size=int, balance=float, name=str),
            upcast(changed, when=data["name"].exists()).rename(name="old", old="name"),
            upcast(changed).split("name", into=("old", "k")),
        ]
    )
    chains = st.tuples(started, steps, second, every).flatmap(
        lambda chain: st.lists(st.booleans(), min_size=4, max_size=4).map(
            lambda kept: [one for one, keep in zip(chain, kept, strict=True) if keep]
        )
    )
    return st.one_of(st.just([]), chains)


def declared(
    fields: Sequence[str], handled: Sequence[On], *, chain: Sequence[Upcast] = (), key: Value | None = None, defaults: Sequence[str] = ()
) -> type[Projection]:
    """Return a projection with these parts."""

    def body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {name: _FIELDS[name] for name in fields}
        namespace.update({name: _DEFAULTS[name] for name in defaults})
        namespace["handlers"] = list(handled)
        namespace["upcasters"] = list(chain)

    return new_class("Thing", (Projection,), {"category": CATEGORY, "key": key}, body)


@st.composite
def projections(draw: st.DrawFn, *, keys: st.SearchStrategy[Value | None] | None = None) -> type[Projection]:
    """Projections over the histories of ``histories``."""
    fields = draw(st.lists(st.sampled_from(list(_FIELDS)), min_size=1, max_size=6, unique=True))
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=6).map(lambda drawn: [TYPES[0], TYPES[1], *drawn]))
    handled = [draw(handlers(event_type=event_type, fields=fields)) for event_type in types]
    defaults = draw(st.lists(st.sampled_from([name for name in fields if name in _DEFAULTS] or [""]), unique=True))
    return declared(
        fields,
        handled,
        chain=draw(upcasters()),
        key=draw(keys if keys is not None else st.sampled_from([None, None, event.data["k"], event.stream])),
        defaults=[name for name in defaults if name],
    )
