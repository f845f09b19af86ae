"""Compiles a declaration to a plan and checks every name, type and chain of upcasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.expressions import Value
from workbench.projection.fields import constant_of, elements_of
from workbench.projection.handlers import FieldChange, On
from workbench.projection.upcast_compile import Lifted, NotExpressibleError, lifts_of, recorded_types, rewrite, rewrite_condition, ways
from workbench.projection.upcasters import Upcast

_NUMBERS: frozenset[plan.KindName] = frozenset({"integer", "float", "decimal"})
_TAKES: dict[plan.Verb, frozenset[plan.KindName]] = {
    "add": _NUMBERS,
    "subtract": _NUMBERS,
    "max": _NUMBERS | {"text", "instant"},
    "min": _NUMBERS | {"text", "instant"},
    "include": frozenset({"set"}),
    "exclude": frozenset({"set"}),
    "append": frozenset({"list"}),
}
_COLUMN_FITS: dict[plan.KindName, frozenset[plan.KindName]] = {
    "text": frozenset({"text"}),
    "integer": _NUMBERS,
    "instant": frozenset({"instant"}),
}


def compile_plan(
    name: str,
    *,
    categories: Sequence[str],
    key: Value | None,
    fields: Sequence[plan.Field],
    handlers: Sequence[On],
    upcasters: Sequence[Upcast],
) -> plan.Plan:
    """Compile the parts of a declaration.

    Raises
    ------
    InvalidProjection
        The declaration is invalid; the message names the projection and the handler.
    """
    declared: dict[str, list[plan.Handler]] = {}
    by_name = {field.name: field for field in fields}
    for handler in handlers:
        operations = tuple(_operation(name, handler, change, by_name) for change in handler.changes)
        if not operations and not handler.creates and not handler.deletes:
            raise InvalidProjection(f"{name}, {handler}: the handler does nothing; add create, set, add, delete, ...")
        where = None if handler.condition is None else handler.condition.condition
        declared.setdefault(handler.type, []).append(plan.Handler(where, operations, handler.creates, handler.deletes))
    try:
        lifts = lifts_of(upcasters, declared)
    except InvalidProjection as error:
        raise InvalidProjection(f"{name}: {error}.") from None
    key_value = None if key is None else key.value
    types = tuple(_handled(recorded, lifts, declared, key_value) for recorded in recorded_types(lifts, declared))
    return plan.Plan(name, tuple(categories), tuple(fields), types, any(handler.creates for handler in handlers))


def _operation(name: str, handler: On, change: FieldChange, fields: dict[str, plan.Field]) -> plan.Operation:
    place = f"{name}, {handler}.{change.verb}({change.field}=...)"
    if change.field not in fields:
        raise InvalidProjection(f"{place}: {name} has no field {change.field!r}; it has {', '.join(fields)}.")
    kind = fields[change.field].kind
    if change.verb != "set" and kind.name not in _TAKES[change.verb]:
        raise InvalidProjection(f"{place}: {change.verb} cannot change a field of type {kind}; it takes {_listed(_TAKES[change.verb])}.")
    element = kind.element if change.verb in ("include", "exclude", "append") and kind.element is not None else kind
    if isinstance(change.source, Value):
        value: plan.Value = change.source.value
        if isinstance(value, plan.Column) and element.name not in _COLUMN_FITS[plan.COLUMNS[value.name]]:
            raise InvalidProjection(f"{place}: {value} has the type {plan.COLUMNS[value.name]}, but the field has the type {kind}.")
        return plan.Operation(change.verb, change.field, value, change.keep)
    if change.source is None and change.verb != "set":
        raise InvalidProjection(f"{place}: None has no effect here.")
    try:
        constant = constant_of(kind, change.source) if element is kind else elements_of(kind, change.source)
    except InvalidProjection as error:
        raise InvalidProjection(f"{place} {error}.") from None
    return plan.Operation(change.verb, change.field, plan.Constant(constant), change.keep)


def _handled(
    recorded: str, lifts: tuple[plan.Lift, ...], declared: dict[str, list[plan.Handler]], key: plan.Value | None
) -> plan.HandledType:
    """Compile the handlers of one recorded type: with upcasters compiled away if possible, otherwise with upcasters to run."""
    found = ways(recorded, lifts)
    try:
        branches = tuple(_branch(way, way.condition, recorded, declared[way.type], key) for way in found if way.type in declared)
        return plan.HandledType(recorded, branches)
    except NotExpressibleError:
        met = {recorded}
        for lift in lifts:
            met.update({lift.to} if lift.type in met and lift.to is not None else ())
        branches = tuple(
            _branch(Lifted((), final), None, recorded, declared[final], key)
            for final in sorted({way.type for way in found})
            if final in declared
        )
        return plan.HandledType(recorded, branches, tuple(lift for lift in lifts if lift.type in met))


def _branch(
    way: Lifted, condition: plan.Condition | None, recorded: str, handlers: list[plan.Handler], key: plan.Value | None
) -> plan.Branch:
    return plan.Branch(
        condition,
        way.type,
        None if key is None else rewrite(key, way, recorded),
        tuple(
            replace(
                handler,
                where=None if handler.where is None else rewrite_condition(handler.where, way, recorded),
                operations=tuple(replace(operation, value=rewrite(operation.value, way, recorded)) for operation in handler.operations),
            )
            for handler in handlers
        ),
    )


def _listed(names: frozenset[plan.KindName]) -> str:
    return ", ".join(sorted(names))
