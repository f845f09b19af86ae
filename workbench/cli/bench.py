"""``workbench bench``: measures how long replays take on your own data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.errors import UsageError

Table = Literal["rebuilds", "answers", "forecast"]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench bench --projection workbench.sample.projections:User --lake data/demo")
    def bench(
        *,
        lake: options.Lake,
        projection: Annotated[
            str | None, typer.Option("--projection", metavar="FILE.py:CLASS", help="The projection to rebuild, as for state.")
        ] = None,
        table: Annotated[Table, typer.Option("--table", help="Which table to show.")] = "rebuilds",
        questions: Annotated[
            float, typer.Option("--questions", metavar="N", min=0.001, help="Base the advice on so many questions a day.")
        ] = 24,
        past: Annotated[bool, typer.Option("--history", help="Measure nothing; show earlier measurements and how they changed.")] = False,
        keeps: Annotated[bool, typer.Option("--keep/--no-keep", help="Keep the measurement in the lake.")] = True,
        output: options.Output,
    ) -> None:
        """Measure rebuilds of a projection on a lake's own data: speed, stages, memory, engines, and whether snapshots would pay."""
        from workbench.lake import open_lake
        from workbench.performance import bench as measure
        from workbench.performance import trend

        output.check()
        opened = open_lake(lake)
        if past:
            output.show(trend(opened))
            return
        if projection is None:
            raise UsageError("Nothing to measure: give --projection, or --history to show earlier measurements.")
        found = measure(projection, opened, now=datetime.now(UTC), keeps=keeps, on_step=lambda step: say(f"{step} …", error=True))
        tables = {"rebuilds": found.rebuilt, "answers": found.answered, "forecast": found.forecast}
        output.show(tables[table])
        say(f"{found.advice(questions_a_day=questions)}\n{found.machine}", error=True)
