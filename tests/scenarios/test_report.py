"""A report of a what-if: the notebook looks at the edited history, and the page says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_failures import run, says
from tests.lakes import START, Recorded, write_lake
from tests.reports.notebooks import write_notebook
from workbench.errors import UsageError
from workbench.reports import run_report

SCENARIO = "name: nobody left\nedits:\n  - drop: {type: user.left}\n"
LOOK = """\
import workbench as wb
timeline = wb.Scenario.load(scenario).on(wb.open(lake).timeline).upto(at)
print("types:", *timeline.events().collect()["type"])
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_lake(tmp_path / "lake", [Recorded("user.created", START), Recorded("user.left", START), Recorded("user.moved", START)])
    (tmp_path / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    return tmp_path


def test_a_report_of_a_scenario_shows_the_edited_history_and_names_the_edits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = write_notebook(place / "look.ipynb", LOOK, parameters="scenario: str | None = None\n")
    monkeypatch.chdir(place)  # the scenario is named from here, and the notebook runs elsewhere
    (place / "elsewhere").mkdir()
    moved = notebook.rename(place / "elsewhere" / "look.ipynb")
    result = run("report", "run", moved, "--lake", "lake", "--scenario", "scenario.yaml", "--out", "report.html")
    assert result.exit_code == 0, result.stderr
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "types: user.created user.moved" in page
    footer = page[page.index("<footer>") :]
    assert "<dt>What if</dt><dd>drop(type='user.left')</dd>" in footer
    assert "<dt>Events</dt><dd>2</dd>" in footer
    assert "Parameter scenario" not in footer


def test_what_cannot_be_asked_what_if_is_refused_before_anything_starts(place: Path) -> None:
    plain = write_notebook(place / "plain.ipynb", "1")
    asked = write_notebook(place / "asked.ipynb", "1", parameters="scenario: str | None = None\n")
    words: list[str | Path] = ["--lake", place / "lake", "--out", place / "report.html"]
    says(
        run("report", "run", plain, *words, "--scenario", place / "scenario.yaml"),
        "plain.ipynb cannot be asked what if: its parameters cell must declare `scenario: str | None = None`",
        status=2,
    )
    says(run("report", "run", asked, *words, "--scenario", place / "none.yaml"), "There is no file", "none.yaml", status=2)
    says(run("report", "run", asked, *words, "-p", "scenario=x"), "Give 'scenario' as an argument of the run", status=2)
    (place / "scenario.yaml").write_text(SCENARIO.replace("type", "tipe"), encoding="utf-8")
    with pytest.raises(UsageError, match="line 3"):
        run_report(asked, lake=place / "lake", out=place / "report.html", scenario=place / "scenario.yaml")
    assert not (place / "report.html").exists()
