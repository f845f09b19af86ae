"""Compiles upcasters away: rewrites each value of an upcast event as an expression over the event as recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from workbench.errors import InvalidProjection
from workbench.projection import plan
from workbench.projection.upcasters import Upcast

Steps = tuple[str | int, ...]


class NotExpressibleError(Exception):
    """Raised when no expression over the recorded event gives an upcast value: a function made it, or a part of it was moved."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """One route of a recorded type through the upcasters: its condition, the resulting type, and the edits with their conditions."""

    conditions: tuple[plan.Condition, ...]
    type: str
    edits: tuple[tuple[plan.Condition | None, plan.Edit], ...] = ()

    @property
    def condition(self) -> plan.Condition | None:
        """The condition on the recorded event for taking this route."""
        if len(self.conditions) > 1:
            return plan.AllOf(self.conditions)
        return self.conditions[0] if self.conditions else None


def lifts_of(upcasters: Sequence[Upcast], handled: Iterable[str]) -> tuple[plan.Lift, ...]:
    """Check the chains of declared upcasters and return them in the plan's form.

    Raises
    ------
    InvalidProjection
        A chain has a cycle, a gap, or the wrong order. The message continues the projection's name.
    """
    types = frozenset(handled)
    _check_cycles(upcasters)
    for index, upcaster in enumerate(upcasters):
        if not upcaster.edits and upcaster.target is None and _version(upcaster) is None:
            raise InvalidProjection(f"{upcaster} does nothing")
        later = {other.type for other in upcasters[index + 1 :]}
        leads_to = upcaster.target or upcaster.type
        if upcaster.target is not None and any(other.type == upcaster.target for other in upcasters[:index]):
            raise InvalidProjection(f"{upcaster}.to({upcaster.target!r}) comes after upcast({upcaster.target!r}): declare it first")
        if leads_to not in types and leads_to not in later:
            raise InvalidProjection(f"{upcaster} leads to {leads_to!r}, which has no handler")
    return tuple(
        plan.Lift(upcaster.type, when, upcaster.edits, upcaster.target)
        for upcaster, when in zip(upcasters, _conditions(upcasters), strict=True)
    )


def recorded_types(lifts: Sequence[plan.Lift], handled: Iterable[str]) -> list[str]:
    """Return the recorded types that reach a handler, sorted."""
    return sorted({*handled, *(lift.type for lift in lifts)})


def ways(recorded: str, lifts: Sequence[plan.Lift]) -> list[Lifted]:
    """Return the routes of a recorded type through the upcasters; their conditions are mutually exclusive."""
    found = [Lifted((), recorded)]
    for lift in lifts:
        after: list[Lifted] = []
        for way in found:
            if way.type != lift.type:
                after.append(way)
                continue
            guard = None if lift.when is None else plan.Holds(lift.when)
            if lift.to is None:
                after.append(replace(way, edits=(*way.edits, *((guard, edit) for edit in lift.edits))))
                continue
            lifted = Lifted(way.conditions, lift.to, (*way.edits, *((None, edit) for edit in lift.edits)))
            if guard is None:
                after.append(lifted)
            else:
                after.append(replace(lifted, conditions=(*way.conditions, guard)))
                after.append(replace(way, conditions=(*way.conditions, plan.Not(guard))))
        found = after
    return found


def rewrite(value: plan.Value, way: Lifted, recorded: str) -> plan.Value:
    """Rewrite a handler's value of an upcast event as a value of the event as recorded.

    Raises
    ------
    NotExpressibleError
        There is no such expression.
    """
    if isinstance(value, plan.Path) and value.root == "data":
        return _read(value.steps, way.edits)
    if value == plan.Column("type") and way.type != recorded:
        return plan.Scalar(way.type)
    return value


def rewrite_condition(condition: plan.Condition, way: Lifted, recorded: str) -> plan.Condition:
    """Return a condition with every value rewritten, see ``rewrite``."""
    match condition:
        case plan.AllOf(conditions) | plan.AnyOf(conditions):
            return type(condition)(tuple(rewrite_condition(part, way, recorded) for part in conditions))
        case plan.Not(inner) | plan.Holds(inner):
            return type(condition)(rewrite_condition(inner, way, recorded))
        case _:
            return replace(condition, value=rewrite(condition.value, way, recorded))


def _read(steps: Steps, edits: tuple[tuple[plan.Condition | None, plan.Edit], ...]) -> plan.Value:
    """Return the value at a path after the edits."""
    if not edits:
        return plan.Path("data", steps)
    *_, (guard, edit) = edits
    before = edits[:-1]
    lifted = _after(steps, edit, before)
    if guard is None:
        return lifted
    unlifted = _read(steps, before)
    return unlifted if lifted == unlifted else plan.Choice(((guard, lifted),), unlifted)


def _after(steps: Steps, edit: plan.Edit, before: tuple[tuple[plan.Condition | None, plan.Edit], ...]) -> plan.Value:
    """Return the value at a path after one edit applied, in terms of the values before it."""
    if not steps or isinstance(edit, plan.Apply):
        raise NotExpressibleError
    name, below = steps[0], steps[1:]
    if isinstance(name, int):
        return plan.Absent()  # an array counts as an empty object
    stood = _read(steps, before)
    match edit:
        case plan.Move(source, target) if name == target:
            return _if_there(_read(source, before), _read((*source, *below), before), stood)
        case plan.Move(source, _) if steps[: len(source)] == source:
            return plan.Absent()
        case plan.Move(source, _) if source[: len(steps)] == steps:
            raise NotExpressibleError
        case plan.Default(target, scalar) if steps == (target,):
            return _if_there(stood, stood, scalar)
        case plan.Retype(target, to) if steps == (target,):
            return plan.Converted(stood, to)
        case plan.Split(source, targets, separator) if name == source or name in targets:
            whole, count = _read((source,), before), len(targets)
            part = plan.Part(whole, separator, 0 if name == source else targets.index(name), count)
            return _if_there(part, plan.Absent() if below or name == source else part, stood)
    return stood


def _if_there(asked: plan.Value, then: plan.Value, otherwise: plan.Value) -> plan.Value:
    return plan.Choice(((plan.Exists(asked), then),), otherwise)


def _version(upcaster: Upcast) -> tuple[plan.Value, int] | None:
    """Return the path and the version that an upcaster starts from, if its condition is exactly ``value == version``."""
    condition = upcaster.when.condition if upcaster.when is not None else None
    if isinstance(condition, plan.Comparison) and condition.comparator == "==" and type(condition.constant) is int:
        return condition.value, condition.constant
    return None


def _conditions(upcasters: Sequence[Upcast]) -> list[plan.Condition | None]:
    """Return each upcaster's condition on the recorded event; one from version n also takes events that were upcast to n."""
    found: list[plan.Condition | None] = []
    chains: dict[tuple[str, plan.Value], list[int]] = {}
    for upcaster in upcasters:
        step = _version(upcaster)
        if step is None:
            found.append(None if upcaster.when is None else upcaster.when.condition)
            continue
        value, version = step
        chain = chains.setdefault((upcaster.type, value), [version])
        if version < chain[-1]:
            raise InvalidProjection(f"{upcaster} for {value} == {version} comes after the one for {chain[-1]}: declare it first")
        if version > chain[-1] + 1:
            raise InvalidProjection(
                f"{upcaster} has a gap: upcasters start from {value} == {chain[-1]} and {version}, but none from {chain[-1] + 1}"
            )
        if version > chain[-1]:
            chain.append(version)
        found.append(plan.Comparison(value, "==", version) if len(chain) == 1 else plan.IsIn(value, tuple(chain)))
    return found


def _check_cycles(upcasters: Sequence[Upcast]) -> None:
    onward: dict[str, set[str]] = {}
    for upcaster in upcasters:
        if upcaster.target is not None:
            onward.setdefault(upcaster.type, set()).add(upcaster.target)

    def visit(name: str, seen: tuple[str, ...]) -> None:
        if name in seen:
            raise InvalidProjection(f"its upcasters form a cycle: {' to '.join((*seen[seen.index(name) :], name))}")
        for target in sorted(onward.get(name, ())):
            visit(target, (*seen, name))

    for name in onward:
        visit(name, ())
