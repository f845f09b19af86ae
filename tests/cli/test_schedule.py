"""``check``, ``schedule`` and ``metrics``: what they print, how they end, and what goes wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.dated import undated
from tests.cli.test_failures import run, says
from tests.lakes import community, write_lake
from tests.stores import Store
from workbench.jobs import load_pipeline
from workbench.jobs.emit import emit

SYSTEMD = shutil.which("systemd-analyze")
"""Checks units where it is installed; the texts are looked at in any case."""

PIPELINE = """\
zone: Europe/Berlin
schedule: 0 1 * * *
since: 2026-03-01
catch_up: all
source: $STORE
lake: lake
jobs:
  copy: {export: everything}
"""


@pytest.fixture
def place(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "orders.yaml").write_text(PIPELINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORE", store.uri)
    monkeypatch.delenv("WORKBENCH_LEDGER", raising=False)
    return tmp_path


def test_check_says_what_is_there(place: Path) -> None:
    (place / "pipelines" / "scenarios").mkdir()
    (place / "pipelines" / "scenarios" / "a.yaml").write_text("name: no a\nedits: [drop: {stream: a}]\n", encoding="utf-8")
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "pipelines/orders.yaml: pipeline orders, with copy; needs STORE in the environment",
        "pipelines/scenarios/a.yaml: scenario no a",
    ]


def test_check_names_every_error_with_file_line_and_column(place: Path) -> None:
    broken = PIPELINE.replace("0 1 * * *", "0 25 * * *") + "  report: {notebook: event_typos, out: a.html}\n"
    (place / "pipelines" / "broken.yaml").write_text(broken, encoding="utf-8")
    (place / "pipelines" / "empty.yaml").write_text("", encoding="utf-8")
    result = run("check")
    assert result.exit_code == 2
    assert result.stdout.startswith("pipelines/orders.yaml: pipeline orders")
    first, second, third = result.stderr.splitlines()
    assert first.startswith("workbench: pipelines/broken.yaml, line 2, column 11: '0 25 * * *' is no schedule (bad hour)")
    assert second.startswith("workbench: pipelines/broken.yaml, line 9, column 22: There is no notebook 'event_typos'")
    assert third == "workbench: pipelines/empty.yaml is empty: a pipeline must have jobs."


def test_check_refuses_two_pipelines_that_write_to_one_place(place: Path) -> None:
    report = "schedule: 0 0 * * *\nlake: lake\njobs:\n  r: {notebook: event_types, out: 'out/{date}.html'}\n"
    for name in ("a", "b"):
        (place / "pipelines" / f"{name}.yaml").write_text(report, encoding="utf-8")
    said = (
        "pipelines/b.yaml, line 4, column 35: job b/r writes where job a/r at pipelines/a.yaml, line 4, column 35 does, so that each "
        "replaces and removes the files of the other: give each a place of its own, as with {job} in out."
    )
    checked = run("check")
    assert (checked.exit_code, checked.stderr) == (2, f"workbench: {said}\n")
    says(run("schedule", "due"), said, status=2)


def test_without_pipelines_it_says_where_they_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["check"], ["schedule", "due"], ["metrics", "write", "--to", "a.prom"]):
        says(run(*words), "There is no pipeline in pipelines/", status=2)


def test_what_is_due_is_run_once_and_stands_in_the_history(place: Path) -> None:
    now = ["--now", "2026-03-02T00:00:00Z"]
    shown = run("schedule", "next", *now, "--rows", "1", "--json")
    assert json.loads(shown.stdout)[0] == {
        "job": "orders/copy",
        "scheduled_at": "2026-03-03T00:00:00Z",
        "local": "Tue 2026-03-03 01:00 Europe/Berlin",
        "schedule": "0 1 * * *",
    }
    done = run("schedule", "due", *now)
    assert done.exit_code == 0, (done.output, done.exception)
    first, second = undated(done.stdout).splitlines()
    assert first.startswith("2026-03-01T00:00:00Z orders/copy succeeded in ")
    assert second.startswith("2026-03-02T00:00:00Z orders/copy succeeded in ")
    again = run("schedule", "due", *now)
    assert (again.exit_code, again.stdout, undated(again.stderr)) == (0, "", "Nothing is due.\n")
    shown = run("schedule", "history", "--json")
    assert [(row["job"], row["scheduled_at"], row["state"], row["attempt"]) for row in json.loads(shown.stdout)] == [
        ("orders/copy", "2026-03-02T00:00:00Z", "succeeded", 1),
        ("orders/copy", "2026-03-01T00:00:00Z", "succeeded", 1),
    ]
    assert (place / "pipelines" / "schedule.sqlite").exists()


def test_a_job_that_fails_ends_it_with_status_1_and_its_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORE")
    result = run("schedule", "due", "--now", "2026-03-01T00:00:00Z")
    assert result.exit_code == 1
    assert "orders/copy failed in 0.0 s: The environment variable STORE is not set" in result.stdout
    shown = json.loads(run("schedule", "due", "--now", "2026-03-02T00:00:00Z", "--json").stdout)
    assert [(one["job"], one["outcome"], one["state"]) for one in shown["done"]] == [("orders/copy", "failed", "failed")]


def test_a_job_can_be_run_by_hand(place: Path) -> None:
    result = run("schedule", "run", "orders/copy", "--time", "2026-03-01T00:00:00Z")
    assert result.exit_code == 0, result.output
    assert "orders/copy succeeded" in result.stdout
    says(run("schedule", "run", "copy", "--time", "2026-03-01T00:00:00Z"), "There is no job 'copy'; there are orders/copy", status=2)
    says(run("schedule", "run", "orders/copy", "--time", "2026-03-01T00:00"), "has no time zone", status=2)


def test_ledgers_that_cannot_be_used_get_their_sentence(place: Path) -> None:
    says(run("schedule", "history"), "There is no ledger", "--ledger", status=1)
    (place / "notes.txt").write_text("x" * 200, encoding="utf-8")
    says(run("schedule", "due", "--ledger", place / "notes.txt"), "notes.txt cannot be", "file is not a database", status=1)
    says(run("schedule", "due", "--ledger", place / "notes.txt" / "l"), "The ledger", "cannot be made", status=1)
    says(run("schedule", "history", "--job", "copy", "--ledger", place / "l"), "There is no job 'copy'", status=2)
    (place / "other.yaml").write_text(PIPELINE, encoding="utf-8")
    says(run("schedule", "due", "pipelines/orders.yaml", "other.yaml"), "in several directories", "--ledger", status=2)


def test_emitted_texts_call_what_is_there(place: Path) -> None:
    odd = place / "a 100% $x"
    odd.mkdir()
    (odd / "p.yaml").write_text(PIPELINE, encoding="utf-8")
    *comments, line = run("schedule", "emit", "--to", "crontab", odd / "p.yaml").stdout.splitlines()
    assert "STORE" in " ".join(comments)
    words = shlex.split(line.replace("\\%", "%"))
    assert words[:5] == ["*"] * 5
    assert Path(words[5]).name == "workbench"
    assert words[6:] == ["schedule", "due", str(odd / "p.yaml"), "--ledger", str(odd / "schedule.sqlite")]
    assert "%" not in line.replace("\\%", "")
    unit = run("schedule", "emit", "--to", "systemd", odd / "p.yaml").stdout
    assert f'schedule serve "{place}/a 100%% $$x/p.yaml" --ledger "{place}/a 100%% $$x/schedule.sqlite"\n' in unit
    assert "password" not in unit.lower().replace("kurrentdb_password", "")


@pytest.mark.parametrize("name", ["it's", 'a "b"', "back\\slash", "100%", "$HOME", "semi;colon", "naïve", "a b"])
def test_a_unit_for_systemd_takes_every_path(place: Path, name: str) -> None:
    folder = place / name
    folder.mkdir()
    (folder / "p.yaml").write_text(PIPELINE, encoding="utf-8")
    program = folder / "workbench"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    unit = emit([load_pipeline(folder / "p.yaml")], to="systemd", ledger=folder / "ledger.sqlite", command=program)
    [command] = [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")]
    # In double quotes a shell and systemd read the same, once systemd's own % and $ are single.
    words = shlex.split(command.replace("%%", "%").replace("$$", "$"))
    assert words[-5:] == ["schedule", "serve", str(folder / "p.yaml"), "--ledger", str(folder / "ledger.sqlite")]
    assert str(program) in words
    assert re.fullmatch(r"[\w/.:@+-]+", words[0], re.ASCII)
    assert "'" not in command.replace("it's", "")
    if SYSTEMD is not None:
        (place / "a.service").write_text(unit, encoding="utf-8")
        checked = subprocess.run([SYSTEMD, "verify", place / "a.service"], capture_output=True, text=True, check=False)
        assert (checked.returncode, "a.service" in checked.stderr) == (0, False), checked.stderr


def test_a_path_that_cannot_stand_in_a_crontab_or_unit_is_refused(place: Path) -> None:
    (place / "a\nb.yaml").write_text(f"name: p\n{PIPELINE}", encoding="utf-8")
    for to in ("crontab", "systemd"):
        says(run("schedule", "emit", "--to", to, place / "a\nb.yaml"), "holds a character that cannot stand in a", status=2)


def test_a_server_runs_what_is_due_answers_prometheus_and_ends_cleanly(place: Path) -> None:
    words = [sys.executable, "-m", "workbench", "schedule", "serve", "--metrics-port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        assert undated(server.stdout.readline()).startswith("Waiting for orders/copy; ledger ")
        deadline = time.monotonic() + 60
        while 'job_attempts_total{job_name="orders/copy",outcome="succeeded"}' not in _read(url):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        rest = undated(server.stdout.read()).splitlines()
        assert server.wait(30) == 0
    assert all("orders/copy succeeded" in line for line in rest[:-1])
    assert rest[-1] == "Stopped."
    history = json.loads(run("schedule", "history", "--json").stdout)
    assert {row["outcome"] for row in history if row["state"] != "due"} == {"succeeded"}


def _read(url: str) -> str:
    with urlopen(url) as answer:
        text: str = answer.read().decode()
        return text


def test_metrics_go_into_a_file(place: Path) -> None:
    write_lake(place / "pipelines" / "lake", community(50))
    result = run("metrics", "write", "--to", place / "a.prom")
    assert (result.exit_code, result.stdout) == (0, f"{place / 'a.prom'}: written\n")
    assert 'workbench_events_total{lake="lake"} 50.0' in (place / "a.prom").read_text(encoding="utf-8")
    says(run("metrics", "write", "--to", place / "a.txt"), "does not end in .prom", status=2)
