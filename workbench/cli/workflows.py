"""``workbench workflows``, ``trace`` and ``ocel``: show the outcomes of sagas and other processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import printable, say
from workbench.cli.look import say_where

if TYPE_CHECKING:
    import polars as pl

    from workbench.analysis.workflows import Workflow, Workflows

Show = Literal["outcomes", "traces", "steps", "variants", "process", "all"]
Outcome = Literal["completed", "compensated", "failed", "stuck", "running"]
_EXAMPLE = (
    "workbench workflows --start registration.started --done registration.completed --compensated registration.compensated "
    "--failed registration.failed --stuck-after 1h --lake data/demo"
)
_TYPES = "Event types, as often as there are some; * stands for any run of characters."


def register(app: typer.Typer) -> None:
    @options.command(app, example=_EXAMPLE)
    def workflows(
        declared: Annotated[
            str | None,
            typer.Argument(metavar="[FILE.py:NAME]", help="A Workflow that is declared in Python: FILE.py:NAME or MODULE:NAME."),
        ] = None,
        *,
        history: options.History,
        start: Annotated[list[str] | None, typer.Option("--start", metavar="TYPE", help=f"What begins one. {_TYPES}")] = None,
        done: Annotated[list[str] | None, typer.Option("--done", metavar="TYPE", help="What completes it.")] = None,
        compensated: Annotated[
            list[str] | None, typer.Option("--compensated", metavar="TYPE", help="What says that it was undone.")
        ] = None,
        failed: Annotated[list[str] | None, typer.Option("--failed", metavar="TYPE", help="What says that it was given up.")] = None,
        stuck_after: Annotated[
            str | None, typer.Option("--stuck-after", metavar="SPAN", help="One is stuck when nothing happened for so long: 1h, 2d.")
        ] = None,
        show: Annotated[Show, typer.Option("--show", help="Which table: the traces are those of the workflows one by one.")] = "all",
        outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only the traces that came to this.")] = None,
        output: options.Output,
    ) -> None:
        """Count workflows that completed, were compensated, failed or are stuck, and measure how long they took."""
        from workbench.analysis.workflows import workflows as ask

        output.check()
        given = {"start": start, "done": done, "compensated": compensated, "failed": failed}
        workflow = _workflow(declared, {role: tuple(names) for role, names in given.items() if names}, stuck_after)
        opened = history.open()
        timeline = history.timeline(opened)
        with opened.reading():
            found = ask(workflow, timeline)
        if outcome is not None or show == "traces":
            output.show(_traces(found, outcome, output))
        elif show == "all" and output.is_table:
            _print_all(found)
        elif show == "all" and output.json:
            _print_json(found)
        else:
            frame = getattr(found, "outcomes" if show == "all" else show)
            output.show(_readable(frame) if output.is_table else frame)
        say(found, error=True)
        for name in found.unseen:
            say(f"no event here is of type {name!r}", error=True)
        say_where(timeline)

    @options.command(app, example="workbench trace 3db1a6cf-fcb5-40e4-a354-5b0abc2a28ff --lake data/demo")
    def trace(
        correlation_id: Annotated[str, typer.Argument(metavar="ID", help="A correlation id, as workflows --show traces lists them.")],
        *,
        history: options.History,
        output: options.Output,
    ) -> None:
        """Show the events with one correlation id as a tree of causes, with the time that each step took."""
        from workbench.analysis.traces import trace as ask

        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        with opened.reading():
            found = ask(timeline, correlation_id)
        if output.is_table:
            print(printable(str(found), keep="\n"))
        else:
            output.show(found.events)
        say_where(timeline)

    @options.command(app, example="workbench ocel --out data/demo.sqlite --lake data/demo")
    def ocel(
        *,
        history: options.History,
        out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to: a file that ends in .sqlite or .json.")],
        stream: Annotated[
            list[str] | None, typer.Option("--stream", metavar="PATTERN", help="Only these streams; user-1* takes all that begin so.")
        ] = None,
        type: Annotated[list[str] | None, typer.Option("--type", metavar="PATTERN", help="Only these event types.")] = None,
        payloads: Annotated[
            bool, typer.Option("--payloads/--no-payloads", help="Make attributes of what the payloads hold, or leave them out.")
        ] = True,
    ) -> None:
        """Write the events as an object-centric event log (OCEL 2.0), for pm4py and other process mining tools."""
        from workbench.analysis.ocel import export_ocel

        opened = history.open()
        timeline = history.timeline(opened)
        timeline = timeline.streams(*stream) if stream else timeline
        timeline = timeline.types(*type) if type else timeline
        with opened.reading():
            written = export_ocel(timeline, out, payloads=payloads)
        say(
            f"{out}: {written.events:,} events, {written.objects:,} objects, {written.relations:,} relations between them, "
            f"{written.object_relations:,} between objects",
            error=True,
        )
        if written.undated:
            say(f"{written.undated:,} of the events have stamps that are no instants: each has the time of the event before it", error=True)
        for name, count in written.left_out.items():
            say(f"{name}: {count:,} more members of its payloads have no attribute", error=True)
        say_where(timeline)


def _workflow(declared: str | None, given: dict[str, tuple[str, ...]], stuck_after: str | None) -> Workflow:
    """Return the workflow that is named, or declared by options."""
    from workbench.analysis.workflows import Workflow
    from workbench.errors import UsageError

    if declared is not None:
        if given or stuck_after is not None:
            raise UsageError("The workflow is declared in Python, and by options too: give one of the two.")
        from workbench.fold.loading import load_object

        found = load_object(declared, what="workflow")
        if not isinstance(found, Workflow):
            raise UsageError(f"{declared} is no Workflow: declare it as NAME = Workflow(start=…, done=…).")
        return found
    if "start" not in given or "done" not in given:
        raise UsageError("Say what begins a workflow and what completes it: --start TYPE --done TYPE; or name a Workflow, FILE.py:NAME.")
    roles: dict[str, Any] = dict(given)
    return Workflow(**roles, stuck_after=stuck_after)


def _traces(found: Workflows, outcome: str | None, output: options.Output) -> pl.DataFrame:
    import polars as pl

    traces = found.traces if outcome is None else found.traces.filter(pl.col("outcome") == outcome)
    if not output.is_table:
        return traces
    return _readable(traces.drop("ended_at", "first_position", "variant")).with_columns(pl.col("started_at", "last_at").dt.truncate("1s"))


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Write spans and sequences of types for people."""
    import polars as pl

    from workbench.display import spelled

    columns = [
        pl.Series(name, [None if span is None else spelled(span) for span in frame[name]], dtype=pl.String)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Duration)
    ]
    if "types" in frame.columns:
        columns.append(frame["types"].list.join(" → ").alias("types"))
    return frame.with_columns(columns)


def _print_all(found: Workflows) -> None:
    from workbench.cli.output import print_table

    most = 10
    for title, frame in (
        ("", found.outcomes),
        ("How long each step took, from the event before it", found.steps),
        ("The ways that they went", found.variants),
        ("What follows what", found.process),
    ):
        if title:
            print(f"\n{title}" + (f", the first {most} of {frame.height:,}" if frame.height > most else ""))
        print_table(_readable(frame.head(most)))


def _print_json(found: Workflows) -> None:
    from workbench.cli.output import json_text

    frames = {name: getattr(found, name).to_dicts() for name in ("outcomes", "steps", "variants", "process", "traces")}
    print(json_text({"until": found.until, "unseen": list(found.unseen), **frames}))
