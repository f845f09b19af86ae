"""Figures for Prometheus: they are what plain counting gives, rules and dashboard query nothing else, and a real Prometheus reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.test_failures import free_port
from tests.jobs.jobs import SetClock, Work, fails, pipeline_of, succeeds
from tests.lakes import START, Recorded, write_lake
from tests.network import ipv6
from tests.oracle import fill
from tests.stores import Store
from workbench.errors import UsageError, WorkbenchError
from workbench.export import export_log
from workbench.jobs import Ledger, Pipeline, Scheduler
from workbench.metrics import Figures, collector, lakes, serve_metrics, write_metrics

MONITORING = Path(__file__).parent.parent.parent / "pipelines" / "monitoring"
TEXT = """\
schedule: 0 * * * *
source: esdb://127.0.0.1:1?tls=false
lake: lake
jobs:
  copy: {export: everything}
  report: {notebook: event_types, needs: copy, out: "out/{time}.html"}
metrics: {actor: data.user.id, snapshots: "*.snapshot", types: 2, replay: [user]}
"""
UNTIL = START + timedelta(days=2)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def history() -> list[Recorded]:
    """Two days with an actor in most events, some snapshots, and texts that are no JSON objects."""
    kinds = ("seen", "moved", "paid")
    found = []
    for n in range(720):
        kind = "snapshot" if n % 10 == 0 else kinds[n % 3]
        actor = f'"u{n % 5}"' if n % 4 else "null"
        found.append(Recorded(f"user.{kind}", START + timedelta(minutes=4 * n), f"user-{n % 7}", f'{{"user": {{"id": {actor}}}}}'))
    found.append(Recorded("odd", UNTIL - timedelta(hours=1), "odd-1", '{"user": {"id": "\\ud800"}}'))
    return [*found, Recorded("$system", UNTIL - timedelta(minutes=30), "$settings", binary=b"\xff")]


def samples(text: str) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    return found[f"workbench_{name}", tuple(sorted(labels.items()))]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    write_lake(tmp_path / "lake", history(), complete_until=UNTIL)
    return pipeline_of(tmp_path, TEXT)


def written(pipeline: Pipeline, clock: SetClock, place: Path) -> Samples:
    figures = Figures([pipeline], ledger=Ledger(place / "ledger.sqlite", clock=clock), clock=clock)
    write_metrics(figures, place / "workbench.prom")
    return samples((place / "workbench.prom").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 5, "(other)": 4, "b": 2, "c": 1}, {"a": 5, "(other)": 7}),
        ({"a": 5, "b": 2, "(other)": 1}, {"a": 5, "b": 2, "(other)": 1}),
    ],
)
def test_a_type_that_is_named_like_the_rest_loses_no_events(tmp_path: Path, counts: dict[str, int], told: dict[str, int]) -> None:
    events = [Recorded(name, START + timedelta(minutes=n)) for name, count in counts.items() for n in range(count)]
    write_lake(tmp_path / "lake", sorted(events, key=lambda one: one.at), complete_until=UNTIL)
    found = written(pipeline_of(tmp_path, TEXT), SetClock(UNTIL), tmp_path)
    assert {dict(labels)["type"]: value for (name, labels), value in found.items() if name == "workbench_event_type_events"} == told


def test_figures_of_a_lake_are_what_plain_counting_gives(pipeline: Pipeline, tmp_path: Path) -> None:
    found = written(pipeline, SetClock(UNTIL + timedelta(hours=3)), tmp_path)
    events = [one for one in history() if not one.type.startswith("$")]
    day = [one for one in events if UNTIL - timedelta(days=1) < one.at <= UNTIL]
    actors = [
        str(actor) for one in day if one.data and "ud800" not in one.data and (actor := json.loads(one.data)["user"]["id"]) is not None
    ]
    types = Counter(one.type for one in events)
    (first, most), (second, more) = sorted(types.items(), key=lambda item: (-item[1], item[0]))[:2]
    assert of(found, "lake_up", lake="lake") == 1
    assert of(found, "lake_lag_seconds", lake="lake") == 3 * 3600
    assert of(found, "lake_complete_until_timestamp_seconds", lake="lake") == UNTIL.timestamp()
    assert of(found, "lake_position", lake="lake") == 100 * len(history())
    assert of(found, "lake_bytes", lake="lake") == sum(file.stat().st_size for file in (tmp_path / "lake" / "events").glob("*.parquet"))
    assert of(found, "events_total", lake="lake") == len(events)
    assert of(found, "streams", lake="lake") == 8
    for window, seconds in (("5m", 300), ("1h", 3600), ("1d", 86400)):
        count = sum(UNTIL - timedelta(seconds=seconds) < one.at <= UNTIL for one in events)
        assert of(found, "events_per_second", lake="lake", window=window) == pytest.approx(count / seconds)
    assert of(found, "snapshots_total", lake="lake") == types["user.snapshot"]
    assert of(found, "snapshots_per_day", lake="lake") == sum(one.type == "user.snapshot" for one in day)
    assert of(found, "user_actions_per_day", lake="lake") == len(actors)
    assert of(found, "active_users_per_day", lake="lake") == len(set(actors))
    by_type = {dict(labels)["type"]: value for (name, labels), value in found.items() if name == "workbench_event_type_events"}
    assert by_type == {first: most, second: more, "(other)": len(events) - most - more}
    assert {dict(labels)["query"] for name, labels in found if name == "workbench_query_seconds"} == {
        "types", "streams", "last day", "one stream",
    }  # fmt: skip
    assert of(found, "replay_entities", lake="lake", projection="user") == 7
    assert of(found, "replay_seconds", lake="lake", projection="user") > 0
    assert of(found, "memory_bytes") > 10**7
    assert of(found, "source_up", lake="lake") == 0
    assert ("workbench_lake_lag_bytes", (("lake", "lake"),)) not in found


def test_streams_and_users_are_no_labels(pipeline: Pipeline, tmp_path: Path) -> None:
    found = written(pipeline, SetClock(UNTIL), tmp_path)
    names = {name for _, labels in found for name, _ in labels}
    assert names == {"job_name", "lake", "window", "query", "projection", "type"}
    assert not any(re.search(r"user-\d|^u\d$", value) for _, labels in found for _, value in labels)


def test_figures_of_jobs_are_those_of_the_ledger(pipeline: Pipeline, tmp_path: Path) -> None:
    clock = SetClock(datetime(2026, 3, 1, 10, tzinfo=UTC))
    work = Work(lambda request, number: (fails() if request.work == "report" else succeeds)(request, number))
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    list(Scheduler([pipeline], ledger=ledger, clock=clock, perform=work).due())
    clock.on(minutes=90)
    found = written(pipeline, clock, tmp_path)
    copy, report = {"job_name": "p/copy"}, {"job_name": "p/report"}
    assert of(found, "job_attempts_total", **copy, outcome="succeeded") == 1
    assert of(found, "job_attempts_total", **report, outcome="failed") == 1
    assert of(found, "job_attempt_seconds_total", **copy, outcome="succeeded") == 1.5
    assert of(found, "export_events_total", **copy) == 3
    assert of(found, "job_last_success_timestamp_seconds", **copy) == datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
    assert of(found, "job_last_duration_seconds", **copy) == 1.5
    assert of(found, "job_last_peak_memory_bytes", **copy) == 1000
    assert (of(found, "job_last_run_failed", **copy), of(found, "job_last_run_failed", **report)) == (0, 1)
    assert of(found, "job_late_seconds", **copy) == 1800  # no scheduler was there at eleven
    assert of(found, "job_next_timestamp_seconds", **copy) == datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    assert ("workbench_job_last_success_timestamp_seconds", (("job_name", "p/report"),)) not in found


def test_a_lake_that_cannot_be_read_is_down_and_the_rest_is_given(tmp_path: Path) -> None:
    figures = Figures([pipeline_of(tmp_path, TEXT)], ledger=Ledger(tmp_path / "ledger.sqlite"))
    write_metrics(figures, tmp_path / "a.prom")
    found = samples((tmp_path / "a.prom").read_text(encoding="utf-8"))
    assert of(found, "lake_up", lake="lake") == 0
    assert of(found, "job_runs_due", job_name="p/copy") == 0
    assert "There is no lake" in figures.failures["lake"]


def test_the_store_says_how_far_its_log_goes_on(store: Store, tmp_path: Path) -> None:
    fill(store, 20)
    done = export_log(store.uri, tmp_path / "lake")
    fill(store, 20, begin=20)
    assert done.checkpoint is not None
    found = written(pipeline_of(tmp_path, TEXT.replace("esdb://127.0.0.1:1?tls=false", store.uri)), SetClock(UNTIL), tmp_path)
    assert of(found, "source_up", lake="lake") == 1
    assert of(found, "lake_lag_bytes", lake="lake") == of(found, "source_position", lake="lake") - done.checkpoint.position > 0


def test_a_lake_is_measured_again_only_when_it_has_changed(pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[lakes.WatchedLake] = []

    def counted(watched: lakes.WatchedLake) -> lakes.LakeFigures:
        measured.append(watched)
        return lakes.measure(watched)

    monkeypatch.setattr(collector, "measure", counted)
    figures = Figures([pipeline], ledger=Ledger(tmp_path / "ledger.sqlite"))
    figures.refresh()
    figures.refresh()
    assert len(measured) == 1
    shutil.rmtree(tmp_path / "lake")
    write_lake(tmp_path / "lake", history()[:5], complete_until=UNTIL)
    monkeypatch.setattr(collector, "REMEASURED_SECONDS", 0.0)
    figures.refresh()
    assert len(measured) == 2


def test_a_file_is_replaced_as_a_whole_or_not_at_all(pipeline: Pipeline, tmp_path: Path) -> None:
    figures = Figures([pipeline], ledger=Ledger(tmp_path / "ledger.sqlite"))
    with pytest.raises(UsageError, match=r"does not end in \.prom, and node_exporter reads no other files"):
        write_metrics(figures, tmp_path / "a.txt")
    with pytest.raises(WorkbenchError, match=r"cannot be written \(No such file or directory\)"):
        write_metrics(figures, tmp_path / "nowhere" / "a.prom")
    (tmp_path / "b").mkdir()
    write_metrics(figures, tmp_path / "b" / "a.prom")
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["a.prom"]


def test_an_endpoint_answers_on_this_machine_only(pipeline: Pipeline, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with serve_metrics([pipeline], ledger=ledger) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/metrics"
        with urlopen(server.url) as answer:
            found = samples(answer.read().decode())
        assert of(found, "events_total", lake="lake") == 721
        with pytest.raises(UsageError, match=rf"Metrics cannot be given at 127\.0\.0\.1:{server.port}"):
            serve_metrics([pipeline], ledger=ledger, port=server.port).__enter__()


@ipv6
def test_an_endpoint_answers_at_an_ipv6_address(pipeline: Pipeline, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with serve_metrics([pipeline], ledger=ledger, host="::1") as server:
        with urlopen(server.url) as answer:
            assert of(samples(answer.read().decode()), "events_total", lake="lake") == 721
        with pytest.raises(UsageError, match=rf"Metrics cannot be given at \[::1\]:{server.port}"):
            serve_metrics([pipeline], ledger=ledger, host="::1", port=server.port).__enter__()


def queried() -> dict[str, list[str]]:
    """Return every expression of the rules and of the dashboard, by where it stands."""
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    found = {rule["alert"]: [rule["expr"]] for group in rules["groups"] for rule in group["rules"]}
    found |= {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in dashboard["panels"]}
    return found | {one["name"]: [one["query"]["query"]] for one in dashboard["templating"]["list"] if one["type"] == "query"}


def test_rules_and_dashboard_query_what_is_there(store: Store, tmp_path: Path) -> None:
    write_lake(tmp_path / "lake", history(), complete_until=UNTIL)
    pipeline = pipeline_of(tmp_path, TEXT.replace("esdb://127.0.0.1:1?tls=false", store.uri))
    clock = SetClock(datetime(2026, 3, 1, 10, tzinfo=UTC))
    store_is_asked = Scheduler([pipeline], ledger=Ledger(tmp_path / "ledger.sqlite", clock=clock), clock=clock, perform=Work())
    list(store_is_asked.due())
    fill(store, 3)
    names = {name for name, _ in written(pipeline, clock, tmp_path)}
    labels = {"job_name", "lake", "window", "query", "projection", "type", "outcome"}
    asked = queried()
    assert len(asked) > 20
    for where, expressions in asked.items():
        for expression in expressions:
            found = set(re.findall(r"workbench_\w+", expression))
            assert found, where
            assert found <= names, (where, found - names)
            assert set(re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)) <= labels, where
    # All that is given is shown or watched somewhere, save what only says when and where.
    shown = set(re.findall(r"workbench_\w+", str(asked)))
    unshown = {
        name for name in names - shown if not re.search(r"_timestamp_seconds|_position$|_files$|_missed$|attempt_seconds_total", name)
    }
    assert unshown == set()


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's prometheus, with promtool, is not installed")


@promtool
def test_promtool_takes_the_rules_and_the_configuration() -> None:
    for what, file in (("rules", "rules.yaml"), ("config", "prometheus.yaml")):
        checked = subprocess.run(["promtool", "check", what, MONITORING / file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr + checked.stdout


@promtool
def test_promtool_takes_the_figures(pipeline: Pipeline, tmp_path: Path) -> None:
    written(pipeline, SetClock(UNTIL), tmp_path)
    text = (tmp_path / "workbench.prom").read_text(encoding="utf-8")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@contextmanager
def running_prometheus(place: Path, target: str) -> Iterator[str]:
    place.mkdir()
    (place / "rules.yaml").write_bytes((MONITORING / "rules.yaml").read_bytes())
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (place / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    words = [
        f"--config.file={place / 'prometheus.yaml'}",
        f"--storage.tsdb.path={place / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (place / "log").open("w") as log, subprocess.Popen(["prometheus", *words], stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed")
def test_a_prometheus_scrapes_the_endpoint_and_raises_the_alarm(pipeline: Pipeline, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    clock = SetClock(datetime.now(UTC))
    scheduler = Scheduler([pipeline], ledger=ledger, clock=clock, perform=Work(fails("No.", permanent=True)))
    scheduler.run("p/copy", scheduled_at=clock.now)

    def asked(url: str, wanted: str) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urlopen(url) as answer:
                    text: str = answer.read().decode()
                if wanted in text:
                    return text
            except (HTTPError, OSError):
                pass  # it is starting up
            time.sleep(0.2)
        raise AssertionError(f"{url} never said {wanted}")

    with serve_metrics([pipeline], ledger=ledger) as server, running_prometheus(tmp_path / "prometheus", f"127.0.0.1:{server.port}") as url:
        [found] = json.loads(asked(f"{url}/api/v1/query?query=workbench_streams", '"lake":"lake"'))["data"]["result"]
        assert (found["metric"]["lake"], found["metric"]["job"], found["value"][1]) == ("lake", "event-workbench", "8")
        assert "p/copy" in asked(f"{url}/api/v1/alerts", "WorkbenchJobFailed")
