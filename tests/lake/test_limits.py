"""A query that explodes ends within its limits, says which it was, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from tests.lake.histories import lake_of, row
from workbench.cli.app import app
from workbench.errors import LakeError, StorageFull, UsageError
from workbench.lake import open_lake
from workbench.lake.database import Database, QueryLimits

LOG = [row(10 * number, f"user-{number % 3}", revision=number // 3) for number in range(1, 21)]
EXPLODES = "select range, repeat(md5(range::varchar), 8) as long from range(1000000000) order by long"
HANGS = "select list_sort(list_transform(range(100000000), lambda x: hash(x)))"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own for temporary files."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", None)
    return place


def files_in(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file() and path.name != ".held"]


def test_a_query_that_spills_too_much_is_named_with_its_limits(tmp_path: Path, temporary: Path) -> None:
    lake_of(tmp_path / "lake", LOG)
    lake = open_lake(tmp_path / "lake", memory="200MB", spill="100MB")
    said = (
        r"The query 'select range, repeat.*' writes more than 95\.3 MiB of temporary files, beside 190\.7 MiB of memory\. .*WORKBENCH_SPILL"
    )
    with pytest.raises(LakeError, match=said), lake.reading(EXPLODES):
        lake.sql(EXPLODES).fetchall()
    assert lake.sql("select count(*) from events").fetchall() == [(len(LOG),)]
    assert sum(path.stat().st_size for path in files_in(temporary)) == 0


def test_a_query_that_needs_too_much_memory_is_named_with_its_limit(tmp_path: Path, temporary: Path) -> None:
    lake_of(tmp_path / "lake", LOG)
    query = "select list(repeat('x', 100)) from range(10000000)"
    done = CliRunner().invoke(app, ["sql", query, "--lake", str(tmp_path / "lake"), "--memory", "100MB"])
    assert done.exit_code == 1
    assert "The query \"select list(repeat('x', 100)) from range(10000000)\" needs more memory than 95.3 MiB." in done.stderr
    assert "--memory, WORKBENCH_MEMORY" in done.stderr
    assert not files_in(temporary)


def test_limits_come_from_the_environment_where_none_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MEMORY", "300MB")
    monkeypatch.setenv("WORKBENCH_SPILL", "200MB")
    lake_of(tmp_path / "lake", LOG)
    query = "select current_setting('memory_limit'), current_setting('max_temp_directory_size')"
    assert open_lake(tmp_path / "lake").sql(query).fetchall() == [("286.1 MiB", "190.7 MiB")]
    assert open_lake(tmp_path / "lake", memory="400MB").sql(query).fetchall() == [("381.4 MiB", "190.7 MiB")]


def test_without_limits_a_query_leaves_three_quarters_of_the_room_free(tmp_path: Path) -> None:
    ((spill,),) = lake_of(tmp_path / "lake", LOG).sql("select current_setting('max_temp_directory_size')").fetchall()
    units = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
    number, unit = str(spill).split()
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert 0 < float(number) * 1024 ** units[unit] < free / 3


@pytest.mark.parametrize("size", ["8", "much", "-1GB", "8 apples", ""])
def test_a_limit_that_is_no_size_is_refused(tmp_path: Path, size: str) -> None:
    with pytest.raises(UsageError, match=r"is not a valid limit for memory \(WORKBENCH_MEMORY\): write a size with its unit"):
        open_lake(tmp_path, memory=size)


def test_a_full_disk_of_temporary_files_is_not_said_of_the_lake(tmp_path: Path, temporary: Path) -> None:
    lake = lake_of(tmp_path / "lake", LOG)
    lake.sql("select 1")
    (folder,) = temporary.iterdir()
    said = f"No room is left in {folder} for the temporary files of a query: .* TMPDIR"
    with pytest.raises(StorageFull, match=said) as caught, lake.reading():
        # As DuckDB says it, for want of a full disk.
        raise duckdb.IOException(f'IO Error: Could not write file "{folder}/files/x.tmp": No space left on device')
    assert lake.path not in str(caught.value).replace(str(folder), "")


def test_the_folder_of_a_process_that_was_killed_is_swept_and_that_of_a_living_one_stays(tmp_path: Path, temporary: Path) -> None:
    lake = lake_of(tmp_path / "lake", LOG)
    holding = (
        "import sys, workbench as wb; lake = wb.open(sys.argv[1]); lake.sql('select 1').fetchall(); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", holding, lake.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (theirs,) = temporary.iterdir()
        lake.sql("select 1")
        assert len(list(temporary.iterdir())) == 2
        assert theirs.is_dir()
        other.kill()
        other.wait()
    assert theirs.is_dir()
    database = Database(QueryLimits())
    database.cursor()
    assert not theirs.exists()
    assert len(list(temporary.iterdir())) == 2


def test_a_folder_that_another_process_sweeps_before_it_is_opened_is_made_again(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir
    made: list[Path] = []

    def swept_at_once(folder: Path, *flags: Any, **more: Any) -> None:
        make(folder, *flags, **more)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", swept_at_once)
    database = Database(QueryLimits())
    database.cursor()
    assert len(made) == 2
    assert list(temporary.iterdir()) == [made[1]]


@pytest.mark.parametrize(
    ("query", "number", "line"), [(EXPLODES, signal.SIGINT, "Stopped."), (HANGS, signal.SIGTERM, "Stopped by SIGTERM.")]
)
def test_a_signal_ends_a_query_at_once_and_leaves_no_temporary_files(
    tmp_path: Path, temporary: Path, query: str, number: signal.Signals, line: str
) -> None:
    lake = lake_of(tmp_path / "lake", LOG)
    command = [sys.executable, "-m", "workbench", "sql", query, "--lake", lake.path, "--memory", "1GB", "--spill", "10GB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sql:
        began = time.monotonic()
        while not list(temporary.iterdir()) and time.monotonic() < began + 120:
            time.sleep(0.1)
        time.sleep(2)  # until the query runs
        sql.send_signal(number)
        sent = time.monotonic()
        out, err = sql.communicate(timeout=60)
        took = time.monotonic() - sent
    assert (sql.returncode, out) == (128 + number, "")
    assert err == f"workbench: {line} What was committed is kept, and nothing else.\n"
    assert not list(temporary.iterdir())
    assert took < 20  # two seconds on a machine that has nothing else to do
