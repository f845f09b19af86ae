"""Where notebooks are found: a path, or the name of one that the workbench brings along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import workbench
from workbench.errors import ReportError, UsageError


def shipped_notebooks() -> dict[str, Path]:
    """Return the notebooks that the workbench includes: those beside a checkout's package, or those inside an installed one.

    Returns
    -------
    dict[str, Path]
        Paths by name, sorted.

    Examples
    --------
    >>> sorted(shipped_notebooks())[:3]
    ['activity', 'event_types', 'first_tour']
    """
    package = Path(workbench.__file__).parent
    folders = [package / "notebooks"]
    if (package.parent / "pyproject.toml").is_file():
        folders.insert(0, package.parent / "notebooks")
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.ipynb"))}


def find_notebook(notebook: str | Path) -> Path:
    """Return the path of a notebook.

    Parameters
    ----------
    notebook
        A path, or the name of a notebook that the workbench includes.

    Returns
    -------
    Path
        The absolute path of an existing ``.ipynb`` file.

    Raises
    ------
    UsageError
        There is no such notebook.

    Examples
    --------
    >>> find_notebook("event_types").name
    'event_types.ipynb'
    """
    path = Path(notebook).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    shipped = shipped_notebooks()
    if str(notebook) in shipped:
        return shipped[str(notebook)]
    known = ", ".join(shipped) or "none"
    raise UsageError(f"There is no notebook {str(notebook)!r}: give the path of an .ipynb file, or one of these names: {known}.")


def title_of(cells: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the first heading of a notebook's cells as plain text; None if they have none."""
    for cell in cells:
        if cell["cell_type"] == "markdown" and (heading := re.search(r"^# +(.+?) *#*$", cell["source"], re.MULTILINE)):
            return re.sub(r"[*_`]", "", heading[1])
    return None


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """Return a notebook's cells, each with its source as one text.

    Raises
    ------
    ReportError
        The file is no notebook of format 4.
    """
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        if content["nbformat"] != 4:
            raise ReportError(f"{notebook} has notebook format {content['nbformat']}: save it as format 4 in JupyterLab.")
        return [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{notebook} is no notebook that can be read: {error}.") from error
