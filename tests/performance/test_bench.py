"""``bench`` measures what it says, leaves nothing else in the lake, and what follows from a measurement follows from its numbers."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests.cli.test_failures import run, says
from tests.lake.histories import lake_of, row
from workbench.errors import LakeError, ReplayError, UsageError
from workbench.lake import Lake, open_lake
from workbench.performance import Measurement, bench, measurements, trend
from workbench.performance import run as run_module
from workbench.performance.result import Machine, QuestionTime, Rebuild, fitted
from workbench.projection import Projection, on

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
MACHINE = Machine("Linux x86_64", "A processor", 2, 2**33, "3.11.7", {"workbench": "0.1.0"})


def lake_in(path: Path) -> Lake:
    kinds = ["user.made", "user.grew", "user.grew", "other.seen"]
    rows = [row(10 * at, f"user-{at % 3}", revision=at, type=kinds[at % 4], data='{"name": "x", "by": 1}') for at in range(1, 41)]
    return lake_of(path, rows)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Measurement]:
    lake = lake_in(tmp_path_factory.mktemp("measured") / "lake")
    wb.materialise("user", lake)
    before = {entry for entry in Path(lake.path).rglob("*") if entry.is_file()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_module, "MOST_TYPES", 1)
        found = bench("user", lake, now=NOW)
    after = {entry for entry in Path(lake.path).rglob("*") if entry.is_file()}
    assert [entry.parent.name for entry in after - before] == ["measurements"]
    assert not before - after
    return lake, found


def test_every_rebuild_is_of_the_events_that_it_says(measured: tuple[Lake, Measurement]) -> None:
    _, found = measured
    runs = {(one.what, one.engine, one.run): one.events for one in found.rebuilds}
    assert found.events == 40
    assert [runs[what, "best", name] for what in ("a quarter", "half", "all") for name in ("cold", "warm")] == [10, 10, 20, 20, 40, 40]
    assert runs["engines side by side", "event by event", "cold"] == runs["engines side by side", "kernel", "warm"] == 40
    assert runs["user.grew alone", "kernel", "warm"] == 20
    assert runs["history to Parquet", "kernel", "cold"] == 40
    assert all(one.seconds > 0 and one.peak_bytes > 10**7 for one in found.rebuilds)
    stages = found.rebuilt.filter(engine="best").select("read", "decode", "order", "fold", "write")
    assert stages.null_count().row(0) == (0,) * 5


def test_questions_are_asked_with_and_without_what_is_materialised(measured: tuple[Lake, Measurement]) -> None:
    _, found = measured
    asked = {(one.question, one.is_materialised) for one in found.answers}
    names = {"state of all", "state of one", "history of one", "distribution of types", "count by SQL"}
    assert asked == {(name, kept) for name in names for kept in (False, True)}
    assert found.materialise_seconds is not None
    assert found.materialise_seconds > 0


def test_a_measurement_is_kept_and_read_back_as_it_was(measured: tuple[Lake, Measurement]) -> None:
    lake, found = measured
    assert measurements(lake) == [found]
    frame = trend(lake)
    assert frame.select("taken_at", "projection", "events").rows() == [(NOW, "user", 40)]
    assert wb.open(lake.path).timeline.count() == 40
    [file] = (Path(lake.path) / "measurements").iterdir()
    assert "host" not in file.read_text(encoding="utf-8").lower()


def test_charts_of_measurements_hold_their_numbers(measured: tuple[Lake, Measurement]) -> None:
    lake, found = measured
    chart = wb.charts.performance(found)
    read = next(trace for trace in chart.to_plotly_json()["data"] if trace["name"] == "read")
    assert list(read["x"]) == found.rebuilt.filter(engine="best", run="warm")["read"].to_list()
    over_time = wb.charts.performance(measurements(lake)).to_plotly_json()["data"][0]
    assert list(over_time["y"]) == trend(lake)["events_per_second"].to_list()
    with pytest.raises(UsageError, match="measurements of one projection, and these are of none"):
        wb.charts.performance([])


def measurement(*, seconds: tuple[float, float, float], write: float | None, kept: float | None, growth: float = 1000) -> Measurement:
    sizes = (250_000, 500_000, 1_000_000)
    rebuilds = tuple(
        Rebuild(what, "best", "warm", size, took, 0) for what, size, took in zip(("a quarter", "half", "all"), sizes, seconds, strict=True)
    )
    answers = () if kept is None else (QuestionTime("state of all", is_materialised=True, first=9, again=kept),)
    return Measurement(NOW, "User", 1, 10, 1_000_000, growth, MACHINE, rebuilds, answers, write, None)


def test_a_rebuild_is_forecast_at_the_growth_of_the_lake() -> None:
    found = measurement(seconds=(1.5, 2.5, 4.5), write=None, kept=None)
    assert found.cost == pytest.approx((0.5, 4e-6))
    assert found.forecast.rows() == [
        (days, 1_000_000 + 1000 * days, pytest.approx(0.5 + 4e-6 * (1_000_000 + 1000 * days))) for days in (0, 30, 90, 365)
    ]


def test_the_interval_that_is_advised_costs_least() -> None:
    found = measurement(seconds=(1.5, 2.5, 4.5), write=8.0, kept=0.1)
    advice = found.advice(questions_a_day=24)
    assert advice.pays
    assert advice.interval is not None

    def cost(interval: float) -> float:
        return 8.0 / interval + 24 / 1000 * (0.1 + 4e-6 * interval / 2)

    assert all(cost(advice.interval) <= cost(advice.interval * factor) for factor in (0.5, 0.9, 1.1, 2))
    assert "keep it every" in str(advice)
    assert not measurement(seconds=(1.5, 2.5, 4.5), write=8.0, kept=5.0).advice().pays
    assert "nothing of this projection can be kept" in str(measurement(seconds=(1, 2, 3), write=None, kept=None).advice())
    assert "does not grow" in str(measurement(seconds=(1, 2, 3), write=1.0, kept=0.1, growth=0).advice())


@given(st.lists(st.tuples(st.floats(1, 1e8), st.floats(0, 1e4)), max_size=5))
def test_a_line_through_points_never_falls_below_nothing(points: list[tuple[float, float]]) -> None:
    fixed, each = fitted(points)
    assert fixed >= 0
    assert each >= 0


def test_what_cannot_be_measured_gets_its_sentence(tmp_path: Path) -> None:
    class Here(Projection, category="user"):
        name: str | None
        handlers = (on("user.made").create("name"),)

    lake = lake_in(tmp_path / "lake")
    with pytest.raises(UsageError, match=r"name it FILE\.py:CLASS"):
        bench(Here, lake, now=NOW)
    with pytest.raises(UsageError, match="has no time zone"):
        bench("user", lake, now=NOW.replace(tzinfo=None))
    with pytest.raises(UsageError, match="no category"):
        bench("nobody", lake, now=NOW)
    (tmp_path / "absent.py").write_text(
        "from workbench import Projection, on\n\nclass A(Projection, category='absent'):\n    n: int = 0\n"
        "    handlers = (on('a').add(n=1),)\n"
    )
    with pytest.raises(UsageError, match="holds no events of A"):
        bench(f"{tmp_path / 'absent.py'}:A", lake, now=NOW)
    assert measurements(lake) == []
    folder = tmp_path / "lake" / "measurements"
    folder.mkdir()
    (folder / "x.json").write_text("{")
    with pytest.raises(LakeError, match="is not a readable measurement"):
        measurements(lake)
    opened = open_lake(tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "events")
    with pytest.raises((ReplayError, LakeError)):
        bench("user", opened, now=NOW + timedelta(days=1))


def test_the_command_shows_what_was_measured_before(measured: tuple[Lake, Measurement], tmp_path: Path) -> None:
    lake, _ = measured
    shown = run("bench", "--lake", lake.path, "--history")
    assert shown.exit_code == 0
    assert "A processor" not in shown.stdout
    assert "user" in shown.stdout
    says(run("bench", "--lake", lake.path), "--projection", "--history", status=2)
    empty = lake_in(tmp_path / "lake")
    assert run("bench", "--lake", empty.path, "--history", "--json").stdout.strip() == "[]"
