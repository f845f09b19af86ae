"""What lakes, histories and answers look like in a notebook: facts first, escaped, and never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

import workbench as wb
from tests.jupyter.things import EVENTS, Thing, things
from tests.lakes import START, Recorded, write_lake
from workbench.display import card


def facts_of(shown: str) -> dict[str, str]:
    """The key figures on a card."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", shown))


def test_a_card_escapes_all_that_it_is_given() -> None:
    hostile = "<b>&\u202e"
    shown = card(hostile, {hostile: hostile}, place=hostile, notes=[hostile])._repr_html_()
    assert "<b>" not in shown
    assert "\u202e" not in shown
    assert shown.count("&lt;b&gt;&amp;\\u202e") == 5


def test_a_lake_and_what_it_holds_begin_with_facts(tmp_path: Path) -> None:
    things(tmp_path)
    lake = wb.open(tmp_path / "lake")
    for shown in (lake._repr_html_(), lake.info()._repr_html_()):
        facts = facts_of(shown)
        assert (facts["Events"], facts["Last position"], facts["Complete until (UTC)"]) == ("9", "900", "2026-01-05 08:00")
        assert str(tmp_path) in shown


def test_a_timeline_shows_its_cutoff_its_selection_and_what_its_edits_came_to(tmp_path: Path) -> None:
    now = things(tmp_path)
    past = now.upto("2026-01-05T04:30:00Z").types("thing.g<*")
    facts = facts_of(past._repr_html_())
    assert (facts["Position"], facts["As it was at (UTC)"], facts["Events"]) == ("500", "2026-01-05 04:30", "0")
    assert "types thing.g&lt;*" in past._repr_html_()
    shown = now.drop(type="thing.grown")._repr_html_()
    assert facts_of(shown)["Events"] == str(len(EVENTS) - 2)
    assert "What if" in shown
    assert "2 events" in shown


def test_a_what_if_that_cannot_be_worked_out_says_so_in_place_of_a_traceback(tmp_path: Path) -> None:
    now = wb.open(write_lake(tmp_path / "lake", [Recorded("a", START, data="[]")])).timeline
    shown = now.patch(type="a", set={"b": 1})._repr_html_()
    assert "patch" in shown
    assert "cannot be read" in shown


def test_a_rebuild_shows_its_entities_and_what_became_of_the_events(tmp_path: Path) -> None:
    found = wb.rebuild(Thing, things(tmp_path))
    shown = found._repr_html_()
    facts = facts_of(shown)
    assert (facts["Entities"], facts["Events applied"], facts["Position"]) == ("1", str(found.counts.applied), "900")
    assert "1 orphans" in shown
    assert "1 of types without a handler" in shown
    assert found.state._repr_html_() in shown


def test_a_what_if_shows_its_question_its_effects_and_its_measures(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "name: no end\nquestion: What if it had <not> ended?\nedits:\n  - drop: {type: thing.ended}\n"
        "projections:\n  - projection: tests.jupyter.things:Thing\n    measures:\n      grown: sum(size)\n"
    )
    shown = wb.whatif(wb.Scenario.load(scenario), things(tmp_path))._repr_html_()
    facts = facts_of(shown)
    assert (facts["Events before"], facts["Events after"], facts["Thing entities that differ"]) == ("9", "8", "1")
    assert facts["grown, before → after"] == "0 → 2"
    assert "What if it had &lt;not&gt; ended?" in shown


def test_what_is_kept_says_how_much_and_up_to_where(tmp_path: Path) -> None:
    things(tmp_path)
    lake = wb.open(tmp_path / "lake")
    facts = facts_of(wb.materialise(Thing, lake)._repr_html_())
    assert (facts["Versions"], facts["Position"]) == (str(wb.history(Thing, lake.timeline).height), "900")
    assert isinstance(wb.state(Thing, lake.timeline), pl.DataFrame)
