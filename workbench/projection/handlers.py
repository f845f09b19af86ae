"""Handlers: ``on("user.moved").set(city=event.data["city"])``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.event_conditions import where
from workbench.projection.expressions import Value, Where
from workbench.projection.fields import storable

Source = Any
"""A value of the event, or a constant: None, bool, int, float, Decimal, str, an instant, a tuple for sets and lists."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One change of one field, as declared: the constant or value is not yet made to fit the field."""

    verb: plan.Verb
    field: str
    source: Source
    keep: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class On:
    """What happens on events of one type; made by ``on`` and refined by its methods, each of which returns a new handler.

    All handlers of an event's type whose condition holds run, in the order of the declaration; so do the changes inside a handler.
    Each change takes fields by name: a value of the event, or a constant. A value that is absent changes nothing.
    """

    type: str
    changes: tuple[FieldChange, ...] = ()
    condition: Where | None = None
    creates: bool = False
    deletes: bool = False

    def where(self, condition: Where | str) -> Self:
        """Act only on events for which the condition holds, such as ``"data.amount > 100"``; of several, all must."""
        given: object = where(condition) if isinstance(condition, str) else condition
        if not isinstance(given, Where):
            raise InvalidProjection(f"{self}.where() takes a condition like 'data.amount > 100', not {condition!r}.")
        return replace(self, condition=given if self.condition is None else self.condition & given)

    def create(self, /, *fields: str, **values: Source) -> Self:
        """Begin an entity if there is none, and set fields: those named alone from the payload's top level, others as ``set`` does.

        On an entity that is there already it only sets.
        """
        for name in fields:
            if not storable(name):
                raise InvalidProjection(f"{self}.create() takes names of fields, not {name!r}: write field={name!r} to say where from.")
        from_payload = {name: Value(plan.Path("data", (name,))) for name in fields}
        return replace(self._change("set", {**from_payload, **values}, create=True), creates=True)

    def set(self, /, **values: Source) -> Self:
        """Set fields; null makes a field null."""
        return self._change("set", values)

    def add(self, /, **values: Source) -> Self:
        """Add numbers to fields; null adds nothing, a field that is null counts as zero."""
        return self._change("add", values)

    def subtract(self, /, **values: Source) -> Self:
        """Subtract numbers from fields, otherwise as ``add``."""
        return self._change("subtract", values)

    def max(self, /, **values: Source) -> Self:
        """Keep the greatest value: numbers, texts by code points, instants. Null changes nothing."""
        return self._change("max", values)

    def min(self, /, **values: Source) -> Self:
        """Keep the least value, otherwise as ``max``."""
        return self._change("min", values)

    def include(self, /, **values: Source) -> Self:
        """Put an element, or every element of an array, into sets. Null changes nothing."""
        return self._change("include", values)

    def exclude(self, /, **values: Source) -> Self:
        """Take an element, or every element of an array, out of sets. Null changes nothing."""
        return self._change("exclude", values)

    def append(self, /, *, keep: int, **values: Source) -> Self:
        """Append an element, or every element of an array, to lists, and keep the last ``keep`` elements. Null changes nothing."""
        if type(keep) is not int or not 1 <= keep < 2**31:
            raise InvalidProjection(f"{self}.append(keep={keep!r}) cannot be: keep says how many elements, at least 1.")
        return self._change("append", values, keep=keep)

    def delete(self) -> Self:
        """End the entity's life. The next event that creates it begins a new one from nothing."""
        self._open("delete")
        if self.creates:
            raise InvalidProjection(f"{self}.delete() cannot be: a handler that creates cannot delete.")
        return replace(self, deletes=True)

    def __repr__(self) -> str:
        return f"on({self.type!r})"

    def _change(self, verb: plan.Verb, values: dict[str, Source], *, keep: int = 0, create: bool = False) -> Self:
        self._open("create" if create else verb)
        if not values and not create:
            raise InvalidProjection(f"{self}.{verb}() names no field: write {verb}(field=...).")
        return replace(self, changes=(*self.changes, *(FieldChange(verb, name, source, keep) for name, source in values.items())))

    def _open(self, verb: str) -> None:
        if self.deletes:
            raise InvalidProjection(f"{self}.delete() ends a handler, and {verb}() cannot follow: declare a second handler.")


def on(type: str) -> On:  # noqa: A002  # the field's own word
    """Return a handler of the events of one type, which does nothing yet.

    >>> from workbench import event
    >>> on("user.moved").set(city=event.data["address"]["city"])
    on('user.moved')
    """
    if not type or not storable(type):
        raise InvalidProjection(f"on({type!r}) cannot be: it takes the name of an event type.")
    return On(type)
