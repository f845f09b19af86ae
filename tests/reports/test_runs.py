"""A run ends with a whole page or with an error that says what went wrong, and leaves nothing else behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lakes import START, Recorded, community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.errors import (
    BeyondExport,
    CellFailed,
    CellTimedOut,
    InvalidTime,
    KernelDied,
    LakeNotFound,
    ReportError,
    RunTimedOut,
    UsageError,
)
from workbench.reports import run_report


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake") / "lake", community(1000))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a page goes, in a folder where an older one lies."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "report.html").write_text("the old page")
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder / "report.html"


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a process was started")


def assert_nothing_is_left(out: Path) -> None:
    assert out.read_text() == "the old page"
    assert list(out.parent.iterdir()) == [out]
    assert list((out.parent.parent / "t").iterdir()) == []


def test_a_run_writes_its_page_and_says_where_it_came_from(lake: Path, out: Path) -> None:
    umask = os.umask(0o027)
    try:
        run = run_report("event_types", lake=lake, out=out, at="2026-02-01", parameters=["every=1w"])
    finally:
        os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o640
    page = out.read_text(encoding="utf-8")
    assert run.page == out
    assert (run.cutoff, run.source, run.parameters) == ("2026-02-01T00:00:00Z", "esdb://store.example:2113", {"every": "1w"})
    assert run.position == run.events * 100
    footer = page[page.index("<footer>") :]
    for text in ("2026-02-01T00:00:00Z", f"position {run.position}", "esdb://store.example:2113", f"{run.events:,}", '"1w"'):
        assert text in footer
    assert list(out.parent.iterdir()) == [out]
    assert list((out.parent.parent / "t").iterdir()) == []


def test_the_same_history_gives_the_same_bytes_though_the_lake_lies_elsewhere(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        lake = write_lake(tmp_path / name / "lake", community(300))
        pages.append(run_report("event_types", lake=lake, out=tmp_path / name / "new" / "r.html").page.read_bytes())
    assert pages[0] == pages[1]


def test_the_footer_says_how_many_events_are_stamped_after_the_cutoff(tmp_path: Path) -> None:
    # The server's clock ran backwards after its second and third event.
    minutes = [0, 30, 40, 5, 10, 60]
    lake = write_lake(tmp_path / "lake", [Recorded("a", START + timedelta(minutes=minute)) for minute in minutes])
    run = run_report("event_types", lake=lake, out=tmp_path / "r.html", at=START + timedelta(minutes=20))
    assert (run.events, run.late) == (5, 2)
    page = run.page.read_text(encoding="utf-8")
    assert "<dt>Stamped after the cutoff</dt><dd>2</dd>" in page[page.index("<footer>") :]
    whole = run_report("event_types", lake=lake, out=tmp_path / "r.html")
    assert whole.late == 0
    assert "Stamped after" not in whole.page.read_text(encoding="utf-8")


def test_an_empty_lake_has_a_report_too(tmp_path: Path) -> None:
    run = run_report("event_types", lake=write_lake(tmp_path / "lake", []), out=tmp_path / "r.html")
    assert (run.position, run.events) == (None, 0)


@pytest.mark.parametrize(
    ("cell", "error", "said"),
    [
        ("# A heading", None, ""),
        ("{}['x']", CellFailed, r"Cell 3 of n\.ipynb failed with KeyError: 'x'\.$"),
        ("raise SystemExit", CellFailed, r"Cell 3 of n\.ipynb failed with SystemExit, before the notebook's last cell\.$"),
        ("import time; time.sleep(60)", CellTimedOut, r"Cell 3 of n\.ipynb took longer than 3 seconds"),
        ("import os; os._exit(7)", KernelDied, r"Cell 3 of n\.ipynb ended its process"),
    ],
)
def test_how_a_notebook_ended_is_told_apart(lake: Path, out: Path, cell: str, error: type[ReportError] | None, said: str) -> None:
    notebook = write_notebook(out.parent.parent / "n.ipynb", "# Title", "1", cell, "2")
    if error is None:
        run_report(notebook, lake=lake, out=out, cell_timeout=60)
        assert "A heading</h1>" in out.read_text()
    else:
        with pytest.raises(error, match=said):
            run_report(notebook, lake=lake, out=out, cell_timeout=3 if error is CellTimedOut else 60)
        assert_nothing_is_left(out)


def test_a_run_over_its_limit_is_ended_with_all_that_it_started(lake: Path, out: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        f"""
import os, subprocess, time
child = subprocess.Popen(["sleep", "60"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{os.getppid()}} {{child.pid}}")
time.sleep(60)
""",
    )
    # A busy machine may need longer than a short limit to get to the cell at all.
    for limit in (4, 12, 36):
        with pytest.raises(RunTimedOut, match=rf"n\.ipynb took longer than its limit of {limit} seconds"):
            run_report(notebook, lake=lake, out=out, timeout=limit)
        if pids.exists():
            break
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 3
    deadline = time.monotonic() + 5
    while any(map(is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, started))
    assert_nothing_is_left(out)


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_a_run_depends_on_this_python_and_not_on_the_callers_settings(
    lake: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("raise SystemExit('the user\\'s own start-up file')")
    kernels = tmp_path / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    (tmp_path / "papermill.py").write_text("raise ImportError('a file beside the notebook')")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONSTARTUP", "nowhere")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PLOTLY_RENDERER", "browser")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    notebook = write_notebook(
        tmp_path / "n {x}.ipynb",
        "import os, sys, time, json, pathlib",
        "json.dumps([sys.executable, str(pathlib.Path.cwd()), time.tzname[0], lake, at])",
    )
    run = run_report(notebook, lake=lake, out=out)
    page = out.read_text()
    # Without a cutoff the notebook is given the position of the lake's last event, so that a running export changes nothing.
    for text in (sys.executable, str(tmp_path), "UTC", str(lake), f", {run.position}]"):
        assert text in page


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"evry": "1d"}, "event_types.ipynb has no parameter 'evry': it declares lake: str"),
        (["every=1y"], "every=1y does not fit"),
        (["at=1"], "Give 'at' as an argument"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_starts(
    lake: Path, out: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, object] | list[str], said: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UsageError, match=said):
        run_report("event_types", lake=lake, out=out, parameters=parameters)
    assert_nothing_is_left(out)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("pages", "pages is a directory: name a file in it, such as .*pages/report.html"),
        ("pages/report.html/x.html", "pages/report.html is a file and not a directory"),
        ("pages/report.html/deep/x.html", "pages/report.html is a file and not a directory"),
        ("pages/" + "x" * 300, "cannot be written .File name too long.: name another file"),
        ("pipe", "pipe is no regular file"),
    ],
)
def test_a_place_where_no_page_can_go_is_refused_before_anything_starts(
    lake: Path, out: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    folder = out.parent.parent
    os.mkfifo(folder / "pipe")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UsageError, match=said):
        run_report("event_types", lake=lake, out=folder / place)
    assert_nothing_is_left(out)


def test_a_directory_that_may_not_be_written_to_is_refused_before_anything_starts(
    lake: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test that runs as root may write everywhere.
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != out.parent)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UsageError, match="You may not write to the directory"):
        run_report("event_types", lake=lake, out=out.parent / "new" / "x.html")
    assert_nothing_is_left(out)


def test_a_page_may_have_a_name_as_long_as_names_can_be(lake: Path, out: Path) -> None:
    page = out.with_name("x" * 250 + ".html")
    notebook = write_notebook(out.parent.parent / "n.ipynb", "# Title")
    assert run_report(notebook, lake=lake, out=page).page == page
    assert page.is_file()


@pytest.mark.parametrize(
    ("folder", "at", "error"),
    [("nowhere", None, LakeNotFound), ("lake", "2036-01-01", BeyondExport), ("lake", "2026-01-01T09:00:00", InvalidTime)],
)
def test_a_lake_that_cannot_answer_is_an_error_of_the_lake(
    lake: Path, out: Path, folder: str, at: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_report("event_types", lake=lake.parent / folder, out=out, at=at)
    assert_nothing_is_left(out)


def test_a_notebook_that_takes_no_cutoff_is_no_report(lake: Path, out: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", parameters="at: str = ''")
    with pytest.raises(ReportError, match=r"must declare `lake: str` and `at: str \| int \| None`"):
        run_report(notebook, lake=lake, out=out)
