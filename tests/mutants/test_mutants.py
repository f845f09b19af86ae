"""The tool that tries mutants: what it changes, that it tells a missing test, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mutants import __main__ as tool
from tests.mutants.operators import mutants_of
from tests.mutants.trial import sample

CODE = '''\
"""The docstring."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

LIMIT: int = 3


def work(items: list[int], *, most: int = 2) -> int:
    """Another one."""
    assert items is not None
    total = 0
    for item in items:
        if item > most and not item == 7:
            total += item
            continue
        print(item, end="ü")
    if not items:
        raise ValueError("there are no " + "items")
    return min(total, most)


SQL = "SELECT max(a) FROM t WHERE a >= ? AND b = ?"
'''


def changed_lines() -> list[tuple[str, str]]:
    """Return of each mutant of the code what it changes, and the line that comes out."""
    before, found = CODE.splitlines(), []
    for mutant in mutants_of("m.py", CODE):
        after = mutant.apply(CODE).splitlines()
        [line] = [new.strip() for old, new in zip(before, after, strict=True) if old != new]
        found.append((mutant.operator, line))
    return sorted(found)


def test_the_mutants_of_a_module_are_small_and_spare_what_no_test_can_see() -> None:
    assert changed_lines() == sorted(
        [
            ("constant", "LIMIT: int = 4"),
            ("constant", "def work(items: list[int], *, most: int = 3) -> int:"),
            ("constant", "total = 1"),
            ("condition negated", "if not (item > most and (not item == 7)):"),
            ("boolean", "if (item > most or not item == 7):"),
            ("comparison", "if item >= most and not item == 7:"),
            ("boolean", "if item > most and (item == 7):"),
            ("comparison", "if item > most and not item != 7:"),
            ("constant", "if item > most and not item == 8:"),
            ("statement deleted", "pass"),  # total += item
            ("statement deleted", "pass"),  # continue
            ("statement deleted", "pass"),  # print
            ("argument removed", "print(item)"),
            ("condition negated", "if not (not items):"),
            ("boolean", "if (items):"),
            ("statement deleted", "pass"),  # raise
            ("return None", "return None"),
            ("twin", "return max(total, most)"),
            ("argument removed", "return min(total)"),
            ("SQL", 'SQL = "SELECT max(a) FROM t WHERE a > ? AND b = ?"'),
            ("SQL", 'SQL = "SELECT max(a) FROM t WHERE a >= ? OR b = ?"'),
            ("SQL", 'SQL = "SELECT max(a) FROM t WHERE a >= ? AND b <> ?"'),
            ("SQL", 'SQL = "SELECT min(a) FROM t WHERE a >= ? AND b = ?"'),
        ]
    )


def test_a_seed_chooses_the_same_mutants_again() -> None:
    mutants = mutants_of("m.py", CODE)
    assert sample(mutants, count=5, seed=1) == sample(mutants, count=5, seed=1) != sample(mutants, count=5, seed=2)
    assert sorted(sample(mutants, count=1000, seed=1)) == mutants


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one module of two functions, of which one is tested, though not at its limit."""
    root = tmp_path / "project"
    for name, text in {
        "workbench/__init__.py": "",
        "workbench/shop/__init__.py": "",
        "workbench/shop/price.py": "def is_cheap(price: int) -> bool:\n    return price < 10\n\n\ndef unused() -> int:\n    return 1\n",
        "tests/__init__.py": "",
        "tests/shop/__init__.py": "",
        "tests/shop/test_price.py": "import subprocess, sys\nfrom workbench.shop.price import is_cheap\n\n\n"
        "def test_it() -> None:\n    assert is_cheap(1)\n    assert not is_cheap(11)\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copytree(Path(__file__).parent, root / "tests" / "mutants", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    (root / ".gitignore").write_text(".mutants/\n__pycache__/\n", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def contents(root: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in root.rglob("*.py")}


WORDS = ["--package", "shop", "--tests", "tests/shop", "--workers", "1"]


def test_what_no_test_notices_is_shown_and_the_checkout_stays_as_it_was(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(project)
    assert tool.main(WORDS, checkout=project) == 0
    said = capsys.readouterr().out
    assert "5 of 5 mutants in 2 modules" in said
    assert "| shop | 1 | 0 | 2 | 2 |" in said  # killed: return None; not reached: both of the function that nobody calls
    assert "-    return price < 10\n+    return price <= 10\n" in said
    assert "comparison: 1 of the 1 tests that reach it passed." in said
    assert said.endswith((project / ".mutants" / "summary.md").read_text(encoding="utf-8"))
    assert contents(project) == before

    # What the tests run is known now, until one of the files changes.
    assert tool.main([*WORDS, "--sample", "0"], checkout=project) == 0
    assert "Coverage:" not in capsys.readouterr().out
    (project / "workbench" / "shop" / "price.py").write_text("def is_cheap(price: int) -> bool:\n    return price < 5\n", encoding="utf-8")
    assert tool.main([*WORDS, "--sample", "0"], checkout=project) == 0
    assert "1 are run now" in capsys.readouterr().out


def test_lines_that_a_process_of_a_test_runs_count_as_the_tests(project: Path) -> None:
    test = project / "tests" / "shop" / "test_price.py"
    code = "from workbench.shop.price import unused; unused()"
    text = f"import subprocess, sys\n\n\ndef test_it() -> None:\n    subprocess.run([sys.executable, '-c', {code!r}], check=True)\n"
    test.write_text(text, encoding="utf-8")
    assert tool.main([*WORDS, "--sample", "0"], checkout=project) == 0
    [kept] = (project / ".mutants" / "map").iterdir()
    lines = json.loads(kept.read_text(encoding="utf-8"))["lines"]
    assert lines == {"tests/shop/test_price.py::test_it": {"workbench/shop/price.py": [1, 5, 6]}}


def test_a_package_that_is_not_there_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--package", "shops"], checkout=project) == 2
    assert capsys.readouterr().err == "There is no package workbench/shops; there are shop.\n"


def test_ctrl_c_ends_it_and_leaves_no_process_and_no_copy(project: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    text = f"import pathlib, time\n\n\ndef test_it() -> None:\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(600)\n"
    (project / "tests" / "shop" / "test_price.py").write_text(text, encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    words = [sys.executable, "-m", "tests.mutants", *WORDS]
    with subprocess.Popen(words, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "0 of 5 were tried" in output
    assert list((tmp_path / "tmp").iterdir()) == []
