"""The notebooks that come along, copied to a folder of the user's, where they may be changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import UsageError
from workbench.host.durable_files import written_aside
from workbench.reports.notebook_files import shipped_notebooks

_RECORD = ".workbench-notebooks.json"
_PARAMETERS = "parameters"
_LAKE = "lake: str = "


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of the notebooks, by name: those that are new or were brought up to date, and those that the user had changed.

    Where they lie in the folder themselves, nothing was to be copied: ``in_place``.
    """

    written: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    in_place: bool = False


def copy_notebooks(folder: Path, *, lake: str) -> Copied:
    """Copy the notebooks to a folder, each set to open a lake. One that was changed there since is never overwritten.

    A record in the folder says what was copied: what still is as it was copied is brought up to date by a newer version. Where the folder
    is that of the notebooks themselves, as in a checkout, they stay as they are.

    Parameters
    ----------
    lake
        A directory, which the notebooks name from where they lie; or an address, which is taken as it stands.

    Raises
    ------
    UsageError
        The folder cannot be written.
    """
    shipped = shipped_notebooks()
    if any(path.parent.resolve() == folder.resolve() for path in shipped.values()):
        return Copied(in_place=True)
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = _read(folder / _RECORD)
        for name, source in shipped.items():
            target = folder / source.name
            content = _opening(json.loads(source.read_text(encoding="utf-8")), _seen_from(folder, lake))
            if target.exists():
                there = target.read_bytes()
                if there == content:
                    record[source.name] = _digest(content)
                    continue
                if record.get(source.name) != _digest(there):
                    kept.append(name)
                    continue
            _write(target, content)
            record[source.name] = _digest(content)
            written.append(name)
        _write(folder / _RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise UsageError(f"The notebooks cannot be copied to {folder}: {error.strerror or error}. Name another folder.") from error
    return Copied(tuple(written), tuple(kept))


def _seen_from(folder: Path, lake: str) -> str:
    if "://" in lake:
        return lake
    path = Path(lake)
    return str(path) if path.is_absolute() else os.path.relpath(path.resolve(), folder.resolve())


def _opening(notebook: dict[str, Any], lake: str) -> bytes:
    """Return a notebook whose parameter ``lake`` is this lake."""
    for cell in notebook["cells"]:
        if _PARAMETERS in cell["metadata"].get("tags", ()):
            cell["source"] = [_set(line, lake) for line in "".join(cell["source"]).splitlines(keepends=True)]
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _set(line: str, lake: str) -> str:
    if not line.startswith(_LAKE):
        return line
    _, hash_sign, comment = line.partition("#")
    return f"{_LAKE}{json.dumps(lake, ensure_ascii=False)}" + (f"  {hash_sign}{comment}" if hash_sign else "\n")


def _read(record: Path) -> dict[str, str]:
    """Return the digests of what was copied; none where there is no record that can be read, so that nothing is overwritten."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, Mapping) else {}


def _write(target: Path, content: bytes) -> None:
    with written_aside(target) as part:
        part.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
