"""Upcasters: they lift events of old versions before handlers see them.

Each is asked once, in the order of the declaration, whether it takes an event: the event's type by then must be the upcaster's, and
``when`` must hold. ``when`` sees the event *as recorded*. A chain over a version number is declared as it is meant::

    upcasters = [
        upcast("user.created", when=event.metadata["schemaVersion"] == 1).rename(mail="email"),
        upcast("user.created", when=event.metadata["schemaVersion"] == 2).default(country="DE"),
    ]

An upcaster whose ``when`` is ``value == n``, and nothing else, lifts from version n to n + 1, so that the next one takes the events that it
lifted as well: the second line above holds for the recorded versions 1 and 2. Such a chain must rise without gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.event_conditions import where
from workbench.projection.expressions import Value, Where
from workbench.projection.fields import fits_int64, storable

Scalars = type[int] | type[float] | type[str] | type[bool]
_TARGETS: dict[type, Literal["number", "text", "boolean"]] = {int: "number", float: "number", str: "text", bool: "boolean"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Upcast:
    """How events of one type are lifted; made by ``upcast`` and refined by its methods, each of which returns a new upcaster.

    Edits happen in the order in which they are written, and change top-level names of the payload. A payload that is no object
    counts as an empty one.
    """

    type: str
    when: Where | None = None
    edits: tuple[plan.Edit, ...] = ()
    target: str | None = None

    def rename(self, /, **names: str) -> Self:
        """Rename top-level names, ``rename(old="new")``. Where the old one is absent, nothing happens."""
        for old, new in names.items():
            self._name(new)
            if old == new:
                raise InvalidProjection(f"{self}.rename({old}={new!r}) changes nothing.")
        return self._with("rename", *(plan.Move((old,), new) for old, new in names.items()))

    def move(self, /, **sources: Value) -> Self:
        """Move what stands at a place of the payload to a top-level name: ``move(city=event.data["address"]["city"])``."""
        moves = []
        for name, source in sources.items():
            path = getattr(source, "value", None)
            if not isinstance(path, plan.Path) or path.root != "data" or not path.steps:
                raise InvalidProjection(f"{self}.move({name}={source!r}) cannot be: it takes a place in event.data.")
            if path.steps == (name,):
                raise InvalidProjection(f"{self}.move({name}={source!r}) changes nothing.")
            if isinstance(path.steps[-1], int):
                raise InvalidProjection(f"{self}.move({name}={source!r}) cannot be: an element of an array does not move.")
            moves.append(plan.Move(path.steps, name))
        return self._with("move", *moves)

    def default(self, /, **constants: bool | int | float | str | None) -> Self:
        """Give top-level names that are absent a constant. Null is not absent."""
        for name, constant in constants.items():
            if not _is_scalar(constant):
                raise InvalidProjection(f"{self}.default({name}={constant!r}) cannot be: it takes None, a boolean, a number or text.")
        return self._with("default", *(plan.Default(name, plan.Scalar(constant)) for name, constant in constants.items()))

    def retype(self, /, **types: Scalars) -> Self:
        """Retype top-level names where that loses nothing: numbers written as text, text written as numbers, booleans written as either.

        ``int`` and ``float`` both make numbers. A value that cannot be retyped stays as it is.
        """
        for name, to in types.items():
            if to not in _TARGETS:
                raise InvalidProjection(f"{self}.retype({name}={to!r}) cannot be: it takes int, float, str or bool.")
        return self._with("retype", *(plan.Retype(name, _TARGETS[to]) for name, to in types.items()))

    def split(self, name: str, *, into: tuple[str, ...], by: str = " ") -> Self:
        """Split a top-level text at the first separators into as many names as there are; what is no text stays as it is."""
        if not by or len(into) < 2 or len(set(into)) != len(into) or name in into:
            raise InvalidProjection(f"{self}.split({name!r}) cannot be: it takes a separator, and two or more other names that differ.")
        for target in into:
            self._name(target)
        return self._with("split", plan.Split(name, tuple(into), by))

    def apply(self, function: Callable[[Any, Any], Any], *, version: str | int | None = None) -> Self:
        """Lift by a function ``(data, metadata) -> data`` over decoded payloads; None stands for a payload that is not there.

        It should be pure. Without ``version=`` nothing that it takes part in is kept. It makes the projection run event by event.
        """
        given: object = function
        if not callable(given):
            raise InvalidProjection(f"{self}.apply({function!r}) cannot be: it takes a function (data, metadata) -> data.")
        return self._with("apply", plan.Apply(function, version))

    def to(self, type: str) -> Self:  # noqa: A002  # the field's own word
        """Make events of another type of them."""
        if not type or not storable(type) or self.target is not None:
            raise InvalidProjection(f"{self}.to({type!r}) cannot be: it takes the name of an event type, once.")
        return replace(self, target=type)

    def __repr__(self) -> str:
        return f"upcast({self.type!r})"

    def _name(self, name: object) -> None:
        if not storable(name):
            raise InvalidProjection(f"{self}: {name!r} is no name in a payload.")

    def _with(self, method: str, *edits: plan.Edit) -> Self:
        if not edits:
            raise InvalidProjection(f"{self}.{method}() names nothing.")
        return replace(self, edits=(*self.edits, *edits))


def _is_scalar(constant: object) -> bool:
    match constant:
        case None | bool():
            return True
        case int():
            return fits_int64(constant)
        case float():
            return math.isfinite(constant)
    return storable(constant)


def upcast(type: str, *, when: Where | str | None = None) -> Upcast:  # noqa: A002  # the field's own word
    """Return an upcaster of the events of one type, which does nothing yet; with ``when``, of those for which the condition holds."""
    if not type or not storable(type):
        raise InvalidProjection(f"upcast({type!r}) cannot be: it takes the name of an event type.")
    condition: object = where(when) if isinstance(when, str) else when
    if condition is not None and not isinstance(condition, Where):
        raise InvalidProjection(f"upcast({type!r}, when={when!r}) cannot be: when takes a condition like 'metadata.schemaVersion = 1'.")
    return Upcast(type, condition)
