"""Upcasters, which bring events of old versions to the newest form before handlers see them.

Each upcaster is tried once, in declared order. It takes an event if the event's current type is the upcaster's and ``when`` holds for
the event *as recorded*. Declare a chain over a version number like this::

    upcasters = [
        upcast("user.created", when=event.metadata["schemaVersion"] == 1).rename(mail="email"),
        upcast("user.created", when=event.metadata["schemaVersion"] == 2).default(country="DE"),
    ]

An upcaster whose ``when`` is exactly ``value == n`` turns version n into n + 1, so the next upcaster takes its events as well: the second
line above applies to the recorded versions 1 and 2. Such a chain must rise without gaps.
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
    """How the events of one type are changed before handlers see them. `upcast` makes one; each method returns a new one.

    Edits apply in the order in which they are written and change keys at the payload's top level. A payload that is not an object counts as
    an empty one.

    Attributes
    ----------
    type
        The event type, as recorded.
    when
        The condition that must hold; None if there is none.
    edits
        The edits, in order.
    target
        The type that the events get; None if they keep theirs.
    """

    type: str
    when: Where | None = None
    edits: tuple[plan.Edit, ...] = ()
    target: str | None = None

    def rename(self, /, **names: str) -> Self:
        """Rename keys of the payload. A key that is absent is left alone.

        Parameters
        ----------
        **names
            The old name as the keyword, the new one as the value.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            A new name is not text, or is the old one.

        Examples
        --------
        >>> wb.upcast("user.created").rename(fullName="name", e_mail="email")
        upcast('user.created')
        """
        for old, new in names.items():
            self._name(new)
            if old == new:
                raise InvalidProjection(f"{self}.rename({old}={new!r}) changes nothing.")
        return self._with("rename", *(plan.Move((old,), new) for old, new in names.items()))

    def move(self, /, **sources: Value) -> Self:
        """Move values from inside the payload to its top level.

        Parameters
        ----------
        **sources
            The name at the top level as the keyword, a path in ``event.data`` as the value.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            A source is not a path in ``event.data``, is an element of an array, or is the target itself.

        Examples
        --------
        >>> wb.upcast("user.created").move(city=wb.event.data["address"]["city"])
        upcast('user.created')
        """
        moves = []
        for name, source in sources.items():
            path = getattr(source, "value", None)
            if not isinstance(path, plan.Path) or path.root != "data" or not path.steps:
                raise InvalidProjection(f"{self}.move() expects a path in event.data, got {name}={source!r}.")
            if path.steps == (name,):
                raise InvalidProjection(f"{self}.move({name}={source!r}) changes nothing.")
            if isinstance(path.steps[-1], int):
                raise InvalidProjection(f"{self}.move() cannot move an element of an array, got {name}={source!r}.")
            moves.append(plan.Move(path.steps, name))
        return self._with("move", *moves)

    def default(self, /, **constants: bool | int | float | str | None) -> Self:
        """Give keys that are absent a constant. A key whose value is null is not absent.

        Parameters
        ----------
        **constants
            For each key None, a boolean, a number or text.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            A constant is of another kind.

        Examples
        --------
        >>> wb.upcast("user.created").default(plan="free")
        upcast('user.created')
        """
        for name, constant in constants.items():
            if not _is_scalar(constant):
                raise InvalidProjection(f"{self}.default() expects None, a boolean, a number or text, got {name}={constant!r}.")
        return self._with("default", *(plan.Default(name, plan.Scalar(constant)) for name, constant in constants.items()))

    def retype(self, /, **types: Scalars) -> Self:
        """Convert values where nothing is lost. A value that cannot be converted stays as it is.

        Parameters
        ----------
        **types
            For each key the type to convert to. ``int`` and ``float``: text that is a JSON number becomes the number, ``true`` and
            ``false`` become 1 and 0. ``str``: integers and booleans become text. ``bool``: the texts ``true`` and ``false``, and the
            integers 1 and 0, become booleans.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            A type is none of these.

        Examples
        --------
        >>> wb.upcast("user.paid").retype(amount=float)
        upcast('user.paid')
        """
        for name, to in types.items():
            if to not in _TARGETS:
                raise InvalidProjection(f"{self}.retype() expects int, float, str or bool, got {name}={to!r}.")
        return self._with("retype", *(plan.Retype(name, _TARGETS[to]) for name, to in types.items()))

    def split(self, name: str, *, into: tuple[str, ...], by: str = " ") -> Self:
        """Split a text at its first separators into several keys. A value that is not text stays as it is.

        Parameters
        ----------
        name
            The key whose text is split.
        into
            The keys of the parts, in order; the last one gets the rest of the text.
        by
            The separator.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            The separator is empty, or ``into`` does not name at least two other keys, each once.

        Examples
        --------
        >>> wb.upcast("user.created").split("name", into=("first_name", "last_name"))
        upcast('user.created')
        """
        if not by or len(into) < 2 or len(set(into)) != len(into) or name in into:
            raise InvalidProjection(
                f"{self}.split({name!r}) expects a separator and at least two other names, all different, got {into!r} and {by!r}."
            )
        for target in into:
            self._name(target)
        return self._with("split", plan.Split(name, tuple(into), by))

    def apply(self, function: Callable[[Any, Any], Any], *, version: str | int | None = None) -> Self:
        """Change payloads by a Python function.

        The projection is then folded event by event, which is slower, and is materialised only if the function has a ``version``.

        Parameters
        ----------
        function
            ``(data, metadata) -> data`` over decoded JSON. None stands for a payload that is absent. It must be pure.
        version
            A name or number that you change whenever the function changes.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            ``function`` cannot be called.

        Examples
        --------
        >>> def in_cents(data, metadata):
        ...     return {**data, "cents": round(100 * data["amount"])}
        >>> wb.upcast("user.paid").apply(in_cents, version=1)
        upcast('user.paid')
        """
        given: object = function
        if not callable(given):
            raise InvalidProjection(f"{self}.apply() expects a function (data, metadata) -> data, got {function!r}.")
        return self._with("apply", plan.Apply(function, version))

    def to(self, type: str) -> Self:  # noqa: A002  # the field's own word
        """Give the events another type, under which handlers see them.

        Parameters
        ----------
        type
            The event type.

        Returns
        -------
        Upcast
            The upcaster with the edit.

        Raises
        ------
        InvalidProjection
            ``type`` is not the name of an event type, or was given before.

        Examples
        --------
        >>> wb.upcast("chat.room_created").rename(title="name").to("chat.room_opened")
        upcast('chat.room_created')
        """
        if not type or not storable(type) or self.target is not None:
            raise InvalidProjection(f"{self}.to() expects an event type name, once, got {type!r}.")
        return replace(self, target=type)

    def __repr__(self) -> str:
        return f"upcast({self.type!r})"

    def _name(self, name: object) -> None:
        if not storable(name):
            raise InvalidProjection(f"{self} expects the name of a key in the payload, got {name!r}.")

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
    """Return an upcaster of the events of one type. Its methods say how it changes their payloads.

    Upcasters run before handlers. Selections, edits and ``timeline.events()`` show events as they were recorded.

    Parameters
    ----------
    type
        The event type as recorded, spelled exactly.
    when
        Change only events for which this condition holds: SQL such as ``"metadata.schemaVersion = 1"`` (see ``workbench.conditions``), or
        an expression such as ``event.metadata["schemaVersion"] == 1``. By default, all events of the type.

    Returns
    -------
    Upcast
        An upcaster that changes nothing yet.

    Raises
    ------
    InvalidProjection
        ``type`` is not the name of an event type, or ``when`` is not a condition.
    InvalidCondition
        The SQL is not in the language of conditions, or names what no event has.

    Examples
    --------
    >>> class Member(wb.Projection, category="user"):
    ...     name: str | None
    ...     city: str | None
    ...     upcasters = [
    ...         upcast("user.created", when="metadata.schemaVersion = 1").rename(fullName="name"),
    ...         upcast("user.created", when="metadata.schemaVersion >= 2").move(city=wb.event.data["address"]["city"]),
    ...     ]
    ...     handlers = [wb.on("user.created").create("name", "city")]
    >>> wb.state(Member, wb.open("data/demo").timeline).select("key", "name", "city").head(2)
    shape: (2, 3)
    ┌─────┬──────────────┬─────────┐
    │ key ┆ name         ┆ city    │
    │ --- ┆ ---          ┆ ---     │
    │ str ┆ str          ┆ str     │
    ╞═════╪══════════════╪═════════╡
    │ 1   ┆ Ada Lovelace ┆ London  │
    │ 10  ┆ Inês Tamm    ┆ القاهرة │
    └─────┴──────────────┴─────────┘
    """
    if not type or not storable(type):
        raise InvalidProjection(f"upcast() expects an event type name, got {type!r}.")
    condition: object = where(when) if isinstance(when, str) else when
    if condition is not None and not isinstance(condition, Where):
        raise InvalidProjection(f"upcast({type!r}) expects when= as a condition such as 'metadata.schemaVersion = 1', got {when!r}.")
    return Upcast(type, condition)
