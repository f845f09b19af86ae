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

_MODULES = (
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
GROUPS = {
    "Copy": ("export", "upgrade", "publish"),
    "Look": ("info", "sql", "distribution", "schemas"),
    "State": ("state", "history", "first", "diff", "steps", "lineage", "series", "infer", "materialise"),
    "What if": ("whatif",),
    "Analyse": ("activity", "workflows", "trace", "drift", "lifespans", "usage", "ocel"),
    "Report": ("lab", "report"),
    "Operate": ("demo", "check", "bench", "schedule", "metrics", "db", "sample"),
}
"""The groups of ``--help`` and their commands, in order."""

app = typer.Typer(
    name="workbench",
    help="Ask questions of the history that your systems keep in KurrentDB.",
    epilog="Begin with: workbench demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _arrange(app: typer.Typer) -> None:
    """Put each command into its group, and the groups in order."""
    places = {
        name: (group, number) for number, (group, name) in enumerate((group, name) for group, names in GROUPS.items() for name in names)
    }
    for command in app.registered_commands:
        command.rich_help_panel = places[str(command.name)][0]
    for commands in app.registered_groups:
        commands.rich_help_panel = places[str(commands.name)][0]
    app.registered_groups.sort(key=lambda commands: places[str(commands.name)][1])
    app.registered_commands.sort(key=lambda command: places[str(command.name)][1])


def _version(value: bool) -> None:
    if value:
        print(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Ask questions of the history that your systems keep in KurrentDB."""


for _module in _MODULES:
    _module.register(app)
_arrange(app)
