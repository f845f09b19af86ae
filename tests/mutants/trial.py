"""Try mutants: change a copy, run the tests that reach the change, and see whether one fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Literal

import pytest

from tests.mutants.copies import Copy, Stopped
from tests.mutants.coverage_map import CoverageMap
from tests.mutants.operators import Mutant, mutants_of

Verdict = Literal["killed", "timed out", "survived", "not reached"]

_VERDICTS: dict[int, Verdict] = {pytest.ExitCode.OK: "survived", pytest.ExitCode.NO_TESTS_COLLECTED: "not reached"}
_START_SECONDS = 60.0
_SLOWER = 4.0
"""How much longer than under coverage.py tests may take before a mutant counts as one that goes on for ever."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a mutant.

    Attributes
    ----------
    tests, reaching
        How many tests were chosen, of how many that reach the change.
    """

    mutant: Mutant
    verdict: Verdict
    tests: int
    reaching: int
    seconds: float


def mutants_in(checkout: Path, modules: Iterable[str]) -> list[Mutant]:
    """Return all mutants of modules, in an order that is always the same."""
    return [mutant for path in sorted(modules) for mutant in mutants_of(path, (checkout / path).read_text(encoding="utf-8"))]


def sample(mutants: Sequence[Mutant], *, count: int, seed: int) -> list[Mutant]:
    """Choose mutants: the same ones for the same seed and the same code."""
    return random.Random(seed).sample(mutants, min(count, len(mutants)))


def chosen(tests: Sequence[str], seconds: Callable[[str], float], *, limit: float) -> list[str]:
    """Return the first tests, as many as run within a limit in seconds; at least one.

    >>> chosen(["a", "b", "c"], {"a": 1.0, "b": 1.0, "c": 1.0}.__getitem__, limit=2.5)
    ['a', 'b']
    """
    found: list[str] = []
    total = 0.0
    for test in tests:
        total += seconds(test)
        if found and total > limit:
            break
        found.append(test)
    return found


def try_all(
    mutants: Sequence[Mutant],
    copies: Sequence[Copy],
    known: CoverageMap,
    *,
    limit: float,
    minutes: float,
    stop: Event,
    told: Callable[[Tried], None],
) -> list[Tried]:
    """Try mutants, one in each copy at a time, until all are tried or the time is over.

    Parameters
    ----------
    limit
        How many seconds the tests of one mutant may have taken under coverage.py.
    stop
        Set, it ends this; what was tried so far is returned.
    """
    deadline = time.monotonic() + 60 * minutes
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)
    found: list[Tried] = []

    def run(mutant: Mutant) -> None:
        if stop.is_set() or time.monotonic() > deadline:
            return
        copy = free.get()
        try:
            tried = _try(mutant, copy, known, limit=limit)
        except Stopped:
            return
        finally:
            free.put(copy)
        found.append(tried)
        told(tried)

    with ThreadPoolExecutor(len(copies)) as threads:
        try:
            for one in [threads.submit(run, mutant) for mutant in mutants]:
                one.result()
        except BaseException:
            stop.set()
            raise
    return found


def _try(mutant: Mutant, copy: Copy, known: CoverageMap, *, limit: float) -> Tried:
    began = time.monotonic()
    reaching = known.tests_of(mutant)
    tests = chosen(reaching, known.seconds.__getitem__, limit=limit)
    if not tests:
        return Tried(mutant, "not reached", 0, 0, 0.0)
    whole = (copy.root / mutant.path).read_text(encoding="utf-8")
    seconds = _START_SECONDS + _SLOWER * sum(map(known.seconds.__getitem__, tests))
    copy.write(mutant.path, mutant.apply(whole))
    try:
        ended = copy.try_tests(tests, seconds=seconds)
    finally:
        copy.write(mutant.path, whole)
    verdict: Verdict = "timed out" if ended.status is None else _VERDICTS.get(ended.status, "killed")
    return Tried(mutant, verdict, len(tests), len(reaching), time.monotonic() - began)
