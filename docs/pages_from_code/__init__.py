"""Write the reference from the code: Python, commands, YAML files and the format of a lake.

`write` runs at the beginning of each build. The pages are not committed.
Each module returns the pages of one part as texts by file name; none of them needs Sphinx.
"""

from collections.abc import Mapping
from pathlib import Path

from . import command_pages, lake_pages, python_pages, yaml_pages

PARTS = {"python": python_pages, "commands": command_pages, "yaml": yaml_pages, "lake": lake_pages}


def write(folder: Path) -> None:
    """Write the pages of each part into a folder of its own, and remove those of an earlier build that are no longer made."""
    for name, part in PARTS.items():
        _replace(folder / name, part.pages())


def _replace(folder: Path, pages: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.name not in pages:
            file.unlink()
    for name, text in pages.items():
        file = folder / name
        # An unchanged page keeps its time, so that a second build only does what is new.
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
