"""The compiled form of a projection: what both engines execute.

A ``Plan`` is data and nothing else: frozen, slotted, hashable. Upcasters are compiled away wherever they can be, so that every
value is an expression over the event *as recorded*. What the expressions mean, for every engine, bit for bit:

**Event.** A payload (``data``, ``metadata``) is JSON text or absent; in an absent payload (the column is null) every path is absent. Of
duplicate keys in an object the first counts. A path's text steps find keys of objects only, its whole-number steps elements of
arrays only; the empty path is the payload itself. A column that is null is absent.

**Value.** ``Path``, ``Column``, ``Scalar``, ``Choice``, ``Converted`` and ``Part`` give a JSON value or *absent*; null is a value. Columns
of text and integers count as JSON text and numbers, and ``recorded_at`` as an instant. ``Constant`` is already of its field's kind.

**Number.** A literal without fraction and exponent is an *integer*, exact however long (``-0`` is 0). Any other number counts as its
nearest double, save in a decimal field, which reads its text as recorded.

**Condition.** True, false or unknown (Kleene's logic), and holds only if true. See the nodes.

**Folding one event**, in this order; each event is counted under exactly one of the words in italics:

1. An event outside ``Plan.categories`` is not looked at and not counted. A type without ``HandledType`` is *unhandled*. The first
   ``Branch`` whose condition holds is taken; if there is none, the event is unhandled too.
2. The branch's handlers whose ``where`` holds are those that match; if there is none the event is *unmatched*. It begins nothing and
   leaves no version.
3. The key is found. An event without one is *keyless* (a key from a path) or an error (a key from the stream, and a list or an object
   where a path leads).
4. The matching handlers run one after the other. On an entity that is absent, a handler runs if it ``creates``, or if no handler of
   the whole plan creates and it does not delete; the entity then begins with every field at its initial value. Any other handler is
   passed over, and its values are not looked at.
5. A handler's operations run in order, then its ``deletes``, after which the entity is absent: what comes later begins from nothing.
6. If every matching handler was passed over, the event is an *orphan*; otherwise it is *applied*. If a value does not fit, the whole
   event has no effect and is *failed* (or the replay stops).

**Operations.** An absent value changes nothing. A value is first made to fit the field's kind, see ``workbench.projection.values``.

- ``set``: the field becomes the value; null makes it null.
- ``add``, ``subtract``, ``max``, ``min``: null changes nothing; on a field that is null they start at zero, or at the value. A value is
  first made to fit, then subtracted. Sums are made one event after the other in log order; a sum outside int64, outside the decimal's
  digits, or not finite does not fit.
- ``include``, ``exclude``, ``append``: the value is one element, or an array that stands for its elements in order (in a list of JSON:
  always one element); null changes nothing, null inside the array does not fit; a field that is null counts as empty and becomes a set
  or list, also if nothing is put in or taken out. ``append`` then keeps the last ``keep`` elements.
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
"""The event's own columns that a value may name, and what they hold."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field holds.

    ``text`` is text without lone surrogates; ``integer`` int64; ``float`` a finite double, of which there is one zero (0.0); ``decimal``
    has ``precision`` digits of which ``scale`` stand behind the point; ``instant`` microseconds since the Unix epoch, years 1 to 9999;
    ``json`` the canonical text of a JSON value; ``set`` distinct elements, ascending; ``list`` elements in order. Elements are never null.
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
    """A field of the state, and what it holds when an entity begins: a Python value of its kind (see ``Constant``), or None for null."""

    name: str
    kind: Kind
    initial: Any = None


# Values ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a payload, as recorded."""

    root: Root
    steps: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"event.{self.root}" + "".join(f"[{step!r}]" for step in self.steps)


@dataclass(frozen=True, slots=True)
class Column:
    """One of the event's own columns, see ``COLUMNS``."""

    name: str

    def __str__(self) -> str:
        return f"event.{self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is already of its field's kind; only ever the direct source of an operation.

    None, str (text and canonical JSON), int, float, Decimal (with the field's scale), bool, int microseconds for an instant; for a set a
    tuple of distinct elements, ascending; for a list a tuple. For ``include``, ``exclude`` and ``append`` a tuple of elements.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Scalar:
    """A JSON scalar, as if it stood in the payload: an upcaster's default, or a lifted type.

    A float is finite and counts as a number with a fraction; a decimal field reads its ``repr``.
    """

    value: JsonScalar

    # 1, 1.0 and True are equal in Python and differ here.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scalar) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Absent:
    """Never there: an upcaster took it away."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of the first alternative whose condition holds; otherwise the last one."""

    alternatives: tuple[tuple[Condition, Value], ...]
    otherwise: Value


@dataclass(frozen=True, slots=True)
class Converted:
    """A value, retyped where that loses nothing; any other value (null and absent too) stays as it is.

    ``number``: text that is a JSON number in full becomes that number, its text kept for decimals; true and false become 1 and 0.
    ``text``: an integer becomes its digits, true and false the words. ``boolean``: the texts ``true`` and ``false``, and the integers 1
    and 0.
    """

    value: Value
    to: Literal["number", "text", "boolean"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text that is split at the first ``count - 1`` separators; absent if there are fewer parts, or if the value is no text."""

    value: Value
    separator: str
    index: int
    count: int


Value = Path | Column | Constant | Scalar | Absent | Choice | Converted | Part


# Conditions --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """A value against a constant; unknown if the value is absent, null, or of another kind than the constant.

    Texts compare by code points, booleans only as equal or not, an instant with the column ``recorded_at`` or with text that an instant
    field would take (``values.instant_of``). An integer and an int constant (of int64) compare exactly, any other two numbers as their
    nearest doubles, which for 1e999 is infinity.
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
    """Any of ``value == constant``, by Kleene's or; the constants are of one kind."""

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
    """There, and null. Never unknown."""

    value: Value


@dataclass(frozen=True, slots=True)
class Exists:
    """There, null included. Never unknown."""

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
    """What one declared handler does with an event of its type."""

    where: Condition | None
    operations: tuple[Operation, ...]
    creates: bool = False
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """What becomes of the events of a recorded type that upcasters lift to ``type``; ``condition`` is None for all of them.

    ``key`` is None if the key is the stream's name behind the category and ``-``, and is an error where nothing is left. Otherwise text
    is the key, and an integer of int64 its decimal digits; a list or an object is an error; anything else, empty text, and text with half a
    surrogate pair, is no key.
    """

    condition: Condition | None
    type: str
    key: Value | None
    handlers: tuple[Handler, ...]


# Upcasters that only the Python engine runs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    """What stands at a place in ``data`` goes to a top-level name, if it is there; what stood at that name is replaced."""

    source: tuple[str | int, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Default:
    """A top-level name that is absent gets a scalar."""

    target: str
    scalar: Scalar


@dataclass(frozen=True, slots=True)
class Retype:
    """A top-level name is retyped as ``Converted`` says."""

    target: str
    to: Literal["number", "text", "boolean"]


@dataclass(frozen=True, slots=True)
class Split:
    """A top-level text is taken away and its parts, as ``Part`` says, go to other names; a part that is absent changes nothing."""

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
    """An upcaster: to events that are of ``type`` by now and, as recorded, fit ``when``, the edits apply; then they are of type ``to``."""

    type: str
    when: Condition | None
    edits: tuple[Edit, ...]
    to: str | None


@dataclass(frozen=True, slots=True)
class HandledType:
    """What is done with the events that were recorded with a type.

    ``lifts`` is empty where the upcasters were compiled into the branches, whose values then speak of the event as recorded. Otherwise the
    payload is lifted first, in Python; the branches' values speak of the lifted payload, their conditions are None and the one of the
    lifted type is taken.
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
        In declared order: the columns of the result behind ``key``.
    types
        Sorted by recorded type, all that upcasters lead to a handler included.
    creates
        Whether any handler creates: then only those begin an entity.
    """

    name: str
    categories: tuple[str, ...]
    fields: tuple[Field, ...]
    types: tuple[HandledType, ...]
    creates: bool

    @property
    def python_only(self) -> bool:
        """Whether upcasters take part that only the event-by-event engine runs."""
        return any(handled.lifts for handled in self.types)
