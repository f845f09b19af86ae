"""Copies of the checkout, and commands that run in them: the checkout itself is never changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil  # type: ignore[import-untyped]  # it brings no types

from tests.mutants import during_tests
from tests.mutants.during_tests import CHOSEN

_LOOK_SECONDS = 0.1


class Stopped(Exception):
    """Raised in a thread whose command was ended because the tool stops."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    status
        Its exit status; None if it was ended because its time was over.
    output
        What it wrote, to either stream.
    """

    status: int | None
    output: str


class Copy:
    """A copy of a checkout, with a folder for temporary files; both go when the copy is closed.

    Parameters
    ----------
    stop
        Set, it ends the commands that run.
    """

    def __init__(self, checkout: Path, *, stop: Event) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mutants-")).resolve()
        self._stop = stop
        self.root = self._folder / "copy"
        for name in files_of(checkout):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, target)

    def write(self, path: str, text: str) -> None:
        """Write a module, so that Python sees it: what was compiled of it may have the same time and size."""
        file = self.root / path
        file.write_text(text, encoding="utf-8")
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    def try_tests(self, tests: Sequence[str], *, seconds: float) -> Ended:
        """Run tests in the order given, until one fails.

        Raises
        ------
        Stopped
            The tool stops.
        """
        names = self._folder / "chosen.json"
        names.write_text(json.dumps(tests), encoding="utf-8")
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        return self.pytest(["-x", *files], seconds=seconds, environment={CHOSEN: str(names)})

    def pytest(self, arguments: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> Ended:
        """Run files of tests, in an order that is always the same.

        Raises
        ------
        Stopped
            The tool stops.
        """
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "-p",
            during_tests.__name__,
            "-n",
            "0",
            *arguments,
        ]
        temporary = self._folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with (self._folder / "output").open("w+b") as output:
            process = subprocess.Popen(
                words,
                cwd=self.root,
                env=os.environ | {"PYTHONPATH": str(self.root), "TMPDIR": str(temporary)} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tool
            )
            try:
                status = self._wait(process, seconds)
            finally:
                _end(process)
            output.seek(0)
            return Ended(status, output.read().decode(errors="replace"))

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> int | None:
        left = seconds
        while left > 0:
            if self._stop.is_set():
                raise Stopped
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_SECONDS)
            left -= _LOOK_SECONDS
        return None


def files_of(checkout: Path) -> list[str]:
    """Return the files of a checkout that git tracks, or would."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(words, cwd=checkout, capture_output=True, check=True).stdout.decode()
    return sorted(name for name in found.split("\0") if name and (checkout / name).is_file())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started, and what this started in turn."""
    left: list[psutil.Process] = []
    with suppress(psutil.Error):
        left = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.kill()
        process.wait()
    for one in left:
        with suppress(psutil.Error):
            one.kill()
