"""``workbench export``: copies the log of a KurrentDB into a lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.errors import BeyondExport
from workbench.events import Selection, format_time, parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from workbench.export import ExportSummary, Wait


def register(app: typer.Typer) -> None:
    @options.command(
        app, example="workbench export --source 'esdb://127.0.0.1:2113?tls=false' --lake data/chat --category room", dated=True
    )
    def export(
        *,
        source: options.Source,
        lake: options.Lake,
        stream: Annotated[
            list[str] | None,
            typer.Option("--stream", metavar="PATTERN", help="Keep these streams; user-* means all that begin with user-."),
        ] = None,
        category: Annotated[list[str] | None, typer.Option("--category", metavar="NAME", help="Keep these categories.")] = None,
        type_: Annotated[list[str] | None, typer.Option("--type", metavar="PATTERN", help="Keep these event types; * as above.")] = None,
        system: Annotated[bool, typer.Option("--system", help="Also keep the server's own events: links, statistics, accounts.")] = False,
        accept_scavenged: Annotated[
            bool,
            typer.Option(
                "--accept-scavenged",
                help="Continue although the last exported event was scavenged, so that nothing proves that the log is the same.",
            ),
        ] = False,
        until: Annotated[
            str | None,
            typer.Option("--until", metavar="TIME", help="Wait, at most 12 seconds, until the lake is complete up to this time."),
        ] = None,
        duckdb: Annotated[Path | None, typer.Option("--duckdb", metavar="FILE", help="Also write the lake to one DuckDB file.")] = None,
        no_cluster: Annotated[bool, typer.Option("--no-cluster", help="Do not merge files; a later export will.")] = False,
        transport: Annotated[
            Literal["http2", "grpc"],
            typer.Option("--transport", help="How to read the log: http2 is fast, grpc uses the proxies set in the environment."),
        ] = "http2",
        json: options.Json = False,
    ) -> None:
        """Copy the new events in the log of a KurrentDB into a lake, each exactly once.

        A new lake holds users' events; --system adds the server's own. --stream, --category and --type may each be given several times. A
        lake remembers its store and its selection, and refuses others; without such options it uses its own selection.
        The next run copies only the events that are new. If you kill it, the next run continues from the last commit. If the connection
        breaks, it waits, reconnects and continues.
        """
        from workbench.cli.output import check_place, progress
        from workbench.export import export_log, wait_until_ready
        from workbench.kurrent import connect
        from workbench.lake import open_lake

        if duckdb is not None:
            check_place(duckdb)
        selection = Selection(streams=tuple(stream or ()), categories=tuple(category or ()), types=tuple(type_ or ()), system=system)
        moment = None if until is None else parse_time(until)
        with (
            wait_until_ready(lambda: connect(source, transport=transport), told=print_wait) as connection,
            progress("export") as shown,
        ):
            summary = export_log(
                connection,
                lake,
                selection=selection,
                cluster=not no_cluster,
                accept_scavenged=accept_scavenged,
                until=moment,
                progress=shown,
                waiting=print_wait,
            )
        print_summary(summary, json=json)
        if duckdb is not None:
            open_lake(lake).write_duckdb(duckdb)
            if not json:
                say(f"{duckdb} now also has the lake, as the table events.")
        if moment is not None:
            check_until(summary, moment)


def print_wait(wait: Wait) -> None:
    """Print on standard error why an export waits, and for how long."""
    say(str(wait), error=True)


def check_until(summary: ExportSummary, until: datetime) -> None:
    """Check that a lake is complete until the requested time.

    Raises
    ------
    BeyondExport
        The lake is not complete until then.
    """
    complete = None if summary.checkpoint is None else summary.checkpoint.complete_until
    if complete is None or complete < until:
        known = "the log is empty" if complete is None else f"it is complete until {format_time(complete)}"
        raise BeyondExport(
            f"The lake {summary.lake} is not complete until {format_time(until)}: {known}. Run the export again in a moment; from a node "
            "that lags behind its leader, export from the leader."
        )


def print_summary(summary: ExportSummary, *, json: bool) -> None:
    """Print the result of an export in two or three lines, or as JSON for programs."""
    if json:
        import dataclasses

        import orjson

        print(orjson.dumps(dataclasses.asdict(summary), option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2, default=str).decode())
        return
    left_out = summary.events_read - summary.events_kept
    what = f"{summary.events_read:,} new events" if summary.resumed_after else f"{summary.events_read:,} events"
    say(
        f"{summary.lake}: {what} from {summary.source} in {summary.seconds:.1f} s"
        + (f" ({summary.rate:,.0f} a second)" if summary.events_read else "")
        + (f"; the selection left out {left_out:,}" if left_out else "")
    )
    if summary.cluster is not None and summary.cluster.files_added:
        say(f"Clustered {summary.cluster.files_removed} files into {summary.cluster.files_added} in {summary.cluster_seconds:.1f} s")
    for note in summary.notes:
        say(note)
    if summary.checkpoint is not None:
        say(f"Complete until {format_time(summary.checkpoint.complete_until)}, position {summary.checkpoint.position}")
    else:
        say("The log is empty.")
