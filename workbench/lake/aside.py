"""Builds a DuckDB file under a temporary name, and removes what killed processes left."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def built_aside(file: Path) -> Iterator[Path]:
    """Yield a path at which to build a DuckDB file; rename it to ``file`` if the block succeeds, else remove it.

    First remove what killed processes left of the same file.
    """
    _sweep(file)
    building = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(6)}")
    try:
        yield building
        building.replace(file)
    finally:
        _discard(building)


def _sweep(file: Path) -> None:
    pattern = re.compile(rf"(\.{re.escape(file.name)}\.(?:(?P<process>\d+)-)?[0-9a-f]{{12}})(\.wal|\.tmp)?")
    for entry in file.parent.iterdir() if file.parent.is_dir() else ():
        found = pattern.fullmatch(entry.name)
        if found is not None and found["process"] != str(os.getpid()) and _is_abandoned(file.with_name(found[1])):
            _discard(file.with_name(found[1]))


def _is_abandoned(building: Path) -> bool:
    """Whether no process is writing a DuckDB file: DuckDB locks the whole file while it is open."""
    try:
        with building.open("r+b") as source:
            fcntl.lockf(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # only its log or its folder is left
        return True
    except OSError:
        return False
    return True


def _discard(building: Path) -> None:
    for leftover in (building, building.with_name(f"{building.name}.wal")):
        with suppress(OSError):
            leftover.unlink(missing_ok=True)
    shutil.rmtree(building.with_name(f"{building.name}.tmp"), ignore_errors=True)
