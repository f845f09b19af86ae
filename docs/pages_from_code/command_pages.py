"""Commands: one page for each group of commands, from what the application itself knows of them."""

from collections.abc import Iterator, Mapping

import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup

from workbench.cli.app import app

UNGROUPED = "Commands"


def pages() -> Mapping[str, str]:
    """Return the pages by file name."""
    panels: dict[str, list[str]] = {}
    for path, command in commands():
        panels.setdefault(_panel(path, command), []).append(_section(path, command))
    files = {f"{panel.lower().replace(' ', '_')}.md": f"# {panel}\n\n" + "\n".join(sections) for panel, sections in panels.items()}
    return {"index.md": _index(list(files)), **files}


def commands() -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Yield each command with its path, such as ``("report", "run")``, in the order of ``--help``."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    yield from _below(group, ())


def _below(group: TyperGroup, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            yield from _below(command, (*path, name))
        else:
            assert isinstance(command, TyperCommand)
            yield (*path, name), command


def _panel(path: tuple[str, ...], command: TyperCommand) -> str:
    """Return under which heading ``--help`` lists a command."""
    if len(path) > 1:
        group = typer.main.get_command(app)
        assert isinstance(group, TyperGroup)
        outer = getattr(group.commands[path[0]], "rich_help_panel", None)
        return outer if isinstance(outer, str) else path[0].capitalize()
    panel = getattr(command, "rich_help_panel", None)
    return panel if isinstance(panel, str) else UNGROUPED


def _index(files: list[str]) -> str:
    lines = ["# Commands", "", "What `workbench --help` and `workbench COMMAND --help` say.", ""]
    lines += ["```{toctree}", ":maxdepth: 2", "", *(file.removesuffix(".md") for file in files), "```", ""]
    return "\n".join(lines)


def _section(path: tuple[str, ...], command: TyperCommand) -> str:
    lines = [f"## workbench {' '.join(path)}", "", _escaped(command.help or ""), ""]
    if command.epilog:
        kind, _, example = command.epilog.partition(": ")
        lines += [f"{kind}:", "", "```sh", example, "```", ""] if example else [_escaped(command.epilog), ""]
    context = typer.Context(command)
    for parameter in command.params:
        told = parameter.get_help_record(context)
        if told is not None and parameter.name != "help":
            spelt, text = told
            if isinstance(parameter, TyperArgument):
                spelt = parameter.metavar or parameter.display_name_raw
            lines += [f"`{spelt}`", f": {_escaped(' '.join(text.split()))}", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return a help text as Markdown in which nothing has a meaning."""
    for character in "\\`*_<>[]{}$#|":
        text = text.replace(character, f"\\{character}")
    return text
