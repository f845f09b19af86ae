"""Declares the options that commands share, and handles how a command ends."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from workbench.cli.lines import dated_lines, printable, say, warnings_as_lines
from workbench.errors import UsageError, WorkbenchError
from workbench.host.stopping import Stopped, interrupted_by_signals

if TYPE_CHECKING:
    import polars as pl

    import workbench.lake
    from workbench.timeline import Timeline

Lake = Annotated[
    str, typer.Option("--lake", envvar="WORKBENCH_LAKE", metavar="DIR", help="The lake: a directory, or the URL of an object store.")
]
Source = Annotated[
    str,
    typer.Option(
        "--source",
        envvar="WORKBENCH_SOURCE",
        metavar="URI",
        # An address may contain a password, so neither the help nor an error shows the value of the variable.
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
        help="The end of the history: 2026-03-01T09:00:00Z, 2026-03-01 (its first instant in UTC), or a position. By default, all.",
    ),
]
Scenario = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="Apply the edits of this scenario to the history; see whatif."),
]
Stale = Annotated[bool, typer.Option("--stale", help="Also answer for a time after the last export, with the events in the lake.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
GuardFormulas = Annotated[
    bool,
    typer.Option(
        "--guard-formulas",
        help="In CSV, put ' before each text that begins with =, +, -, @, a tab or a line break: spreadsheets may read it as a formula.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the result to a .parquet, .csv, .json or .arrow file instead.")
]
Rows = Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Print at most this many rows in a table.")]

_INTERRUPTED = 130
_KEPT = "What was committed is kept, and nothing else."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The options for the lake and the cutoff."""

    lake: Lake
    at: At = None
    stale: Stale = False

    def open(self, *, memory: str | None = None, spill: str | None = None) -> workbench.lake.Lake:
        """Open the lake, with limits for its queries."""
        from workbench.lake import open_lake

        return open_lake(self.lake, memory=memory, spill=spill)

    def recorded(self, opened: workbench.lake.Lake | None = None) -> Timeline:
        """Return the lake's history up to the cutoff."""
        return self._upto((opened or self.open()).timeline)

    def _upto(self, timeline: Timeline) -> Timeline:
        return timeline if self.at is None else timeline.upto(self.at, stale=self.stale)


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Recorded):
    """The options for the history: as recorded, or with the edits of a scenario."""

    scenario: Scenario = None

    def timeline(self, opened: workbench.lake.Lake | None = None) -> Timeline:
        """Return the lake's history with the edits of the scenario, up to the cutoff."""
        if self.scenario is None:
            return self.recorded(opened)
        from workbench.scenarios import Scenario

        scenario = Scenario.load(self.scenario)
        return self._upto(scenario.on((opened or self.open()).timeline))


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The options for printing a result or writing it to a file."""

    json: Json = False
    csv: Csv = False
    out: Out = None
    guard_formulas: GuardFormulas = False
    rows: Rows = 40

    @property
    def is_table(self) -> bool:
        """Whether the output is a table for people, which shows only the first rows."""
        return not (self.json or self.csv or self.out)

    def check(self) -> None:
        """Check that the output file can be written, before the work begins."""
        from workbench.cli.output import check_place

        if self.out is not None:
            check_place(self.out)

    def show(self, frame: pl.DataFrame) -> None:
        """Print a result, or write it."""
        from workbench.cli.output import show

        show(frame, json=self.json, csv=self.csv, out=self.out, rows=self.rows, guard_formulas=self.guard_formulas)


def command(
    app: typer.Typer, *, example: str, name: str | None = None, dated: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors print as one sentence, and whose help ends with an example.

    A parameter whose type is a dataclass becomes one option for each field, so that commands can share options. With ``dated``, each line
    that :func:`~workbench.cli.lines.say` prints begins with the time if standard error is not a terminal, for commands whose output goes
    to a log.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        groups: dict[str, Any] = {parameter: hint for parameter, hint in hints.items() if dataclasses.is_dataclass(hint)}

        @functools.wraps(function)
        def run(*args: Any, **given: Any) -> None:
            with dated_lines() if dated else nullcontext(), warnings_as_lines():
                attempt(*args, **given)

        def attempt(*args: Any, **given: Any) -> None:
            try:
                with interrupted_by_signals(at_last=_end):
                    for parameter, group in groups.items():
                        given[parameter] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
                    function(*args, **given)
                    sys.stdout.flush()
            except WorkbenchError as error:
                fail(str(error), status=2 if isinstance(error, UsageError) else 1)
            except Stopped as stopped:
                fail(f"Stopped by {stopped.signal.name}. {_KEPT}", status=128 + stopped.signal)
            except KeyboardInterrupt:
                fail(f"Stopped. {_KEPT}", status=_INTERRUPTED)
            except BrokenPipeError:
                # The reader of our output has closed the pipe (`| head`), so do not write to it, not even at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from None

        # The attributes of a function that typer reads.
        signature = inspect.Signature(list(_spread(function, hints, groups)))
        vars(run)["__signature__"] = signature
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
        return app.command(name or function.__name__, epilog=f"Example: {example}")(run)

    return register


def _end(number: int) -> None:
    """End the process, even if its main thread is blocked."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    with suppress(OSError):
        os.write(2, f"workbench: Stopped{by}. {_KEPT}\n".encode())
    os._exit(128 + number)


def _spread(function: Callable[..., None], hints: dict[str, Any], groups: dict[str, Any]) -> Iterator[inspect.Parameter]:
    """Yield a function's parameters, with each group replaced by its fields."""
    for parameter in inspect.signature(function).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            yield parameter.replace(annotation=hints[parameter.name])
            continue
        types = get_type_hints(group, include_extras=True)
        for field in dataclasses.fields(group):
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[field.name])


def fail(sentence: str, *, status: int) -> None:
    """Print why a command failed, and end it."""
    with suppress(OSError):  # after SIGHUP the terminal may be gone
        say(f"workbench: {printable(sentence)}", error=True)
    raise typer.Exit(status)
