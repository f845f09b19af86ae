"""``Projection``: a class that declares how events become state."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, get_origin, get_type_hints

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.compilation import compile_plan
from workbench.projection.expressions import Value
from workbench.projection.fields import field_of, storable
from workbench.projection.handlers import On
from workbench.projection.upcasters import Upcast

RESERVED = frozenset(
    {
        *("key", "position", "handlers", "upcasters", "keep"),
        *("revision", "recorded_at", "event_count"),
        *("event_type", "event_id", "event_stream", "valid_from_position", "valid_to_position", "valid_from", "valid_to"),
    }
)
"""Names that a field cannot have: the columns of every result, and the words of the declaration itself."""


class Projection:
    """Declares how the events of a category become the state of one entity for each key.

    A subclass is a declaration only: fields with types, and ``handlers``. Functions such as `state` take the class itself; it has no
    instances. The parameters belong to the class statement, which checks the declaration. A field begins with its default, or else as
    null; sets and lists begin empty.

    Parameters
    ----------
    category
        The category whose events are folded, or several (with ``key``).
    key
        Where an event says which entity it is about, such as ``event.data["userId"]``: text, or an integer, which counts as its digits. By
        default, the part of the stream's name after the category's ``-``.

    Raises
    ------
    InvalidProjection
        The declaration is not valid.

    Examples
    --------
    >>> from workbench import on
    >>> class User(Projection, category="user"):
    ...     name: str
    ...     logins: int = 0
    ...     handlers = [
    ...         on("user.created").create("name"),
    ...         on("user.logged_in").add(logins=1),
    ...     ]
    >>> wb.state(User, wb.open("data/demo").timeline, key="1").select("key", "logins", "event_count")
    shape: (1, 3)
    ┌─────┬────────┬─────────────┐
    │ key ┆ logins ┆ event_count │
    │ --- ┆ ---    ┆ ---         │
    │ str ┆ i64    ┆ i64         │
    ╞═════╪════════╪═════════════╡
    │ 1   ┆ 192    ┆ 193         │
    └─────┴────────┴─────────────┘
    """

    handlers: ClassVar[Sequence[On]]
    upcasters: ClassVar[Sequence[Upcast]] = ()
    __plan__: ClassVar[plan.Plan]

    def __init_subclass__(cls, *, category: str | Sequence[str] = (), key: Value | None = None) -> None:
        super().__init_subclass__()
        if cls.__mro__[1] is not Projection:
            raise InvalidProjection(f"{cls.__name__} extends {cls.__mro__[1].__name__}, but a projection can only extend Projection.")
        frame = sys._getframe(1)  # the frame of the class statement: annotations may use its names
        cls.__plan__ = compile_plan(
            cls.__name__,
            categories=checked_categories(cls.__name__, category, key),
            key=checked_key(cls.__name__, key),
            fields=_fields(cls, {**frame.f_globals, **frame.f_locals}),
            handlers=_listed(cls, "handlers", On, "on('type').set(...)", cls.__dict__.get("handlers")),
            upcasters=_listed(cls, "upcasters", Upcast, "upcast('type').rename(...)", cls.upcasters),
        )

    def __init__(self) -> None:
        raise InvalidProjection(f"{type(self).__name__} is a declaration and has no instances: pass the class itself to state().")


def plan_of(projection: type[Projection]) -> plan.Plan:
    """Return the plan that a projection was compiled to."""
    given: object = projection
    if not (isinstance(given, type) and issubclass(given, Projection) and given is not Projection):
        raise InvalidProjection(f"{projection!r} is not a projection: pass a class that extends Projection.")
    return projection.__plan__


def checked_categories(name: str, category: str | Sequence[str], key: object) -> tuple[str, ...]:
    """Return the categories of a projection or a fold.

    Raises
    ------
    InvalidProjection
        There is no category, a category is named twice, or there are several without a key.
    """
    categories = (category,) if isinstance(category, str) else tuple(category)
    if not categories or not all(one and storable(one) for one in categories):
        raise InvalidProjection(f"{name} has no category: write class {name}(Projection, category='...').")
    if len(set(categories)) < len(categories):
        raise InvalidProjection(f"{name} names a category twice: {', '.join(categories)}.")
    if len(categories) > 1 and key is None:
        raise InvalidProjection(f"{name} has several categories and needs key=, such as key=event.data['userId'].")
    return categories


def checked_key(name: str, key: object) -> Value | None:
    """Return the key of a projection or a fold.

    Raises
    ------
    InvalidProjection
        The key is not a value of an event, or its type cannot be a key.
    """
    if key is None:
        return None
    if not isinstance(key, Value):
        raise InvalidProjection(f"{name} has key={key!r}: a key is a value of the event, such as event.data['userId'].")
    if isinstance(key.value, plan.Column) and plan.COLUMNS[key.value.name] == "instant":
        raise InvalidProjection(f"{name} has key={key!r}: a key is text or an integer.")
    return key


def _fields(cls: type[Projection], names: dict[str, Any]) -> list[plan.Field]:
    annotations = inspect.get_annotations(cls)
    try:
        hints = get_type_hints(_only(annotations), names, names, include_extras=True)
    except NameError as error:
        raise InvalidProjection(f"{cls.__name__}: the type of a field is unknown: {error}.") from None
    found = []
    for name in annotations:
        hint = hints[name]
        if get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        if name in RESERVED or name.startswith("_"):
            raise InvalidProjection(f"{cls.__name__}: {name!r} is reserved and cannot name a field: choose another name.")
        try:
            found.append(field_of(name, hint, cls.__dict__.get(name), given=name in cls.__dict__))
        except InvalidProjection as error:
            raise InvalidProjection(f"{cls.__name__}: field {name!r} {error}.") from None
    for name, value in cls.__dict__.items():
        if name not in annotations and name not in ("handlers", "upcasters") and not name.startswith("_"):
            what = "is a function" if isinstance(value, (Callable, property, classmethod, staticmethod)) else "has no type"  # type: ignore[arg-type]  # isinstance takes the ABC
            raise InvalidProjection(f"{cls.__name__}: {name!r} {what}: a projection has only typed fields, handlers and upcasters.")
    return found


def _only(annotations: dict[str, Any]) -> type:
    """Return a class with these annotations and no bases, because get_type_hints also reads the annotations of bases."""
    return type("Annotations", (), {"__annotations__": dict(annotations)})


def _listed(cls: type[Projection], name: str, kind: type, example: str, value: object) -> list[Any]:
    if not isinstance(value, (list, tuple)) or (name == "handlers" and not value):
        raise InvalidProjection(f"{cls.__name__} has no list of {name}: write {name} = [{example}, ...].")
    for item in value:
        if not isinstance(item, kind):
            raise InvalidProjection(f"{cls.__name__}: {item!r} cannot be in {name}: write {example}.")
    return list(value)
