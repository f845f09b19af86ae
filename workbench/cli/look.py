"""``workbench info``, ``sql`` and ``distribution``: what is in a lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options

if TYPE_CHECKING:
    from workbench.lake import Lake
    from workbench.timeline import Timeline

# As in `workbench.analysis`, which would bring Polars to every start of the command.
By = Literal["type", "category", "stream"]
Every = Literal["1h", "1d", "1w", "1mo", "auto"]


def at_cutoff(lake: Lake, at: str | None, *, stale: bool, system: bool = False) -> Timeline:
    """Return a lake's history at a cutoff, as the options ``--at``, ``--stale`` and ``--system`` give it."""
    timeline = lake.timeline if at is None else lake.timeline.upto(at, stale=stale)
    return timeline.with_system() if system else timeline


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench info --lake data/demo")
    def info(lake: options.Lake, json: options.Json = False) -> None:
        """Say what a lake holds: events, streams, time span, and until when it is complete."""
        from workbench.cli.info import print_info
        from workbench.lake import open_lake

        print_info(open_lake(lake).info(), json=json)

    @options.command(app, example='workbench sql "select type, count(*) from events group by 1" --lake data/demo --at 2026-03-01')
    def sql(
        query: Annotated[str, typer.Argument(metavar="QUERY", help="SQL as DuckDB has it, over the view events.")],
        *,
        lake: options.Lake,
        at: options.At = None,
        stale: options.Stale = False,
        system: Annotated[bool, typer.Option("--system", help="Take in the system's own streams and types, those with $.")] = False,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Annotated[int, typer.Option("--rows", metavar="N", help="Print at most so many rows in a table.")] = 100,
    ) -> None:
        """Run SQL over the events of a lake, as they were at a time."""
        from workbench.cli.output import show
        from workbench.lake import open_lake

        opened = open_lake(lake)
        with opened.reading():
            frame = at_cutoff(opened, at, stale=stale, system=system).sql(query).pl()
        show(frame, json=json, csv=csv, out=out, rows=rows)

    @options.command(app, example="workbench distribution --lake data/demo --by category --every 1w")
    def distribution(
        *,
        lake: options.Lake,
        by: Annotated[By, typer.Option("--by", help="What to count.")] = "type",
        every: Annotated[Every | None, typer.Option("--every", help="Count in steps of time; auto chooses one.")] = None,
        tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone in which a day begins, with --every.")] = "UTC",
        at: options.At = None,
        stale: options.Stale = False,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Annotated[int, typer.Option("--rows", metavar="N", help="Print at most so many rows in a table.")] = 40,
    ) -> None:
        """Count the events by type, category or stream, in all or over time."""
        from workbench.analysis import distribution as count
        from workbench.cli.output import show
        from workbench.lake import open_lake

        opened = open_lake(lake)
        with opened.reading():
            frame = count(at_cutoff(opened, at, stale=stale), by=by, every=every, tz=tz)
        show(frame, json=json, csv=csv, out=out, rows=rows)
