"""Runs a report again from the record of a run, compares the pages byte by byte, and finds why they differ."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.errors import ReportError, UsageError
from workbench.reports.record import PAGE, Basis, RunRecord, digest, read_record
from workbench.reports.runner import ReportRun, run_report


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a page rests on and that has changed.

    Attributes
    ----------
    what
        What has changed; ``"unknown"`` if all that is recorded is the same.
    said
        How, in a sentence.
    """

    what: Literal["page", "data", "notebook", "scenario", "parameters", "packages", "unknown"]
    said: str

    def __str__(self) -> str:
        return f"{self.what}: {self.said}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of running a report again.

    Attributes
    ----------
    run
        The directory of the run.
    is_same
        Whether the new page is the same to the byte, and the page in the run is still the one that the run wrote.
    differences
        What has changed. If the page is the same nevertheless, it had no effect on the page.
    first
        The first place at which the pages differ, before and after; empty if they do not differ.
    """

    run: Path
    is_same: bool
    differences: tuple[Difference, ...]
    first: str = ""


def verify_run(
    run: str | Path, *, lake: str | Path | None = None, notebook: str | Path | None = None, keep: str | Path | None = None
) -> Verification:
    """Run a report again as its run recorded it, and compare the pages.

    Parameters
    ----------
    run
        The directory of the run.
    lake, notebook
        Where these are now, if they were moved.
    keep
        A file to which the new page is written.

    Returns
    -------
    Verification
        Whether the page is the same, and if not, what has changed.

    Raises
    ------
    ReportError
        There is no such run, it had no page, or it cannot be repeated.
    LakeError, OutsideHistory
        The lake cannot be read, or no longer reaches the position.

    Examples
    --------
    >>> from workbench.reports import run_report
    >>> found = run_report("event_types", lake="data/demo", at="2026-01-02", runs="data/verified")
    >>> verify_run(found.directory).is_same
    True
    """
    record = read_record(run)
    if record.page is None:
        raise ReportError(f"The run {run} has no page to verify: {record.message}")
    kept = Path(run) / PAGE
    stored = kept.read_bytes() if kept.is_file() else None
    with tempfile.TemporaryDirectory(prefix="wb-verify-") as scratch:

        def again(name: str) -> ReportRun:
            try:
                return run_report(
                    notebook or record.asked.notebook,
                    lake=lake or record.asked.lake,
                    runs=Path(scratch) / name,
                    at=record.asked.at,
                    scenario=record.asked.scenario,
                    parameters=record.asked.parameters,
                    cell_timeout=record.asked.limits.cell_timeout,
                    timeout=record.asked.limits.timeout,
                    memory=record.asked.limits.memory,
                    max_output=record.asked.limits.output,
                    code=record.asked.code,
                    environment=record.asked.environment,
                )
            except (ReportError, UsageError) as error:
                raise ReportError(f"The run {run} cannot be done again: {error}") from error

        first = again("first")
        assert first.directory is not None
        fresh, now = first.page.read_bytes(), read_record(first.directory)
        if keep is not None:
            shutil.copyfile(first.page, keep)
        found = list(differences(record, now))
        if fresh_differs := now.page != record.page:
            found = found or [_unknown(each_time=fresh != again("second").page.read_bytes())]
    if stored is None:
        found.insert(0, Difference("page", f"there is no {PAGE} in the run any more."))
    elif digest(stored) != record.page:
        found.insert(0, Difference("page", f"{PAGE} in the run is not the one that the run wrote: it was changed afterwards."))
    same = not fresh_differs and stored is not None and digest(stored) == record.page
    return Verification(Path(run), same, tuple(found), "" if stored is None else _parting(stored, fresh))


def differences(then: RunRecord, now: RunRecord) -> Iterator[Difference]:
    """Say what the pages of two runs of a report rest on that is not the same."""
    yield from (Difference("data", said) for said in _data(then.basis, now.basis))
    if then.basis.notebook != now.basis.notebook:
        yield Difference("notebook", f"{Path(now.asked.notebook).stem} was changed.")
    yield from (Difference("parameters", f"the default of {said}.") for said in _changes(then.basis.defaults, now.basis.defaults))
    if then.basis.scenario != now.basis.scenario:
        yield Difference("scenario", f"{Path(then.asked.scenario or '').name} was changed.")
    packages = list(_changes(then.basis.packages, now.basis.packages))
    if packages:
        yield Difference("packages", f"{'; '.join(packages)}.")


def _data(then: Basis, now: Basis) -> Iterator[str]:
    if then.log != now.log:
        yield f"the lake is a copy of another log, which begins with {now.log}, and not with {then.log}."
        return
    if then.store != now.store:
        yield f"the event store is called {now.store}, and was called {then.store}."
    if then.position != now.position:
        yield f"the cutoff is position {now.position}, and was position {then.position}."
    if then.events != now.events:
        yield f"there are {now.events:,} events up to it, and were {then.events:,}."
    elif then.data != now.data and then.position == now.position:
        yield "as many events up to it, but not the same: types, positions, revisions or times are others."


def _changes(then: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{name} was {then[name]!r}, and is gone"
        elif name not in then:
            yield f"{name} is {now[name]!r}, and is new"
        elif then[name] != now[name]:
            yield f"{name} was {then[name]!r}, and is {now[name]!r}"


def _unknown(*, each_time: bool) -> Difference:
    if each_time:
        return Difference("notebook", "it gives another page each time: it depends on chance, on the clock, or on something outside.")
    return Difference(
        "unknown", "all that the run recorded is as it was: payloads of events were changed, or files or code that the notebook reads."
    )


def _parting(then: bytes, now: bytes) -> str:
    """Show where two pages part."""
    if then == now:
        return ""
    low, high = 0, min(len(then), len(now))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if then[:middle] == now[:middle] else (low, middle - 1)
    line = then.count(b"\n", 0, low) + 1
    was, became = (page[max(low - 30, 0) : low + 50].decode(errors="replace").split("\n") for page in (then, now))
    return f"line {line}: {_around(was)!r} became {_around(became)!r}"


def _around(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
