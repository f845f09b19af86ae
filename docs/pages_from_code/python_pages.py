"""Python: one page for each room that has public names, in the order in which data flows."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
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
    "publish": "Publish tables",
    "publication": "Publish tables",
    "reports": "Reports",
    "jobs": "Jobs",
    "jupyter": "Notebooks",
    "embedded": "The embedded store",
}
"""Titles of rooms, in the order of the pages. A room without one comes last, under its own name."""

MODULES = ("charts", "errors", "embedded")
"""Public modules whose names are documented under the module's."""


def pages() -> Mapping[str, str]:
    """Return the pages by file name."""
    rooms: dict[str, list[str]] = {}
    for name in workbench.__all__:
        value = getattr(workbench, name)
        if not isinstance(value, ModuleType):
            rooms.setdefault(_room(name), []).append(f"workbench.{name}")
    order = [room for room in TITLES if room in rooms] + sorted(rooms.keys() - TITLES.keys())
    modules = sorted({*MODULES, *(name for name in workbench.__all__ if isinstance(getattr(workbench, name), ModuleType))})
    written = {f"{room}.rst": _page(TITLES.get(room, room.capitalize()), rooms[room]) for room in order}
    written |= {f"wb_{name}.rst": _module_page(import_module(f"workbench.{name}")) for name in modules}
    return {"index.rst": _index([*order, *(f"wb_{name}" for name in modules)]), **written}


def _room(name: str) -> str:
    """Return the room in which a public name is defined."""
    return workbench._HOMES[name].partition(":")[0].split(".")[1]


def _index(files: Iterable[str]) -> str:
    heading = _heading("Python", "=")
    text = "Every public name of ``import workbench as wb``, by the room that defines it. What is not here is private and may change."
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
