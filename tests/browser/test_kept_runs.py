"""Reports and the index of their runs, opened offline: nothing is loaded or said, nothing sticks out, and axe finds no fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visit import NEEDS_CHROMIUM, SCREENS, Visit
from tests.lakes import community, write_lake
from tests.reports.records import A_RECORD
from workbench.reports import run_report, write_index

pytestmark = NEEDS_CHROMIUM
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x><b>" + "x" * 300


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a run that succeeded, one that failed with hostile words, and one whose record is damaged."""
    folder = tmp_path_factory.mktemp("runs")
    run_report("event_types", lake=write_lake(folder / "lake", community(500)), runs=folder / "runs", code=True)
    hostile = replace(
        A_RECORD,
        title=HOSTILE,
        outcome="cell failed",
        message=HOSTILE,
        page=None,
        asked=replace(A_RECORD.asked, notebook=f"{HOSTILE}.ipynb", parameters={HOSTILE: HOSTILE}),
    )
    for name, text in (("javascript:alert(1)", None), ("damaged", "{")):
        run = folder / "runs" / name
        run.mkdir()
        hostile.write(run / "run.json") if text is None else (run / "run.json").write_text(text)
    write_index(folder / "runs")
    return folder / "runs"


@pytest.mark.parametrize("screen", SCREENS)
def test_the_index_of_runs_is_whole_on_every_screen_and_axe_finds_no_fault(browser: Any, runs: Path, screen: str) -> None:
    visit = Visit(browser, runs / "index.html", until="li .outcome", **SCREENS[screen])
    outcomes = visit.ask("[...document.querySelectorAll('.outcome')].map(outcome => outcome.innerText)")
    assert outcomes == ["✓ Succeeded", "✕ Failed: error in a cell"]
    assert visit.ask("document.documentElement.scrollWidth - innerWidth") <= 0
    assert visit.ask("document.querySelectorAll('script, img, b').length") == 0
    assert visit.violations() == []
    visit.close()


def test_the_index_leads_to_the_report_by_keyboard(browser: Any, runs: Path) -> None:
    visit = Visit(browser, runs / "index.html", until="li .outcome")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".plot svg.main-svg .bars path", state="attached")
    assert visit.ask("document.title") == "Which events make up this history?"
    assert visit.said == []
    visit.context.close()


def test_the_index_prints_in_light_colours(browser: Any, runs: Path) -> None:
    visit = Visit(browser, runs / "index.html", until="li .outcome", color_scheme="dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    visit.close()


@pytest.mark.parametrize("screen", ["desktop", "dark", "small phone"])
def test_axe_finds_no_fault_with_a_report_that_shows_its_code(browser: Any, runs: Path, screen: str) -> None:
    [page] = runs.glob("event_types-*/report.html")
    visit = Visit(browser, page, **SCREENS[screen])
    assert visit.violations() == []
    assert "wb.open(lake).timeline" in visit.ask("document.querySelector('main').innerText")
    visit.close()
