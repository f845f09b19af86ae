"""The options that commands share, and how a command ends."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.errors import UsageError, WorkbenchError

Lake = Annotated[
    str, typer.Option("--lake", envvar="WORKBENCH_LAKE", metavar="DIR", help="The lake: a directory, or the URL of an object store.")
]
Source = Annotated[
    str,
    typer.Option(
        "--source",
        envvar="WORKBENCH_SOURCE",
        metavar="URI",
        # An address may hold a password: neither the help nor an error shows the value of the variable.
        show_envvar=True,
        help="The KurrentDB: esdb://host:2113?tls=false, esdb+discover://…, kurrentdb://…. User and password also from "
        "KURRENTDB_USERNAME and KURRENTDB_PASSWORD.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME-or-POSITION",
        help="The end of the history: 2026-03-01T09:00:00Z, 2026-03-01 (its first instant in UTC), or a position. Without it: all.",
    ),
]
Stale = Annotated[bool, typer.Option("--stale", help="Answer also for a time after the last export, from what the lake holds.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the result to a .parquet, .csv, .json or .arrow file instead.")
]

_INTERRUPTED = 130


def command(app: typer.Typer, *, example: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors print as one sentence, and whose help ends with an example."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
                sys.stdout.flush()
            except WorkbenchError as error:
                fail(str(error), status=2 if isinstance(error, UsageError) else 1)
            except KeyboardInterrupt:
                fail("Stopped. What was committed is kept, and nothing else.", status=_INTERRUPTED)
            except BrokenPipeError:
                # The reader of our output has gone (`| head`): nobody is left to write to, also not at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from None

        return app.command(name or function.__name__, epilog=f"Example: {example}")(run)

    return register


def printable(text: str, *, keep: str = "") -> str:
    """Write out the control characters of a text: one that came from a payload must not reach the terminal.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() or c in keep else f"\\x{ord(c):02x}" for c in text)


def fail(sentence: str, *, status: int) -> None:
    """Print why a command failed, and end it."""
    print(f"workbench: {printable(sentence)}", file=sys.stderr)
    raise typer.Exit(status)
