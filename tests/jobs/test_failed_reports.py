"""A scheduled report that failed keeps its record and its notebook, beside where its page would be, until one succeeds there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.jobs.jobs import NIGHTLY, SetClock, Work, pipeline_of, scheduler_of
from tests.lakes import community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.jobs import Ledger, Scheduler
from workbench.jobs.supervisor import Ended
from workbench.jobs.worker import Request
from workbench.reports import read_record
from workbench.reports.record import EXECUTED, RECORD

AT = datetime(2026, 2, 1, tzinfo=UTC)
TEXT = "schedule: 0 0 * * *\nlake: lake\njobs:\n  r: {notebook: n.ipynb, out: 'out/{date}.html', limits: LIMITS}\n"


def scheduler(place: Path, *, limits: str = "{}") -> Scheduler:
    if not (place / "lake").exists():
        write_lake(place / "lake", community(20))
    text = TEXT.replace("LIMITS", limits) if limits != "{}" else TEXT.replace(", limits: LIMITS", "")
    return Scheduler([pipeline_of(place, text)], ledger=Ledger(place / "ledger.sqlite"))


def test_a_report_that_fails_keeps_its_record_and_notebook_until_one_succeeds(tmp_path: Path) -> None:
    failed = tmp_path / "out" / "2026-02-01.failed"
    write_notebook(tmp_path / "n.ipynb", "'before'", "1 / 0")
    done = scheduler(tmp_path).run("p/r", scheduled_at=AT)
    assert (done.outcome, done.state) == ("failed", "failed")
    assert done.message.startswith("Cell 3 of n.ipynb failed with ZeroDivisionError: division by zero.")
    assert set(done.files) == {failed / RECORD, failed / EXECUTED}
    assert read_record(failed).outcome == "cell failed"
    assert "'before'" in (failed / EXECUTED).read_text(encoding="utf-8")
    assert list((tmp_path / "out").iterdir()) == [failed]
    write_notebook(tmp_path / "n.ipynb", "'repaired'")
    assert scheduler(tmp_path).run("p/r", scheduled_at=AT).outcome == "succeeded"
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"2026-02-01", "2026-02-01.html"}


@pytest.mark.parametrize(
    ("limits", "cell", "outcome", "said"),
    [
        ("{time: 15s}", "import time; time.sleep(300)", "timed out", "longer than its limit of 15 seconds"),
        ("{memory: 700 MB}", "import time; held = bytearray(b'x' * 700_000_000); time.sleep(300)", "out of memory", "limit of 700 MB"),
        ("{output: 1 MB}", "print('x' * 2_000_000)", "failed", "put out more than the 1 MB"),
    ],
)
def test_a_report_over_its_limits_keeps_them_too_and_says_what_to_raise(
    tmp_path: Path, limits: str, cell: str, outcome: str, said: str
) -> None:
    write_notebook(tmp_path / "n.ipynb", cell)
    done = scheduler(tmp_path, limits=limits).run("p/r", scheduled_at=AT)
    assert done.outcome == outcome
    assert said in done.message
    word = limits.strip("{}").partition(":")[0]
    assert f"raise limits: {{{word}: …}}" in done.message
    assert (tmp_path / "out" / "2026-02-01.failed" / RECORD).exists()


def test_failures_are_removed_like_reports_and_take_the_place_of_none(tmp_path: Path) -> None:
    def fails_or_not(request: Request, number: int) -> Ended:
        page = Path(request.files["html"])
        if number in (1, 5):
            page.write_text("a page", encoding="utf-8")
            return Ended("succeeded", 1.0)
        page.with_suffix(".failed").mkdir()
        (page.with_suffix(".failed") / RECORD).write_text("{}", encoding="utf-8")
        return Ended("failed", 1.0, "It did not work.", permanent=True)

    text = "retention: {runs: 2}\n" + NIGHTLY.replace("needs: copy, ", "").replace("{time}", "{date}")
    text = text.replace("  copy: {export: everything}\n", "")
    clock, work, left = SetClock.at("2026-03-01T00:15:00Z"), Work(fails_or_not), []
    for _ in range(5):
        assert len(list(scheduler_of(tmp_path, text, clock, work).due())) == 1
        left.append(sorted(one.name for one in (tmp_path / "out").iterdir()))
        clock.on(days=1)
    assert left == [
        ["2026-03-01.html"],
        ["2026-03-01.html", "2026-03-02.failed"],
        ["2026-03-01.html", "2026-03-02.failed", "2026-03-03.failed"],
        ["2026-03-01.html", "2026-03-03.failed", "2026-03-04.failed"],
        ["2026-03-01.html", "2026-03-03.failed", "2026-03-04.failed", "2026-03-05.html"],
    ]
