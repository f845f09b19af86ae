"""Which tests run which lines of the workbench: gathered by test file, and kept until the files that matter to it change."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from coverage import CoverageData

from tests.mutants.copies import Copy, files_of
from tests.mutants.during_tests import OUTCOMES, TEST
from tests.mutants.operators import Mutant

PACKAGE = "workbench"
_FILE_SECONDS = 1800.0
_SETTINGS = f"""\
[run]
source_pkgs = {PACKAGE}
data_file = {{data}}
parallel = true
patch = _exit
core = ctrace
context = ${{{{{TEST}-}}}}
"""
"""A process that a test starts finds the name of the test in its environment."""


class TestsFailed(Exception):
    """Raised when no test of a file passes, though nothing was changed."""

    __test__ = False  # for pytest


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """The tests that passed, how long each took, and which lines each ran.

    Attributes
    ----------
    seconds
        By test.
    lines
        By module, by line: the tests.
    """

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run what a mutant changes: those of the module's own package first, and of each kind the fastest.

        What runs when a module is imported belongs to no test; there it is all tests that run anything of the module.
        """
        lines = self.lines.get(mutant.path, {})
        wanted = range(mutant.line, mutant.last_line + 1) if mutant.in_function else lines
        tests = set().union(*(lines.get(line, frozenset()) for line in wanted))
        own = f"tests/{Path(mutant.path).parts[1]}/"
        return sorted(tests, key=lambda test: (not test.startswith(own), self.seconds[test], test))


def test_files(checkout: Path, *, among: Sequence[str]) -> list[str]:
    """Return the files of tests under some paths."""
    return [
        name
        for name in files_of(checkout)
        if Path(name).name.startswith("test_") and name.endswith(".py") and any(Path(name).is_relative_to(path) for path in among)
    ]


def gather(
    checkout: Path, copies: Sequence[Copy], *, files: Sequence[str], cache: Path, told: Callable[[str], None], fresh: bool = False
) -> CoverageMap:
    """Return the map of some files of tests; those that are not kept, or not any more, are run.

    Parameters
    ----------
    copies
        Each runs one file at a time.
    cache
        The folder with what is kept.
    fresh
        Whether to run all of them.

    Raises
    ------
    TestsFailed
        No test of a file passes.
    Stopped
        The tool stops.
    """
    cache.mkdir(parents=True, exist_ok=True)
    digests = {name: hashlib.sha256((checkout / name).read_bytes()).hexdigest() for name in files_of(checkout) if name.endswith(".py")}
    kept = {} if fresh else {file: found for file in files if (found := _kept(cache, file, digests)) is not None}
    missing = [file for file in files if file not in kept]
    if missing:
        told(f"Coverage: {len(kept)} files of tests are known, {len(missing)} are run now.")
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def run(file: str) -> tuple[str, dict[str, Any]]:
        copy = free.get()
        try:
            entry = _run(copy, file, digests)
        finally:
            free.put(copy)
        _place(cache, file).write_text(json.dumps(entry), encoding="utf-8")
        told(f"  {file}: {len(entry['seconds'])} tests in {sum(entry['seconds'].values()):.0f} s")
        return file, entry

    with ThreadPoolExecutor(len(copies)) as threads:
        kept |= dict(threads.map(run, missing))
    return _joined(kept.values())


def _run(copy: Copy, file: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Run a file of tests under coverage.py."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        settings, outcomes = Path(folder, "coveragerc"), Path(folder, "outcomes.json")
        settings.write_text(_SETTINGS.format(data=Path(folder, "data")), encoding="utf-8")
        environment = {"COVERAGE_PROCESS_START": str(settings), TEST: "", OUTCOMES: str(outcomes)}
        ended = copy.pytest([file], seconds=_FILE_SECONDS, environment=environment)
        seconds = json.loads(outcomes.read_text(encoding="utf-8")) if outcomes.exists() else {}
        if not seconds and ended.status != 5:  # there are no tests in it
            raise TestsFailed(f"No test of {file} passes, without any mutant:\n{ended.output[-2000:]}")
        lines: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for name in Path(folder).glob("data*"):
            for test, module, found in _contexts(name, copy.root):
                if test in seconds:
                    lines[test][module].update(found)
    used = {file, *(name for name in digests if name.startswith("tests/") and not Path(name).name.startswith("test_"))}
    used |= {module for modules in lines.values() for module in modules}
    return {
        "digests": {name: digests[name] for name in sorted(used)},
        "seconds": seconds,
        "lines": {test: {module: sorted(found) for module, found in modules.items()} for test, modules in lines.items()},
    }


def _contexts(file: Path, root: Path) -> Iterator[tuple[str, str, list[int]]]:
    data = CoverageData(basename=str(file))
    data.read()
    for measured in data.measured_files():
        if not Path(measured).is_relative_to(root):
            continue
        module = str(Path(measured).relative_to(root))
        by_test: dict[str, list[int]] = defaultdict(list)
        for line, contexts in data.contexts_by_lineno(measured).items():
            for test in contexts if line else ():  # an empty module has a line 0
                by_test[test].append(line)
        for test, lines in by_test.items():
            yield test, module, lines


def _kept(cache: Path, file: str, digests: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what is kept of a file of tests, if all that it ran is as it was."""
    try:
        entry: dict[str, Any] = json.loads(_place(cache, file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return entry if all(digests.get(name) == digest for name, digest in entry["digests"].items()) else None


def _place(cache: Path, file: str) -> Path:
    return cache / f"{file.replace('/', '.')}.json"


def _joined(entries: Any) -> CoverageMap:
    seconds: dict[str, float] = {}
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for entry in entries:
        seconds |= entry["seconds"]
        for test, modules in entry["lines"].items():
            for module, found in modules.items():
                for line in found:
                    lines[module][line].add(test)
    return CoverageMap(seconds, {module: {line: frozenset(tests) for line, tests in by.items()} for module, by in lines.items()})
