"""``workbench whatif``: shows the effects of scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.cli.state import Errors, user_code
from workbench.errors import UsageError

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Also write the entities that differ to a .parquet, .csv, .json or .arrow file."),
]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench whatif no-deletions no-failed-steps --lake data/demo --at 2026-03-15")
    def whatif(
        files: Annotated[
            list[Path],
            typer.Argument(
                metavar="FILE…",
                help="Scenarios: YAML files, or no-deletions and no-failed-steps about the sample. Several stand side by side.",
            ),
        ],
        *,
        history: options.Recorded,
        errors: Errors = "raise",
        json: options.Json = False,
        csv: options.Csv = False,
        out: Out = None,
        guard_formulas: options.GuardFormulas = False,
    ) -> None:
        """Compare a what-if with what was recorded: events, entities and fields that differ, measures, and where they diverge.

        A scenario has a name, a question, edits, and projections with measures. Its edits are the methods of a timeline: drop, truncate,
        patch, replace, insert and retime, each with the words that the method has.
        """
        import polars as pl

        from workbench.cli import whatif_output
        from workbench.cli.output import check_place, json_text, show
        from workbench.scenarios import Scenario
        from workbench.scenarios import whatif as ask

        if json and csv:
            raise UsageError("--json and --csv exclude each other.")
        if out is not None:
            check_place(out)
        scenarios = [Scenario.load(file) for file in files]
        names = [one.name for one in scenarios]
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise UsageError(f"Two of the scenarios are named {twice[0]!r}: give each a name of its own.")
        if out is not None and not any(one.projections for one in scenarios):
            raise UsageError(f"{out} would be empty: a scenario says under projections whose states it is about.")
        timeline = history.recorded()
        with user_code():
            found = [ask(one, timeline, errors=errors) for one in scenarios]
        if json:
            print(json_text([whatif_output.as_json(one) for one in found]))
        elif csv:
            show(pl.concat(one.summary for one in found), csv=True, guard_formulas=guard_formulas)
        elif len(found) == 1:
            whatif_output.print_effect(found[0])
        else:
            whatif_output.print_side_by_side(found)
        if out is not None:
            show(whatif_output.differences(found), out=out, guard_formulas=guard_formulas)
        say(timeline, error=True)
