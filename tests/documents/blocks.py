"""Runs the blocks of code in a document in their order, in one folder, as its reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from workbench.cli.app import app

ROOT = Path(__file__).parent.parent.parent

_BLOCK = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`(?P<file>[\w./-]+\.\w+)`[^`\n]*:\n*$")
"""A sentence that ends in a colon and names a file as the last of its code: the block behind it is what the file holds."""
_IN_SHELL = re.compile(r"[|&;<>$*~`(){}]")
_REDIRECTED = re.compile(r"(?P<line>.*) > (?P<file>[\w./-]+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a document.

    Attributes
    ----------
    file
        The file whose content the block is, where the sentence before it says so.
    """

    language: str
    text: str
    line: int
    file: str | None


def blocks_of(document: Path) -> Iterator[Block]:
    """Yield the blocks of a document in order."""
    text = document.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        before = text[: found.start()]
        named = _FILE.search(before)
        yield Block(found["language"], found["text"], before.count("\n") + 2, named["file"] if named else None)


def commands_of(block: Block) -> Iterator[str]:
    """Yield the commands of a shell block: its lines, joined where one ends in a backslash, without comments."""
    for line in re.sub(r"\s*\\\n\s*", " ", block.text).splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


@dataclass
class Reader:
    """One who follows documents step by step.

    Attributes
    ----------
    folder
        Where the commands run and the files are written.
    replaced
        Commands, and lines of Python, that need what a test does not have, and what is done in their place.
    addresses
        Texts that stand for an event store, and the address of the one that is there.
    """

    folder: Path
    replaced: Mapping[str, str]
    addresses: Mapping[str, str] = field(default_factory=dict)

    def read(self, document: Path) -> None:
        """Do what a document says. The Python of one document shares its names."""
        names: dict[str, Any] = {"__name__": "document"}
        for block in blocks_of(document):
            place = f"{document.relative_to(ROOT)}:{block.line}"
            if block.file is not None:
                file = self.folder / block.file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                text = "".join(map(self._line, block.text.splitlines(keepends=True)))
                # The lines before it let a traceback name the line of the document.
                exec(compile("\n" * (block.line - 1) + text, str(document), "exec"), names)
            elif block.language == "sh":
                for command in commands_of(block):
                    self._run(self._line(command), place)

    def _line(self, line: str) -> str:
        bare = line.strip()
        line = line.replace(bare, self.replaced.get(bare, bare))
        for address, there in self.addresses.items():
            line = line.replace(address, there)
        return line

    def _run(self, command: str, place: str) -> None:
        if command.startswith("export "):
            for word in shlex.split(command, comments=True)[1:]:
                name, _, value = word.partition("=")
                os.environ[name] = os.path.expandvars(value)
            return
        redirected = _REDIRECTED.fullmatch(command)
        line, out = (redirected["line"], redirected["file"]) if redirected else (command, None)
        if not line.startswith("workbench ") or _IN_SHELL.search(re.sub(r"'[^']*'|\"[^\"$]*\"", "", line)):
            self._shell(command, place)
            return
        result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, (place, command, result.output, result.exception)
        if out:
            (self.folder / out).write_text(result.stdout, encoding="utf-8")

    def _shell(self, command: str, place: str) -> None:
        scripts = str(Path(sys.executable).parent)
        environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], check=False, capture_output=True, text=True, cwd=self.folder, env=environment
        )
        assert done.returncode == 0, (place, command, done.stdout, done.stderr)
