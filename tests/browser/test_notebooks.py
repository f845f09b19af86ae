"""Every notebook that comes along, run over the sample: offline, its report shows all its figures, and axe finds no fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.visit import NEEDS_CHROMIUM, Visit
from tests.sample.lake import write_sample
from workbench.reports import run_report, shipped_notebooks
from workbench.sample import generate

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("lake"), list(generate(events=2000, seed=5).events()))


@pytest.mark.parametrize("notebook", sorted(shipped_notebooks()))
def test_a_report_shows_all_its_figures_offline_and_axe_finds_no_fault(browser: Any, lake: Path, tmp_path: Path, notebook: str) -> None:
    page = run_report(notebook, lake=lake, out=tmp_path / f"{notebook}.html").page
    for scheme in ("light", "dark"):
        visit = Visit(browser, page, until="footer dl", color_scheme=scheme)
        visit.page.wait_for_timeout(300)
        empty = visit.ask("[...document.querySelectorAll('figure.chart')].filter(one => !one.querySelector('.main-svg')).length")
        numbers = visit.ask("[...document.querySelectorAll('figure.chart')].filter(one => !one.querySelector('details table')).length")
        assert (empty, numbers) == (0, 0)
        assert visit.ask("document.querySelectorAll('h1').length") == 1
        assert visit.ask("document.documentElement.scrollWidth - innerWidth") <= 0
        assert visit.violations() == []
        visit.close()
