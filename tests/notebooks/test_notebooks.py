"""The notebooks that come along answer their questions, also where there is little to say, and are reports that read well."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import workbench as wb
from tests.lakes import START, Recorded, write_lake
from tests.notebooks.cells import show
from tests.sample.lake import write_sample
from workbench.performance.result import Machine, Measurement, QuestionTime, Rebuild, keep
from workbench.reports.notebook_files import read_cells, shipped_notebooks
from workbench.reports.parameters import declared_parameters
from workbench.sample import generate

NOTEBOOKS = shipped_notebooks()
NAMES = sorted(NOTEBOOKS)
HISTORIES = [name for name in NAMES if name != "replay_performance"]
FIGURES = {
    "activity": 3, "event_types": 1, "first_tour": 1, "payload_schemas": 1, "replay_performance": 2, "state_at_a_time": 1,
    "store_overview": 2, "what_if": 1, "workflows": 3,
}  # fmt: skip
"""How many figures each has on the sample."""


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sample's history as a lake, in which two rebuilds were measured."""
    lake = write_sample(tmp_path_factory.mktemp("notebooks") / "lake", list(generate(events=5_000, seed=5).events()))
    for day, seconds in ((1, 0.5), (8, 0.4)):
        keep(measured(datetime(2026, 4, day, tzinfo=UTC), seconds=seconds), lake)
    return lake


def measured(moment: datetime, *, seconds: float) -> Measurement:
    rebuilds = tuple(
        Rebuild(what, "best", "warm", events, seconds * events / 400, 10**8, *(seconds / 5,) * 5)
        for what, events in (("a quarter", 100), ("half", 200), ("all", 400))
    )
    machine = Machine("Linux x86_64", "a processor", 2, 2**33, "3.11.7", {"workbench": "0.1.0"})
    answers = (QuestionTime("state of all", is_materialised=True, first=0.02, again=0.01),)
    return Measurement(moment, "User", 1, 1000, 400, 40.0, machine, rebuilds, answers, 0.1, 1000)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_one_question_and_says_how_to_go_on(name: str) -> None:
    cells = read_cells(NOTEBOOKS[name])
    assert re.match(r"# .+\?\n\n", cells[0]["source"])
    assert cells[-1]["source"].startswith("## How to go on\n")
    assert f"workbench report run {name} --lake DIR" in cells[-1]["source"]
    assert [cell["metadata"].get("tags", []) for cell in cells[1:3]] == [["parameters"], []]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert max(len(cell["source"].splitlines()) for cell in code) <= 18
    mentioned = set(re.findall(r"`(\w+)`", cells[-1]["source"])) & {word for word in NAMES if word != name}
    assert mentioned, "it names no other notebook"


def test_the_first_tour_names_all_the_others() -> None:
    last = read_cells(NOTEBOOKS["first_tour"])[-1]["source"]
    assert [name for name in NAMES if f"`{name}`" not in last] == ["first_tour"]


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_has_a_type_and_a_comment(name: str) -> None:
    declared = {one.name: one for one in declared_parameters(NOTEBOOKS[name])}
    assert declared["at"].type == "str | int | None"
    assert ("scenario" in declared) is (name in HISTORIES)
    for one in declared.values():
        assert one.help, one
        assert one.accepts(one.default), one


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_a_report_with_its_figures_and_tables(name: str, sample: Path, tmp_path: Path) -> None:
    page = wb.reports.run_report(name, lake=sample, out=tmp_path / "report.html").page.read_text(encoding="utf-8")
    body = page[page.index("<body") :]
    question = read_cells(NOTEBOOKS[name])[0]["source"].splitlines()[0].removeprefix("# ")
    assert f"<title>{question}</title>" in page
    assert len(re.findall(r"<figure\b", body)) == FIGURES[name]
    # Each figure has its numbers as a table, and each notebook one table beside them.
    assert len(re.findall(r"<table\b", body)) > FIGURES[name]
    assert len(re.findall(r"<dl class=\"wb-facts\"", body)) >= 1
    assert "import workbench" not in body
    assert str(sample) not in page
    assert "dataframe" not in body, "a frame is shown as for programmers"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_history_shows_the_same_wherever_it_lies(name: str, sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "elsewhere")
    assert show(name, lake=sample) == show(name, lake=tmp_path / "elsewhere")


@pytest.mark.parametrize("name", HISTORIES)
def test_a_notebook_can_be_asked_what_if_before_the_first_event_of_a_type(name: str, sample: Path) -> None:
    deleted = wb.open(sample).timeline.types("user.deleted").sql("select min(position) from events").fetchall()[0][0]
    scenario = str(wb.Scenario.load("no-failed-steps").name)
    shown = show(name, lake=sample, at=deleted - 1, scenario="no-failed-steps")
    assert any(scenario in text for text in shown)
    assert any(f"position {deleted - 100}" in text for text in shown)
    assert not any("user.deleted" in text for text in shown)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("events", [0, 1, 4])
def test_where_there_is_little_a_notebook_says_so_plainly(name: str, events: int, tmp_path: Path) -> None:
    recorded = [
        Recorded("user.created", START + timedelta(days=day), f"user-{day % 2}" if events > 1 else "lonely") for day in range(events)
    ]
    shown = show(name, lake=write_lake(tmp_path / "lake", recorded))
    said = ("There are none.", "There is no", "Nothing was measured", "No event is of these types")
    assert name == "event_types" or any(word in text for text in shown for word in said)


def test_measurements_that_were_taken_after_the_cutoff_are_left_out(sample: Path) -> None:
    whole = show("replay_performance", lake=sample)
    assert any("keep it every" in text for text in whole)
    before = show("replay_performance", lake=sample, at=900)
    assert before[0].startswith("Nothing was measured up to here. To measure:\n\nworkbench bench ")
    assert show("replay_performance", lake=sample, projection="Nobody")[0] == before[0]


def test_the_entity_the_type_and_the_trace_that_are_named_are_shown(sample: Path) -> None:
    assert any("Versions of 2<" in text for text in show("state_at_a_time", lake=sample, key="2"))
    assert any("payloads of user.moved have?" in text for text in show("payload_schemas", lake=sample, drawn="user.moved"))
    one = wb.open(sample).timeline.types("registration.started").events().collect()["correlation_id"][3]
    assert any(one[:6] in text and "What caused what" in text for text in show("workflows", lake=sample, trace=one))
