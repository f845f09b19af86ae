"""Check the docstrings of every public function, class and method by numpydoc's validation.

Run by ``make check``. numpydoc's own command looks at files; this one looks at what is public, wherever it is defined. The checks of
numpydoc that are held are listed in ``pyproject.toml``, under ``tool.numpydoc_validation``. Three rules are added:

- A function that raises an error names its class under Raises.
- A class describes each of its public fields: under Parameters, under Attributes, or by a string below the field.
- A class that is constructed by its users, and so has Parameters, has an example.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

import workbench as wb
from workbench.projection.handlers import On
from workbench.projection.upcasters import Upcast

ROOMS = (wb, wb.analysis, wb.charts, wb.reports)
WITH_METHODS = (wb.Lake, wb.Timeline, wb.Scenario, On, Upcast)
OF_FUNCTIONS_ONLY = {"PR01", "PR02", "PR03", "RT01", "EX01"}
"""Checks that are held of functions alone. Of a class, numpydoc would compare the constructor, which results do not show to their users."""


def main() -> int:
    """Print what is wrong, one line each; return how many docstrings are."""
    configuration = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    checks = set(configuration["tool"]["numpydoc_validation"]["checks"])
    wrong = 0
    for name, value in public():
        found = [*problems(value, checks)]
        wrong += bool(found)
        for problem in found:
            print(f"{where(value)}: {name}: {problem}")
    return wrong


def public() -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes with their paths, each once, and the methods of the classes that are used by them."""
    seen: set[int] = set()
    for room in ROOMS:
        for name in room.__all__:
            value = getattr(room, name)
            if id(value) not in seen and (inspect.isfunction(value) or inspect.isclass(value)):
                seen.add(id(value))
                yield f"{room.__name__}.{name}", value
    for owner in WITH_METHODS:
        for name, value in vars(owner).items():
            if not name.startswith("_") and callable(getattr(value, "__func__", value)):
                yield f"{owner.__name__}.{name}", getattr(owner, name)


def problems(value: Any, checks: set[str]) -> Iterator[str]:
    """Yield what is wrong with the docstring of a function or class."""
    documented = get_doc_object(value, config={"show_class_members": False})
    for code, message in validate(documented)["errors"]:
        if code in checks - (OF_FUNCTIONS_ONLY if inspect.isclass(value) else set()):
            yield f"{code} {message}"
    if not inspect.isclass(value):
        named = {name.strip() for entry in documented["Raises"] for name in (entry.name or entry.type).split(",")}
        for missing in sorted(set(raised(value)) - named):
            yield f"{missing} is raised, and not listed under Raises"
        return
    described = {
        name.strip() for section in ("Parameters", "Attributes") for entry in documented[section] for name in entry.name.split(",")
    }
    for name in sorted(set(fields(value)) - described - set(explained(value))):
        yield f"the field {name} is not described"
    for name in sorted({name.strip() for entry in documented["Parameters"] for name in entry.name.split(",")} - set(arguments(value))):
        yield f"there is no parameter {name}"
    if documented["Parameters"] and not documented["Examples"]:
        yield "there is no example"


def raised(function: Any) -> Iterator[str]:
    """Yield the classes of the errors that a function raises itself."""
    for node in ast.walk(tree_of(function)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            name = node.exc.func.id
            if name[0].isupper():
                yield name


def arguments(cls: type) -> Iterator[str]:
    """Yield what a class takes: its constructor's parameters, or those of the statement that declares a subclass."""
    declares = vars(cls).get("__init_subclass__")
    yield from inspect.signature(cls if declares is None else declares.__func__).parameters


def fields(cls: type) -> Iterator[str]:
    """Yield the public fields of a dataclass."""
    if dataclasses.is_dataclass(cls):
        yield from (field.name for field in dataclasses.fields(cls) if not field.name.startswith("_"))


def explained(cls: type) -> Iterator[str]:
    """Yield the fields of a class with a string below them."""
    [node] = tree_of(cls).body
    assert isinstance(node, ast.ClassDef)
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            yield field.target.id


def tree_of(value: Any) -> ast.Module:
    """Return the syntax tree of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(value)))


def where(value: Any) -> str:
    """Return the file and line of a function or class."""
    value = inspect.unwrap(value)
    return f"{Path(inspect.getsourcefile(value) or '').relative_to(Path.cwd())}:{inspect.getsourcelines(value)[1]}"


if __name__ == "__main__":
    sys.exit(f"{wrong} public docstrings are incomplete." if (wrong := main()) else 0)
