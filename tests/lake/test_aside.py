"""What a killed process left where it built a DuckDB file goes; what a living one builds stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import workbench as wb
from tests.lake.histories import lake_of, row

_BUILD = """
import sys, pathlib, duckdb
from workbench.lake.aside import built_aside
with built_aside(pathlib.Path(sys.argv[1])) as building:
    connection = duckdb.connect(str(building))
    connection.execute("create table t as select * from range(100000)")
    connection.execute("insert into t values (1)")
    print(building.name, flush=True)
    sys.stdin.read()
"""
LOG = [row(10 * number, "user-1", revision=number) for number in range(1, 5)]


def write_copy(lake: wb.Lake, file: Path) -> None:
    lake.write_duckdb(file)


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def publish(lake: wb.Lake, file: Path) -> None:
    wb.publish(lake.timeline, to=file)


@pytest.mark.parametrize("write", [write_copy, publish])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_builds_is_kept(
    tmp_path: Path, write: Callable[[wb.Lake, Path], None]
) -> None:
    lake, file = lake_of(tmp_path / "lake", LOG), tmp_path / "out" / "copy.duckdb"
    file.parent.mkdir()
    builders = [
        subprocess.Popen([sys.executable, "-c", _BUILD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        names = [builder.stdout.readline().strip() for builder in builders if builder.stdout is not None]
        builders[0].kill()
        builders[0].wait()
        (file.parent / f".copy.duckdb.{'0' * 12}").touch()
        (file.parent / f".copy.duckdb.{'1' * 12}.wal").touch()
        (file.parent / ".copy.duckdb.mine").touch()
        assert names[0] in names_in(file.parent)
        write(lake, file)
        left = {name for name in names_in(file.parent) if not name.startswith(names[1])}
        assert left == {"copy.duckdb", ".copy.duckdb.mine"}
        assert names[1] in names_in(file.parent)
    finally:
        for builder in builders:
            builder.kill()
            builder.communicate()
