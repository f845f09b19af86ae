"""Conditions, measures and paths: parsed by sqlglot, and put together by a builder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic

from sqlglot import Token, exp
from sqlglot.errors import ParseError

from workbench.conditions.builder import Builder, Comparator, Constant, Found, Path
from workbench.conditions.tokens import AGGREGATES, ALLOWED, ConditionDialect, Text
from workbench.errors import InvalidCondition, UsageError
from workbench.events import parse_time

_COMPARATORS: dict[type[exp.Expr], Comparator] = {
    exp.EQ: "==",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_MIRRORED: dict[Comparator, Comparator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_AGGREGATES: dict[type[exp.Expr], str] = dict(zip((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), AGGREGATES, strict=True))


@dataclass(frozen=True, slots=True)
class Aggregation(Generic[Found]):
    """A measure, taken apart.

    Attributes
    ----------
    function
        ``count``, ``sum``, ``avg``, ``min`` or ``max``.
    field
        None for ``count(*)``.
    where
        The condition of the filter; None for all entities.
    """

    function: str
    field: Path | None
    distinct: bool
    where: Found | None


def parse_condition(text: str, builder: Builder[Found]) -> Found:
    """Return the condition that a text says, as the builder makes it.

    Raises
    ------
    InvalidCondition
        The text is outside the language, or the builder refuses a part of it.
    """
    return _Reader(Text(text, "condition"), builder).read_condition()


def parse_measure(text: str, builder: Builder[Found]) -> Aggregation[Found]:
    """Return the measure that a text says; the builder makes the condition of its filter.

    Raises
    ------
    InvalidCondition
        As ``parse_condition``.
    """
    return _Reader(Text(text, "measure"), builder).read_measure()


def parse_path(text: str, names: Builder[Found]) -> Path:
    """Return the steps of a path; the builder knows the names that it may begin with.

    >>> parse_path('data.tags[0]."first name"', AnyNames())
    ('data', 'tags', 0, 'first name')

    Raises
    ------
    InvalidCondition
        The text is not a path, or the builder does not know its first name.
    """
    return _Reader(Text(text, "path"), names).read_path()


class AnyNames:
    """Builds nothing and knows every name: only whether a text is in the language counts."""

    def check(self, path: Path) -> None: ...
    def compare(self, path: Path, comparator: Comparator, constant: Constant) -> None: ...
    def one_of(self, path: Path, constants: Sequence[Constant]) -> None: ...
    def is_null(self, path: Path) -> None: ...
    def exists(self, path: Path) -> None: ...
    def all_of(self, conditions: Sequence[None]) -> None: ...
    def any_of(self, conditions: Sequence[None]) -> None: ...
    def negation(self, condition: None) -> None: ...


@dataclass(frozen=True, slots=True)
class _Reader(Generic[Found]):
    """Walks over what sqlglot makes of a text."""

    text: Text
    builder: Builder[Found]

    def read_condition(self) -> Found:
        try:
            return self._condition(self._parsed())
        except RecursionError:
            raise self.text.wrong(0, "it is nested too deeply") from None

    def read_measure(self) -> Aggregation[Found]:
        try:
            root = self._parsed()
            call = root.this if isinstance(root, exp.Filter) else root
            function = _AGGREGATES.get(type(call))
            argument, field = call.this, None
            if function is None or argument is None or _has_more(call, "this", "big_int"):
                raise self._refused(root)
            distinct = isinstance(argument, exp.Distinct)
            if isinstance(argument, exp.Distinct):
                [argument, *others] = argument.expressions
                if others or function != "count":
                    raise self._refused(root)
            if not (isinstance(argument, exp.Star) and function == "count"):
                field = self._path(argument)
            where = self._condition(root.expression.this) if isinstance(root, exp.Filter) else None
        except RecursionError:
            raise self.text.wrong(0, "it is nested too deeply") from None
        return Aggregation(function, field, distinct, where)

    def read_path(self) -> Path:
        return self._path(self._parsed())

    def _parsed(self) -> exp.Expr:
        tokens = self.text.tokens()
        try:
            [found] = ConditionDialect().parser().parse_into(exp.Condition, tokens, self.text.text)
        except ParseError as error:
            raise self.text.unexpected(_token_of(error, tokens)) from error
        if found is None:
            raise self.text.unexpected(None)
        return found

    def _condition(self, node: exp.Expr) -> Found:
        builder = self.builder
        match node:
            case exp.Paren():
                return self._condition(node.this)
            case exp.And():
                return builder.all_of([self._condition(one) for one in node.flatten()])
            case exp.Or():
                return builder.any_of([self._condition(one) for one in node.flatten()])
            case exp.Not():
                return builder.negation(self._condition(node.this))
            case exp.Is(expression=exp.Null()):
                path = self._path(node.this)
                with self._at(node):
                    return builder.is_null(path)
            case exp.Is(expression=exp.Boolean(this=value)):
                raise self.text.wrong(_start(node), f"write = {str(value).lower()}; is goes with null")
            case exp.Exists() if not _has_more(node, "this"):
                path = self._path(node.this)
                with self._at(node):
                    return builder.exists(path)
            case exp.In() if node.expressions and not _has_more(node, "this", "expressions"):
                return self._one_of(node)
            case exp.Between() if not _has_more(node, "this", "low", "high"):
                low = self._compared(node.this, ">=", node.args["low"])
                return builder.all_of([low, self._compared(node.this, "<=", node.args["high"])])
        comparator = _COMPARATORS.get(type(node))
        if comparator is not None:
            if _is_constant(node.this) and not _is_constant(node.expression):
                return self._compared(node.expression, _MIRRORED.get(comparator, comparator), node.this)
            return self._compared(node.this, comparator, node.expression)
        if isinstance(node, (exp.Column, exp.Dot, exp.Bracket)):
            self._path(node)
            raise self.text.wrong(_start(node), f"{self._written(node)} is compared with nothing: write = true, is null or the like")
        raise self._refused(node)

    def _compared(self, name: exp.Expr, comparator: Comparator, with_: exp.Expr) -> Found:
        path = self._path(name)
        constant = self._constant(with_)
        if isinstance(constant, bool) and comparator not in ("==", "!="):
            raise self.text.wrong(_start(with_, name), "true and false have no order: compare by = or <>")
        with self._at(with_, name):
            return self.builder.compare(path, comparator, constant)

    def _one_of(self, node: exp.In) -> Found:
        path = self._path(node.this)
        constants = [self._constant(one) for one in node.expressions]
        kinds = [float if type(one) is int else type(one) for one in constants]
        other = next((one for one, kind in zip(node.expressions, kinds, strict=True) if kind is not kinds[0]), None)
        if other is not None:
            raise self.text.wrong(_start(other, node), "the constants of a list are all of one kind")
        with self._at(node.expressions[0], node):
            return self.builder.one_of(path, constants)

    def _path(self, node: exp.Expr) -> Path:
        steps = list(_steps(node))
        if not steps or not isinstance(steps[0], str) or None in steps:
            raise self._refused(node)
        path = tuple(step for step in steps if step is not None)
        with self._at(node):
            self.builder.check(path)
        return path

    def _constant(self, node: exp.Expr) -> Constant:
        match node:
            case exp.Literal(is_string=True):
                return str(node.this)
            case exp.Literal():
                return self._number(str(node.this), node)
            case exp.Neg(this=exp.Literal(is_string=False) as literal):
                return self._number(f"-{literal.this}", literal)
            case exp.Boolean():
                return bool(node.this)
            case exp.Cast(this=exp.Literal(is_string=True) as literal):
                return self._instant(literal)
            case exp.Column() | exp.Dot() | exp.Bracket():
                hint = f"; a text stands in single quotes: '{node.name}'" if isinstance(node, exp.Column) and not node.table else ""
                raise self.text.wrong(_start(node), f"{self._written(node)} is a name, and a name is compared with a constant{hint}")
        raise self._refused(node)

    def _number(self, written: str, node: exp.Expr) -> int | float:
        if written.lstrip("-").isdecimal():
            return int(written)
        number = float(written)
        if not math.isfinite(number):
            raise self.text.wrong(_start(node), f"{written} is beyond all numbers")
        return number

    def _instant(self, literal: exp.Literal) -> datetime:
        with self._at(literal):
            return parse_time(str(literal.this))

    def _refused(self, node: exp.Expr) -> InvalidCondition:
        return self.text.wrong(_start(node), f"this is outside the language; {ALLOWED[self.text.kind]}")

    def _written(self, node: exp.Expr) -> str:
        """Return a name as it stands in the text."""
        spots = [one.meta for one in node.walk() if "start" in one.meta]
        return self.text.text[min(one["start"] for one in spots) : max(one["end"] for one in spots) + 1]

    @contextmanager
    def _at(self, *nodes: exp.Expr) -> Iterator[None]:
        """Say where in the text a part stands that the builder refuses."""
        try:
            yield
        except InvalidCondition:
            raise
        except UsageError as error:
            raise self.text.wrong(_start(*nodes), str(error).rstrip(".")) from error


def _steps(node: exp.Expr) -> Iterator[str | int | None]:
    """Yield the steps of a path; None for what is no step."""
    match node:
        case exp.Paren():
            yield from _steps(node.this)
        case exp.Column():
            for part in node.parts:
                yield str(part.this) if isinstance(part, exp.Identifier) else None
        case exp.Dot(this=inner, expression=exp.Identifier(this=name)):
            yield from _steps(inner)
            yield str(name)
        case exp.Bracket(this=inner, expressions=[exp.Literal(is_string=False, this=index)]) if str(index).isdecimal():
            yield from _steps(inner)
            yield int(index)
        case _:
            yield None


def _has_more(node: exp.Expr, *known: str) -> bool:
    """Tell whether sqlglot found something in a node that the language does not have."""
    return any(value for name, value in node.args.items() if name not in known)


def _is_constant(node: exp.Expr) -> bool:
    return isinstance(node, (exp.Literal, exp.Neg, exp.Boolean, exp.Null, exp.Cast))


def _start(*nodes: exp.Expr) -> int:
    """Return where the first of these nodes begins whose place is known."""
    for node in nodes:
        spots = [int(one.meta["start"]) for one in node.walk() if "start" in one.meta]
        if spots:
            return min(spots)
    return 0


def _token_of(error: ParseError, tokens: list[Token]) -> Token | None:
    """Return the token that sqlglot cannot place; None if more should follow the last one."""
    [first, *_] = error.errors
    place = first["line"], first["col"]
    is_short = place == (tokens[-1].line, tokens[-1].col) and str(first["description"]).startswith(("Expecting", "Required"))
    return None if is_short else next((token for token in tokens if (token.line, token.col) == place), None)
