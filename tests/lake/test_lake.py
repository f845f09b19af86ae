"""What a reader of a lake sees, and what is said where there is none, or a damaged one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake import exceptions as delta_errors
from hypothesis import given, settings

from tests.lake.histories import (
    COMPLETE,
    STORE,
    Row,
    checkpoint_at,
    is_system,
    lake_of,
    logs,
    open_writer,
    row,
    rows_of,
    table,
    write,
)
from tests.laws import at_least
from tests.replay.asking import event, timeline_in
from workbench.errors import LakeDamaged, LakeError, LakeNotFound, QueryError, StorageFull, UsageError, WorkbenchError
from workbench.events import EVENT_SCHEMA, Selection, category_of
from workbench.lake import Lake, open_lake
from workbench.lake.files.location import Location, translation
from workbench.lake.reading.query import query_error

LOG = [row(10 * number, f"user-{number % 5}", revision=number // 5, data=f'{{"n": {number}}}') for number in range(1, 41)]


def first_file(lake: Lake) -> Path:
    return Path(lake.files()[0])


@given(rows=logs())
@settings(max_examples=at_least(25))
def test_info_says_what_the_log_says(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    info = lake_of(tmp_path_factory.mktemp("lake"), rows).info()
    assert info.events == len(rows)
    own = [event for event in rows if not is_system(event)]
    links = [event for event in rows if event["type"] == "$>" and not is_system({**event, "type": "happened"})]
    assert info.user_events == len(own)
    assert info.user_links == len(links)
    assert info.system_events == sum(event["stream"] in {"$settings", "$ce-user"} for event in rows)
    assert info.streams == len({event["stream"] for event in own})
    assert info.categories == len({event["category"] for event in own})
    assert info.types == len({event["type"] for event in own})
    only = sorted({event["stream"] for event in links} - {event["stream"] for event in own})
    assert (info.link_streams, info.link_stream_names) == (len(only), tuple(only[:20]))
    positions = [event["position"] for event in rows]
    assert (info.first_position, info.last_position) == (min(positions, default=None), max(positions, default=None))
    times = [event["recorded_at"] for event in rows]
    assert (info.first_recorded_at, info.last_recorded_at) == (min(times, default=None), max(times, default=None))
    assert info.checkpoint == (checkpoint_at(rows[-1]) if rows else None)
    assert info.complete_until == (COMPLETE if rows else None)
    assert (info.store, info.selection) == (STORE, Selection())
    assert info.unclustered_runs == info.files == -(-len(rows) // 7)


def test_a_lake_is_what_it_was_when_it_was_opened_until_it_is_refreshed(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, LOG[:5])
    timeline = lake.timeline
    with open_writer(tmp_path) as writer:
        writer.append(table(LOG[5:]), checkpoint_at(LOG[-1]))
    assert lake.timeline.count() == 5
    assert lake.refresh() is lake
    assert lake.timeline.count() == len(LOG)
    assert timeline.count() == 5


def test_a_lake_says_in_a_line_what_it_is(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "<lake>", LOG)
    assert repr(lake) == (f"<Lake {tmp_path}/<lake>: 40 events of esdb://localhost:2113, complete until 2030-01-01T00:00:00Z>")
    assert "&lt;lake&gt;" in lake._repr_html_()


def test_files_are_open_to_any_tool(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, LOG)
    assert pl.read_parquet(lake.files()).height == len(LOG)
    assert sorted(pa.table(DeltaTable(str(tmp_path / "events")).to_pyarrow_table()).to_pylist(), key=lambda e: e["position"]) == LOG


def test_every_recorded_byte_comes_back(tmp_path: Path) -> None:
    payloads: list[str | bytes | None] = ["{}", '{"a": 1.10}', '"\u2028 \\ud800 \U0001f600"', b"", b"\x00\xff", "[1,\n2]", None]
    rows = [row(number, "user-1", revision=number, data=data, metadata=data) for number, data in enumerate(payloads)]
    assert rows_of(lake_of(tmp_path, rows).timeline.events().collect()) == rows


def test_sql_sees_what_the_timeline_sees(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [*LOG, row(1000, "$settings")])
    assert lake.sql("select count(*), max(position) from events").fetchall() == [(40, 400)]


def test_times_come_out_of_sql_in_utc(tmp_path: Path) -> None:
    [(moment,)] = lake_of(tmp_path, LOG).sql("select min(recorded_at) from events").fetchall()
    assert moment == LOG[0]["recorded_at"]
    assert moment.utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select colour from events", r"no column 'colour'; the columns of events are position, .*causation_id\.$"),
        ("select e.colour from events e", r"no column 'colour'"),
        ("select * from event", r"no table 'event': the view to ask is called events\.$"),
        ("selec 1", r'syntax error at or near "selec"\.$'),
        ("select sum(stream) from events", "No function matches"),
        ("select type, count(*) from events", "GROUP BY"),
        ("create table x as select 1", "is another statement; nothing was run"),
        ("", "is empty"),
    ],
)
def test_sql_that_cannot_run_is_one_clear_sentence(tmp_path: Path, sql: str, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        lake_of(tmp_path, LOG).sql(sql)
    assert "\n" not in str(caught.value)


def test_a_value_that_does_not_fit_is_a_query_error_where_the_rows_are_read(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, LOG)
    relation = lake.sql("select stream::int from events")
    with pytest.raises(QueryError, match="Could not convert string 'user-"), lake.reading():
        relation.fetchall()


def test_every_error_of_duckdb_becomes_one_of_the_workbench(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, LOG)
    kinds = [kind for kind in vars(duckdb).values() if isinstance(kind, type) and issubclass(kind, duckdb.Error)]
    assert len(kinds) > 20
    for kind in kinds:
        error = query_error(kind("Some Error: it broke\n\nLINE 1"), place=Location.of(tmp_path), files=lake._snapshot.files)
        assert isinstance(error, QueryError | LakeError)
        assert "it broke." in str(error)


@pytest.mark.parametrize(
    "error",
    [
        *(kind("it broke") for name in delta_errors.__all__ for kind in [getattr(delta_errors, name)]),
        OSError(5, "it broke"),
        PermissionError(13, "it broke"),
        FileNotFoundError(2, "it broke"),
        pa.ArrowInvalid("it broke"),
        pa.ArrowNotImplementedError("it broke"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_deltalake_and_arrow_becomes_one_of_the_lake(error: Exception) -> None:
    meaning = translation(error, "data/demo")
    assert "data/demo" in str(meaning)
    assert "\n" not in str(meaning)
    assert type(meaning) is not StorageFull


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), delta_errors.DeltaError("Generic LocalFileSystem error: (os error 28)")]
)
def test_a_full_disk_is_recognised_however_it_is_wrapped(error: Exception) -> None:
    assert isinstance(translation(error, "data/demo"), StorageFull)


def missing(path: Path) -> Path:
    return path / "nothing"


def a_file(path: Path) -> Path:
    (path / "file").write_text("")
    return path / "file"


def an_empty_directory(path: Path) -> Path:
    return path


def another_delta_table(path: Path) -> Path:
    DeltaTable.create(str(path / "events"), schema=pa.schema([("x", pa.int64())]))
    return path


@pytest.mark.parametrize("place", [missing, a_file, an_empty_directory, another_delta_table])
def test_where_there_is_no_lake_it_is_said(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path)
    with pytest.raises(LakeNotFound, match=str(path)):
        open_lake(path)


def test_a_table_with_other_columns_is_no_lake(tmp_path: Path) -> None:
    DeltaTable.create(
        str(tmp_path / "events"),
        schema=pa.schema([("x", pa.int64())]),
        configuration={"workbench.format": "1", "workbench.store": '{"address": "x"}', "workbench.selection": "{}"},
        raise_if_key_not_exists=False,
    )
    with pytest.raises(LakeNotFound, match="columns"):
        open_lake(tmp_path)


def test_an_unknown_rule_for_categories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'first' or 'last'"):
        open_lake(tmp_path, category="middle")  # type: ignore[arg-type]


def vanished(file: Path) -> None:
    file.unlink()


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def overwritten(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(b"\xff" * (len(whole) // 2) + whole[len(whole) // 2 :])


@pytest.mark.parametrize("damage", [vanished, cut_short, overwritten])
def test_a_damaged_file_is_named_wherever_it_is_met(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    lake = lake_of(tmp_path, LOG)
    file = first_file(lake)
    frame, relation = lake.timeline.events(), lake.sql("select max(data) from events")
    damage(file)
    with pytest.raises(LakeDamaged, match=file.name):
        frame.collect()
    with pytest.raises(LakeDamaged, match=file.name), lake.reading():
        relation.fetchall()
    with pytest.raises(LakeDamaged, match=file.name), lake.reading():
        lake.sql("select max(data) from events").fetchall()
    with pytest.raises(WorkbenchError, match=file.name):
        lake.info()


def test_categories_are_cut_at_the_last_dash_where_that_is_asked_for(tmp_path: Path) -> None:
    names = ["order-eu-7", "order-eu-8", "order-us-7", "order", "order-", "user-1", "a-b-c-"]
    write(tmp_path, [row(number, name) for number, name in enumerate(names, start=1)])
    timeline = open_lake(tmp_path, category="last").timeline
    expected = [category_of(name, "last") for name in names]
    assert timeline.events().collect()["category"].to_list() == expected
    assert timeline.sql("select category from events order by position").fetchall() == [(each,) for each in expected]
    for category in set(expected):
        chosen = timeline.categories(category)
        fitting = [name for name in names if category_of(name, "last") == category]
        assert chosen.events().collect()["stream"].to_list() == fitting
        assert chosen.count() == len(fitting)
    assert timeline.categories("order-eu").events().filter(pl.col("category") == "order-eu").collect().height == 2


def test_a_duckdb_file_holds_the_whole_lake_in_log_order_and_says_of_what(tmp_path: Path) -> None:
    rows = [*LOG, row(1000, "$settings")]
    lake = lake_of(tmp_path / "lake", rows)
    file = tmp_path / "out" / "lake.duckdb"
    for _ in range(2):
        lake.write_duckdb(file)
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert pa.table(connection.sql("select * from events").to_arrow_table()).cast(EVENT_SCHEMA).to_pylist() == rows
        described = connection.sql("select store, version, events, last_position, complete_until from lake").fetchall()
    assert described == [(STORE.address, 6, 41, 1000, COMPLETE)]
    assert [entry.name for entry in file.parent.iterdir()] == ["lake.duckdb"]


def test_a_duckdb_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", LOG)
    file = tmp_path / "lake.duckdb"
    lake.write_duckdb(file)
    before = file.read_bytes()
    first_file(lake).unlink()
    with pytest.raises(LakeDamaged):
        lake.write_duckdb(file)
    assert file.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lake", "lake.duckdb"]
    with pytest.raises(LakeError, match="is a directory"):
        lake.write_duckdb(tmp_path)


def test_a_lake_in_a_directory_with_an_odd_name_is_a_lake(tmp_path: Path) -> None:
    path = tmp_path / "l'[a]k*e? 50% #é"
    lake = lake_of(path, LOG)
    assert rows_of(lake.timeline.events().collect()) == LOG
    assert lake.info().events == len(LOG)
    with open_writer(path) as writer:
        assert writer.cluster().epochs == 1
    assert rows_of(open_lake(path).timeline.events().collect()) == LOG


@pytest.mark.parametrize("name", ["a%41", "a\\b", "a\0b"])
def test_a_path_that_deltalake_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    for use in (open_writer, open_lake):
        with pytest.raises(UsageError, match="Choose another directory"):
            use(tmp_path / name)


def test_a_directory_that_cannot_be_made_is_no_damaged_lake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "below", Path("/proc/none/lake")):
        with pytest.raises(LakeError, match="cannot be created") as caught:
            open_writer(place)
        assert not isinstance(caught.value, LakeDamaged)


def no_json(log: list[Path]) -> None:
    log[1].write_text("not json")


def half_a_commit(log: list[Path]) -> None:
    log[-1].write_bytes(log[-1].read_bytes()[:-100])


def no_path(log: list[Path]) -> None:
    log[-1].write_text('{"add":{}}')


def a_gap(log: list[Path]) -> None:
    log[1].unlink()


def no_beginning(log: list[Path]) -> None:
    log[0].unlink()


@pytest.mark.parametrize("damage", [no_json, half_a_commit, no_path, a_gap, no_beginning])
def test_a_damaged_log_of_delta_is_one_clear_sentence(tmp_path: Path, damage: Callable[[list[Path]], None]) -> None:
    write(tmp_path, LOG)
    damage(sorted((tmp_path / "events" / "_delta_log").glob("*.json")))
    with pytest.raises(LakeDamaged, match="events/_delta_log") as caught:
        open_lake(tmp_path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 250
    assert "{" not in str(caught.value)


def test_a_file_url_is_the_directory(tmp_path: Path) -> None:
    write(tmp_path, LOG)
    assert open_lake(tmp_path.as_uri()).timeline.count() == len(LOG)


def test_a_relative_path_stays_the_lake_when_the_directory_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = lake_of(Path("lake"), LOG)
    monkeypatch.chdir("/")
    assert rows_of(lake.timeline.events().collect()) == LOG
    assert lake.path == "lake"


def _export(path: str, batches: int) -> None:
    with open_writer(path) as writer:
        for number in range(1, batches * 10, 10):
            piece = [row(position, f"user-{position % 3}", revision=position) for position in range(number, number + 10)]
            writer.append(table(piece), checkpoint_at(piece[-1]))
            if number % 80 == 1:
                writer.cluster()


def _read(path: str, until: int) -> None:
    seen = 0
    lake = open_lake(path)
    while seen < until:
        timeline = lake.refresh().timeline
        positions = timeline.events().select("position").collect()["position"].to_list()
        assert positions == list(range(1, len(positions) + 1))
        assert len(positions) % 10 == 0
        assert timeline.sql("select count(*) from events").fetchall() == [(len(positions),)]
        assert len(positions) >= seen
        seen = len(positions)


def test_any_number_of_processes_read_while_an_export_writes_and_clusters(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    spawn = multiprocessing.get_context("spawn")
    readers = [spawn.Process(target=_read, args=(str(tmp_path), 400)) for _ in range(2)]
    for process in readers:
        process.start()
    _export(str(tmp_path), 40)
    for process in readers:
        process.join(60)
    assert [process.exitcode for process in readers] == [0, 0]


@pytest.mark.parametrize("more", range(3))
def test_a_complaint_of_duckdb_that_is_cut_within_a_character_is_told_all_the_same(tmp_path: Path, more: int) -> None:
    timeline_in(tmp_path / "lake", [event(10, "grown", f'{{"other":"{"日本" * 100}{"x" * more}\\ud800"}}')])
    lake = open_lake(tmp_path / "lake")
    with pytest.raises(QueryError, match="Malformed JSON"), lake.reading():
        lake.sql("select data::json from events").fetchall()
