"""The chart of a what-if: a bar for each change and each field that changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lakes import START, Recorded, write_lake
from workbench import charts
from workbench.lake import open_lake
from workbench.scenarios import Scenario, WhatIf, whatif

SCENARIO = """\
name: nobody left
question: What if <b>nobody</b> had left?
edits:
  - drop: {type: user.left}
projections: [user]
"""


@pytest.fixture
def found(tmp_path: Path) -> WhatIf:
    (tmp_path / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    events = [Recorded("user.created", START, f"user-{key}", '{"a<b>": 1, "b": 1}') for key in (1, 2, 3)]
    events += [Recorded("user.left", START, "user-1", '{"a<b>": 2}'), Recorded("user.left", START, "user-2", '{"a<b>": 3, "b": 2}')]
    return whatif(Scenario.load(tmp_path / "scenario.yaml"), open_lake(write_lake(tmp_path / "lake", events)).timeline)


def test_a_what_if_has_a_bar_for_each_change_and_for_each_field_that_changed(found: WhatIf) -> None:
    chart = charts.whatif(found)
    entities, fields = chart.data
    assert (list(entities.x), list(entities.y)) == ([0, 0, 2], [0, 1, 2])
    assert (list(fields.x), list(fields.y)) == ([2, 1], [3, 4])
    named = [note.text for note in chart.layout.annotations if note.name is None][::2]
    assert named == ["user  ·  added", "user  ·  removed", "user  ·  changed", "in a&lt;b&gt;", "in b"]


def test_a_what_if_asks_the_scenarios_question_and_names_the_edits(found: WhatIf) -> None:
    chart = charts.whatif(found)
    assert chart.question == "What if <b>nobody</b> had left?"
    assert chart.layout.title.text == "What if &lt;b&gt;nobody&lt;/b&gt; had left?"
    assert "drop(type='user.left')" in chart.caption
    assert ("events", "all events", "5", "3") in chart.numbers.rows


def test_a_scenario_that_watches_nothing_has_an_empty_chart(tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake", [Recorded("user.created", START)])
    chart = charts.whatif(whatif(Scenario("nothing", edits=()), open_lake(lake).timeline))
    assert [len(bars.x) for bars in chart.data] == [0, 0]
    assert chart.question == "What does 'nothing' change?"
