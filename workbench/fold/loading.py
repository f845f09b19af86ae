"""Loads projections by name: ``user.py:User``, ``shop.projections:User``, or the name of a category."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from workbench.errors import InvalidProjection, UsageError
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.resolve import Source
from workbench.projection.declaration import Projection

_OURS = "__workbench_projections__"
"""Marks modules that were loaded here; they may be loaded again, from the same file or another file of that name."""


def load_projection(text: str) -> Source:
    """Return the projection or fold that a text names, as the command line does for ``--projection``.

    The file or module is run. A file is run anew each time unless the program has imported it as a module: then that module is used, so
    that its classes stay the same; reload it after an edit. The directory of the file, or the current one, is added to Python's path.

    Parameters
    ----------
    text
        ``FILE.py:NAME``, ``MODULE:NAME``, or the name of a category.

    Returns
    -------
    type[Projection] or Fold or str
        The projection or fold; the text itself if it names a category. Questions take each of these.

    Raises
    ------
    InvalidProjection
        There is no such file or module, it fails, or it has no projection or fold of that name.

    Examples
    --------
    >>> User = wb.load_projection("workbench.sample.projections:User")
    >>> wb.state(User, wb.open("data/demo").timeline).height
    535
    >>> wb.load_projection("user")
    'user'
    """
    place, colon, name = text.rpartition(":")
    if not colon:
        if text.endswith(".py"):
            module = _from_file(Path(text))
            raise InvalidProjection(f"{text} does not say which projection: write {text}:NAME; it has {_known(module)}.")
        if not text:
            raise InvalidProjection("An empty name is not a projection: write FILE.py:CLASS, MODULE:CLASS, or the name of a category.")
        return text
    if not place or not name:
        raise InvalidProjection(f"{text!r} is not a projection: write FILE.py:CLASS, MODULE:CLASS, or the name of a category.")
    module = _from_file(Path(place)) if place.endswith(".py") or "/" in place or "\\" in place else _from_module(place)
    found = vars(module).get(name)
    if isinstance(found, Fold) or (isinstance(found, type) and issubclass(found, Projection) and found is not Projection):
        return found
    what = f"has no {name}" if found is None else f"has {name}, but it is not a projection"
    raise InvalidProjection(f"{place} {what}; it has {_known(module)}.")


def load_object(text: str, *, what: str) -> object:
    """Return the object that ``FILE.py:NAME`` or ``MODULE:NAME`` names; runs the file or module as ``load_projection`` does.

    Parameters
    ----------
    what
        The kind of object, for messages.

    Raises
    ------
    UsageError
        There is no such file, module or name.
    InvalidProjection
        The file or module fails.
    """
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise UsageError(f"{text!r} does not name a {what}: write FILE.py:NAME or MODULE:NAME.")
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    if is_file and not Path(place).is_file():
        raise UsageError(f"There is no file {place} with a {what}: write FILE.py:NAME or MODULE:NAME.")
    module = _from_file(Path(place)) if is_file else _from_module(place)
    if name not in vars(module):
        raise UsageError(f"{place} has no {name}: write the name of the {what} in it.")
    found: object = vars(module)[name]
    return found


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidProjection(f"There is no file {path}: --projection takes FILE.py:CLASS, MODULE:CLASS, or the name of a category.")
    path, name = path.resolve(), path.stem
    imported = sys.modules.get(name)
    if imported is not None and not hasattr(imported, _OURS) and _is_of(imported, path):
        return imported
    spec = importlib.util.spec_from_file_location(name, path)
    if not name.isidentifier() or spec is None or _is_taken(name):
        # The worker processes of a fold would import the other module of this name.
        raise InvalidProjection(f"{path} has the name of another module, or a name that Python cannot import: rename it.")
    _reach(path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    vars(module)[_OURS] = True
    try:
        # The spec's loader may use a cached copy of a file that was edited within the same second.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))  # noqa: S102  # the user named it to be run
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError):
            raise InvalidProjection(f"{error.filename}, line {error.lineno}: {error.msg}.") from error
        if isinstance(error, Exception):
            raise _failed(error, str(path)) from error
        raise
    return module


def _is_of(module: ModuleType, path: Path) -> bool:
    """Whether a module was imported from a file."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).resolve() == path


def _is_taken(name: str) -> bool:
    """Whether a module of this name belongs to Python, to an installed package, or to the program that runs."""
    if name in sys.modules:
        return not hasattr(sys.modules[name], _OURS)
    found = PathFinder.find_spec(name)
    origin = Path(found.origin) if found is not None and found.origin is not None else None
    return name in sys.stdlib_module_names or (origin is not None and not {"site-packages", "dist-packages"}.isdisjoint(origin.parts))


def _reach(path: Path) -> None:
    """Add a file's directory to Python's path, so that the file and its neighbours can be imported."""
    importlib.invalidate_caches()
    found = PathFinder.find_spec(path.stem)
    if found is not None and found.origin == str(path):
        return
    if str(path.parent) in sys.path:
        sys.path.remove(str(path.parent))
    before = str(Path(found.origin).parent) if found is not None and found.origin is not None else None
    sys.path.insert(sys.path.index(before) if before in sys.path else len(sys.path), str(path.parent))


def _from_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        raise InvalidProjection(f"{error.filename}, line {error.lineno}: {error.msg}.") from error
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidProjection(
                f"There is no module {error.name}: --projection takes FILE.py:CLASS, MODULE:CLASS, or the name of a category."
            ) from error
        raise _failed(error, name) from error
    except Exception as error:
        raise _failed(error, name) from error


def _failed(error: Exception, shown: str) -> InvalidProjection:
    """Return an error that names the innermost line of the user's code, outside libraries."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if Path(frame.filename).stem == Path(shown).stem or frame.filename.endswith(shown.replace(".", "/"))]
    last = (own or [frame for frame in frames if "workbench" not in Path(frame.filename).parts] or frames)[-1]
    what = str(error) if isinstance(error, InvalidProjection) else f"{type(error).__name__}: {error}."
    return InvalidProjection(f"{last.filename}, line {last.lineno}: {what}")


def _known(module: ModuleType) -> str:
    found = sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, Fold) or (isinstance(value, type) and issubclass(value, Projection) and value is not Projection)
    )
    return ", ".join(found) or "none"
