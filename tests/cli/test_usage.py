"""``workbench lifespans``, ``drift``, ``store`` and ``activity``: each is the library's answer, as a table, JSON or a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import workbench as wb
from tests.sample.lake import write_sample
from workbench import event
from workbench.cli.app import app
from workbench.cli.usage import ActivityTable, StoreTable
from workbench.sample import generate

WHO = ("activity", "--actor", "metadata.userId")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_sample(tmp_path_factory.mktemp("lake"), list(generate(events=3000, seed=5).events())))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def told(*words: str) -> list[dict[str, Any]]:
    result = run(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("table", get_args(StoreTable))
def test_every_table_of_a_store_report_is_the_librarys(lake: str, tmp_path: Path, table: str) -> None:
    out = tmp_path / "out.parquet"
    words = ("usage", "--lake", lake, "--table", table, "--snapshots", "*.snapshot", "--tz", "Europe/Berlin")
    assert run(*words, "--out", str(out)).exit_code == 0
    expected = getattr(wb.store_usage(wb.open(lake).timeline, snapshots="*.snapshot", tz="Europe/Berlin"), table)
    assert pl.read_parquet(out).equals(expected)
    shown = run(*words)
    assert shown.exit_code == 0
    assert "up to position" in shown.stderr


@pytest.mark.parametrize("table", get_args(ActivityTable))
def test_every_table_of_an_activity_is_the_librarys(lake: str, tmp_path: Path, table: str) -> None:
    out = tmp_path / "out.parquet"
    words = (*WHO, "--lake", lake, "--table", table, "--action", "user.*", "--action", "chat.*", "--cohorts", "1mo")
    assert run(*words, "--out", str(out)).exit_code == 0
    found = wb.activity(wb.open(lake).timeline, actor=event.metadata["userId"], actions=["user.*", "chat.*"], cohorts="1mo")
    assert pl.read_parquet(out).equals(getattr(found, table))
    assert run(*words).exit_code == 0


def test_drift_compares_what_was_up_to_a_time_with_what_came_after_it(lake: str) -> None:
    now = wb.open(lake).timeline
    rows = told("drift", "--lake", lake, "--from", "2026-02-01", "--at", "2026-03-01", "--by", "category")
    expected = wb.drift(now.upto("2026-02-01"), now.upto("2026-03-01").after("2026-02-01"), by="category")
    assert [row["category"] for row in rows] == expected.terms["category"].to_list()
    assert [row["contribution"] for row in rows] == pytest.approx(expected.terms["contribution"].to_list())
    assert str(expected) in run("drift", "--lake", lake, "--from", "2026-02-01", "--at", "2026-03-01", "--by", "category").stderr


def test_drift_compares_what_was_recorded_with_a_what_if(lake: str) -> None:
    rows = told("drift", "--lake", lake, "--scenario", "no-deletions")
    assert rows[0]["fate"] == "shrunk"
    assert sum(row["before"] for row in rows) == wb.open(lake).timeline.count() > sum(row["after"] for row in rows)


def test_drift_of_one_history_alone_is_wrong_use(lake: str) -> None:
    result = run("drift", "--lake", lake)
    assert (result.exit_code, "give --from, or --scenario" in result.stderr) == (2, True)


def test_lifespans_are_the_librarys(lake: str) -> None:
    rows = told("lifespans", "--lake", lake, "--every", "1mo", "--by", "category")
    expected = wb.lifespans(wb.open(lake).timeline, every="1mo", by="category")
    assert [(row["category"], row["count"], row["is_new"]) for row in rows] == expected.select("category", "count", "is_new").rows()
    assert run("lifespans", "--lake", lake).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("activity", "--actor", "userId"), "data.userId"),
        (("activity", "--actor", "metadata"), "name the value in it"),
        (("activity", "--actor", "metadata.a b"), "b is not allowed here"),
        (("usage", "--tz", "Nowhere"), "IANA name"),
        (("lifespans", "--out", "nowhere/x.csv"), "no directory"),
    ],
)
def test_wrong_use_is_said_in_one_sentence(lake: str, words: tuple[str, ...], said: str) -> None:
    result = run(*words, "--lake", lake)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert len(result.stderr.splitlines()) == 1
