"""A directory of runs. Each run has a directory of its own, which appears whole or not at all, and one page lists them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from workbench.errors import ReportError, UsageError
from workbench.host.durable_files import locked, staged, sync, written_aside
from workbench.reports.index import render_index
from workbench.reports.record import RECORD, KeptRun, RunRecord, read_record

INDEX = "index.html"
_LOCK, _STAGES = ".lock", ".run.*.part"


def read_runs(runs: str | Path) -> list[KeptRun]:
    """Return all runs of a directory of runs.

    Parameters
    ----------
    runs
        The directory.

    Returns
    -------
    list[KeptRun]
        The newest first; those whose records cannot be read last.

    Raises
    ------
    UsageError
        There is no such directory.

    Examples
    --------
    >>> [(run.record.report, run.record.outcome) for run in read_runs("data/runs")]
    [('event_types', 'succeeded')]
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
            found.append(KeptRun(directory, record))
    found.sort(key=lambda run: 0 if run.record is None else run.record.started.timestamp(), reverse=True)
    return found


def write_index(runs: str | Path) -> Path:
    """Write the page that lists all runs of a directory. Each run does so itself.

    Parameters
    ----------
    runs
        The directory.

    Returns
    -------
    Path
        The page, ``index.html`` in the directory.

    Raises
    ------
    UsageError
        There is no such directory.
    ReportError
        The page cannot be written.

    Examples
    --------
    >>> write_index("data/runs").name
    'index.html'
    """
    folder = Path(runs).expanduser()
    read_runs(folder)  # that there is such a directory
    with _failing(folder), locked(folder / _LOCK):
        return _write_index(folder)


@contextmanager
def staged_run(runs: Path) -> Iterator[Path]:
    """Give a directory in which a run is prepared, within another that is removed after the block."""
    with ExitStack() as ours:
        with _failing(runs):
            runs.mkdir(parents=True, exist_ok=True)
            run = ours.enter_context(staged(runs, _STAGES)) / "run"
            run.mkdir()
        yield run


def keep_run(stage: Path, runs: Path, *, record: RunRecord) -> Path:
    """Write a run's record, move the run to its place, update the index, and return the place.

    Raises
    ------
    ReportError
        It cannot be written.
    """
    with _failing(runs):
        record.write(stage / RECORD)
        for file in stage.iterdir():
            sync(file)
        with locked(runs / _LOCK):
            # Names of files have at most 255 bytes, and those that begin with a dot are no runs.
            report = record.report.encode()[:200].decode(errors="ignore").lstrip(".") or "report"
            name = f"{report}-{record.started:%Y-%m-%dT%H%M%SZ}"
            names = iter((name, *(f"{name}-{number}" for number in range(2, 10_000))))
            directory = next(place for one in names if not (place := runs / one).exists())
            stage.rename(directory)
            sync(runs)
            # Under the lock: of two runs that end at once, the later one to list them sees both.
            _write_index(runs)
    return directory


def _write_index(runs: Path) -> Path:
    with written_aside(runs / INDEX) as part:
        part.write_text(render_index(read_runs(runs)), encoding="utf-8")
    return runs / INDEX


@contextmanager
def _failing(runs: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"The directory of runs {runs} cannot be written: {error.strerror or error} ({error.filename}).") from error
