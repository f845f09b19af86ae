"""``workbench report``: run a notebook over a lake, and keep what it shows as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import options


def register(app: typer.Typer) -> None:
    report = typer.Typer(help="Reports: notebooks run over a lake.", no_args_is_help=True)
    app.add_typer(report, name="report")

    @options.command(report, example="workbench report run event_types --lake data/demo --at 2026-03-01 --out march.html")
    def run(
        notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="The name of a notebook that comes along, or a path.")],
        *,
        lake: options.Lake,
        out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")],
        at: options.At = None,
        scenario: options.Scenario = None,
        param: Annotated[
            list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter that the notebook declares.")
        ] = None,
    ) -> None:
        """Run a notebook with papermill, in a process of its own, and write one HTML file that opens offline."""
        from workbench.reports import run_report

        run_report(notebook, lake=lake, at=at, scenario=scenario, parameters=param or (), out=out)
        print(f"{out}: open it in a browser; it needs no network.")
