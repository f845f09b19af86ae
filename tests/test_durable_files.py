"""Files are whole or absent, and a lock or a folder belongs to one process until that process ends, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.errors import LakeBusy
from workbench.host.durable_files import locked, staged, staged_alone, take_lock, written_aside

BUSY = LakeBusy("It is held.")


@contextmanager
def another_process(code: str, *words: object) -> Iterator[Callable[[], None]]:
    """Run code in another process until it prints a line; give what kills that process."""
    other = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None

    def kill() -> None:
        other.kill()
        other.wait()

    try:
        assert other.stdout.readline() == "ready\n"
        yield kill
    finally:
        kill()
        other.stdout.close()


HOLD = """
import sys, time
from pathlib import Path
from workbench.host.durable_files import locked, staged
with {call}:
    print("ready", flush=True)
    time.sleep(300)
"""


def test_a_lock_belongs_to_one_process_and_ends_with_it_when_it_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with another_process(HOLD.format(call="locked(Path(sys.argv[1]))"), file) as kill:
        with pytest.raises(LakeBusy, match="It is held"):
            take_lock(file, busy=BUSY)
        kill()
        with locked(file, busy=BUSY), pytest.raises(LakeBusy), locked(file, busy=BUSY):
            pass
    with locked(file, busy=BUSY):
        assert file.exists()


def test_a_new_folder_is_removed_after_its_block_and_by_the_next_process_where_its_own_was_killed(tmp_path: Path) -> None:
    with another_process(HOLD.format(call='staged(Path(sys.argv[1]), ".x.*.part")'), tmp_path) as kill:
        [theirs] = tmp_path.iterdir()
        with staged(tmp_path, ".x.*.part") as ours:
            assert set(tmp_path.iterdir()) == {theirs, ours}
        kill()
        with staged(tmp_path, ".x.*.part") as ours:
            assert list(tmp_path.iterdir()) == [ours]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_one_process_at_a_time_is_empty_whatever_a_killed_one_left(tmp_path: Path) -> None:
    folder = tmp_path / "made" / ".staging"
    (folder / "left").mkdir(parents=True)
    (folder / "file").write_text("left")
    with staged_alone(folder, busy=BUSY) as ours, pytest.raises(LakeBusy), staged_alone(folder, busy=BUSY):
        assert [one.name for one in ours.iterdir()] == [".held"]
    assert not folder.exists()


def test_a_file_that_is_not_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), written_aside(target) as part:
        part.write_text("half \ud800", encoding="utf-8")
    assert target.read_text() == "old"
    with written_aside(target) as part:
        part.write_text("new")
    assert (target.read_text(), [one.name for one in tmp_path.iterdir()]) == ("new", ["a.txt"])
