"""JupyterLab as ``workbench lab`` starts it, driven in a browser: cells run, ``%%events`` shows a table, and the widget moves in time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lakes import START, Recorded, write_lake

CHROMIUM = shutil.which("chromium")
TOKEN = "a-token-of-the-test"
HOSTILE = "<img src=x onerror=alert(1)>"
NOTEBOOK = "journey.ipynb"
CELLS = {
    "query": "%load_ext workbench\n",
    "table": "%%events -o found\nselect type, count(*) as events from events group by 1 order by 2 desc, 1",
    "widget": "import workbench as wb\n"
    "from workbench import Projection, event, on\n"
    "class Thing(Projection, category='thing'):\n"
    "    name: str\n"
    "    size: int = 0\n"
    "    handlers = [on('thing.begun').create('name'), on('thing.grown').add(size=1), on('thing.named').set(name=event.data['name'])]\n"
    "now = wb.open('../lake').timeline\n"
    "journey = wb.travel(Thing, now, key='1', against=now.drop(type='thing.named'))\n"
    "journey",
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no `chromium` on the path: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running JupyterLab with a notebook to run."""
    place = tmp_path_factory.mktemp("lab")
    events = [Recorded("thing.begun", START, "thing-1", '{"name": "first"}')]
    events += [Recorded("thing.grown", START, "thing-1") for _ in range(60)]
    events += [Recorded("thing.named", START, "thing-1", json.dumps({"name": HOSTILE}))]
    write_lake(place / "lake", events)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(place / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [
        sys.executable,
        "-m",
        "workbench",
        "lab",
        "--lake",
        "lake",
        "--dir",
        "mine",
        "--port",
        str(port),
        "--no-browser",
        "--allow-root",
    ]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=place,
            env={**os.environ, **own, "JUPYTER_TOKEN": TOKEN},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status?token={TOKEN}", server, place / "log")
        (place / "mine" / NOTEBOOK).write_text(json.dumps(_notebook()), encoding="utf-8")
        yield address
    finally:
        # JupyterLab ends its kernels at SIGTERM; those of the group that did not end are ended with it.
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not answer: {log.read_text()}")


def _notebook() -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": name, "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for name, source in CELLS.items()
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Any]:
    """The notebook, open and run."""
    from playwright.sync_api import sync_playwright

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        opened = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        opened.set_default_timeout(60_000)
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("dialog", lambda dialog: pytest.fail(f"markup of the data ran: {dialog.message}"))
        opened.goto(f"{lab}/lab/tree/{NOTEBOOK}?token={TOKEN}")
        opened.wait_for_selector(".jp-Notebook .jp-CodeCell")
        # Run before the kernel is there, JupyterLab asks which one is meant.
        opened.locator(".jp-StatusBar-Widget, #jp-main-statusbar", has_text="| Idle").first.wait_for()
        opened.get_by_role("menuitem", name="Run", exact=True).click()
        opened.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        opened.wait_for_selector(".wbt-list [role=option]")
        yield opened
        # Whatever was shown, only the server on this machine was asked for anything.
        assert [url for url in asked if not url.startswith((lab, "data:", "blob:"))] == []
        chromium.close()


def test_a_query_in_a_cell_shows_a_table(page: Any) -> None:
    table = page.locator(".jp-OutputArea table.wb-table").first
    assert table.locator("tbody tr").first.inner_text().split() == ["thing.grown", "60"]


def _state(page: Any) -> dict[str, list[str]]:
    """What is on the screen: of each field its mark, its value, and that of the fork."""
    rows = page.locator(".wbt-state tbody tr")
    cells = [rows.nth(number).locator("th, td") for number in range(rows.count())]
    return {one.nth(0).locator("span").first.inner_text(): [one.nth(column).inner_text() for column in (0, 1, 2)] for one in cells}


def test_the_widget_moves_by_the_keyboard_and_the_state_changes(page: Any) -> None:
    page.locator(".wbt-list").focus()
    page.keyboard.press("End")
    name = _state(page)["name"]
    assert name[1:] == [HOSTILE, "first"]
    assert "● changed" in name[0]
    assert "≠ differs" in name[0]
    assert page.locator(".wbt img").count() == 0
    page.keyboard.press("ArrowUp")
    assert _state(page)["name"][1:] == ["first", "first"]
    assert _state(page)["size"][1] == "60"
    page.keyboard.press("ArrowLeft")
    assert _state(page)["size"][1] == "59"
    page.keyboard.press("Home")
    assert _state(page)["size"][1] == "0"
    assert page.locator(".wbt-list [aria-selected=true]").inner_text().split()[2] == "thing.begun"
    page.keyboard.press("PageDown")
    assert _state(page)["size"][1] == "10"


def test_keys_meant_for_the_widget_do_not_reach_the_notebook_and_shortcuts_do(page: Any) -> None:
    page.locator(".wbt-list [role=option]").first.click()
    cells = page.locator(".jp-CodeCell").count()
    for key in "xdda":
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == cells
    tab = page.locator(".lm-TabBar-tab.jp-mod-current", has_text=NOTEBOOK)
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !document.querySelector('.lm-TabBar-tab.jp-mod-current.jp-mod-dirty')")
    assert tab.count() == 1


def test_a_pinned_moment_is_what_the_state_is_compared_with(page: Any) -> None:
    page.locator(".wbt-list").focus()
    page.keyboard.press("Home")
    page.keyboard.press("b")
    page.keyboard.press("PageDown")
    size = page.locator(".wbt-state tbody tr").nth(1)
    assert [size.locator("td").nth(column).inner_text() for column in (0, 2)] == ["10", "0"]
    assert "Baseline: event 1" in page.locator(".wbt-state thead").inner_text()
    page.keyboard.press("b")
    assert size.locator("td").nth(2).inner_text() == "9"


def test_what_an_event_says_is_fetched_when_it_is_unfolded(page: Any) -> None:
    page.locator(".wbt-list").focus()
    page.keyboard.press("End")
    page.get_by_text("What the event says").click()
    page.locator(".wbt-said pre", has_text=f'"name": "{HOSTILE}"').wait_for()
    assert page.locator(".wbt-said strong").all_inner_texts() == ["As recorded"]
    page.locator(".wbt-list").focus()
    page.keyboard.press("Home")
    page.locator(".wbt-said pre", has_text='"name": "first"').wait_for()
    assert page.locator(".wbt-said strong").all_inner_texts() == ["As recorded, and what if"]


def test_playing_goes_on_to_the_last_event_and_stops_there(page: Any) -> None:
    page.locator(".wbt-list").focus()
    page.keyboard.press("Home")
    page.locator(".wbt select").select_option("100")
    page.locator(".wbt-list").focus()
    page.keyboard.press(" ")
    page.locator(".wbt-where", has_text="event 62 of 62").wait_for()
    page.get_by_role("button", name="Play (space)").wait_for()


def test_the_kernel_knows_the_moment_that_is_shown(page: Any) -> None:
    page.locator(".wbt-jump").fill("300")
    page.keyboard.press("Enter")
    page.locator(".wbt-where", has_text="position 300").wait_for()
    # Shift+Enter in the last cell makes a new one below it; the kernel was told of the move before that runs.
    page.wait_for_function("() => !document.querySelector('.wbt [role=status]').textContent.includes('62')")
    page.locator(".jp-CodeCell .cm-content").last.click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function("() => document.querySelectorAll('.jp-CodeCell').length === 4")
    page.keyboard.type("journey.timeline")
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-OutputArea .wb-card", has_text="Position").wait_for()


def test_axe_finds_nothing_against_the_widget(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

    found = Axe().run(page, context=".wbt")
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found.response["violations"]] == []
