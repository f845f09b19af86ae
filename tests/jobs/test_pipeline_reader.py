"""Pipeline files: they say what is run and when, and one that does not fit is refused with file, line, column and the known words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workbench.errors import UsageError
from workbench.events import Selection
from workbench.jobs import CronTimes, Export, Limits, Metrics, Report, Retention, Retry, check_pipeline, find_pipelines, load_pipeline

ROOT = Path(__file__).parent.parent.parent
MARK = "‸"  # stands where the error is
WHOLE = """\
name: orders
zone: Europe/Berlin
schedule: 15 0 * * 1-5
source: esdb://db.example:2113?tls=true
lake: ../lakes/orders
retry: {times: 3, wait: 5m}
jobs:
  weekly:
    notebook: event_types
    parameters: {every: 1w}
    scenario: no-deletions
    schedule: 0 6 * * 1
    as_of: week
    environment: [SALES_TOKEN]
    needs: [copy, users]
    out: ../reports/{job}/{date}.{format}
    formats: [html]
    limits: {time: 30m, cell: 90s, memory: 1.5 GB}
    retention: {runs: 30, age: 90d, history: 52w}
    catch_up: all
    since: 2026-03-01
    retry: {times: 1, wait: 2h, factor: 1}
  copy:
    export: everything
  users:
    export: {categories: [user], types: "user.*"}
    lake: s3://lakes/users
    source: $USERS_SOURCE
    formats: [duckdb]
    out: $EXPORTS/users-{time}.duckdb
    catch_up: none
metrics:
  actor: metadata.user."the id"[0]
  snapshots: ["*.snapshot"]
  types: 5
  replay: [user, shop.py:Order]
"""


def written(place: Path, text: str) -> Path:
    file = place / "pipeline.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_says_what_is_run_and_when(tmp_path: Path) -> None:
    pipeline = load_pipeline(written(tmp_path, WHOLE))
    copy, users, weekly = pipeline.jobs
    assert [job.name for job in pipeline.jobs] == ["orders/copy", "orders/users", "orders/weekly"]
    assert copy.work == Export("esdb://db.example:2113?tls=true", "../lakes/orders")
    assert (copy.times, copy.catch_up, copy.retry) == (
        CronTimes("15 0 * * 1-5", "Europe/Berlin"),
        "latest",
        Retry(times=3, wait=timedelta(minutes=5)),
    )
    assert copy.lake == str(tmp_path.parent / "lakes" / "orders")
    assert (copy.outputs(datetime(2026, 3, 1, tzinfo=UTC)), copy.limits, copy.retention) == ({}, Limits(), Retention())
    assert users.work == Export("$USERS_SOURCE", "s3://lakes/users", Selection(categories=("user",), types=("user.*",)))
    assert (users.lake, users.formats, users.catch_up) == ("s3://lakes/users", ("duckdb",), "none")
    assert weekly.work == Report("event_types", "../lakes/orders", {"every": "1w"}, "no-deletions", "week", ("SALES_TOKEN",))
    assert weekly.times == CronTimes("0 6 * * 1", "Europe/Berlin")
    assert weekly.needs == ("orders/copy", "orders/users")
    assert weekly.limits == Limits(timedelta(minutes=30), timedelta(seconds=90), 1_500_000_000)
    assert weekly.retention == Retention(30, timedelta(days=90), timedelta(weeks=52))
    assert weekly.retry == Retry(1, timedelta(hours=2), 1.0, longest=timedelta(hours=2))
    assert (weekly.catch_up, weekly.since) == ("all", datetime(2026, 3, 1, tzinfo=UTC))
    assert pipeline.metrics == Metrics(("metadata", "user", "the id", 0), ("*.snapshot",), 5, ("user", f"{tmp_path / 'shop.py'}:Order"))
    assert pipeline.variables == ("EXPORTS", "SALES_TOKEN", "USERS_SOURCE")


@pytest.mark.parametrize(
    ("export", "selection"),
    [
        ("everything", Selection()),
        ("{system: true}", Selection(system=True)),
        ("{categories: [user], system: true}", Selection(categories=("user",), system=True)),
        ("{categories: [user], system: false}", Selection(categories=("user",))),
    ],
)
def test_an_export_takes_system_streams_where_it_says_so(tmp_path: Path, export: str, selection: Selection) -> None:
    [job] = load_pipeline(written(tmp_path, f"{HEAD}jobs:\n  copy: {{export: {export}}}\n")).jobs
    assert isinstance(job.work, Export)
    assert job.work.selection == selection


@pytest.mark.parametrize("accepts", [True, False])
def test_an_export_accepts_a_scavenged_checkpoint_where_it_says_so(tmp_path: Path, accepts: bool) -> None:
    text = f"{HEAD}jobs:\n  copy: {{export: everything, accept_scavenged: {str(accepts).lower()}}}\n"
    [job] = load_pipeline(written(tmp_path, text)).jobs
    assert isinstance(job.work, Export)
    assert job.work.accept_scavenged is accepts


def test_a_report_is_as_of_its_scheduled_time_in_its_zone(tmp_path: Path) -> None:
    at = datetime(2026, 4, 1, 0, 15, 30, tzinfo=UTC)  # in Berlin a Wednesday, 02:15:30
    expected = {
        "scheduled": at,
        "hour": datetime(2026, 4, 1, 0, 0, tzinfo=UTC),
        "day": datetime(2026, 3, 31, 22, 0, tzinfo=UTC),
        "week": datetime(2026, 3, 29, 22, 0, tzinfo=UTC),
        "month": datetime(2026, 3, 31, 22, 0, tzinfo=UTC),
    }
    for word, moment in expected.items():
        [*_, job] = load_pipeline(written(tmp_path, WHOLE.replace("as_of: week", f"as_of: {word}"))).jobs
        assert job.as_of(at) == moment, word
    # The week in which clocks went forward began in winter time, and of two hours of one name each has its own beginning.
    [*_, job] = load_pipeline(written(tmp_path, WHOLE)).jobs
    assert job.as_of(datetime(2026, 3, 29, 12, tzinfo=UTC)) == datetime(2026, 3, 22, 23, tzinfo=UTC)


def test_files_go_where_out_says_by_the_scheduled_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTS", str(tmp_path / "a {b}"))
    _, users, weekly = load_pipeline(written(tmp_path, WHOLE)).jobs
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert weekly.outputs(late) == {"html": tmp_path.parent / "reports" / "orders" / "weekly" / "2026-03-02.html"}
    assert users.outputs(late) == {"duckdb": tmp_path / "a {b}" / "users-2026-03-01T2330Z.duckdb"}


def test_a_variable_that_is_not_set_is_named_and_its_value_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPORTS", raising=False)
    _, users, _ = load_pipeline(written(tmp_path, WHOLE)).jobs
    with pytest.raises(UsageError, match=r"The environment variable EXPORTS is not set, and out of orders/users is \$EXPORTS/users-"):
        users.outputs(datetime(2026, 3, 1, tzinfo=UTC))


def test_the_pipeline_that_comes_along_copies_and_then_reports() -> None:
    [pipeline] = [load_pipeline(file) for file in find_pipelines(ROOT / "pipelines")]
    copy, report = pipeline.jobs
    assert (copy.name, report.name, report.needs) == ("nightly/copy", "nightly/event-types", ("nightly/copy",))
    assert report.as_of(datetime(2026, 3, 1, 0, 15, tzinfo=UTC)) == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_pipeline_of_the_guide_is_the_one_that_comes_along() -> None:
    guide = (ROOT / "docs" / "guide" / "jobs.md").read_text(encoding="utf-8")
    assert f"```yaml\n{(ROOT / 'pipelines' / 'nightly.yaml').read_text(encoding='utf-8')}```" in guide


HEAD = "schedule: 15 0 * * *\nsource: esdb://db.example\nlake: data/x\n"
COPY = "jobs:\n  copy: {export: everything}\n"
REPORT = "jobs:\n  r: {notebook: event_types, out: a.html, "


@pytest.mark.parametrize(
    ("marked", "sentence"),
    [
        ("‸name: a\n", "a pipeline needs jobs; it knows name, zone, schedule"),
        ("‸- a\n", "a pipeline takes names with values"),
        (HEAD + "‸job: {}\n" + COPY, "a pipeline has no key 'job'; it knows name, zone, schedule, source"),
        (HEAD + "name: ‸a/b\n" + COPY, "name is made of letters, digits, '-', '_' and '.', which 'a/b' is not"),
        (HEAD + "jobs: ‸{}\n", "jobs takes names with values"),
        (HEAD + "jobs:\n  a b: ‸{export: everything}\n", "the name of a job is made of letters"),
        (HEAD + "jobs:\n  copy: {export: everything, ‸sorce: x}\n", "job 'copy' has no key 'sorce'; it knows export, zone"),
        (HEAD + "jobs:\n  copy: ‸{export: everything, notebook: event_types}\n", "job 'copy' has either export"),
        (HEAD + "jobs:\n  copy: ‸{needs: a}\n", "or notebook, as in notebook: event_types"),
        (HEAD + "jobs:\n  copy: {export: everything, ‸as_of: day}\n", "job 'copy', an export, has no key 'as_of'"),
        (HEAD + REPORT + "‸source: esdb://a}\n", "job 'r', a report, has no key 'source'"),
        ("source: esdb://a\nlake: b\njobs:\n  copy: ‸{export: everything}\n", "job 'copy' needs schedule, its own or one at the top"),
        ("schedule: '@daily'\nlake: b\njobs:\n  copy: ‸{export: everything}\n", "job 'copy' needs source"),
        (HEAD + "jobs:\n  copy: {export: ‸all}\n", "export is everything, or what to keep"),
        (HEAD + "jobs:\n  copy: {export: {‸category: user}}\n", "export has no key 'category'; it knows streams, categories, types"),
        (HEAD.replace("15 0 * * *", "‸15 0 * *") + COPY, "'15 0 * *' is no schedule, since it has 4 fields and not five"),
        ("zone: ‸Europe/Berln\n" + HEAD + COPY, "'Europe/Berln' is not a time zone: use an IANA name"),
        (
            HEAD.replace("esdb://db.example", "‸esdb://ops:s3cret@db.example") + COPY,
            "an address in a pipeline has neither user nor password",
        ),
        (HEAD.replace("esdb://db.example", "‸esdb://ops@db.example") + COPY, "they come from the environment, as KURRENTDB_USERNAME"),
        (HEAD.replace("esdb://db.example", "‸http://db.example") + COPY, "An address http:// is not known"),
        (HEAD.replace("esdb://db.example", "‸kurrent+discover://db.example?tls=yes") + COPY, "tls in the address must be true or false"),
        (HEAD.replace("esdb://db.example", "‸esdb://db.example?keepAlive=1") + COPY, "unknown option keepAlive"),
        (HEAD.replace("data/x", "‸s3://key:s3cret@lakes/x") + COPY, "the URL of a lake holds no credentials here"),
        (HEAD + "since: ‸2026-03-01T10:00\n" + COPY, "has no time zone"),
        (HEAD + "catch_up: ‸some\n" + COPY, "catch_up is all, latest or none, and not 'some'"),
        (HEAD + "limits: {‸cpu: 1}\n" + COPY, "limits has no key 'cpu'; it knows time, cell, memory, output"),
        (HEAD + "limits: {time: ‸soon}\n" + COPY, "'soon' is not a duration"),
        (HEAD + "limits: {time: ‸-1h}\n" + COPY, "time is longer than nothing, as in time: 30m"),
        (HEAD + "limits: {memory: ‸2 gigs}\n" + COPY, "memory is a size in MB, GB, MiB, GiB, as in memory: 2 GB"),
        (HEAD + "retry: ‸{wait: 1m}\n" + COPY, "retry needs times; it knows times, wait, factor, longest"),
        (HEAD + "retry: {times: ‸-1}\n" + COPY, "times is a whole number from 0"),
        (HEAD + "retry: {times: 1, factor: ‸0.5}\n" + COPY, "factor is a number from 1 to 1000"),
        (HEAD + "retention: {runs: ‸0}\n" + COPY, "runs is a whole number from 1"),
        (HEAD + "jobs:\n  r: {notebook: ‸event_type, out: a.html}\n", "There is no notebook 'event_type'"),
        (HEAD + REPORT + "parameters: {evry: ‸1d}}\n", "evry"),
        (HEAD + REPORT + "parameters: {every: ‸1y}}\n", "every"),
        (HEAD + REPORT + "scenario: ‸none-such}\n", "There is no file none-such"),
        (HEAD + REPORT + "as_of: ‸year}\n", "as_of is scheduled, hour, day, week or month, and not 'year'"),
        (HEAD + REPORT + "environment: ‸[TOKEN=abc]}\n", "environment names variables"),
        (HEAD + REPORT + "formats: ‸[pdf]}\n", "job 'r' has no format 'pdf'; it knows html"),
        (HEAD + "jobs:\n  r: ‸{notebook: event_types}\n", "job 'r' needs out, where its files go"),
        (
            HEAD + "jobs:\n  r: {notebook: event_types, out: ‸'a-{day}.html'}\n",
            "out has no {day}; it knows {job}, {date}, {time}, {format}",
        ),
        (HEAD + "jobs:\n  r: {notebook: event_types, out: ‸'a-{.html'}\n", "out is no place"),
        (HEAD + "jobs:\n  r: {notebook: event_types, out: ‸a.pdf}\n", "out ends in .{format}, or in .html"),
        (HEAD + "jobs:\n  copy: {export: {system: ‸maybe}}\n", "system is true or false"),
        (HEAD + "jobs:\n  copy: {export: everything, accept_scavenged: ‸maybe}\n", "accept_scavenged is true or false"),
        (HEAD + "jobs:\n  r: {notebook: event_types, ‸accept_scavenged: true, out: a.html}\n", "accept_scavenged"),
        (HEAD + "jobs:\n  copy: {export: everything, out: ‸a.duckdb}\n", "job 'copy' writes no file: say which one with formats: [duckdb]"),
        (HEAD + "jobs:\n  copy: {export: everything, needs: ‸[cpy]}\n", "job 'copy' needs 'cpy', which is no job here; there are copy"),
        (
            HEAD + "jobs:\n  a: {export: everything, needs: ‸b}\n  b: {export: everything, needs: a}\n",
            "jobs need each other in a circle: a, b",
        ),
        (HEAD + COPY + "metrics: {‸actors: x}\n", "metrics has no key 'actors'; it knows actor, snapshots, types, replay"),
        (HEAD + COPY + "metrics: {actor: ‸userId}\n", "an event has no userId; it has data, metadata"),
        (HEAD + COPY + "metrics: {actor: data.‸}\n", "it ends too early; a path is a name"),
        (HEAD + COPY + "metrics: {types: ‸many}\n", "types is a whole number from 1"),
        (HEAD + "‸lake: x\n" + COPY, "'lake' is repeated here"),
        (HEAD + "name: ‸*a\n" + COPY, "a pipeline cannot have aliases"),
        (HEAD + "zone: ‸!!str UTC\n" + COPY, "a pipeline cannot have tags: leave"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_line_column_and_the_known_words(tmp_path: Path, marked: str, sentence: str) -> None:
    before, _, _ = marked.partition(MARK)
    file = written(tmp_path, marked.replace(MARK, ""))
    with pytest.raises(UsageError) as refused:
        load_pipeline(file)
    said = str(refused.value)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert said.startswith(f"{file}, line {line}, column {column}: ")
    assert sentence in said
    assert "s3cret" not in said
    assert said.endswith(".")
    assert not said.endswith("..")


def test_every_job_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    text = HEAD + "jobs:\n  a: {export: all}\n  b: {notebook: nowhere, out: b.html}\n  c: {export: everything}\nmetrics: {types: 0}\n"
    pipeline, errors = check_pipeline(written(tmp_path, text))
    assert pipeline is None
    assert [f"line {line}," in str(error) for line, error in zip((5, 6, 8), errors, strict=True)] == [True] * 3


def test_what_is_wrong_at_the_top_is_said_once(tmp_path: Path) -> None:
    text = HEAD + "zone: nowhere\njobs:\n  a: {export: everything}\n  b: {export: everything}\n"
    _, errors = check_pipeline(written(tmp_path, text))
    assert len(errors) == 1


def test_a_folder_without_pipelines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no pipeline in"):
        find_pipelines(tmp_path)
