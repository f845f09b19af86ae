"""Python: one page for each room that has public names, in the order in which data flows."""

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

import workbench

TITLES = {
    "kurrent": "Connect",
    "export": "Export",
    "lake": "Lakes",
    "events": "Events",
    "timeline": "Timelines",
    "projection": "Projections",
    "fold": "Folds",
    "materialised": "Materialised data",
    "replay": "State and history",
    "scenarios": "What-ifs",
    "analysis": "Analysis",
    "performance": "Measure rebuilds",
    "tables": "Tables for notebooks",
    "publication": "Publish tables",
    "reports": "Reports",
    "jobs": "Jobs",
    "jupyter": "Notebooks",
    "embedded": "The embedded store",
}
"""Titles of rooms, in the order of the pages. A room without one comes last, under its own name."""

OF_ARGUMENTS = {"timeline": ("workbench.timeline.EditAddress",)}
"""Classes that document the arguments of public methods, by the room on whose page they stand."""

MODULES = ("embedded", "events", "jobs", "kurrent", "performance")
"""Modules that the package does not show at its front door, but whose ``__all__`` is public."""


def pages() -> Mapping[str, str]:
    """Return the pages by file name."""
    rooms: dict[str, list[str]] = {}
    room_of = _rooms()
    for name in workbench.__all__:
        value = getattr(workbench, name)
        if not isinstance(value, ModuleType):
            rooms.setdefault(room_of[name], []).append(f"workbench.{name}")
    for room, paths in OF_ARGUMENTS.items():
        rooms[room] += paths
    order = [room for room in TITLES if room in rooms] + sorted(rooms.keys() - TITLES.keys())
    modules = sorted({*MODULES, *(name for name in workbench.__all__ if isinstance(getattr(workbench, name), ModuleType))})
    written = {f"{room}.rst": _page(TITLES.get(room, room.capitalize()), rooms[room]) for room in order}
    written |= {f"wb_{name}.rst": _module_page(import_module(f"workbench.{name}")) for name in modules}
    return {"index.rst": _index([*order, *(f"wb_{name}" for name in modules)]), **written}


def _rooms() -> Mapping[str, str]:
    """Return for each public name the room in which it is defined, as the stub of the package says."""
    stub = ast.parse(Path(workbench.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    found = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.level and node.module]
    return {alias.name: node.module.split(".")[0] for node in found for alias in node.names if node.module}


def _index(files: Iterable[str]) -> str:
    heading = _heading("Python", "=")
    text = (
        "Every name of ``import workbench as wb``, by the room that defines it. The pages that begin with ``workbench.`` have the other\n"
        "names of public modules. What is not here is private and may change."
    )
    toctree = "\n".join([".. toctree::", "   :maxdepth: 2", "", *(f"   {file}" for file in files)])
    return f"{heading}\n{text}\n\n{toctree}\n"


def _page(title: str, paths: Iterable[str]) -> str:
    return "\n".join([_heading(title, "="), *(_entry(path) for path in paths)])


def _module_page(module: ModuleType) -> str:
    title, *_ = (module.__doc__ or module.__name__).strip().splitlines()
    parts = [_heading(module.__name__, "="), title, ""]
    parts += [_entry(f"{module.__name__}.{name}") for name in _public(module)]
    return "\n".join(parts)


def _public(module: ModuleType) -> Iterator[str]:
    """Yield the names of ``__all__``, or of the classes and functions that the module defines, without those of ``workbench`` itself."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    for name in names:
        value = getattr(module, name)
        if not name.startswith("_") and name not in workbench.__all__ and (inspect.isclass(value) or inspect.isroutine(value)):
            yield name


def _entry(path: str) -> str:
    home, _, name = path.rpartition(".")
    value = getattr(import_module(home), name)
    options = ["   :members:"]
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        options += ["   :show-inheritance:"] if kind == "autoexception" else []
    elif inspect.isroutine(value):
        kind, options = "autofunction", []
    else:
        kind, options = "autodata", ["   :no-value:"]
    return "\n".join([_heading(path.removeprefix("workbench."), "-"), f".. {kind}:: {path}", *options, ""])


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n"
