"""A plugin for pytest, within the processes that the tool starts.

It chooses and orders tests, tells coverage.py which of them runs, and lets Hypothesis fail fast.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest
from hypothesis import Phase, settings

TEST = "WORKBENCH_MUTANTS_TEST"
"""The test that runs, for processes that it starts."""

CHOSEN = "WORKBENCH_MUTANTS_CHOSEN"
"""The file that names the tests to run, in their order. Names on a command line could be too many."""

OUTCOMES = "WORKBENCH_MUTANTS_OUTCOMES"
"""The file that is told which tests passed, and how long each took."""

_passed: dict[str, float] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Leave out the search for the smallest example: a failure is all that is asked for."""
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("mutants", settings.get_profile(settings.get_current_profile_name()), phases=phases, database=None)
    settings.load_profile("mutants")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHOSEN in os.environ:
        order = {test: number for number, test in enumerate(json.loads(Path(os.environ[CHOSEN]).read_text(encoding="utf-8")))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    os.environ[TEST] = item.nodeid
    measurement = coverage.Coverage.current()
    if measurement is not None:
        measurement.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        if measurement is not None:
            measurement.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.passed:
        _passed[report.nodeid] = _passed.get(report.nodeid, 0.0) + report.duration
    else:
        _passed[report.nodeid] = float("-inf")  # a test that fails or is skipped shows nothing


def pytest_sessionfinish() -> None:
    if OUTCOMES in os.environ:
        passed = {test: round(seconds, 3) for test, seconds in _passed.items() if seconds >= 0}
        Path(os.environ[OUTCOMES]).write_text(json.dumps(passed), encoding="utf-8")
