"""A directory of runs: each in a directory of its own that appears whole or not at all, and one page that lists them."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from workbench.errors import ReportError, UsageError
from workbench.reports.index import render_index
from workbench.reports.record import RECORD, Run, RunRecord, read_record

INDEX = "index.html"
_LOCK = ".lock"
_STAGE = ".run.*.part"


def read_runs(runs: str | Path) -> list[Run]:
    """Return all runs of a directory, the newest first; those whose records cannot be read come last.

    Raises
    ------
    UsageError
        There is no such directory.
    """
    folder = Path(runs).expanduser()
    if not folder.is_dir():
        raise UsageError(f"There is no directory of runs {runs}: `workbench report run NOTEBOOK --runs {runs}` makes one.")
    found = []
    for directory in sorted(folder.iterdir(), reverse=True):
        if not directory.name.startswith(".") and (directory / RECORD).exists():
            record = None
            with suppress(ReportError):
                record = read_record(directory)
            found.append(Run(directory, record))
    found.sort(key=lambda run: 0 if run.record is None else run.record.started.timestamp(), reverse=True)
    return found


def write_index(runs: str | Path) -> Path:
    """Write the page that lists all runs of a directory, and return where it lies. Each run does so by itself.

    Raises
    ------
    UsageError
        There is no such directory.
    ReportError
        It cannot be written.
    """
    folder = Path(runs).expanduser()
    read_runs(folder)  # that there is such a directory
    with _failing(folder), _locked(folder):
        return _write_index(folder)


@contextmanager
def staged(runs: Path) -> Iterator[Path]:
    """Make a directory in which a run is prepared; what is left of it at the end is removed.

    So is what runs left that were killed: it is theirs no longer when nobody holds its lock.
    """
    with ExitStack() as ours:
        with _failing(runs):
            runs.mkdir(parents=True, exist_ok=True)
            with _locked(runs):
                for left in runs.glob(_STAGE):
                    with suppress(OSError), _held(left):
                        shutil.rmtree(left)
                stage = runs / _STAGE.replace("*", secrets.token_hex(8))
                stage.mkdir()
                ours.callback(shutil.rmtree, stage, ignore_errors=True)
                ours.enter_context(_held(stage))
        yield stage


def settle(stage: Path, runs: Path, *, record: RunRecord) -> Path:
    """Give a run its record and its place, bring the index up to date, and return the place.

    Raises
    ------
    ReportError
        It cannot be written.
    """
    with _failing(runs):
        record.write(stage / RECORD)
        for file in stage.iterdir():
            with file.open("rb") as content:
                os.fsync(content.fileno())
        with _locked(runs):
            # Names of files have at most 255 bytes, and those that begin with a dot are no runs.
            report = record.report.encode()[:200].decode(errors="ignore").lstrip(".") or "report"
            name = f"{report}-{record.started:%Y-%m-%dT%H%M%SZ}"
            names = iter((name, *(f"{name}-{number}" for number in range(2, 10_000))))
            directory = next(place for one in names if not (place := runs / one).exists())
            stage.rename(directory)
            # Under the lock: of two runs that end at once, the later one to list them sees both.
            _write_index(runs)
    return directory


def _write_index(runs: Path) -> Path:
    part = runs / f".{INDEX}.part"
    part.write_text(render_index(read_runs(runs)), encoding="utf-8")
    return part.replace(runs / INDEX)


@contextmanager
def _locked(runs: Path) -> Iterator[None]:
    with (runs / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold a directory as this process's own while it lives.

    Raises
    ------
    OSError
        Another process holds it.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def _failing(runs: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"The directory of runs {runs} cannot be written: {error.strerror or error} ({error.filename}).") from error
