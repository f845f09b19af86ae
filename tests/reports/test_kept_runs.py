"""A run that is kept is there as a whole, says what it rests on and how it ended, and stands in the index of all runs."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lakes import community, write_lake
from tests.reports.notebooks import write_notebook
from tests.reports.records import A_RECORD
from workbench.errors import CellFailed, KernelDied, ReportError, RunOutOfMemory, RunTimedOut, TooMuchOutput, UsageError
from workbench.host.child_process import ChildProcess
from workbench.reports import read_record, read_runs, run_report, write_index
from workbench.reports.record import EXECUTED, digest
from workbench.reports.runs import keep_run, staged_run


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake") / "lake", community(200))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    return tmp_path / "runs"


def test_a_run_that_is_kept_has_its_page_its_notebook_and_its_record(lake: Path, runs: Path) -> None:
    done = run_report("event_types", lake=lake, runs=runs, at="2026-02-01", parameters=["every=1w"], code=True)
    assert done.directory is not None
    assert done.page == done.directory / "report.html"
    assert sorted(path.name for path in done.directory.iterdir()) == ["notebook.ipynb", "report.html", "run.json"]
    assert sorted(path.name for path in runs.iterdir()) == [".lock", done.directory.name, "index.html"]
    record = read_record(done.directory)
    assert (record.outcome, record.message, record.title) == ("succeeded", "", "Which events make up this history?")
    assert record.page == digest(done.page.read_bytes())
    assert (record.asked.notebook, record.asked.at, record.asked.parameters) == ("event_types", "2026-02-01T00:00:00Z", {"every": "1w"})
    assert record.basis.defaults == {"every": "auto", "tz": "UTC"}
    assert (record.basis.position, record.basis.events, record.basis.lake_version) == (done.position, done.events, 1)
    assert record.basis.log == "00000000-0000-4000-8000-000000000001 at position 100"
    assert record.basis.notebook == digest(done.notebook.read_bytes())
    assert record.basis.packages["polars"].split(".")[0].isdigit()
    assert 0 < record.seconds <= done.seconds
    assert done.memory == record.memory > 50e6
    executed = json.loads((done.directory / "notebook.ipynb").read_text(encoding="utf-8"))
    assert "exception" in executed["metadata"]["papermill"]
    assert all(cell["execution_count"] for cell in executed["cells"] if cell["cell_type"] == "code")
    page = done.page.read_text(encoding="utf-8")
    assert '<details class="code">' in page
    assert "wb.open(lake).timeline" in page
    assert f'href="./{done.directory.name}/report.html"' in (runs / "index.html").read_text(encoding="utf-8")


OUTCOMES = {CellFailed: "cell failed", KernelDied: "kernel died", RunTimedOut: "timed out", RunOutOfMemory: "out of memory"}


@pytest.mark.parametrize(
    ("cell", "error", "said"),
    [
        ("1 / 0", CellFailed, r"Cell 3 of n\.ipynb failed with ZeroDivisionError: division by zero\.$"),
        ("import os; os._exit(7)", KernelDied, r"Cell 3 of n\.ipynb ended its process"),
        ("import time; time.sleep(60)", RunTimedOut, r"The run of n\.ipynb took longer than its limit of \d+ seconds, in cell 3: "),
        (
            "import time; held = bytearray(b'x' * 800_000_000); time.sleep(60)",
            RunOutOfMemory,
            r"The run of n\.ipynb held .* MB, in cell 3, more than its limit of 800 MB: ",
        ),
    ],
)
def test_a_failed_run_leaves_a_record_the_notebook_up_to_there_and_no_page(
    lake: Path, runs: Path, cell: str, error: type[ReportError], said: str
) -> None:
    notebook = write_notebook(runs.parent / "n.ipynb", "# A title", "'first'", cell, "'never'")
    # A busy machine may need longer than a short limit to get to the cell at all.
    for timeout in (4, 12, 36) if error is RunTimedOut else (100,):
        with pytest.raises(error) as caught:
            run_report(notebook, lake=lake, runs=runs, timeout=timeout, memory=800_000_000)
        if "in cell 3" in str(caught.value):
            break
    assert re.match(said, str(caught.value))
    run = read_runs(runs)[0]
    assert f"What came of it is kept in {run.directory}." in caught.value.__notes__
    assert run.record is not None
    assert (run.record.outcome, run.record.cell, run.record.title) == (OUTCOMES[error], 3, "A title")
    assert run.record.message == str(caught.value)
    assert run.record.page is None
    assert sorted(path.name for path in run.directory.iterdir()) == ["notebook.ipynb", "run.json"]
    executed = json.loads((run.directory / "notebook.ipynb").read_text(encoding="utf-8"))
    assert executed["metadata"]["papermill"]["exception"] is True
    states = {"".join(one["source"]): one["metadata"]["papermill"]["status"] for one in executed["cells"] if "papermill" in one["metadata"]}
    assert (states["'first'"], states[cell], states["'never'"]) == ("completed", "failed", "pending")
    assert "'first'" in json.dumps([one.get("outputs") for one in executed["cells"]])
    del caught  # its traceback holds the lake, and so the folder of its queries
    gc.collect()
    assert list((runs.parent / "t").iterdir()) == []


def test_a_run_whose_page_cannot_be_made_is_a_failed_run(lake: Path, runs: Path, tmp_path: Path) -> None:
    bad = "from IPython.display import publish_display_data\npublish_display_data({'application/vnd.plotly.v1+json': 'no figure'})"
    with pytest.raises(ReportError, match="its page could not be made"):
        run_report(write_notebook(tmp_path / "n.ipynb", "# T", bad), lake=lake, runs=runs)
    [run] = read_runs(runs)
    assert run.record is not None
    assert (run.record.outcome, run.record.page) == ("failed", None)
    assert not (run.directory / "report.html").exists()


def test_a_run_that_is_broken_off_leaves_nothing(lake: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ChildProcess, "await_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_report("event_types", lake=lake, runs=runs)
    assert list(runs.iterdir()) == []


def test_what_killed_runs_left_is_cleared_and_what_living_ones_prepare_is_not(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from workbench.reports.runs import staged_run
with staged_run(Path({str(tmp_path)!r})) as stage:
    (stage / "half").write_text("x")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.glob(".run.*.part"))) == 1
    with staged_run(tmp_path) as mine, staged_run(tmp_path) as other:
        assert sorted(tmp_path.glob(".run.*.part")) == sorted([mine.parent, other.parent])
    assert list(tmp_path.glob(".run.*.part")) == []


def test_runs_that_began_in_the_same_second_lie_beside_each_other(tmp_path: Path) -> None:
    places = []
    for _ in range(3):
        with staged_run(tmp_path) as stage:
            places.append(keep_run(stage, tmp_path, record=A_RECORD).name)
    assert places == [f"event_types-2026-03-01T060000Z{end}" for end in ("", "-2", "-3")]
    assert [run.directory.name for run in read_runs(tmp_path)] == places[::-1]


def test_a_record_reads_back_as_it_was_written_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    A_RECORD.write(tmp_path / "run.json")
    assert read_record(tmp_path) == A_RECORD
    (tmp_path / "run.json").write_text('{"format": 1}')
    with pytest.raises(ReportError, match="cannot be read: Object missing required field `title`"):
        read_record(tmp_path)
    with pytest.raises(ReportError, match=r"nowhere is no run of a report: there is no run\.json in it"):
        read_record(tmp_path / "nowhere")


def test_a_report_goes_to_one_place_and_it_must_be_one_that_can_be(lake: Path, tmp_path: Path) -> None:
    for out, runs in ((None, None), (tmp_path / "a.html", tmp_path / "runs")):
        with pytest.raises(UsageError, match="Say where the report goes"):
            run_report("event_types", lake=lake, out=out, runs=runs)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file and not a directory"):
        run_report("event_types", lake=lake, runs=tmp_path / "file")
    with pytest.raises(UsageError, match="There is no directory of runs"):
        write_index(tmp_path / "nowhere")


def test_a_directory_of_runs_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "run.json")

    with staged_run(tmp_path) as stage:
        monkeypatch.setattr(type(A_RECORD), "write", full)
        with pytest.raises(ReportError, match=r"cannot be written: No space left on device \(run\.json\)"):
            keep_run(stage, tmp_path, record=replace(A_RECORD, started=datetime.now(UTC) - timedelta(days=1)))
    assert list(tmp_path.iterdir()) == []
    assert os.access(tmp_path, os.W_OK)


def test_a_run_that_puts_out_too_much_is_ended_and_says_which_cell(lake: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "'before'", "for _ in range(300):\n    print('x' * 10**6)", "'behind'")
    with pytest.raises(TooMuchOutput, match=r"^Cell 3 of n\.ipynb put out more than the 50 MB that a report may hold: print less") as ended:
        run_report(notebook, lake=lake, runs=tmp_path / "runs")
    [run] = read_runs(tmp_path / "runs")
    assert run.record is not None
    assert (run.record.outcome, run.record.cell, run.record.message) == ("too much output", 3, str(ended.value))
    executed = run.directory / EXECUTED
    assert executed.stat().st_size < 51_000_000
    assert "'before'" in executed.read_text(encoding="utf-8")


def test_the_limit_of_output_counts_all_cells_and_can_be_raised(lake: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "print('x' * 600_000)", "print('y' * 600_000)")
    with pytest.raises(TooMuchOutput, match=r"^Cell 3 of n\.ipynb put out more than the 1 MB"):
        run_report(notebook, lake=lake, out=tmp_path / "r.html", max_output=1_000_000)
    assert run_report(notebook, lake=lake, out=tmp_path / "r.html", max_output=2_000_000).page.stat().st_size > 1_200_000
