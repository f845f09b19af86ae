"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import workbench

ROOM = Path(workbench.__file__).parent
EXAMPLE = re.compile(r"^ *>>> (?!.*# doctest: \+SKIP)", flags=re.MULTILINE)
"""One that is to be run: those that are skipped show how to ask a lake that is not there."""
FILES = sorted(file for file in ROOM.rglob("*.py") if EXAMPLE.search(file.read_text(encoding="utf-8")))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOM.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", [module_of(file) for file in FILES])
def test_the_examples_of_a_module_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_examples_are_found() -> None:
    assert len(FILES) > 30
