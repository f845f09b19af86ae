"""The index lists all runs, the newest first, loads nothing, runs nothing, and shows what comes from notebooks and data as text."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from tests.reports.records import A_RECORD
from tests.reports.test_page import HOSTILE, Elements
from workbench.charts import PALETTES
from workbench.reports import read_runs, write_index
from workbench.reports.index import render_index
from workbench.reports.record import KeptRun, RunRecord

FAILED = replace(A_RECORD, outcome="out of memory", message="It held too much.", page=None)


def index_of(*records: RunRecord | None) -> str:
    return render_index([KeptRun(Path(f"run-{number}"), record) for number, record in enumerate(records)])


def test_every_run_stands_there_with_its_outcome_in_words_and_only_whole_ones_lead_to_a_page() -> None:
    page = index_of(A_RECORD, FAILED, None)
    assert "2 runs, the newest first; 1 failed." in page
    assert "</span> Succeeded</p>" in page
    assert "</span> Failed: too much memory</p>" in page
    assert "It held too much." in page
    assert "run-2: its record is damaged." in page
    assert 'href="./run-0/report.html"' in page
    assert "run-1/report.html" not in page
    assert 'href="./run-1/run.json"' in page
    for fact in ("2026-03-01T00:00:00Z, position 4200", "12,345", "esdb://store.example:2113", "event_types", "1w", "2.5 s"):
        assert fact in page


def test_runs_are_read_newest_first_under_their_months_whatever_they_are_called(tmp_path: Path) -> None:
    for name, days in (("b", 0), ("a", -1), ("c", 1)):
        (tmp_path / name).mkdir()
        replace(A_RECORD, title=name, started=A_RECORD.started + timedelta(days=days)).write(tmp_path / name / "run.json")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".run.0.part").mkdir()
    A_RECORD.write(tmp_path / ".run.0.part" / "run.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    assert [run.directory.name for run in read_runs(tmp_path)] == ["c", "b", "a", "broken"]
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["March 2026", "February 2026", "Cannot be read"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [".lock", "index.html"]


def test_an_index_without_runs_says_so(tmp_path: Path) -> None:
    assert "No run yet." in write_index(tmp_path).read_text(encoding="utf-8")


def test_nothing_that_comes_from_notebooks_and_data_is_markup() -> None:
    hostile = replace(
        FAILED,
        title=HOSTILE,
        message=HOSTILE,
        asked=replace(A_RECORD.asked, notebook=f"/n/{HOSTILE}.ipynb", scenario=HOSTILE, parameters={HOSTILE: HOSTILE}),
        basis=replace(A_RECORD.basis, store=HOSTILE, cutoff=HOSTILE),
    )
    names = [Path('javascript:alert(1)"><b>'), Path("a/b c#d?e")]
    page = render_index([KeptRun(name, record) for name, record in zip(names, (hostile, A_RECORD), strict=True)])
    elements = Elements(page)
    assert not {"script", "img", "b"} & set(elements.tags)
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    links = [value for _, name, value in elements.attributes if name == "href"]
    assert links
    assert all(re.fullmatch(r"\./[\w%.()-]+/[a-z]+\.(html|json|ipynb)", link) for link in links)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_letters_that_cannot_be_seen_are_written_out() -> None:
    assert r"a\u202eb\x1b[31m" in index_of(replace(FAILED, message="a\u202eb\x1b[31m"))


def test_of_a_long_message_the_beginning_is_shown() -> None:
    page = index_of(replace(FAILED, message="x" * 5000))
    assert "x" * 400 + "… (the record has all of it)" in page
    assert "x" * 401 not in page


def test_the_index_loads_nothing_and_only_its_own_style_applies() -> None:
    page = index_of(A_RECORD)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    allowed = b64encode(sha256(style[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    assert ("meta", "content", policy) in Elements(page).attributes
    assert not re.search(r"@import|url\(|\bsrc=|\bstyle=", page)


def test_the_colours_are_those_of_the_reports() -> None:
    style = re.findall(r"--(\w+): (#\w+);", index_of(A_RECORD))
    half = {"light": style[:7], "dark": style[7:14]}
    for ground, palette in PALETTES.items():
        found = dict(half[ground])
        assert {name: found[name] for name in ("ground", "ink", "quiet", "line")} == {
            name: palette[name] for name in ("ground", "ink", "quiet", "line")
        }
        assert (found["accent"], found["failed"], found["done"]) == (
            palette["series"][0],
            palette["series"][2 if ground == "light" else 4],
            palette["series"][3],
        )
    assert style[14:] == style[:7]  # on paper as on light ground
