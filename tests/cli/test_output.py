"""How results are printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from tests.oracle import fill
from tests.stores import Store
from workbench.cli.app import app

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".arrow": pl.read_ipc,
    ".csv": pl.read_csv,
    ".json": pl.read_json,
}


@pytest.fixture
def lake(store: Store, tmp_path: Path) -> Path:
    fill(store, 60)
    assert run("export", "--source", store.uri, "--lake", tmp_path / "lake").exit_code == 0
    return tmp_path / "lake"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_json_numbers_are_numbers_with_all_their_digits(lake: Path) -> None:
    query = "select sum(revision) as total, 12345678901234567890123456789::hugeint as huge, 1.10::decimal(9, 2) as price from events"
    text = run("sql", query, "--lake", lake, "--json").stdout
    assert '"price": 1.10' in text
    (row,) = json.loads(text)
    revisions = json.loads(run("sql", "select revision from events", "--lake", lake, "--json").stdout)
    assert row["total"] == sum(each["revision"] for each in revisions)
    assert row["huge"] == 12345678901234567890123456789


def test_json_holds_maps_bytes_and_instants(lake: Path) -> None:
    query = "select map {1: 'a'} as m, '\\xff'::blob as b, timestamptz '2026-03-01 09:00:00+00' as t, [1, 2] as l"
    (row,) = json.loads(run("sql", query, "--lake", lake, "--json").stdout)
    assert row["b"] == "/w=="
    assert row["t"] == "2026-03-01T09:00:00Z"
    assert row["l"] == [1, 2]


def test_csv_json_and_files_hold_the_same_rows(lake: Path, tmp_path: Path) -> None:
    query = "select stream, revision, recorded_at, data from events order by position"
    rows = json.loads(run("sql", query, "--lake", lake, "--json").stdout)
    table = list(csv.DictReader(io.StringIO(run("sql", query, "--lake", lake, "--csv").stdout)))
    assert [(row["stream"], row["revision"]) for row in rows] == [(row["stream"], int(row["revision"])) for row in table]
    for suffix in READERS:
        out = tmp_path / f"result{suffix}"
        assert run("sql", query, "--lake", lake, "--out", out).exit_code == 0
        assert READERS[suffix](out)["stream"].to_list() == [row["stream"] for row in rows]
    assert sorted(path.name for path in tmp_path.glob("*result*")) == ["result.arrow", "result.csv", "result.json", "result.parquet"]


def test_an_arrow_file_has_no_types_that_older_readers_do_not_know(lake: Path, tmp_path: Path) -> None:
    query = "select stream, [type] as types, {'a': data} as held, encode(data) as bytes from events"
    assert run("sql", query, "--lake", lake, "--out", tmp_path / "x.arrow").exit_code == 0
    with pa.ipc.open_file(tmp_path / "x.arrow") as file:
        found = file.read_all()
    assert found.num_rows > 0
    assert "view" not in str(found.schema)


def test_a_table_says_that_there_is_more_and_asks_the_lake_for_no_more_than_it_shows(lake: Path) -> None:
    result = run("sql", "select range as n from range(100000)", "--lake", lake, "--rows", "3")
    assert result.stdout.split()[:4] == ["n", "0", "1", "2"]
    assert "more rows" in result.stdout
    assert "more rows" not in run("sql", "select range as n from range(3)", "--lake", lake, "--rows", "3").stdout


def test_names_of_places_are_printed_so_that_they_can_be_used_again(lake: Path) -> None:
    shown = run("sql", "select 1234567 as position, 1234567 as n", "--lake", lake).stdout
    assert shown.split()[-2:] == ["1234567", "1,234,567"]


def test_every_result_names_its_position_on_stderr(lake: Path) -> None:
    info = json.loads(run("info", "--lake", lake, "--json").stdout)
    first = str(info["first_position"])
    for words in (["sql", "select 1"], ["distribution"]):
        assert str(info["last_position"]) in run(*words, "--lake", lake).stderr
        assert f"position {first}" in run(*words, "--lake", lake, "--at", first).stderr


def test_a_month_of_another_time_zone_is_printed_in_that_zone(lake: Path) -> None:
    shown = run("distribution", "--lake", lake, "--every", "1mo", "--tz", "Europe/Berlin").stdout
    assert "T00:00:00+0" in shown


@pytest.mark.needs("empty log")
def test_info_of_an_empty_copy_says_so(store: Store, tmp_path: Path) -> None:
    assert run("export", "--source", store.uri, "--lake", tmp_path / "lake").exit_code == 0
    shown = run("info", "--lake", tmp_path / "lake")
    assert shown.exit_code == 0
    assert "no event was copied" in shown.stdout


@pytest.mark.needs("disk")
def test_a_demo_that_was_stopped_half_way_begins_its_history_anew(new_store: Callable[..., Store], tmp_path: Path) -> None:
    half = new_store(data=tmp_path / ".store.part")
    fill(half, 3)
    half.stop()
    result = run("demo", "--dir", tmp_path, "--events", "600")
    assert result.exit_code == 0, result.output
    assert "600 events" in result.stdout
    assert not (tmp_path / ".store.part").exists()


def test_texts_that_a_spreadsheet_takes_for_formulas_are_guarded_in_csv_where_asked(lake: Path, tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@a", "\t=1", "a=1", "", "'"]
    values = ", ".join(f"('{text.replace(chr(39), 2 * chr(39))}')" for text in texts)
    query = f'select col0 as "=name", -1 as number from (values {values})'
    plain = list(csv.reader(io.StringIO(run("sql", query, "--lake", lake, "--csv").stdout)))
    assert plain == [["=name", "number"], *([text, "-1"] for text in texts)]
    guarded = list(csv.reader(io.StringIO(run("sql", query, "--lake", lake, "--csv", "--guard-formulas").stdout)))
    assert guarded == [["'=name", "number"], *([("'" + text) if text[:1] in tuple("=+-@\t") and text else text, "-1"] for text in texts)]
    assert run("sql", query, "--lake", lake, "--out", tmp_path / "x.csv", "--guard-formulas").exit_code == 0
    assert list(csv.reader(io.StringIO((tmp_path / "x.csv").read_bytes().decode()))) == guarded


def test_every_command_that_writes_csv_can_guard_formulas() -> None:
    def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        for name, command in getattr(group, "commands", {}).items():
            yield (*path, name), {word for parameter in command.params for word in parameter.opts}
            yield from commands(command, (*path, name))

    found = list(commands(get_command(app)))
    assert len([name for name, words in found if "--csv" in words]) > 10
    assert [name for name, words in found if "--csv" in words and "--guard-formulas" not in words] == []
