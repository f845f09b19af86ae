"""Finds jobs that write to the same place, before anything runs: they would replace and remove each other's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import PurePath

from workbench.errors import UsageError
from workbench.jobs.pipeline import Format, Job, resolved

FAILED = ".failed"
"""What stands behind the name of a page, without its suffix, to name the directory of a run of it that failed."""

_DIGIT = "\ue000"
"""Stands for any digit. Dates and times have as many in every run, so that places can be compared letter by letter."""
_DATE = "-".join([_DIGIT * 4, _DIGIT * 2, _DIGIT * 2])
_TIME = f"{_DATE}T{_DIGIT * 4}Z"


def overwriting(jobs: Iterable[Job]) -> Iterator[UsageError]:
    """Yield an error for every two jobs of which one may write where the other does, at whatever times they run."""
    placed = [(job, places) for job in jobs if (places := _places(job))]
    for (one, first), (other, second) in combinations(placed, 2):
        if any(_may_meet(a, b) for a in first for b in second):
            whose = "" if one.written == other.written else f" at {one.written}"
            yield UsageError(
                f"{other.written}: job {other.name} writes where job {one.name}{whose} does, so that each replaces and removes the files "
                "of the other: give each a place of its own, as with {job} in out."
            )


def replaces_itself(job: Job) -> bool:
    """Return whether two runs of a job on one day would write to the same place."""
    return job.out is not None and "{date}" in job.out and "{time}" not in job.out and job.times.is_several_a_day


def _places(job: Job) -> list[str]:
    if job.out is None:
        return []
    found = []
    for kind in job.formats:
        place = _place(job, job.out, kind)
        found.append(place)
        if kind == "html":
            # The run stands beside its page, in a directory.
            run = str(PurePath(place).with_suffix(""))
            found += [f"{run}/", f"{run}{FAILED}/"]
    return found


def _place(job: Job, out: str, kind: Format) -> str:
    text = out.format(job=job.name, date=_DATE, time=_TIME, format=kind)
    try:
        return resolved(text, folder=job.folder, what="out")
    except UsageError:
        return text  # a variable that is not set here: the same variable is the same place


def _may_meet(one: str, other: str) -> bool:
    """Return whether two places may be the same, or one may be a directory, which ends in a slash, that holds the other."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) < len(longer) and not shorter.endswith("/"):
        return False
    return all(a == b or (_is_digit(a) and _is_digit(b) and _DIGIT in (a, b)) for a, b in zip(shorter, longer, strict=False))


def _is_digit(letter: str) -> bool:
    return letter == _DIGIT or letter in "0123456789"
