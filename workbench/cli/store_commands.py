"""``workbench db`` and ``workbench sample``: the embedded store, and the sample system that fills one."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import options

if TYPE_CHECKING:
    from workbench.kurrent import Connection

DEFAULT_PORT = 2113


def load_sample(connection: Connection, *, events: int, days: int, seed: int) -> None:
    """Load the sample, and print a summary."""
    from workbench.cli.output import counting
    from workbench.events import format_time
    from workbench.sample import load

    with counting("sample") as shown:
        summary = load(connection, events=events, days=days, seed=seed, progress=shown)
    services = ", ".join(f"{name} {count:,}" for name, count in summary.by_service.items())
    sagas = ", ".join(f"{count} {outcome}" for outcome, count in summary.registrations.items())
    print(f"{summary.events:,} events in {summary.streams:,} streams in {summary.seconds:.1f} s ({summary.rate:,.0f} a second)")
    print(f"by service: {services}; registrations: {sagas}; {summary.conflicts} conflicts were met and retried")
    print(f"from {format_time(summary.since)} to {format_time(summary.until)}, seed {summary.seed}")
    if summary.note is not None:
        print(summary.note)


def register(app: typer.Typer) -> None:
    db = typer.Typer(help="Serve the embedded event store, for development and demonstration.", no_args_is_help=True)
    app.add_typer(db, name="db")

    @options.command(db, example="workbench db start --data data/store --port 2113")
    def start(
        data: Annotated[
            Path | None, typer.Option("--data", metavar="DIR", help="The directory for the events; by default they are in memory.")
        ] = None,
        port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 means any free one.")] = DEFAULT_PORT,
        tls: Annotated[bool, typer.Option("--tls", help="Speak TLS with a certificate of its own; user admin, password changeit.")] = False,
    ) -> None:
        """Serve an embedded event store that speaks KurrentDB's protocol, until it is stopped."""
        from workbench.embedded import NOTICE, EmbeddedStore

        stopping = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopping.set())
        with EmbeddedStore(data, port=port, tls=tls) as store:
            print(f"{NOTICE}\nServing {store.uri}" + (f" from {data}" if data else " from memory"), flush=True)
            while not stopping.is_set() and not store.wait(timeout=0.2):
                pass

    sample = typer.Typer(
        help="Fill a store with the history of the sample system: auth, chat and community services with a saga.", no_args_is_help=True
    )
    app.add_typer(sample, name="sample")

    @options.command(sample, example="workbench sample load --source 'esdb://127.0.0.1:2113?tls=false' --events 50000")
    def load(
        source: options.Source,
        events: Annotated[int, typer.Option("--events", metavar="N", min=1, help="How many events.")] = 20_000,
        days: Annotated[int, typer.Option("--days", metavar="D", min=1, help="Over how many days they spread.")] = 90,
        seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same history.")] = 1,
    ) -> None:
        """Generate a history of the sample system, and append its events over gRPC."""
        from workbench.kurrent import connect

        with connect(source) as connection:
            load_sample(connection, events=events, days=days, seed=seed)
