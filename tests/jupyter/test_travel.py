"""``wb.travel`` and its still: where it begins, what it says to the kernel, and what stands in a page without widgets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import workbench as wb
from tests.jupyter.things import EVENTS, HOSTILE, Thing, things
from tests.reports.notebooks import write_notebook
from workbench.errors import UsageError
from workbench.reports import run_report


def test_it_begins_with_the_last_event_or_with_the_one_that_is_asked_for(tmp_path: Path) -> None:
    now = things(tmp_path)
    assert wb.travel(Thing, now, key="1").index == len(EVENTS) - 1
    found = wb.travel(Thing, now, key="1", at="2026-01-05T03:59:00Z", baseline=200)
    assert (found.index, found.baseline) == (3, 1)
    assert wb.travel(Thing, now, key="1", at=650).index == 5


def test_its_timeline_is_the_history_up_to_the_event_that_is_shown(tmp_path: Path) -> None:
    found = wb.travel(Thing, things(tmp_path), key="1", at=400)
    assert wb.state(Thing, found.timeline)["name"].to_list() == [HOSTILE]
    found.index = 1
    assert wb.state(Thing, found.timeline).select("name", "size").rows() == [("one", 1)]


def test_it_says_what_an_event_holds_in_each_history_in_which_it_stands(tmp_path: Path) -> None:
    now = things(tmp_path)
    fork = now.patch(type="thing.begun", set={"name": "other"}).drop(type="thing.tagged")
    found = wb.travel(Thing, now.after(position=100), key="1", against=fork.after(position=100))
    assert [one["data"] for one in found.payloads(6)] == ['{"name": null}', '{"name": "other"}']
    assert found.payloads(3) == [{"label": "As recorded", "data": '{"tag": "a"}', "metadata": "{}"}]


def test_moments_before_the_first_event_and_keys_that_are_not_there_are_refused(tmp_path: Path) -> None:
    now = things(tmp_path).drop(position=100)
    with pytest.raises(UsageError, match=r"no events of '7'.*wb\.state"):
        wb.travel(Thing, now, key="7")
    with pytest.raises(UsageError, match="Nothing had happened to '1' by 100: its first event is at position 200"):
        wb.travel(Thing, now, key="1", at=100)
    found = wb.travel(Thing, now, key="1")
    with pytest.raises(UsageError, match="events 0 to 7"):
        found.index = 8
    with pytest.raises(UsageError, match="events 0 to 7"):
        found.baseline = -1


def test_beside_the_widget_stands_the_moment_as_a_table(tmp_path: Path) -> None:
    now = things(tmp_path)
    found = wb.travel(Thing, now, key="1", at=400, against=now.drop(type="thing.named"))
    data, _ = found._repr_mimebundle_() or ({}, {})
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert data["text/plain"] == "<Travel of Thing 1: event 4 of 9, position 400>"
    assert "<script" not in data["text/html"]
    rows = {
        row[0]: row[1:]
        for row in (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in data["text/html"].splitlines() if line.startswith("<tr>"))
    }
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert rows["name"] == [escaped, "one", "● changed", "one", "≠ differs"]
    assert rows["size"] == ["1", "1", "", "1", ""]
    assert rows["4 ◀ shown"][1:4] == ["thing.<wbr>named".replace("<wbr>", ""), "changed", "name"]
    assert "diverge at event 4, position 400" in data["text/html"]


def test_the_still_compares_with_the_baseline_and_says_where_the_entity_is_not_there(tmp_path: Path) -> None:
    found = wb.travel(Thing, things(tmp_path), key="1", at=600, baseline=400)
    shown = found._repr_html_()
    assert "At event 4" in shown
    assert "not there after this event" in shown
    assert shown.count("● changed") == 3


def test_a_report_shows_the_still_and_no_script_but_its_own(tmp_path: Path) -> None:
    things(tmp_path)
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "# Travel",
        "import workbench as wb\nfrom tests.jupyter.things import Thing",
        "wb.travel(Thing, wb.open(lake).timeline, key='1', at=400)",
    )
    page = run_report(notebook, lake=tmp_path / "lake", out=tmp_path / "report.html").page.read_text(encoding="utf-8")
    assert "● changed" in page
    assert "widget-view" not in page
    assert "<script" not in page
