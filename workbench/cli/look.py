"""``workbench info``, ``sql`` and ``distribution``: what is in a lake."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from workbench.lake import Lake
    from workbench.timeline import Timeline

# As in `workbench.analysis`, which would bring Polars to every start of the command.
By = Literal["type", "category", "stream"]
Every = Literal["1h", "1d", "1w", "1mo", "auto"]


def at_cutoff(lake: Lake, at: str | None, *, stale: bool, system: bool = False) -> Timeline:
    """Return a lake's history at a cutoff, as the options ``--at``, ``--stale`` and ``--system`` give it."""
    timeline = lake.timeline if at is None else lake.timeline.upto(at, stale=stale)
    return timeline.with_system() if system else timeline


def readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Fit a distribution to a terminal: no positions, instants to the second."""
    import polars.selectors as cs

    return frame.drop(cs.ends_with("_position")).with_columns(cs.datetime().dt.truncate("1s"))


def say_where(timeline: Timeline) -> None:
    """Name on stderr the position that a result is of, and what stands inside it with a later stamp."""
    late = f"; {timeline.late:,} events in it carry a later stamp" if timeline.late else ""
    print(f"{timeline}{late}", file=sys.stderr)


def table_rows(*, json: bool, csv: bool, out: Path | None, rows: int) -> int | None:
    """Return how many rows a table needs to be known to have more, or None where all rows are wanted."""
    return None if json or csv or out else rows + 1


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
        rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Print at most so many rows in a table.")] = 100,
    ) -> None:
        """Run SQL over the events of a lake, as they were at a time."""
        from polars.exceptions import PolarsError

        from workbench.cli.output import check_place, show
        from workbench.errors import QueryError
        from workbench.lake import open_lake

        if out is not None:
            check_place(out)
        opened = open_lake(lake)
        timeline = at_cutoff(opened, at, stale=stale, system=system)
        with opened.reading():
            relation = timeline.sql(query)
            few = table_rows(json=json, csv=csv, out=out, rows=rows)
            try:
                frame = (relation if few is None else relation.limit(few)).pl()
            except PolarsError as error:
                raise QueryError(
                    f"A column of the result has a type that no table can hold: {error}. Cast it, as in x::varchar."
                ) from error
        show(frame, json=json, csv=csv, out=out, rows=rows)
        say_where(timeline)

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
        rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Print at most so many rows in a table.")] = 40,
    ) -> None:
        """Count the events by type, category or stream, in all or over time."""
        from workbench.analysis import distribution as count
        from workbench.cli.output import show
        from workbench.lake import open_lake

        opened = open_lake(lake)
        timeline = at_cutoff(opened, at, stale=stale)
        with opened.reading():
            frame = count(timeline, by=by, every=every, tz=tz)
        if table_rows(json=json, csv=csv, out=out, rows=rows) is not None:
            frame = readable(frame)
        show(frame, json=json, csv=csv, out=out, rows=rows)
        say_where(timeline)
