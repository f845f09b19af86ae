"""The parameters of a notebook: the assignments in its cell tagged ``parameters``.

The cell is read, never run. Each parameter is one assignment with a literal default, best with a type and a comment::

    every: Literal["1d", "1w"] | None = None  # how fine; None lets the workbench choose
    most: int = 20  # rows of the table

Types are ``str``, ``int``, ``float``, ``bool``, ``None``, ``Literal[…]``, ``list[…]`` of these, and unions with ``|``. Without a
type, that of the default counts. (Papermill's own ``inspect_notebook`` loses types like these, and defaults that hold a ``=``.)
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ReportError, UsageError
from workbench.reports.notebook_files import read_cells

Scalar = str | int | float | bool | None
Value = Scalar | list[Scalar]

_SCALARS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a notebook.

    Attributes
    ----------
    name
        Its name.
    type
        Its type, as written: ``"Literal['1d', '1w'] | None"``.
    default
        Its default.
    help
        What its comment says; empty without one.
    """

    name: str
    type: str
    default: Value
    help: str

    def accepts(self, value: object) -> bool:
        """Tell whether a value is of the parameter's type; whole numbers count as floats, and ``True`` is no number."""
        return _fits(ast.parse(self.type, mode="eval").body, value)

    def read(self, text: str) -> Value:
        """Return the value that a text on a command line stands for.

        Raises
        ------
        UsageError
            The text is no value of the parameter's type.
        """
        # A text that fits as it is stays text: "2026" for a `str | int` is not turned into a number behind the caller's back.
        for value in (text, *_readings(text)):
            if self.accepts(value):
                return value
        raise UsageError(f"{self.name}={text} does not fit: {self}.")

    def __str__(self) -> str:
        return f"{self.name}: {self.type} = {self.default!r}"


def declared_parameters(notebook: Path) -> tuple[Parameter, ...]:
    """Return the parameters that a notebook declares. Reads the notebook, and runs nothing.

    Parameters
    ----------
    notebook
        The path of the notebook.

    Returns
    -------
    tuple[Parameter, ...]
        In the order of the cell tagged ``parameters``.

    Raises
    ------
    ReportError
        There is no cell tagged ``parameters``, or one of its lines is not an assignment of a literal to a name with a type.

    Examples
    --------
    >>> from workbench.reports import find_notebook
    >>> for parameter in declared_parameters(find_notebook("event_types")):
    ...     print(parameter)
    lake: str = '../data/demo'
    at: str | int | None = None
    scenario: str | None = None
    every: Literal['auto', '1h', '1d', '1w', '1mo'] = 'auto'
    tz: str = 'UTC'
    """
    for cell in read_cells(notebook):
        if cell["cell_type"] == "code" and "parameters" in cell.get("metadata", {}).get("tags", ()):
            return _parse(cell["source"], notebook)
    raise ReportError(f"{notebook.name} has no cell tagged 'parameters': tag the one that declares them.")


def check_parameters(notebook: Path, declared: tuple[Parameter, ...], given: Mapping[str, object] | Iterable[str]) -> dict[str, Value]:
    """Return the given values by name if each is declared and of its type.

    ``given`` is a mapping, or texts ``name=value`` as they come from a command line.

    Raises
    ------
    UsageError
        A name is not declared, or a value does not fit; the message lists what is declared.
    """
    by_name = {parameter.name: parameter for parameter in declared}
    values: dict[str, Value] = {}
    for name, value in given.items() if isinstance(given, Mapping) else map(_split, given):
        if name not in by_name:
            raise UsageError(f"{notebook.name} has no parameter {name!r}: it declares {_listed(declared)}.")
        if not isinstance(given, Mapping):
            values[name] = by_name[name].read(str(value))
        elif by_name[name].accepts(value):
            values[name] = value  # type: ignore[assignment]  # what `accepts` has just made sure of
        else:
            raise UsageError(f"{name}={value!r} does not fit in {notebook.name}: it declares {_listed(declared)}.")
    return values


def _listed(declared: tuple[Parameter, ...]) -> str:
    return "; ".join(map(str, declared)) or "none"


def _split(pair: str) -> tuple[str, str]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise UsageError(f"{pair!r} is no parameter: write NAME=VALUE.")
    return name.strip(), text


def _parse(source: str, notebook: Path) -> tuple[Parameter, ...]:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ReportError(f"The parameters cell of {notebook.name} is no Python: {error.msg}, line {error.lineno}.") from error
    comments = _comments(source)
    parameters = []
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                continue
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                written = ast.unparse(annotation)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                written = ""
            case _:
                raise _unreadable(notebook, statement, "only `name: type = literal` stands there")
        try:
            default = ast.literal_eval(value)
        except ValueError:
            raise _unreadable(notebook, statement, "its default is no literal") from None
        if not written:
            written = type(default).__name__
            if written not in _SCALARS:
                raise _unreadable(notebook, statement, "it needs a type")
        parameter = Parameter(name, written, default, _help(comments, statement))
        if not _known(ast.parse(written, mode="eval").body):
            raise _unreadable(notebook, statement, f"the type {written} is not one of str, int, float, bool, None, Literal, list")
        if not parameter.accepts(default):
            raise _unreadable(notebook, statement, f"its default is no {written}")
        parameters.append(parameter)
    return tuple(parameters)


def _unreadable(notebook: Path, statement: ast.stmt, why: str) -> ReportError:
    return ReportError(f"The parameters cell of {notebook.name} cannot be read at `{ast.unparse(statement)}`: {why}.")


def _comments(source: str) -> dict[int, tuple[str, bool]]:
    """Return for each line its comment, and whether the comment has the line to itself."""
    return {
        token.start[0]: (token.string.lstrip("# ").rstrip(), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


def _help(comments: Mapping[int, tuple[str, bool]], statement: ast.stmt) -> str:
    """Return the comment behind a statement, or else the lines of comment right above it."""
    behind = comments.get(statement.end_lineno or statement.lineno)
    if behind is not None:
        return behind[0]
    above: list[str] = []
    line = statement.lineno - 1
    while line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    return " ".join(above)


def _known(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Constant(value=None):
            return True
        case ast.Name(id=name):
            return name in _SCALARS
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _known(left) and _known(right)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return _known(item)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=options):
            return all(isinstance(option, ast.Constant) for option in _options(options))
    return False


def _options(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _fits(annotation: ast.expr, value: object) -> bool:
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id=name):
            return isinstance(value, _SCALARS[name]) and (name == "bool" or not isinstance(value, bool))
        case ast.BinOp(left=left, right=right):
            return _fits(left, value) or _fits(right, value)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_fits(item, part) for part in value)
        case ast.Subscript(slice=options):
            choices = [option.value for option in _options(options) if isinstance(option, ast.Constant)]
            return any(type(value) is type(choice) and value == choice for choice in choices)
    return False


def _readings(text: str) -> list[Value]:
    """Return what a text may mean besides itself, the narrowest meaning first."""
    spelt: dict[str, Value] = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in spelt:
        return [spelt[text.lower()]]
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [] if isinstance(value, dict) else [value]
