"""The compiled form of a projection, which both engines execute.

A ``Plan`` is plain data: frozen, slotted, hashable. Upcasters are compiled away where possible, so that every value is an expression
over the event *as recorded*. Every engine follows these semantics, bit for bit:

**Event.** A payload (``data``, ``metadata``) is JSON text or absent. If it is absent (the column is null), every path in it is absent. If
an object has duplicate keys, the first counts. In a path, a text step finds a key of an object and an integer step finds an element of
an array; the empty path is the payload itself. A null column is absent.

**Value.** ``Path``, ``Column``, ``Scalar``, ``Choice``, ``Converted`` and ``Part`` give a JSON value or *absent*; null is a value. Columns
of text and integers count as JSON text and numbers, and ``recorded_at`` as an instant. ``Constant`` is already of its field's kind.

**Number.** A literal without fraction and exponent is an exact *integer* of any length (``-0`` is 0). Any other number counts as its
nearest double, except in a decimal field, which reads its text as recorded.

**Condition.** A condition is true, false or unknown (Kleene's logic). It holds only if it is true. See the nodes.

**Folding one event**, in this order; each event is counted under exactly one of the words in italics:

1. An event outside ``Plan.categories`` is ignored and not counted. An event whose type has no ``HandledType`` is *unhandled*. The first
   ``Branch`` whose condition holds is taken; if none holds, the event is unhandled too.
2. A handler of the branch matches if its ``where`` holds. If no handler matches, the event is *unmatched*: it creates no entity and
   no version.
3. The key is read. If there is none, the event is *keyless* when the key comes from a path, and an error when it comes from the stream.
   A list or an object as a key is an error.
4. The matching handlers run one after the other. If the entity is absent, a handler runs only if it ``creates``, or if no handler of
   the whole plan creates and this one does not delete; the entity then begins with every field at its initial value. Any other handler
   is skipped, and its values are not read.
5. A handler's operations run in order, then its ``deletes``. After a delete the entity is absent, and a later create starts afresh.
6. If every matching handler was skipped, the event is an *orphan*; otherwise it is *applied*. If a value does not fit, the whole
   event has no effect and is *failed* (or the replay stops).

**Operations.** An absent value changes nothing. A value is first converted to the field's kind, see ``workbench.projection.values``.

- ``set``: the field becomes the value; null makes it null.
- ``add``, ``subtract``, ``max``, ``min``: null changes nothing. On a null field, ``add`` and ``subtract`` start from zero, ``max`` and
  ``min`` from the value. Events are added one by one in log order; a sum that leaves int64 or the decimal's digits, or is not finite,
  does not fit.
- ``include``, ``exclude``, ``append``: the value is one element, or an array of elements in order (in a list of JSON: always one
  element). Null changes nothing; null inside the array does not fit. A null field counts as empty and becomes a set or list, even if
  no element is added or removed. ``append`` then keeps the last ``keep`` elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

KindName = Literal["text", "integer", "float", "decimal", "boolean", "instant", "json", "set", "list"]
Root = Literal["data", "metadata"]
Comparator = Literal["==", "!=", "<", "<=", ">", ">="]
Verb = Literal["set", "add", "subtract", "max", "min", "include", "exclude", "append"]
JsonScalar = None | bool | int | float | str
Comparand = bool | int | float | str | datetime

COLUMNS: dict[str, KindName] = {
    "position": "integer",
    "prepare_position": "integer",
    "stream": "text",
    "category": "text",
    "revision": "integer",
    "event_id": "text",
    "type": "text",
    "recorded_at": "instant",
    "correlation_id": "text",
    "causation_id": "text",
}
"""The columns of an event that a value may name, and their types."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a field.

    ``text`` is text without lone surrogates; ``integer`` int64; ``float`` a finite double, without -0.0; ``decimal`` has ``precision``
    digits, ``scale`` of them after the point; ``instant`` microseconds since the Unix epoch, years 1 to 9999; ``json`` the canonical
    text of a JSON value; ``set`` distinct elements, ascending; ``list`` elements in order. Elements are never null.
    """

    name: KindName
    element: Kind | None = None
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.element is not None:
            return f"{self.name} of {self.element}"
        return f"decimal({self.precision}, {self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the state, and its initial value: a Python value of its kind (see ``Constant``), or None for null."""

    name: str
    kind: Kind
    initial: Any = None


# Values ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A path into a payload as recorded."""

    root: Root
    steps: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"event.{self.root}" + "".join(f"[{step!r}]" for step in self.steps)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the event, see ``COLUMNS``."""

    name: str

    def __str__(self) -> str:
        return f"event.{self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that already has its field's kind; it occurs only as the direct source of an operation.

    None, str (text and canonical JSON), int, float, Decimal (with the field's scale), bool, int microseconds for an instant. A set is a
    tuple of distinct elements, ascending; a list is a tuple. For ``include``, ``exclude`` and ``append``: a tuple of elements.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Scalar:
    """A JSON scalar that counts as if the payload contained it: an upcaster's default, or an upcast type.

    A float is finite and counts as a number with a fraction; a decimal field reads its ``repr``.
    """

    value: JsonScalar

    # Python holds 1, 1.0 and True equal; here they differ.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scalar) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Absent:
    """A value that is always absent, because an upcaster removed it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of the first alternative whose condition holds; ``otherwise`` if none does."""

    alternatives: tuple[tuple[Condition, Value], ...]
    otherwise: Value


@dataclass(frozen=True, slots=True)
class Converted:
    """A value, converted where that loses nothing; any other value, also null or absent, is unchanged.

    ``number``: text that is a JSON number becomes that number, with its text for decimals; true and false become 1 and 0.
    ``text``: an integer becomes its digits, true and false the words. ``boolean``: the texts ``true`` and ``false``, and the integers 1
    and 0.
    """

    value: Value
    to: Literal["number", "text", "boolean"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text, split at the first ``count - 1`` separators; absent if the text has fewer parts or the value is not text."""

    value: Value
    separator: str
    index: int
    count: int


Value = Path | Column | Constant | Scalar | Absent | Choice | Converted | Part


# Conditions --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares a value with a constant; unknown if the value is absent, null, or of another kind than the constant.

    Texts compare by code points and booleans only for equality. An instant compares with the column ``recorded_at`` or with text that an
    instant field accepts (``values.instant_of``). An integer and an int64 constant compare exactly, any other two numbers as their
    nearest doubles (infinity for 1e999).
    """

    value: Value
    comparator: Comparator
    constant: Comparand

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Comparison)
            and (self.value, self.comparator, self.constant) == (other.value, other.comparator, other.constant)
            and type(self.constant) is type(other.constant)
        )

    def __hash__(self) -> int:
        return hash((self.value, self.comparator, type(self.constant), self.constant))


@dataclass(frozen=True, slots=True)
class IsIn:
    """True if the value equals any constant, by Kleene's or; the constants are of one kind."""

    value: Value
    constants: tuple[Comparand, ...]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, IsIn)
            and (self.value, self.constants) == (other.value, other.constants)
            and [type(constant) for constant in self.constants] == [type(constant) for constant in other.constants]
        )

    def __hash__(self) -> int:
        return hash((self.value, self.constants))


@dataclass(frozen=True, slots=True)
class IsNull:
    """True if the value is present and null. Never unknown."""

    value: Value


@dataclass(frozen=True, slots=True)
class Exists:
    """True if the value is present, also as null. Never unknown."""

    value: Value


@dataclass(frozen=True, slots=True)
class AllOf:
    """Kleene's and."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Kleene's or."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Kleene's not: unknown stays unknown."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Holds:
    """True if the condition is true, false if it is false or unknown."""

    condition: Condition


Condition = Comparison | IsIn | IsNull | Exists | AllOf | AnyOf | Not | Holds


# Handlers ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one field."""

    verb: Verb
    field: str
    value: Value
    keep: int = 0
    """How many elements ``append`` keeps; 0 for any other verb."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A declared handler: its condition, its operations, and whether it creates or deletes the entity."""

    where: Condition | None
    operations: tuple[Operation, ...]
    creates: bool = False
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """Handles the events of a recorded type that upcasters turn into ``type``; ``condition`` is None if it takes all of them.

    If ``key`` is None, the key is the stream's name after the category and ``-``; an empty rest is an error. Otherwise the key is the
    value's text, or the decimal digits of an int64. A list or an object is an error. Any other value, empty text, and text with a lone
    surrogate mean that the event has no key.
    """

    condition: Condition | None
    type: str
    key: Value | None
    handlers: tuple[Handler, ...]


# Upcasters that only the Python engine runs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    """Moves the value at a path in ``data``, if present, to a top-level name and replaces the value there."""

    source: tuple[str | int, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Default:
    """Gives an absent top-level name a scalar."""

    target: str
    scalar: Scalar


@dataclass(frozen=True, slots=True)
class Retype:
    """Converts the value of a top-level name, see ``Converted``."""

    target: str
    to: Literal["number", "text", "boolean"]


@dataclass(frozen=True, slots=True)
class Split:
    """Removes a top-level text and assigns its parts (see ``Part``) to other names; an absent part changes nothing."""

    source: str
    targets: tuple[str, ...]
    separator: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A Python function ``(data, metadata) -> data`` over decoded payloads."""

    function: Callable[..., Any]
    version: str | int | None


Edit = Move | Default | Retype | Split | Apply


@dataclass(frozen=True, slots=True)
class Lift:
    """An upcaster: edits events whose current type is ``type`` and that meet ``when`` as recorded, then gives them the type ``to``."""

    type: str
    when: Condition | None
    edits: tuple[Edit, ...]
    to: str | None


@dataclass(frozen=True, slots=True)
class HandledType:
    """Handles the events that were recorded with one type.

    If ``lifts`` is empty, the upcasters were compiled into the branches, whose values read the event as recorded. Otherwise Python upcasts
    the payload first and takes the branch of the resulting type; the branches have no condition and their values read the upcast payload.
    """

    type: str
    branches: tuple[Branch, ...]
    lifts: tuple[Lift, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled projection.

    Attributes
    ----------
    categories
        In declared order; at least one.
    fields
        In declared order: the columns of the result after ``key``.
    types
        Sorted by recorded type; includes the types that upcasters lead to a handler.
    creates
        Whether any handler creates; if so, only those handlers begin an entity.
    """

    name: str
    categories: tuple[str, ...]
    fields: tuple[Field, ...]
    types: tuple[HandledType, ...]
    creates: bool

    @property
    def python_only(self) -> bool:
        """Whether the plan has upcasters that only the event-by-event engine can run."""
        return any(handled.lifts for handled in self.types)
