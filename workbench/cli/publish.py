"""``workbench publish``: writes typed tables for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.cli.look import say_where
from workbench.errors import UsageError

# As in `workbench.publication`, which would bring Polars to every start of the command.
Format = Literal["parquet", "duckdb", "csv", "arrow"]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench publish --lake data/demo --to data/tables --types 'user.*'")
    def publish(
        *,
        history: options.History,
        to: Annotated[Path, typer.Option("--to", metavar="FILE-or-DIR", help="A directory, or a file that ends in .duckdb.")],
        types: Annotated[
            list[str] | None, typer.Option("--types", metavar="TYPE", help="Only these event types; * matches any characters.")
        ] = None,
        states_only: Annotated[bool, typer.Option("--states-only", help="Write no events, only the states of --projection.")] = False,
        projections: Annotated[
            list[str] | None,
            typer.Option("--projection", metavar="FILE.py:CLASS", help="Also the state of this projection; more than one may be given."),
        ] = None,
        format: Annotated[
            Format | None, typer.Option("--format", help="In a directory: parquet, csv or arrow. By default, it follows from --to.")
        ] = None,
        output: options.Output,
    ) -> None:
        """Publish one typed table for each event type, and states beside them, for other tools. Run it again, and it adds what is new."""
        from workbench.cli.state import user_code
        from workbench.fold.loading import load_projection
        from workbench.publication import publish as write

        if states_only and (types or not projections):
            raise UsageError("--states-only goes with --projection, and without --types.")
        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        chosen = [] if states_only else types or None
        sources = [load_projection(name) for name in projections or ()]
        with opened.reading(), user_code():
            found = write(timeline, to, types=chosen, projections=sources, format=format, guard_formulas=output.guard_formulas)
        output.show(found.tables)
        tables = found.tables
        rows = int(tables["new_rows"].sum())
        say(f"{found.to}: {tables.height:,} tables, {rows:,} rows written, as {found.format}", error=True)
        say_where(timeline)
