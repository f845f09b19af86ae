"""The application: every command of the workbench in one place."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench import __version__
from workbench.cli import (
    bench,
    check,
    demo,
    export,
    lab,
    look,
    materialise,
    metrics,
    publish,
    report,
    schedule,
    schemas,
    series,
    state,
    steps,
    store_commands,
    upgrade,
    usage,
    whatif,
    workflows,
)

app = typer.Typer(
    name="workbench",
    help="Ask questions of the history that your systems keep in KurrentDB.",
    epilog="Begin with: workbench demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(value: bool) -> None:
    if value:
        print(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Ask questions of the history that your systems keep in KurrentDB."""


bench.register(app)
check.register(app)
demo.register(app)
export.register(app)
lab.register(app)
look.register(app)
materialise.register(app)
metrics.register(app)
publish.register(app)
report.register(app)
schedule.register(app)
schemas.register(app)
series.register(app)
state.register(app)
steps.register(app)
store_commands.register(app)
upgrade.register(app)
usage.register(app)
whatif.register(app)
workflows.register(app)
