"""``workbench report``: runs notebooks over a lake, keeps their results as HTML, and verifies them later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.lines import printable, say
from workbench.errors import ReportError, UsageError

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="A directory of runs.")]

_SIZES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_DIFFERS = 3


def register(app: typer.Typer) -> None:
    report = typer.Typer(help="Run notebooks over a lake as reports, list the runs, and verify them.", no_args_is_help=True)
    app.add_typer(report, name="report")

    @options.command(report, example="workbench report run event_types --lake data/demo --at 2026-03-01 --out march.html")
    def run(
        notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="The name of a shipped notebook, or a path.")],
        *,
        lake: options.Lake,
        out: Annotated[
            Path | None,
            typer.Option("--out", metavar="FILE", help="The HTML file to write, and nothing else; without --runs, NOTEBOOK.html here."),
        ] = None,
        runs: Annotated[
            Path | None,
            typer.Option("--runs", metavar="DIR", help="Keep the page, the executed notebook and a record here; DIR/index.html lists all."),
        ] = None,
        at: options.At = None,
        scenario: options.Scenario = None,
        param: Annotated[
            list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter that the notebook declares.")
        ] = None,
        code: Annotated[bool, typer.Option("--code", help="Include the code of each cell, folded, in the page.")] = False,
        timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long the run may take.")] = 1800,
        cell_timeout: Annotated[int, typer.Option("--cell-timeout", metavar="SECONDS", min=1, help="How long a cell may take.")] = 600,
        memory: Annotated[
            str | None, typer.Option("--memory", metavar="SIZE", help="The most memory that its processes may use together, such as 2GB.")
        ] = None,
        max_output: Annotated[
            str, typer.Option("--max-output", metavar="SIZE", help="The most output of all cells together, as text and charts.")
        ] = "50MB",
        env: Annotated[
            list[str] | None,
            typer.Option(
                "--env", metavar="NAME", help="Pass an environment variable to the notebook; by default it gets none that may be secret."
            ),
        ] = None,
    ) -> None:
        """Run a notebook with papermill, in a process of its own, and write one HTML file that opens offline."""
        from workbench.reports import run_report

        if out is None and runs is None:
            out = Path(f"{Path(notebook).stem}.html")
        try:
            done = run_report(
                notebook,
                lake=lake,
                at=at,
                scenario=scenario,
                parameters=param or (),
                out=out,
                runs=runs,
                code=code,
                timeout=timeout,
                cell_timeout=cell_timeout,
                memory=None if memory is None else _size(memory),
                max_output=_size(max_output),
                environment=env or (),
            )
        except ReportError as error:
            for note in getattr(error, "__notes__", ()):
                say(note, error=True)
            raise
        print(f"{out or done.page}: open it in a browser; it needs no network.")

    @options.command(report, example="workbench report verify reports/event_types-2026-03-01T060000Z")
    def verify(
        run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run, as `report run --runs` makes them.")],
        *,
        lake: Annotated[str | None, typer.Option("--lake", metavar="DIR", help="The lake, if it has moved.")] = None,
        notebook: Annotated[str | None, typer.Option("--notebook", metavar="FILE", help="The notebook, if it has moved.")] = None,
        out: Annotated[
            Path | None, typer.Option("--out", metavar="FILE", help="Write the new page to this file, to see what differs.")
        ] = None,
        json: options.Json = False,
    ) -> None:
        """Run a report again at the position that it recorded, and check that its page is the same to the byte.

        The exit status is 0 if it is, 1 if it cannot be said, 2 if the command was called wrongly, and 3 if the page differs.
        """
        from dataclasses import asdict

        from workbench.cli.output import check_place, json_text
        from workbench.reports import verify_run

        if out is not None:
            check_place(out)
        found = verify_run(run, lake=lake, notebook=notebook, keep=out)
        if json:
            print(json_text(asdict(found)))
        else:
            print(f"{run}: {'the same page, to the byte.' if found.is_same else 'the page differs.'}")
            if found.is_same and found.differences:
                print("What changed has no effect on it:")
            for difference in found.differences:
                print(f"  {printable(str(difference))}")
            if found.first:
                print(f"  first at {printable(found.first)}")
        if not found.is_same:
            raise typer.Exit(_DIFFERS)

    @options.command(report, example="workbench report index --runs reports")
    def index(*, runs: Runs) -> None:
        """Write the page that lists all runs of a directory; each run does so by itself."""
        from workbench.reports import write_index

        print(f"{write_index(runs)}: open it in a browser; it needs no network.")

    @options.command(report, example="workbench report list --runs reports --json", name="list")
    def list_runs(*, runs: Runs, output: options.Output) -> None:
        """List all runs of a directory, the newest first."""
        import polars as pl

        from workbench.reports import read_runs

        output.check()
        rows = [
            {
                "run": one.directory.name,
                "outcome": record.outcome,
                "started": record.started,
                "seconds": record.seconds,
                "memory_mb": record.memory / 1e6,
                "position": record.basis.position,
                "message": record.message,
            }
            for one in read_runs(runs)
            if (record := one.record) is not None
        ]
        schema: dict[str, Any] = {
            "run": pl.String,
            "outcome": pl.String,
            "started": pl.Datetime("us", "UTC"),
            "seconds": pl.Float64,
            "memory_mb": pl.Float64,
            "position": pl.Int64,
            "message": pl.String,
        }
        output.show(pl.DataFrame(rows, schema=schema))


def _size(text: str) -> int:
    found = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(_SIZES)})", text)
    if found is None:
        raise UsageError(f"{text!r} is not a size: write a number and one of {', '.join(_SIZES)}, as in 2GB.")
    return int(float(found[1]) * _SIZES[found[2]])
