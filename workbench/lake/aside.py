"""Where a DuckDB file is built until it is whole, and what is left there by whoever was killed meanwhile."""

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
    """Give the path to build a DuckDB file at, and put it in place of ``file`` when that went well; leave nothing otherwise.

    What killed processes left of the same file is removed first.
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
    """Tell whether no process writes a DuckDB file: DuckDB holds a lock of the whole file as long as it is open."""
    try:
        with building.open("r+b") as source:
            fcntl.lockf(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # what is left is its log or its folder
        return True
    except OSError:
        return False
    return True


def _discard(building: Path) -> None:
    for leftover in (building, building.with_name(f"{building.name}.wal")):
        with suppress(OSError):
            leftover.unlink(missing_ok=True)
    shutil.rmtree(building.with_name(f"{building.name}.tmp"), ignore_errors=True)
