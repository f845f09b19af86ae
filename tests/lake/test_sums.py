"""What the log of a lake says is proved by its own sums: a lost commit or a changed value is an error, and never another answer."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from tests.lake.histories import Row, checkpoint_at, open_writer, row, rows_of, table, write
from workbench.cli.app import app
from workbench.errors import LakeDamaged, WorkbenchError
from workbench.lake import open_lake
from workbench.lake.files import clustering
from workbench.lake.files.format import FORMAT_VERSION

LOG = [row(10 * number, f"user-{number % 3}", revision=number // 3, type=f"type{number % 2}") for number in range(1, 17)]
OLDER = {"1": Path(__file__).parents[1] / "export" / "format-1.tar.xz", "2": Path(__file__).with_name("format-2.tar.xz")}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of four runs, of which two were clustered."""
    monkeypatch.setattr(clustering, "FAN", 2)
    write(tmp_path, LOG[:12], batch=6)
    with open_writer(tmp_path) as writer:
        assert writer.cluster().epochs == 1
        for first in (12, 14):
            writer.append(table(LOG[first : first + 2]), checkpoint_at(LOG[first + 1]))
    return tmp_path


def commits(lake: Path) -> list[Path]:
    return sorted((lake / "events" / "_delta_log").glob("*.json"))


def said(lake: Path) -> object:
    """Return all that the log says, from which every answer is made."""
    snapshot = open_lake(lake)._snapshot
    return snapshot.identity, snapshot.checkpoint, snapshot.leader, snapshot.files


def contents(lake: Path) -> list[Row]:
    return rows_of(open_lake(lake).timeline.with_system().events().collect())


def a_commit_of_events(lake: Path) -> Path:
    """Return the first commit, not the newest, that added a run of the newest version."""
    files = [name for name in (Path(file).name for file in open_lake(lake).files()) if name.startswith("run-")]
    return next(commit for commit in commits(lake)[:-1] if any(f'"add":{{"path":"{file}' in commit.read_text() for file in files))


def edited(commit: Path, change: Callable[[dict[str, Any]], Iterator[None]]) -> Iterator[None]:
    """Yield after each change of one action of a commit, and put the commit back in the end."""
    whole = commit.read_text()
    actions = [json.loads(line) for line in whole.splitlines()]
    for number, action in enumerate(actions):
        for _ in change(action):
            lines = [json.dumps(one) for one in actions]
            commit.write_text("\n".join(lines))
            yield
        actions[number] = json.loads(whole.splitlines()[number])
    commit.write_text(whole)


@pytest.mark.parametrize("damage", [lambda _: "", lambda text: text.splitlines()[0] + "\n"], ids=["emptied", "shortened"])
def test_a_commit_that_was_lost_is_found_by_every_opening_and_no_export_goes_on(lake: Path, damage: Callable[[str], str]) -> None:
    files = set((lake / "events").iterdir())
    commit = a_commit_of_events(lake)
    whole = commit.read_text()
    commit.write_text(damage(whole))
    for open_it in (open_lake, open_writer):
        with pytest.raises(LakeDamaged, match=r"_delta_log.*Restore it, or export into a new directory"):
            open_it(lake)
    commit.write_text(whole)
    assert set((lake / "events").iterdir()) == files
    assert contents(lake) == LOG


def test_a_clustering_that_was_lost_leaves_the_runs_that_it_merged(lake: Path) -> None:
    commits(lake)[-3].write_text("")
    assert contents(lake) == LOG


def test_a_newest_commit_that_was_lost_leaves_the_lake_as_it_was_before_it(lake: Path) -> None:
    commits(lake)[-1].write_text("")
    assert contents(lake) == LOG[:14]
    with open_writer(lake) as writer:
        assert writer.checkpoint == checkpoint_at(LOG[13])
        writer.append(table(LOG[14:]), checkpoint_at(LOG[-1]))
    assert contents(lake) == LOG


def test_no_value_of_the_statistics_can_be_edited_unseen(lake: Path) -> None:
    def change(action: dict[str, Any]) -> Iterator[None]:
        if "add" not in action:
            return
        statistics = json.loads(action["add"]["stats"])
        for bounds in (statistics["minValues"], statistics["maxValues"], statistics):
            for name, value in bounds.items():
                if name == "recorded_at":
                    bounds[name] = value.replace("2026", "2025")
                elif isinstance(value, (int, str)):
                    bounds[name] = value + 1 if isinstance(value, int) else value + "x"
                action["add"]["stats"] = json.dumps(statistics)
                if bounds[name] != value:
                    yield
                bounds[name] = value
        action["add"]["stats"] = json.dumps(statistics)
        action["add"]["size"] += 1
        yield

    edits = 0
    for commit in commits(lake)[-3:]:
        for _ in edited(commit, change):
            edits += 1
            with pytest.raises(LakeDamaged, match="damaged"):
                open_lake(lake)
    assert edits == 3 * (8 + 8 + 1 + 1)
    assert contents(lake) == LOG


def test_no_value_of_the_checkpoint_or_of_the_sums_can_be_edited_unseen(lake: Path) -> None:
    def change(action: dict[str, Any]) -> Iterator[None]:
        if "txn" in action:
            action["txn"]["version"] += 1
            yield

    edits = 0
    for commit in (commits(lake)[-3], commits(lake)[-1]):  # of the clustering, and of the newest export
        for _ in edited(commit, change):
            edits += 1
            with pytest.raises(LakeDamaged):
                open_lake(lake)
    assert edits == 10 + 5


def test_the_store_and_the_selection_of_a_lake_cannot_be_edited_unseen(lake: Path) -> None:
    first = commits(lake)[0]
    whole = first.read_text()
    for old, new in (("localhost", "elsewhere"), ('\\"system\\": false', '\\"system\\": true'), ("workbench.store", "workbench.other")):
        assert old in whole
        first.write_text(whole.replace(old, new))
        with pytest.raises(LakeDamaged):
            open_lake(lake)


def test_a_checkpoint_of_deltas_own_keeps_the_sums(lake: Path) -> None:
    before = said(lake)
    log = DeltaTable(str(lake / "events"))
    log.create_checkpoint()
    for commit in commits(lake)[:-1]:
        commit.unlink()
    assert said(lake) == before


def change_bytes(lake: Path, *, every: int) -> int:
    """Change single bits of the log, each alone, and make sure that each is found or changes nothing; return how many were found."""
    expected, found, chosen = said(lake), 0, random.Random(9)
    for file in sorted((lake / "events" / "_delta_log").iterdir()):
        whole = file.read_bytes()
        for at in range(chosen.randrange(every), len(whole), every):
            data = bytearray(whole)
            data[at] ^= 1 << chosen.randrange(8)
            file.write_bytes(data)
            try:
                assert said(lake) == expected, (file.name, at, bytes(data[max(0, at - 40) : at + 20]))
            except WorkbenchError:
                found += 1
        file.write_bytes(whole)
    return found


def test_a_changed_byte_of_the_log_is_found_or_changes_no_answer(lake: Path) -> None:
    assert change_bytes(lake, every=29) > 100


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_byte_of_the_log_can_change_an_answer_unseen(lake: Path) -> None:
    assert change_bytes(lake, every=1) > 5_000


def test_a_changed_byte_of_a_checkpoint_of_deltas_own_is_found_or_changes_no_answer(lake: Path) -> None:
    DeltaTable(str(lake / "events")).create_checkpoint()
    for commit in commits(lake):
        commit.unlink()
    assert change_bytes(lake, every=101) > 50


@pytest.fixture(params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A lake of an older format, as the workbench of that time wrote it."""
    with tarfile.open(OLDER[request.param]) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "lake"


def written_format(lake: Path) -> str:
    return str(DeltaTable(str(lake / "events")).metadata().configuration["workbench.format"])


def next_event(lake: Path) -> Row:
    last = open_lake(lake)._snapshot.checkpoint
    assert last is not None
    return row(last.position + 10, "user-new")


def test_a_lake_of_an_older_format_is_read_as_it_is(older: Path) -> None:
    before = {file: file.read_bytes() for file in older.rglob("*") if file.is_file()}
    assert len(contents(older)) == open_lake(older).info().events > 50
    open_lake(older).verify()
    assert {file: file.read_bytes() for file in older.rglob("*") if file.is_file()} == before


def test_the_next_append_makes_a_lake_of_an_older_format_one_of_the_present(older: Path) -> None:
    log, event = contents(older), next_event(older)
    store = open_lake(older)._snapshot.identity.store
    with open_writer(older, store=store) as writer:
        writer.append(table([event]), checkpoint_at(event))
    assert contents(older) == [*log, event]
    assert written_format(older) == str(FORMAT_VERSION)
    commit = a_commit_of_events(older)
    whole = commit.read_text()
    commit.write_text("")
    with pytest.raises(LakeDamaged):
        open_lake(older)
    commit.write_text(whole)
    with open_writer(older, store=store) as writer:
        writer.cluster()
    assert contents(older) == [*log, event]


def test_the_command_upgrades_a_lake_in_place_and_says_so(older: Path) -> None:
    log, checkpoint = contents(older), open_lake(older)._snapshot.checkpoint
    data = {file: file.read_bytes() for file in older.rglob("*.parquet")}
    result = CliRunner().invoke(app, ["upgrade", "--lake", str(older)])
    assert (result.exit_code, result.output) == (0, f"{older} is now a lake of format {FORMAT_VERSION}\n")
    assert written_format(older) == str(FORMAT_VERSION)
    assert (contents(older), open_lake(older)._snapshot.checkpoint) == (log, checkpoint)
    assert {file: file.read_bytes() for file in older.rglob("*.parquet")} == data
    commit = a_commit_of_events(older)
    whole = commit.read_text()
    commit.write_text("")
    with pytest.raises(LakeDamaged):
        open_lake(older)
    commit.write_text(whole)
    again = CliRunner().invoke(app, ["upgrade", "--lake", str(older)])
    assert (again.exit_code, again.output) == (0, f"{older} was already a lake of format {FORMAT_VERSION}\n")


def test_there_is_nothing_to_upgrade_where_there_is_no_lake(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["upgrade", "--lake", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "There is no lake at" in result.output
    assert not (tmp_path / "none").exists()


def test_an_upgrade_that_is_cut_off_between_its_two_commits_is_gone_on_with(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, event = contents(older), next_event(older)
    store = open_lake(older)._snapshot.identity.store
    with open_writer(older, store=store) as writer, monkeypatch.context() as patched:
        patched.setattr(writer, "_raise_format", lambda: None)
        assert writer.upgrade()
    assert contents(older) == log
    with open_writer(older, store=store) as writer:
        writer.append(table([event]), checkpoint_at(event))
    assert contents(older) == [*log, event]
    assert written_format(older) == str(FORMAT_VERSION)
