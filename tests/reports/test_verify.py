"""A report that is run again is the same to the byte, or what differs is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lakes import Recorded, community, write_lake
from tests.reports.notebooks import write_notebook
from tests.reports.records import A_RECORD
from workbench.errors import LakeNotFound, ReportError
from workbench.reports import read_record, record, run_report, verify_run
from workbench.reports.verify import differences

EVENTS = community(60)
COUNTED = """
import workbench as wb
timeline = wb.open(lake).timeline if at is None else wb.open(lake).timeline.upto(at)
[most, sorted(timeline.sql("select type, count(*), sum(octet_length(encode(data))) from events group by type").fetchall())]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a lake, a notebook and a kept run of it: the tests leave all three as they are."""
    folder = tmp_path_factory.mktemp("place")
    notebook = write_notebook(folder / "n.ipynb", "# Counted", COUNTED, parameters="most: int = 3")
    run = run_report(notebook, lake=write_lake(folder / "lake", EVENTS), runs=folder / "runs").directory
    assert run is not None
    run.rename(folder / "run")
    return folder


def lake_of(path: Path, events: Iterable[Recorded]) -> Path:
    return write_lake(path / "lake", events)


def test_a_report_is_the_same_though_its_lake_went_on_and_moved(place: Path, tmp_path: Path) -> None:
    later = EVENTS[-1].at + timedelta(days=1)
    found = verify_run(place / "run", lake=lake_of(tmp_path, [*EVENTS, Recorded("late", later)]), keep=tmp_path / "again.html")
    assert (found.is_same, found.differences, found.first) == (True, (), "")
    assert (tmp_path / "again.html").read_bytes() == (place / "run" / "report.html").read_bytes()


def test_events_that_are_gone_are_named(place: Path, tmp_path: Path) -> None:
    run = run_report(place / "n.ipynb", lake=place / "lake", runs=tmp_path / "runs", at=EVENTS[30].at).directory
    assert run is not None
    found = verify_run(run, lake=lake_of(tmp_path, [EVENTS[0], *EVENTS[2:]]))
    assert not found.is_same
    assert list(map(str, found.differences)) == [
        "data: the cutoff is position 3000, and was position 3100.",
        "data: there are 30 events up to it, and were 31.",
    ]
    assert " became " in found.first


def test_events_that_are_others_are_named(place: Path, tmp_path: Path) -> None:
    moved = replace(EVENTS[30], type="another")
    found = verify_run(place / "run", lake=lake_of(tmp_path, [*EVENTS[:30], moved, *EVENTS[31:]]))
    assert not found.is_same
    assert [one.what for one in found.differences] == ["data"]
    assert "as many events up to it, but not the same" in found.differences[0].said


def test_payloads_that_were_changed_are_what_is_left_if_nothing_else_differs(place: Path, tmp_path: Path) -> None:
    redacted = replace(EVENTS[30], data='{"redacted": true}')
    found = verify_run(place / "run", lake=lake_of(tmp_path, [*EVENTS[:30], redacted, *EVENTS[31:]]))
    assert not found.is_same
    assert [one.what for one in found.differences] == ["unknown"]
    assert "payloads of events were changed" in found.differences[0].said


def test_a_changed_notebook_and_its_defaults_are_named(place: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "# Counted", COUNTED, parameters="most: int = 4")
    found = verify_run(place / "run", notebook=notebook)
    assert not found.is_same
    assert [str(one) for one in found.differences] == ["notebook: n was changed.", "parameters: the default of most was 3, and is 4."]


def test_a_package_that_changed_without_effect_is_named_and_the_page_is_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.reports.runner.packages", lambda: {**record.packages(), "polars": "0.1", "new": "1"})
    found = verify_run(place / "run")
    assert found.is_same
    [difference] = found.differences
    assert difference.what == "packages"
    assert "new is '1', and is new; polars was '" in difference.said


def test_a_notebook_that_gives_another_page_each_time_is_told(place: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "# Chance", "import uuid; uuid.uuid4().hex")
    run = run_report(notebook, lake=place / "lake", runs=tmp_path / "runs").directory
    assert run is not None
    found = verify_run(run)
    assert not found.is_same
    assert [one.what for one in found.differences] == ["notebook"]
    assert "another page each time" in found.differences[0].said


def test_a_page_that_was_changed_in_its_run_is_told(place: Path, tmp_path: Path) -> None:
    read_record(place / "run").write(tmp_path / "run.json")
    page = (place / "run" / "report.html").read_bytes()
    (tmp_path / "report.html").write_bytes(page.replace(b"user.logged_in", b"user.logged_on"))
    found = verify_run(tmp_path)
    assert not found.is_same
    assert [one.what for one in found.differences] == ["page"]
    assert "user.logged_on" in found.first.split(" became ")[0]
    (tmp_path / "report.html").unlink()
    assert "there is no report.html" in verify_run(tmp_path).differences[0].said


def test_what_cannot_be_done_again_is_an_error(place: Path, tmp_path: Path) -> None:
    with pytest.raises(LakeNotFound):
        verify_run(place / "run", lake=tmp_path / "nowhere")
    with pytest.raises(ReportError, match="cannot be done again: There is no notebook"):
        verify_run(place / "run", notebook=tmp_path / "gone.ipynb")
    failed = replace(read_record(place / "run"), outcome="failed", message="It failed.", page=None)
    failed.write(tmp_path / "run.json")
    with pytest.raises(ReportError, match=r"has no page to verify: It failed\.$"):
        verify_run(tmp_path)
    with pytest.raises(ReportError, match="is no run of a report"):
        verify_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("basis", "said"),
    [
        ({}, []),
        (
            {"log": "b at position 1", "events": 1},
            ["data: the lake is a copy of another log, which begins with b at position 1, and not with"],
        ),
        ({"store": "esdb://b"}, ["data: the event store is called esdb://b, and was called esdb://store.example:2113."]),
        ({"scenario": "s", "edits": ("drop",)}, ["scenario:"]),
        ({"defaults": {"every": "auto", "tz": "UTC"}}, ["parameters: the default of tz is 'UTC', and is new."]),
        ({"defaults": {}}, ["parameters: the default of every was 'auto', and is gone."]),
        ({"lake_version": 7, "table": "2"}, []),  # an export, a clustering or a copy is no change
    ],
)
def test_what_differs_between_two_records_is_said(basis: dict[str, Any], said: list[str]) -> None:
    found = list(map(str, differences(A_RECORD, replace(A_RECORD, basis=replace(A_RECORD.basis, **basis)))))
    assert len(found) == len(said)
    assert all(one.startswith(begin) for one, begin in zip(found, said, strict=True))
