"""A report, opened offline in a browser: its figure is drawn, and nothing is loaded, said or cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.visit import NEEDS_CHROMIUM, SCREENS, Visit
from tests.lakes import START, Recorded, community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.reports import run_report

HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x><b>$x$</b>"

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return run_report("event_types", lake=write_lake(folder / "lake", community(3000)), out=folder / "report.html").page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report of event types that are markup, drawn in both ways."""
    folder = tmp_path_factory.mktemp("hostile")
    events = [Recorded(name, START, "a-1") for name in (HOSTILE, HOSTILE, "x" * 300, "in$a$out", "b")]
    notebook = write_notebook(
        folder / "n.ipynb",
        "# Hostile",
        "import workbench as wb\ntimeline = wb.open(lake).timeline\ntypes = wb.distribution(timeline)",
        "wb.charts.distribution(types, question=types['type'][0], caption=types['type'][0])",
        "wb.charts.distribution(wb.distribution(timeline, every='1d'))",
        "wb.table(types)",
        "types",
    )
    return run_report(notebook, lake=write_lake(folder / "lake", events), out=folder / "report.html").page


@pytest.mark.parametrize(
    ("which", "screen"), [*(("report", screen) for screen in SCREENS), ("hostile", "desktop"), ("hostile", "small phone")]
)
def test_a_report_is_whole_on_every_screen(browser: Any, screen: str, which: str, request: pytest.FixtureRequest) -> None:
    visit = Visit(browser, request.getfixturevalue(which), **SCREENS[screen])
    assert visit.ask("document.querySelectorAll('.plot svg .bars path').length") > 5
    assert visit.ask("document.querySelectorAll('main table tbody tr').length") >= 4
    # Nothing sticks out of the page, and no text out of its chart.
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert visit.ask(f"document.documentElement.scrollWidth > innerWidth ? {wide}.map(e => e.outerHTML.slice(0, 80)) : []") == []
    outside = visit.ask(
        """[...document.querySelectorAll('.plot')].flatMap(plot => {
            const box = plot.getBoundingClientRect();
            return [...plot.querySelectorAll('svg text')].filter(text => {
                const own = text.getBoundingClientRect();
                return own.width && (own.left < box.left - 1 || own.right > box.right + 1
                    || own.top < box.top - 1 || own.bottom > box.bottom + 1);
            }).map(text => text.textContent);
        })"""
    )
    assert outside == []
    visit.close()


def test_charts_wear_the_colours_of_the_readers_scheme_and_follow_it(browser: Any, report: Path) -> None:
    visit = Visit(browser, report, color_scheme="light")
    colour = "getComputedStyle(document.querySelector('.plot .bars path')).fill"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visit.ask(colour), visit.ask(ground)
    visit.page.emulate_media(color_scheme="dark")
    # The page's policy forbids the evaluation of text that playwright's own waiting needs.
    visit.page.wait_for_timeout(300)
    assert visit.ask(colour) != light[0]
    assert visit.ask(ground) != light[1]
    visit.close()


def test_a_report_prints_in_light_colours_on_pages_of_paper(browser: Any, report: Path) -> None:
    visit = Visit(browser, report, color_scheme="dark")
    visit.ask("window.addEventListener('beforeprint', () => { window.width = document.querySelector('.main-svg').clientWidth; })")
    pdf = visit.page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    # 180 mm at 96 pixels an inch.
    assert visit.ask("window.width") <= 681
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    visit.close()


def test_markup_in_the_data_is_shown_as_text_in_figures_and_tables(browser: Any, hostile: Path) -> None:
    visit = Visit(browser, hostile)
    shown = visit.ask("[...document.querySelectorAll('.plot svg text')].map(text => text.textContent)")
    assert "<script>alert(1…e/x><b>$x$</b>" in shown
    assert "in$a$out" in shown
    assert visit.ask("document.querySelector('figcaption strong').textContent") == HOSTILE
    assert visit.ask("document.querySelector('.results > .wb-scroll th[scope=row]').textContent") == HOSTILE
    assert visit.ask("document.querySelectorAll('main img, main b, .plot b, .plot a[href]').length") == 0
    visit.close()


@pytest.mark.parametrize("screen", ["desktop", "small phone"])
def test_a_bar_lies_behind_its_number_also_beside_a_name_of_many_lines(browser: Any, hostile: Path, screen: str) -> None:
    visit = Visit(browser, hostile, **SCREENS[screen])
    rows = visit.ask(
        """[...document.querySelectorAll('details')].flatMap(details => {
            details.open = true;
            return [...details.querySelectorAll('td.bar')].map(cell => {
                const bar = getComputedStyle(cell, '::before');
                const middle = cell.getBoundingClientRect().top + parseFloat(bar.top) + parseFloat(bar.height) / 2;
                const number = cell.querySelector('span').getBoundingClientRect();
                return [cell.getBoundingClientRect().height, Math.abs(middle - number.top - number.height / 2)];
            });
        })"""
    )
    heights = [height for height, _ in rows]
    assert max(heights) > 2 * min(heights)
    assert max(apart for _, apart in rows) < 1.5
    visit.close()


def test_the_box_under_the_pointer_names_its_period_in_full(browser: Any, hostile: Path) -> None:
    visit = Visit(browser, hostile)
    visit.page.locator(".plot").nth(1).hover()
    visit.page.wait_for_timeout(300)
    assert "Mon 5 Jan 2026" in visit.ask("[...document.querySelectorAll('.hoverlayer text')].map(text => text.textContent)")
    visit.close()


def test_no_button_offers_to_upload_a_chart(browser: Any, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.hover(".plot")
    titles = visit.ask("[...document.querySelectorAll('.modebar-btn')].map(button => button.dataset.title || '')")
    assert titles
    assert not [title for title in titles if "hare" in title or "loud" in title or "Studio" in title]
    visit.close()


def test_the_numbers_of_a_figure_open_with_the_keyboard(browser: Any, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.focus("figure summary")
    visit.page.keyboard.press("Enter")
    assert visit.page.is_visible("figure details table")
    visit.close()


def test_a_wide_table_loses_no_column_on_paper(browser: Any, tmp_path: Path) -> None:
    columns = ", ".join(f"repeat('word ', 4) || {number} AS column_{number}" for number in range(16))
    notebook = write_notebook(
        tmp_path / "wide.ipynb",
        "# Wide?",
        'import workbench as wb\nframe = wb.open(lake).timeline.sql("SELECT ' + columns + ' FROM events").pl()',
        "wb.table(frame)",
    )
    page = run_report(notebook, lake=write_lake(tmp_path / "lake", [Recorded("a", START)]), out=tmp_path / "wide.html").page
    visit = Visit(browser, page, until="main table", viewport={"width": 680, "height": 960})  # A4 between its margins
    assert visit.ask("document.querySelector('main table').getBoundingClientRect().right > innerWidth")
    visit.page.emulate_media(media="print")
    cells = "[...document.querySelectorAll('main table th, main table td')]"
    assert visit.ask(f"{cells}.filter(cell => cell.getBoundingClientRect().right > innerWidth + 1).length") == 0
    assert visit.ask("document.documentElement.scrollWidth <= innerWidth")
    visit.close()
