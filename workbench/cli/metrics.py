"""``workbench metrics``: provides figures for Prometheus, as a file or over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.cli.schedule import Schedule, stopped_by_signals


def register(app: typer.Typer) -> None:
    metrics = typer.Typer(help="Provide figures of jobs and lakes to Prometheus.", invoke_without_command=False, no_args_is_help=True)
    app.add_typer(metrics, name="metrics")

    @options.command(metrics, example="workbench metrics write pipelines/nightly.yaml --to /var/lib/node_exporter/workbench.prom")
    def write(
        *,
        schedule: Schedule,
        to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A file that ends in .prom; it is replaced as a whole.")],
    ) -> None:
        """Measure the lakes of pipelines, and write the figures into a file for node_exporter's textfile collector."""
        from workbench.jobs import Ledger
        from workbench.metrics import Figures, write_metrics

        pipelines = schedule.pipelines()
        figures = Figures(pipelines, ledger=Ledger(schedule.ledger_file(pipelines)))
        write_metrics(figures, to)
        for name, why in figures.failures.items():
            say(f"{name}: {why}", error=True)
        print(f"{to}: written")

    @options.command(metrics, example="workbench metrics serve pipelines/nightly.yaml --port 9464")
    def serve(
        *,
        schedule: Schedule,
        port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 means any free one.")] = 9464,
        host: Annotated[
            str, typer.Option("--host", metavar="HOST", help="The address of this machine to listen on; there is no password.")
        ] = ("127.0.0.1"),
    ) -> None:
        """Answer Prometheus with the figures of pipelines, until SIGTERM or Ctrl-C."""
        from workbench.jobs import Ledger
        from workbench.metrics import serve_metrics

        pipelines = schedule.pipelines()
        ledger = Ledger(schedule.ledger_file(pipelines))
        with stopped_by_signals() as stop, serve_metrics(pipelines, ledger=ledger, host=host, port=port) as server:
            print(f"Metrics at {server.url}", flush=True)
            for name, why in server.figures.failures.items():
                say(f"{name}: {why}", error=True)
            stop.wait()
