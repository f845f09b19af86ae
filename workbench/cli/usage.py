"""``workbench lifespans``, ``drift``, ``usage`` and ``activity``: describe how a store and its systems are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.cli.look import By, Every, readable, say_where

if TYPE_CHECKING:
    import polars as pl

ByWhat = Annotated[By, typer.Option("--by", help="What to count.")]
Zone = Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone in which a day begins.")]
Days = Literal["1d", "1w", "1mo", "1q", "1y", "auto"]
Cohorts = Literal["1d", "1w", "1mo"]
StoreTable = Literal["summary", "rates", "lengths", "histogram", "longest", "snapshots", "gaps", "hidden", "steps_back"]
ActivityTable = Literal["summary", "over_time", "days", "hours", "actors", "streams", "retention"]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench lifespans --lake data/demo --every 1mo")
    def lifespans(
        *,
        history: options.History,
        by: ByWhat = "type",
        every: Annotated[Every, typer.Option("--every", help="How long periods are; auto chooses.")] = "auto",
        tz: Zone = "UTC",
        output: options.Output,
    ) -> None:
        """Show when each type, category or stream first and last occurred: what is new, and what has vanished."""
        from workbench.analysis import lifespans as ask

        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        with opened.reading():
            found = ask(timeline, by=by, every=every, tz=tz)
        output.show(readable(found) if output.is_table else found)
        say_where(timeline)

    @options.command(app, example="workbench drift --lake data/demo --from 2026-02-01 --at 2026-03-01")
    def drift(
        *,
        from_: Annotated[
            str | None,
            typer.Option(
                "--from",
                metavar="TIME-or-POSITION",
                help="The events up to then are compared with those after it, up to --at. Without it: what was recorded is compared with "
                "--scenario.",
            ),
        ] = None,
        history: options.History,
        by: ByWhat = "type",
        output: options.Output,
    ) -> None:
        """Compare the mix of events of two periods, and show which types explain the change."""
        from workbench.analysis import drift as ask
        from workbench.errors import UsageError

        output.check()
        if from_ is None and history.scenario is None:
            raise UsageError("drift compares two histories: give --from, or --scenario.")
        opened = history.open()
        after = history.timeline(opened)
        if from_ is None:
            before = history.recorded(opened)
        else:
            before = replace(history, at=from_).timeline(opened)
            after = after.after(from_, stale=history.stale)
        with opened.reading():
            found = ask(before, after, by=by)
        output.show(found.terms.drop("drift_share") if output.is_table else found.terms)
        say(f"{found}\nbefore: {found.before}\nafter: {found.after}", error=True)

    @options.command(app, example="workbench usage --lake data/demo --snapshots '*.snapshot' --table lengths")
    def usage(
        *,
        history: options.History,
        table: Annotated[StoreTable, typer.Option("--table", help="Which table of the report to show.")] = "summary",
        every: Annotated[Every, typer.Option("--every", help="How long the periods of rates are; auto chooses.")] = "auto",
        tz: Zone = "UTC",
        snapshots: Annotated[
            list[str] | None, typer.Option("--snapshots", metavar="TYPE", help="A type of events that are snapshots; *.snapshot takes all.")
        ] = None,
        output: options.Output,
    ) -> None:
        """Summarise how the store is used: rates, lengths of streams, snapshots, gaps, hidden streams, and its clock."""
        from workbench.analysis import store_usage as ask
        from workbench.errors import UsageError

        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        with opened.reading():
            found = ask(timeline, every=every, snapshots=snapshots or (), tz=tz)
        frame: pl.DataFrame | None = getattr(found, table)
        if frame is None:
            raise UsageError("What the store hides cannot be told from this lake: it was exported with a choice of types.")
        _show(output, frame, table=table)
        say_where(timeline)

    @options.command(app, example="workbench activity --actor metadata.userId --lake data/demo --table days")
    def activity(
        *,
        actor: Annotated[
            str, typer.Option("--actor", metavar="PLACE", help='Who acts: metadata.userId, data.by.id, data."user id", stream.')
        ],
        history: options.History,
        table: Annotated[ActivityTable, typer.Option("--table", help="Which table of the report to show.")] = "summary",
        actions: Annotated[
            list[str] | None, typer.Option("--action", metavar="TYPE", help="A type of events that are actions; user.* takes all.")
        ] = None,
        every: Annotated[Days, typer.Option("--every", help="How long the periods of over_time are; auto chooses.")] = "auto",
        cohorts: Annotated[Cohorts, typer.Option("--cohorts", help="How long the periods of retention are.")] = "1w",
        tz: Zone = "UTC",
        output: options.Output,
    ) -> None:
        """Show who acts, when and how often, and who comes back."""
        from workbench.analysis import activity as ask
        from workbench.projection import event_path

        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        with opened.reading():
            found = ask(timeline, actor=event_path(actor), actions=actions or (), every=every, cohorts=cohorts, tz=tz)
        _show(output, getattr(found, table), table=table)
        say_where(timeline)


def _show(output: options.Output, frame: pl.DataFrame, *, table: str) -> None:
    """Show a table of a report; of the one row of a summary, people see one line for each figure."""
    if not output.is_table:
        output.show(frame)
    elif table == "summary":
        _figures(frame.row(0, named=True))
    else:
        output.show(readable(frame))


def _figures(figures: Mapping[str, Any]) -> None:
    from workbench.cli.output import cell, console

    width = max(map(len, figures))
    for name, value in figures.items():
        console().print(f"{name.replace('_', ' '):<{width}}  {cell(name, value)}")
