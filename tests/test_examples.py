"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import re
import shutil
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

import workbench
from tests.reports.records import A_RECORD
from tests.sample.lake import write_sample
from workbench.reports.record import RECORD
from workbench.sample import generate

ROOM = Path(workbench.__file__).parent
EXAMPLE = re.compile(r"^ *>>> ", flags=re.MULTILINE)
FILES = sorted(file for file in ROOM.rglob("*.py") if EXAMPLE.search(file.read_text(encoding="utf-8")))
ASSUMED = {"wb": workbench, "pl": pl}
"""What the examples may use without an import, beside the names of their module."""


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOM.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake that ``workbench demo`` makes, but for the events' positions."""
    return write_sample(tmp_path_factory.mktemp("examples") / "demo", list(generate(events=40_000).events()))


@pytest.mark.parametrize("name", [module_of(file) for file in FILES])
def test_the_examples_of_a_module_are_true(name: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(demo, tmp_path / "data" / "demo")
    run = tmp_path / "data" / "runs" / "event_types-2026-03-01T060000Z"
    run.mkdir(parents=True)
    A_RECORD.write(run / RECORD)
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(name), extraglobs=ASSUMED)
    assert found.attempted > 0
    assert found.failed == 0


def test_examples_are_found() -> None:
    assert len(FILES) > 30


def test_no_example_is_skipped() -> None:
    assert [module_of(file) for file in FILES if "+SKIP" in file.read_text(encoding="utf-8")] == []
