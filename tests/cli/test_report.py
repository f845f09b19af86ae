"""``workbench report``: runs are kept, listed and verified, and exit statuses say what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.lakes import community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.cli.app import app


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a lake, a notebook, and one kept run of it."""
    folder = tmp_path_factory.mktemp("place")
    write_lake(folder / "lake", community(60))
    write_notebook(folder / "n.ipynb", "# Found", "most, at", parameters="most: int = 3")
    words = ("--lake", str(folder / "lake"), "--runs", str(folder / "runs"), "--param", "most=4", "--memory", "2GB", "--timeout", "90")
    done = report("run", str(folder / "n.ipynb"), *words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout.startswith(f"{run_of(folder)}/report.html: open it in a browser")
    return folder


def report(*words: str) -> Result:
    return CliRunner().invoke(app, ["report", *words])


def run_of(folder: Path) -> Path:
    [run] = (folder / "runs").glob("n-*")
    return run


def test_runs_are_listed_with_what_became_of_them(place: Path) -> None:
    [listed] = json.loads(report("list", "--runs", str(place / "runs"), "--json").stdout)
    assert (listed["run"], listed["outcome"], listed["position"], listed["message"]) == (run_of(place).name, "succeeded", 6000, "")
    record = json.loads((run_of(place) / "run.json").read_text(encoding="utf-8"))
    assert record["asked"]["limits"] == {"cell_timeout": 600, "timeout": 90, "memory": 2_000_000_000, "output": 50_000_000}
    assert "succeeded" in report("list", "--runs", str(place / "runs")).stdout


def test_a_page_without_a_place_is_named_for_its_notebook(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = report("run", str(place / "n.ipynb"), "--lake", str(place / "lake"), "--at", "3000")
    assert (done.exit_code, done.stdout) == (0, "n.html: open it in a browser; it needs no network.\n")
    assert [one.name for one in tmp_path.iterdir()] == ["n.html"]


def test_the_index_is_written_on_request(place: Path) -> None:
    (place / "runs" / "index.html").unlink()
    assert report("index", "--runs", str(place / "runs")).stdout.startswith(f"{place}/runs/index.html: open it")
    assert "Found" in (place / "runs" / "index.html").read_text(encoding="utf-8")


def test_a_run_that_gives_the_same_page_again_ends_with_0_and_one_that_does_not_with_3(place: Path, tmp_path: Path) -> None:
    run = run_of(place)
    same = report("verify", str(run))
    assert (same.exit_code, same.stdout) == (0, f"{run}: the same page, to the byte.\n")
    other = write_notebook(tmp_path / "n.ipynb", "# Found", "most, at, 'more'", parameters="most: int = 3")
    differs = report("verify", str(run), "--notebook", str(other), "--out", str(tmp_path / "new.html"))
    assert differs.exit_code == 3
    assert differs.stdout.splitlines()[:2] == [f"{run}: the page differs.", "  notebook: n was changed."]
    assert "more" in (tmp_path / "new.html").read_text(encoding="utf-8")
    told = report("verify", str(run), "--notebook", str(other), "--json")
    assert told.exit_code == 3
    assert json.loads(told.stdout)["differences"] == [{"what": "notebook", "said": "n was changed."}]


def test_what_cannot_be_verified_ends_with_1_and_names_what_is_missing(place: Path, tmp_path: Path) -> None:
    for words, said in (
        ((str(tmp_path),), "is no run of a report"),
        ((str(run_of(place)), "--lake", str(tmp_path / "nowhere")), "There is no lake"),
        ((str(run_of(place)), "--notebook", str(tmp_path / "gone.ipynb")), "cannot be done again: There is no notebook"),
    ):
        failed = report("verify", *words)
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert said in failed.stderr


def test_a_failed_run_ends_with_1_and_says_where_it_is_kept(place: Path, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "1 / 0")
    failed = report("run", str(notebook), "--lake", str(place / "lake"), "--runs", str(tmp_path / "runs"))
    assert failed.exit_code == 1
    assert "Cell 2 of n.ipynb failed with ZeroDivisionError" in failed.stderr
    assert f"What came of it is kept in {tmp_path}/runs/n-" in failed.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--runs", "runs", "--out", "x.html"), "Say where the report goes"),
        (("--runs", "runs", "--memory", "lots"), "'lots' is not a size: write a number and one of MB, GB, MiB, GiB, as in 2GB"),
    ],
)
def test_a_call_that_cannot_be_meant_ends_with_2(place: Path, words: tuple[str, ...], said: str) -> None:
    refused = report("run", str(place / "n.ipynb"), "--lake", str(place / "lake"), *words)
    assert refused.exit_code == 2
    assert said in refused.stderr
