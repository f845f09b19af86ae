"""``workbench info``, ``sql`` and ``distribution``: show the contents of a lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say

if TYPE_CHECKING:
    import polars as pl

    from workbench.timeline import Timeline

# As in `workbench.analysis`, which would bring Polars to every start of the command.
By = Literal["type", "category", "stream"]
Links = Annotated[bool, typer.Option("--links", help="Replace each link in a user's stream by the event that it leads to.")]
Every = Literal["1s", "1m", "15m", "1h", "1d", "1w", "1mo", "1q", "1y", "auto"]


def readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Fit a distribution to a terminal: no positions, instants to the second."""
    import polars.selectors as cs

    return frame.drop(cs.ends_with("_position")).with_columns(cs.datetime().dt.truncate("1s"))


def say_where(timeline: Timeline, *, key: str | None = None, found: int = 1) -> None:
    """Print on stderr the position of a result, the number of events with later timestamps, and notes on its edits."""
    if key is not None and not found:
        say(f"nothing is known of {key!r}: {timeline}", error=True)
        return
    count = timeline.late
    late = f"; {count:,} events in it carry a later stamp" if count else ""
    say(f"{timeline}{late}", error=True)
    unresolved = timeline.unresolved_links
    if unresolved:
        what = "1 link leads" if unresolved == 1 else f"{unresolved:,} links lead"
        say(f"{what} to what the lake lacks or the store hides, and are left out", error=True)
    for effect in timeline.effects:
        if effect.notes:
            say(effect, error=True)


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench info --lake data/demo")
    def info(
        lake: options.Lake,
        verify: Annotated[
            bool, typer.Option("--verify", help="Read every file completely, and check that its contents are unchanged.")
        ] = False,
        json: options.Json = False,
    ) -> None:
        """Show what a lake holds: events, streams, time span, and until when it is complete."""
        from workbench.cli.info import print_info
        from workbench.lake import open_lake

        opened = open_lake(lake)
        if verify:
            opened.verify()
        found = opened.info()
        print_info(found, json=json)
        if verify:
            say(f"{found.files:,} {'file is' if found.files == 1 else 'files are'} what was written", error=True)

    @options.command(app, example='workbench sql "select type, count(*) from events group by 1" --lake data/demo --at 2026-03-01')
    def sql(
        query: Annotated[str, typer.Argument(metavar="QUERY", help="DuckDB SQL over the view events.")],
        *,
        history: options.History,
        system: Annotated[bool, typer.Option("--system", help="Include metadata, tombstones, links, and the server's own events.")] = False,
        links: Links = False,
        memory: Annotated[
            str | None, typer.Option("--memory", envvar="WORKBENCH_MEMORY", metavar="SIZE", help="Use at most this much memory: 8GB.")
        ] = None,
        spill: Annotated[
            str | None,
            typer.Option("--spill", envvar="WORKBENCH_SPILL", metavar="SIZE", help="Write at most this much to temporary files: 50GB."),
        ] = None,
        output: options.Output,
    ) -> None:
        """Run SQL over the events of a lake, as they were at a time."""
        from polars.exceptions import PolarsError

        from workbench.errors import QueryError

        output.check()
        opened = history.open(memory=memory, spill=spill)
        timeline = history.timeline(opened)
        if system:
            timeline = timeline.with_system()
        if links:
            timeline = timeline.links()
        with opened.reading(query):
            relation = timeline.sql(query)
            try:
                # Fetch one row more than is shown, to know whether there are more.
                frame = (relation.limit(output.rows + 1) if output.is_table else relation).pl()
            except PolarsError as error:
                raise QueryError(f"A column of the result has an unsupported type: {error}. Cast it, as in x::varchar.") from error
        output.show(frame)
        say_where(timeline)

    @options.command(app, example="workbench distribution --lake data/demo --by category --every 1w")
    def distribution(
        *,
        history: options.History,
        by: Annotated[By, typer.Option("--by", help="What to count.")] = "type",
        every: Annotated[Every | None, typer.Option("--every", help="Count in steps of time; auto chooses one.")] = None,
        tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone in which a day begins, with --every.")] = "UTC",
        links: Links = False,
        output: options.Output,
    ) -> None:
        """Count the events by type, category or stream, in total or over time."""
        from workbench.analysis import distribution as count

        opened = history.open()
        timeline = history.timeline(opened)
        if links:
            timeline = timeline.links()
        with opened.reading():
            frame = count(timeline, by=by, every=every, tz=tz)
        output.show(readable(frame) if output.is_table else frame)
        say_where(timeline)
