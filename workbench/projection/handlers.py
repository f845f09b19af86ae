"""Handlers: ``on("user.moved").set("city", moved_at=event.recorded_at)``."""

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
    """A change of one field as declared, before its constant or value is converted to the field's type."""

    verb: plan.Verb
    field: str
    source: Source
    keep: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class On:
    """What happens on events of one type. `on` makes a handler; each method returns a new one.

    All handlers of a type whose conditions hold run, in the order of the declaration, and so do the changes within a handler. A change
    takes each field by name with a value of the event or a constant. A value that the event lacks changes nothing.

    Attributes
    ----------
    type
        The event type, as upcasters leave it.
    changes
        The changes of fields, in order.
    condition
        The condition that must hold; None if there is none.
    creates, deletes
        Whether the handler begins or ends an entity.
    """

    type: str
    changes: tuple[FieldChange, ...] = ()
    condition: Where | None = None
    creates: bool = False
    deletes: bool = False

    def where(self, condition: Where | str) -> Self:
        """Act only on events for which a condition holds.

        Parameters
        ----------
        condition
            SQL such as ``"data.amount > 100"`` (see ``workbench.conditions``), or an expression such as ``event.data["amount"] > 100``. If
            ``where`` is called several times, all conditions must hold. A condition that is null does not hold.

        Returns
        -------
        On
            The handler with the condition.

        Raises
        ------
        InvalidCondition
            The SQL is not in the language of conditions, or names what no event has.
        InvalidProjection
            The argument is not a condition.

        Examples
        --------
        >>> wb.on("user.paid").where("data.amount > 100").add(big_payments=1)
        on('user.paid')
        """
        given: object = where(condition) if isinstance(condition, str) else condition
        if not isinstance(given, Where):
            raise InvalidProjection(f"{self}.where() expects a condition such as 'data.amount > 100', got {condition!r}.")
        return replace(self, condition=given if self.condition is None else self.condition & given)

    def create(self, /, *fields: str, **values: Source) -> Self:
        """Begin an entity if it does not exist, and set fields.

        If the entity exists, ``create`` only sets. If any handler of a projection creates, only such handlers begin entities: other events
        on an entity that does not exist have no effect and are counted as orphans.

        Parameters
        ----------
        *fields
            Fields to set from the keys of the same names at the payload's top level.
        **values
            Fields to set from a value of the event or a constant, as in `set`.

        Returns
        -------
        On
            The handler with the change.

        Raises
        ------
        InvalidProjection
            A field is not named by text, or ``delete`` came before.

        Examples
        --------
        >>> wb.on("user.created").create("name", "email", city=wb.event.data["address"]["city"])
        on('user.created')
        """
        return replace(self._change("set", self._with_named("create", fields, values), create=True), creates=True)

    def set(self, /, *fields: str, **values: Source) -> Self:
        """Set fields.

        Parameters
        ----------
        *fields
            Fields to set from the keys of the same names at the payload's top level.
        **values
            For each other field a value of the event or a constant. Null makes the field null.

        Returns
        -------
        On
            The handler with the change.

        Raises
        ------
        InvalidProjection
            A field is not named by text, no field is named, or ``delete`` came before.

        Examples
        --------
        >>> wb.on("user.moved").set("city", "country", moved_at=wb.event.recorded_at)
        on('user.moved')
        """
        return self._change("set", self._with_named("set", fields, values))

    def add(self, /, **values: Source) -> Self:
        """Add numbers to fields.

        Parameters
        ----------
        **values
            For each field a number of the event or a constant. Null adds nothing. A field that is null counts as zero.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("user.paid").add(payments=1, paid=wb.event.data["amount"])
        on('user.paid')
        """
        return self._change("add", values)

    def subtract(self, /, **values: Source) -> Self:
        """Subtract numbers from fields.

        Parameters
        ----------
        **values
            For each field a number of the event or a constant. Null subtracts nothing. A field that is null counts as zero.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("account.withdrawn").subtract(balance=wb.event.data["amount"])
        on('account.withdrawn')
        """
        return self._change("subtract", values)

    def max(self, /, **values: Source) -> Self:
        """Keep the greater of a field's value and a new one.

        Parameters
        ----------
        **values
            For each field a number, a text (compared by code points) or an instant. Null changes nothing.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("bid.placed").max(highest=wb.event.data["amount"])
        on('bid.placed')
        """
        return self._change("max", values)

    def min(self, /, **values: Source) -> Self:
        """Keep the lesser of a field's value and a new one.

        Parameters
        ----------
        **values
            For each field a number, a text (compared by code points) or an instant. Null changes nothing.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("price.quoted").min(cheapest=wb.event.data["price"])
        on('price.quoted')
        """
        return self._change("min", values)

    def include(self, /, **values: Source) -> Self:
        """Add an element, or every element of an array, to sets.

        Parameters
        ----------
        **values
            For each field the element or array. Null changes nothing.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("user.role_granted").include(roles=wb.event.data["role"])
        on('user.role_granted')
        """
        return self._change("include", values)

    def exclude(self, /, **values: Source) -> Self:
        """Remove an element, or every element of an array, from sets.

        Parameters
        ----------
        **values
            For each field the element or array. Null changes nothing.

        Returns
        -------
        On
            The handler with the change.

        Examples
        --------
        >>> wb.on("user.role_revoked").exclude(roles=wb.event.data["role"])
        on('user.role_revoked')
        """
        return self._change("exclude", values)

    def append(self, /, *, keep: int, **values: Source) -> Self:
        """Append an element, or every element of an array, to lists.

        Parameters
        ----------
        keep
            How many elements a list holds at most. The oldest are dropped.
        **values
            For each field the element or array. Null changes nothing.

        Returns
        -------
        On
            The handler with the change.

        Raises
        ------
        InvalidProjection
            ``keep`` is not a whole number from 1 to 2147483647.

        Examples
        --------
        >>> wb.on("user.logged_in").append(last_logins=wb.event.recorded_at, keep=5)
        on('user.logged_in')
        """
        if type(keep) is not int or not 1 <= keep < 2**31:
            raise InvalidProjection(f"{self}.append() expects keep= as a whole number from 1 to 2147483647, got {keep!r}.")
        return self._change("append", values, keep=keep)

    def delete(self) -> Self:
        """End the entity.

        The next event that creates it begins a new life with all fields at their defaults.

        Returns
        -------
        On
            The handler, to which no further change can be added.

        Raises
        ------
        InvalidProjection
            The handler creates, or deletes already.

        Examples
        --------
        >>> wb.on("user.deleted").delete()
        on('user.deleted')
        """
        self._open("delete")
        if self.creates:
            raise InvalidProjection(f"{self}.delete() is not allowed, as the handler creates: declare a second handler.")
        return replace(self, deletes=True)

    def __repr__(self) -> str:
        return f"on({self.type!r})"

    def _with_named(self, verb: str, fields: tuple[str, ...], values: dict[str, Source]) -> dict[str, Source]:
        """Return the values, and before them those of the fields that the payload's keys of the same names set."""
        for name in fields:
            if not storable(name):
                raise InvalidProjection(
                    f"{self}.{verb}() expects names of fields, got {name!r}: write field=... to give a field another value."
                )
        return {**{name: Value(plan.Path("data", (name,))) for name in fields}, **values}

    def _change(self, verb: plan.Verb, values: dict[str, Source], *, keep: int = 0, create: bool = False) -> Self:
        self._open("create" if create else verb)
        if not values and not create:
            raise InvalidProjection(f"{self}.{verb}() names no field: write {verb}(field=...).")
        return replace(self, changes=(*self.changes, *(FieldChange(verb, name, source, keep) for name, source in values.items())))

    def _open(self, verb: str) -> None:
        if self.deletes:
            raise InvalidProjection(f"{self}: {verb}() cannot follow delete(): declare a second handler.")


def on(type: str) -> On:  # noqa: A002  # the field's own word
    """Return a handler of the events of one type. Its methods say what the handler does.

    Parameters
    ----------
    type
        The event type, spelled exactly, as upcasters leave it.

    Returns
    -------
    On
        A handler that does nothing yet.

    Raises
    ------
    InvalidProjection
        ``type`` is not the name of an event type.

    Examples
    --------
    >>> from workbench import event
    >>> on("user.moved").set(city=event.data["address"]["city"])
    on('user.moved')
    """
    if not type or not storable(type):
        raise InvalidProjection(f"on() expects an event type name, got {type!r}.")
    return On(type)
