"""What ``workbench --help`` shows."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from workbench.cli.app import GROUPS, app

COMMANDS = [name for names in GROUPS.values() for name in names]


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_every_command_stands_in_one_group_and_the_groups_in_order() -> None:
    shown = help_of()
    assert sorted(COMMANDS) == sorted([str(one.name) for one in app.registered_commands] + [str(one.name) for one in app.registered_groups])
    lines = re.findall(r"^╭─ (.*?) ─+╮$|^│ ([a-z]+)  ", shown, flags=re.MULTILINE)
    panels = ["Options", *(word for group, names in GROUPS.items() for word in (group, *names))]
    assert [panel or command for panel, command in lines] == panels


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_begins_with_a_verb_that_says_what_it_does(command: str) -> None:
    sentence = next(line for line in help_of(command).splitlines() if line.strip() and "Usage" not in line).strip()
    verb = sentence.split()[0]
    assert verb[0].isupper()
    assert verb not in ("Say", "The", "A", "An", "What", "How", "Which", "Name")
    assert not verb.endswith((":", "s", "ing"))
