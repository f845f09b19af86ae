"""However a run ends, no process of it goes on, and no file of it is left: also where whoever ran it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it brings no types
import pytest

from tests.lakes import community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.errors import ReportError
from workbench.reports import run_report

STARTS = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
started = [
    subprocess.Popen(sleep),
    subprocess.Popen(sleep, start_new_session=True),
    *([subprocess.Popen(sleep, start_new_session=True, env={})] if sys.platform == "linux" else []),
]
# One whose parent is gone: it was started by a shell that has ended.
orphan = subprocess.run(f"{sys.executable} -c 'import time; time.sleep(300)' >/dev/null 2>&1 & echo $!", shell=True, text=True,
    start_new_session=True, stdout=subprocess.PIPE).stdout
with open("pids.part", "w") as file:
    print(os.getppid(), os.getpid(), *(one.pid for one in started), orphan, file=file)
os.rename("pids.part", "pids")
"""
"""A cell that writes down the ids of the run's process, its kernel, and what it starts and detaches."""

DEADLINE = 60


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake") / "lake", community(20))


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def started_by(folder: Path) -> list[psutil.Process]:
    """Return the processes that a notebook wrote down, as far as they run."""
    pids = map(int, (folder / "pids").read_text().split())
    return [one for pid in pids if psutil.pid_exists(pid) and (one := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE]


COMMAND = "from workbench.cli.app import app; app()"
CALL = "import sys, workbench; workbench.reports.run_report(sys.argv[3], lake=sys.argv[5], **{sys.argv[6].strip('-'): sys.argv[7]})"


@pytest.mark.parametrize(
    ("program", "end", "keep"),
    [
        pytest.param(COMMAND, signal.SIGKILL, "--runs", id="command-killed"),
        pytest.param(COMMAND, signal.SIGTERM, "--out", id="command-terminated"),
        pytest.param(CALL, signal.SIGTERM, "--out", id="call-terminated"),
    ],
)
def test_a_runner_that_is_ended_takes_all_processes_and_files_of_its_run_with_it(
    lake: Path, tmp_path: Path, program: str, end: signal.Signals, keep: str
) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", STARTS, "time.sleep(300)")
    temporary, made = tmp_path / "t", tmp_path / "made"
    temporary.mkdir()
    made.mkdir()
    place = made if keep == "--runs" else made / "r.html"
    words = [sys.executable, "-c", program, "report", "run", str(notebook), "--lake", str(lake), keep, str(place)]
    runner = subprocess.Popen(words, env=os.environ | {"TMPDIR": str(temporary)}, stderr=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "pids").exists)
        processes = started_by(tmp_path)
        assert len(processes) == len((tmp_path / "pids").read_text().split())
        assert len([one for one in temporary.iterdir() if not one.name.startswith("workbench-queries-")]) == 1
        runner.send_signal(end)
        runner.wait(DEADLINE)
    finally:
        runner.kill()
        runner.wait()
    _, left = psutil.wait_procs(processes, timeout=DEADLINE)
    assert left == []
    # The folder of its queries' temporary files is removed by the next command, since nobody holds it any more.
    ask = [sys.executable, "-m", "workbench", "sql", "select 1", "--lake", str(lake)]
    subprocess.run(ask, env=os.environ | {"TMPDIR": str(temporary)}, check=True, capture_output=True)
    wait_for(lambda: {one.name for one in made.iterdir()} <= {".lock"} and list(temporary.iterdir()) == [])


def test_what_a_notebook_detaches_ends_with_its_run(lake: Path, tmp_path: Path) -> None:
    run_report(write_notebook(tmp_path / "n.ipynb", STARTS), lake=lake, out=tmp_path / "r.html")
    assert started_by(tmp_path) == []


def test_a_run_whose_own_process_is_killed_leaves_no_other_process(lake: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", STARTS.replace("env={}", "env=os.environ"), "os.kill(os.getppid(), 9); time.sleep(300)")
    with pytest.raises(ReportError, match=r"The process that ran n\.ipynb ended with status -9"):
        run_report(notebook, lake=lake, out=tmp_path / "r.html")
    assert started_by(tmp_path) == []


def test_temporary_files_of_a_notebook_end_with_its_run(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    notebook = write_notebook(tmp_path / "n.ipynb", "import tempfile\nplace = tempfile.mkdtemp()\nopen('place', 'w').write(place)")
    run_report(notebook, lake=lake, out=tmp_path / "r.html")
    place = Path((tmp_path / "place").read_text())
    assert place.is_relative_to(tmp_path)
    assert not place.exists()
