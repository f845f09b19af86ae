"""What a terminal, a pipe or a full disk gets of what a command prints: no control characters, and no half answer without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_failures import run
from tests.lakes import START, Recorded, write_lake
from workbench.cli.lines import say, warnings_as_lines
from workbench.errors import WorkbenchWarning

WORKBENCH = [sys.executable, "-m", "workbench"]
ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["check", "p.yaml"]])
def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "p.yaml").write_text("name: a\nedits: [drop: {stream: a}]\n", encoding="utf-8")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*WORKBENCH, *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    said = "workbench: The standard output cannot be written (No space left on device): make room, or send it elsewhere."
    assert (ended.returncode, ended.stderr) == (1, f"{said} What was printed is not whole.\n")


def test_an_output_whose_encoding_lacks_a_letter_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "é.yaml").write_text("name: a\nedits: [drop: {stream: a}]\n", encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ended = subprocess.run([*WORKBENCH, "check", "é.yaml"], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    said = r"The standard output has the encoding ascii, which has no '\xe9': set PYTHONUTF8=1, or name a file with --out."
    assert (ended.returncode, ended.stderr) == (1, f"workbench: {said} What was printed is not whole.\n")


def test_no_line_for_people_brings_control_characters_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a {ESCAPE}\nb", error=True)
    with warnings_as_lines():
        import warnings  # the function that is used is put there by the block

        warnings.warn(f"of {ESCAPE}", WorkbenchWarning, stacklevel=1)
    assert capsys.readouterr().err == ("a \\x1b]0;owned\\x07\\x1b[2J\nb\nworkbench: of \\x1b]0;owned\\x07\\x1b[2J\n")


def test_what_commands_say_of_events_has_no_control_characters(tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake", [Recorded(f"user.{ESCAPE}", START, f"user-{ESCAPE}", "{}")])
    asked: list[list[str | Path]] = [
        ["state", f"user{ESCAPE}", "--lake", lake],
        ["state", "user", "--key", ESCAPE, "--lake", lake],
        ["workflows", "--lake", lake, "--start", ESCAPE],
        ["sql", f"select * from {ESCAPE}", "--lake", lake],
    ]
    for words in asked:
        result = run(*words)
        assert "\x1b" not in result.stderr, words
        assert "\x07" not in result.stderr, words


def test_nothing_is_printed_to_the_standard_error_past_the_function_that_writes_control_characters_out() -> None:
    for file in Path("workbench/cli").glob("*.py"):
        if file.name != "lines.py":
            assert "file=sys.stderr" not in file.read_text(encoding="utf-8"), file
