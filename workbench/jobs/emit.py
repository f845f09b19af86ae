"""Writes a line for a crontab, or a unit for systemd, that runs the jobs of pipelines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from workbench.errors import UsageError
from workbench.jobs.pipeline import Pipeline

Target = Literal["crontab", "systemd"]

_PLAIN = re.compile(r"[\w/.:@+-]+", re.ASCII)
"""What neither systemd nor a shell takes for anything but itself."""


def emit(pipelines: Sequence[Pipeline], *, to: Target, ledger: Path, command: Path) -> str:
    """Return the text that goes into a crontab or a unit file.

    Both call the same ledger, so that times, retries and missed runs are those of the pipelines and not of cron.

    Parameters
    ----------
    command
        The ``workbench`` that is called.

    Raises
    ------
    UsageError
        A path holds a line break or another control character, which ends a line of a crontab and of a unit.
    """
    files = [str(one.file.resolve()) for one in pipelines]
    words = [str(command), "schedule", "due" if to == "crontab" else "serve", *files, "--ledger", str(ledger.resolve())]
    for word in words:
        if not word.isprintable():
            raise UsageError(f"The path {word!r} holds a character that cannot stand in a {to} file: rename it.")
    variables = sorted({name for one in pipelines for name in one.variables})
    names = ", ".join([*variables, "KURRENTDB_USERNAME and KURRENTDB_PASSWORD where the store wants them"])
    if to == "crontab":
        # A % is the end of the line to cron.
        line = shlex.join(words).replace("%", r"\%")
        return (
            f"# Every minute: what is due by then is done once; a call that finds nothing to do ends at once.\n"
            f"# Set above this line: {names}.\n"
            f"* * * * * {line}\n"
        )
    return (
        "[Unit]\n"
        f"Description=Event workbench: {', '.join(one.name for one in pipelines)}\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n\n"
        "[Service]\n"
        f"# Holds {names}.\n"
        "EnvironmentFile=-/etc/workbench.env\n"
        f"ExecStart={_systemd_command(words)}\n"
        "Restart=on-failure\n"
        "RestartSec=30\n"
        "# The job that is running comes to its end first.\n"
        "KillMode=mixed\n"
        "TimeoutStopSec=infinity\n\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _systemd_command(words: Sequence[str]) -> str:
    """Write a command for ``ExecStart=``. systemd takes a program only by a plain path, and any other as an argument of the shell."""
    program = words[0]
    shell = [] if _PLAIN.fullmatch(program) else ["/bin/sh", "-c", 'exec "$0" "$@"']
    return " ".join(map(_systemd_word, [*shell, *words]))


def _systemd_word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
