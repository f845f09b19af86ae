"""The mutants of a module: each a small change to its text, such as one that a tired programmer makes."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_TWINS = {"min": "max", "max": "min", "all": "any", "any": "all"}
_SQL = re.compile(r"\b(?:SELECT|UPDATE|DELETE|WHERE|AND|ORDER BY)\b")
_SQL_TWINS = {
    r"\bAND\b": "OR",
    r"\bOR\b(?! IGNORE| REPLACE)": "AND",
    r"<=": "<",
    r">=": ">",
    r" = (?=\?|:|'|\w+\.)": " <> ",
    r" <> ": " = ",
    r"\bDESC\b": "ASC",
    r"\bmin(?=\()": "max",
    r"\bmax(?=\()": "min",
    r"\bNOT (?=EXISTS|IN)": "",
    r"\bIS NOT NULL\b": "IS NULL",
}
_DELETABLE = (ast.Raise, ast.Continue, ast.Break, ast.Delete, ast.AugAssign)
_SKIPPED_FUNCTIONS = {"__repr__", "__str__", "_repr_html_"}


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """A change to one module.

    Attributes
    ----------
    path
        The module, relative to the project.
    start, stop
        The part of its text that is replaced, in UTF-8 bytes.
    replacement
        What is put there.
    operator
        The kind of the change.
    line, last_line
        The lines of the statement that is changed, from 1. Its own lines alone, where it has a body.
    in_function
        Whether the statement runs when a function is called, and not when the module is imported.
    """

    path: str
    start: int
    stop: int
    replacement: str
    operator: str
    line: int
    last_line: int
    in_function: bool

    def apply(self, text: str) -> str:
        """Return the text of the module with the change.

        >>> Mutant("m.py", 4, 5, "2", "constant", 1, 1, in_function=False).apply("x = 1")
        'x = 2'
        """
        source = text.encode()
        return (source[: self.start] + self.replacement.encode() + source[self.stop :]).decode()

    def diff(self, text: str) -> str:
        """Return the change as a unified diff."""
        before, after = text.splitlines(keepends=True), self.apply(text).splitlines(keepends=True)
        return "".join(unified_diff(before, after, f"a/{self.path}", f"b/{self.path}", n=2))


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its text; each of them compiles.

    Left out is what no test can or should see: annotations, docstrings, assertions (they are for the type checker), the texts of errors,
    representations, and imports for the type checker.
    """
    found = set(_Finder(path, text).found(ast.parse(text)))
    return sorted(mutant for mutant in found if _compiles(mutant.apply(text)))


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Finder:
    """Walks through the statements of a module, and through the expressions of each."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._source = text.encode()
        self._line_starts = [0]
        for line in self._source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._statement: ast.stmt = ast.Pass()
        self._in_function = False

    def found(self, module: ast.Module) -> Iterator[Mutant]:
        """Yield the mutants."""
        yield from self._statements(module.body, in_function=False)

    def _statements(self, body: list[ast.stmt], *, in_function: bool) -> Iterator[Mutant]:
        for number, statement in enumerate(body):
            is_docstring = number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if is_docstring or isinstance(statement, (ast.Assert, ast.Import, ast.ImportFrom)) or _is_for_types(statement):
                continue
            self._statement, self._in_function = statement, in_function
            yield from self._of_statement(statement)
            if not isinstance(statement, ast.Raise):  # the text of an error is nobody's law
                for expression in _own_expressions(statement):
                    yield from self._of_expression(expression)
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if statement.name not in _SKIPPED_FUNCTIONS:
                    yield from self._statements(statement.body, in_function=True)
                continue
            for inner in _bodies(statement):
                yield from self._statements(inner, in_function=in_function)

    def _of_statement(self, statement: ast.stmt) -> Iterator[Mutant]:
        match statement:
            case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom() | ast.Await()):
                yield self._mutant(statement, "pass", "statement deleted")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self._mutant(statement, "pass", "statement deleted")
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value in (None, False)):
                yield self._mutant(statement, "return None", "return None")
            case ast.If(test=test) | ast.While(test=test):
                yield self._mutant(test, f"not ({ast.unparse(test)})", "condition negated")
            case _ if isinstance(statement, _DELETABLE):
                yield self._mutant(statement, "pass", "statement deleted")

    def _of_expression(self, expression: ast.expr) -> Iterator[Mutant]:
        match expression:
            case ast.JoinedStr():  # the places of what is inside are not to be relied on before Python 3.12
                yield from self._of_sql(expression)
                return
            case ast.Constant(value=str()):
                yield from self._of_sql(expression)
            case ast.Constant(value=bool(value)):
                yield self._mutant(expression, repr(not value), "constant")
            case ast.Constant(value=int(value) | float(value)):
                yield self._mutant(expression, repr(value + 1), "constant")
            case ast.Compare(ops=operators):
                for number, operator in enumerate(operators):
                    changed = copy.deepcopy(expression)
                    changed.ops[number] = _COMPARISONS[type(operator)]()
                    yield self._mutant(expression, ast.unparse(changed), "comparison")
            case ast.BoolOp(op=operator):
                changed_bool = copy.deepcopy(expression)
                changed_bool.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
                yield self._mutant(expression, f"({ast.unparse(changed_bool)})", "boolean")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._mutant(expression, f"({ast.unparse(operand)})", "boolean")
            case ast.BinOp(op=operator) if type(operator) in _ARITHMETIC:
                changed_binary = copy.deepcopy(expression)
                changed_binary.op = _ARITHMETIC[type(operator)]()
                yield self._mutant(expression, f"({ast.unparse(changed_binary)})", "arithmetic")
            case ast.IfExp(test=test):
                yield self._mutant(test, f"(not ({ast.unparse(test)}))", "condition negated")
            case ast.Call():
                yield from self._of_call(expression)
        for child in ast.iter_child_nodes(expression):
            yield from self._inside(child)

    def _inside(self, node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.expr):
            yield from self._of_expression(node)
        elif isinstance(node, ast.arguments):
            for default in (*node.defaults, *filter(None, node.kw_defaults)):
                yield from self._of_expression(default)
        else:  # a keyword, or the loop of a comprehension
            for child in ast.iter_child_nodes(node):
                yield from self._inside(child)

    def _of_call(self, call: ast.Call) -> Iterator[Mutant]:
        if isinstance(call.func, ast.Name) and call.func.id in _TWINS:
            yield self._mutant(call.func, _TWINS[call.func.id], "twin")
        for number in range(len(call.keywords)):
            changed = copy.deepcopy(call)
            del changed.keywords[number]
            yield self._mutant(call, ast.unparse(changed), "argument removed")
        if len(call.args) > 1 and not isinstance(call.args[-1], ast.Starred):
            changed = copy.deepcopy(call)
            del changed.args[-1]
            yield self._mutant(call, ast.unparse(changed), "argument removed")

    def _of_sql(self, expression: ast.expr) -> Iterator[Mutant]:
        start, stop = self._place(expression)
        text = self._source[start:stop].decode()
        if _SQL.search(text) is None:
            return
        for pattern, twin in _SQL_TWINS.items():
            for match in re.finditer(pattern, text):
                yield self._mutant(expression, text[: match.start()] + twin + text[match.end() :], "SQL")

    def _mutant(self, node: ast.expr | ast.stmt, replacement: str, operator: str) -> Mutant:
        start, stop = self._place(node)
        statement = self._statement
        own = [inner[0].lineno - 1 for inner in _bodies(statement) if inner]
        last_line = max(statement.lineno, min(own)) if own else (statement.end_lineno or statement.lineno)
        return Mutant(self._path, start, stop, replacement, operator, statement.lineno, last_line, self._in_function)

    def _place(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._line_starts[node.lineno - 1] + node.col_offset, self._line_starts[node.end_lineno - 1] + node.end_col_offset


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield the expressions that stand in a statement itself, and not in its blocks."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from statement.args.defaults
        yield from filter(None, statement.args.kw_defaults)
        return
    if isinstance(statement, ast.ClassDef):
        return
    if isinstance(statement, ast.AnnAssign):
        if statement.value is not None:
            yield statement.value
        return
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.withitem):
            yield child.context_expr
        elif isinstance(child, ast.match_case) and child.guard is not None:
            yield child.guard


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
