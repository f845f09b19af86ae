"""Two jobs that may write to one place are refused, and a job that replaces its own pages of one day."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import UsageError
from workbench.jobs import load_pipeline

HEAD = "schedule: 15 0 * * *\nsource: esdb://db.example\nlake: data/x\njobs:\n"


def load(place: Path, *jobs: str) -> None:
    file = place / "p.yaml"
    file.write_text(HEAD + "".join(f"  {name}: {{{job}}}\n" for name, job in zip("abc", jobs, strict=False)), encoding="utf-8")
    load_pipeline(file)


def report(out: str, schedule: str = "15 0 * * *") -> str:
    return f"notebook: event_types, schedule: '{schedule}', out: '{out}'"


def copy(out: str) -> str:
    return f"export: everything, formats: duckdb, out: '{out}'"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(report("a.html"), report("a.html"), id="the same place"),
        pytest.param(report("x/../a.html"), report("./a.{format}"), id="the same place, written otherwise"),
        pytest.param(report("{date}.html"), report("{date}.html", "0 0 * * 6"), id="the same place on some day"),
        pytest.param(report("{date}.html"), report("2026-03-01.html"), id="the same place on one day"),
        pytest.param(report("{time}.html"), report("{date}T0015Z.html"), id="the same place at some time"),
        pytest.param(report("$REPORTS/a.html"), report("$REPORTS/a.html"), id="under a variable that is not set"),
        pytest.param(report("a.html"), copy("a/run.duckdb"), id="in the directory of a run"),
        pytest.param(report("{date}.html"), report("2026-03-01.failed/a.html"), id="in the directory of a run that failed"),
        pytest.param(copy("{date}.duckdb"), copy("{date}.duckdb"), id="two copies"),
    ],
)
def test_two_jobs_that_may_write_to_one_place_are_refused(tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(
        UsageError, match=r"p\.yaml, line 6, column \d+: job p/b writes where job p/a at .*p\.yaml, line 5, column \d+ does"
    ):
        load(tmp_path, one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (report("{job}.html"), report("{job}.html")),
        (report("{date}.html"), report("{time}.html")),
        (report("{date}.html"), report("weekly.html")),
        (report("a/{date}.html"), report("b/{date}.html")),
        (report("{date}.html"), copy("{date}.duckdb")),
        (report("a.html"), report("ab.html")),
        (report("$ONE/a.html"), report("$TWO/a.html")),
    ],
)
def test_jobs_with_places_of_their_own_are_taken(tmp_path: Path, one: str, other: str) -> None:
    load(tmp_path, one, other)


@pytest.mark.parametrize("schedule", ["@hourly", "0 * * * *", "0,30 6 * * 1", "0 6-7 1 1 *"])
def test_a_job_that_runs_more_than_once_a_day_cannot_be_placed_by_its_day(tmp_path: Path, schedule: str) -> None:
    with pytest.raises(UsageError, match=r"line 5, column \d+: job 'a' runs more than once a day, and out has {date} and no {time}"):
        load(tmp_path, report("{date}.html", schedule))
    load(tmp_path, report("{time}.html", schedule))
    load(tmp_path, report("{date}/{time}.html", schedule))
    load(tmp_path, report("newest.html", schedule))


def test_a_job_that_runs_once_a_day_may_be_placed_by_its_day(tmp_path: Path) -> None:
    load(tmp_path, report("{date}.html", "30 6 * * 1-5"))
    load(tmp_path, report("{date}.html", "@daily"))
