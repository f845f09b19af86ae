"""What SQL may do: ask, and nothing else; read the files that are named, and no others; give numbers that are right."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import workbench as wb
from tests.lake.histories import Row, lake_of, row
from workbench.cli.app import app
from workbench.errors import QueryError
from workbench.lake import Lake

LOG = [
    row(10 * number, f"user-{number % 3}", revision=number // 3, data=f'{{"n": {number}, "to": "{"free" if number % 2 else "paid"}"}}')
    for number in range(1, 21)
]

REFUSED = [
    "copy (select 1) to '{file}'",
    "copy events to '{file}'",
    "copy (select 1) to '{of_the_lake}'",
    "select 1; copy (select 1) to '{file}'",
    "select 1; create macro strlen(x) as 7",
    "create macro strlen(x) as 7",
    "create table t as select 1",
    "attach '{file}' as other",
    "export database '{file}'",
    "install httpfs",
    "load httpfs",
    "set memory_limit = '1MB'",
    "set timezone = 'Europe/Rome'",
    "pragma enable_profiling",
    "call enable_logging(storage = 'file', storage_path = '{file}')",
    "select * from enable_logging(storage = 'file', storage_path = '{file}')",
    "with x as (select * from enable_logging(storage = 'file', storage_path = '{file}')) select 1 where exists (from x)",
    "select * from query('select * from enable_logging(storage = ''file'', storage_path = ''{file}'')')",
    "with x as (insert into events values (1) returning 1) select * from x",
    "explain analyze select 1",
    "delete from events",
    "drop view events",
    "vacuum",
    "checkpoint",
    "begin",
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_of(tmp_path / "lake", LOG)


@pytest.mark.parametrize("statement", REFUSED)
def test_a_statement_that_is_not_one_select_is_refused_before_anything_of_it_runs(lake: Lake, tmp_path: Path, statement: str) -> None:
    (of_the_lake, *_) = lake.files()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(QueryError):
        lake.sql(statement.format(file=tmp_path / "made", of_the_lake=of_the_lake)).fetchall()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "made").exists()
    assert lake.sql("select strlen('abc'), current_setting('TimeZone'), count(*) from events").fetchall() == [(3, "UTC", len(LOG))]


def test_the_command_line_refuses_what_writes_before_it_has_written(lake: Lake, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sql", f"copy (select 1) to '{tmp_path / 'x.csv'}'", "--lake", lake.path])
    assert done.exit_code == 2
    assert "one SELECT" in done.stderr
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from events;",
        "from events select count(*)",
        "with x as (select * from events) select count(*) from x",
        "(select count(*) from events)",
        "from (pivot (select 'x' as type, count(*) as c from events) on type in ('x') using sum(c))",
        "select count(*) from events union all select 1 where false",
        "with recursive t(x) as (select 1 union all select x + 1 from t where x < 20) select count(*) from t",
        "select count(*) from events, unnest([1]), range(1)",
    ],
)
def test_every_form_of_one_select_is_answered(lake: Lake, query: str) -> None:
    assert lake.sql(query).fetchall() == [(len(LOG),)]


def test_a_table_can_be_described(lake: Lake) -> None:
    assert ("position", "BIGINT") in [row[:2] for row in lake.sql("describe events").fetchall()]


def test_a_query_reads_the_files_of_who_asks(lake: Lake, tmp_path: Path) -> None:
    pl.DataFrame({"stream": ["user-1"], "country": ["IT"]}).write_csv(tmp_path / "people.csv")
    query = f"select count(*) from events join read_csv('{tmp_path / 'people.csv'}') using (stream)"
    assert lake.sql(query).fetchall() == [(sum(one["stream"] == "user-1" for one in LOG),)]


def test_a_name_in_a_query_is_never_a_variable_of_the_program(lake: Lake) -> None:
    for name in ("files", "view", "hidden", "self", "sql"):
        with pytest.raises(QueryError, match="no table"):
            lake.sql(f"select * from {name}")


def test_nothing_is_installed_or_loaded_for_a_query(lake: Lake) -> None:
    with pytest.raises(QueryError):
        lake.sql("select st_point(1, 2)").fetchall()
    settings = ["autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions"]
    asked = ", ".join(f"current_setting('{name}')::VARCHAR" for name in settings)
    assert lake.sql(f"select {asked}, current_setting('lock_configuration')::VARCHAR").fetchall() == [("false", "false", "false", "true")]


@pytest.mark.parametrize(
    ("named", "others"),
    [("lake [ab]", ["lake a", "lake b"]), ("lake *", ["lake a"]), ("lake ?", ["lake a"]), ("**", ["a"]), ("lake {a,b}", ["lake a"])],
)
def test_a_lake_whose_path_has_wildcards_is_read_alone(tmp_path: Path, named: str, others: list[str]) -> None:
    def history(stream: str) -> list[Row]:
        return [row(10, stream)]

    for other in others:
        lake_of(tmp_path / other, history("other-1"))
    lake = lake_of(tmp_path / named, history("user-1"))
    assert lake.sql("select stream from events").fetchall() == [("user-1",)]
    assert lake.timeline.events().collect()["stream"].to_list() == ["user-1"]
    assert lake.timeline.count() == 1
    lake.verify()
    lake.write_duckdb(tmp_path / "copy [ab].duckdb")
    for to in (tmp_path / "published [ab]", tmp_path / "published [ab].duckdb", tmp_path / "published *"):
        published = wb.publish(lake.timeline, to=to)
        assert sum(published.tables["rows"].to_list()) == 1
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ("stream = 'user-1' and data->>'to' = 'free'", """("data" ->> 'to')"""),
        ("'free' = data->>'to'", """("data" ->> 'to')"""),
        ("NOT data->>'m'", """("data" ->> 'm')"""),
        ("data->>'to' = 'free' or data->>'n' = '2'", """("data" ->> 'n')"""),
        ("stream is null or data->'to'->>'a' = 'free'", """(("data" -> 'to') ->> 'a')"""),
        ("stream not in ('x') and data->>'to' = 'free'", """("data" ->> 'to')"""),
        ("'free' like data->>'to'", """("data" ->> 'to')"""),
        ("stream || data->>'to' = 'x'", """("data" ->> 'to')"""),
        ("-data->>'n' = 1", """("data" ->> 'n')"""),
    ],
)
def test_an_arrow_that_takes_a_condition_is_refused_or_read_as_it_is_written(lake: Lake, condition: str, meant: str) -> None:
    # DuckDB 1.5 reads them otherwise than they are written, and 2 most of them as they are written.
    mended = condition
    for arrow in ("data->'to'->>'a'", "data->>'to'", "data->>'n'", "data->>'m'"):
        mended = mended.replace(arrow, f"({arrow})")
    query = "select count(*) from events where {}"
    refusal = answer_or_refusal(lake, query.format(condition))
    if isinstance(refusal, str):
        assert refusal.endswith(f"put the arrow in parentheses, {meant}.")
    else:
        assert refusal == answer_or_refusal(lake, query.format(mended))


def answer_or_refusal(lake: Lake, query: str) -> list[tuple[object, ...]] | str:
    try:
        with lake.reading():
            return lake.sql(query).fetchall()
    except QueryError as error:
        return str(error)


@pytest.mark.parametrize("place", ["select {0}", "select 1 from events where {0}", "select count(*) filter (where {0}) from events"])
@pytest.mark.parametrize(
    "condition", ["data->'n' = '1'", "data->'n' is null", "data->'n' in ('1')", "data->'n' and true", "data->'n' < '2'"]
)
def test_an_arrow_that_takes_a_condition_on_its_right_is_refused(lake: Lake, place: str, condition: str) -> None:
    with pytest.raises(QueryError, match=r"""put the arrow in parentheses, \("data" -> 'n'\)\.$"""):
        lake.sql(place.format(condition))


def test_arrows_of_a_join_are_refused_where_they_answer_something_else(lake: Lake) -> None:
    join = "select count(*) from events e join (select 'free' as sku) p on {}"
    found = answer_or_refusal(lake, join.format("p.sku = e.data->>'to'"))
    if isinstance(found, str):
        assert found.endswith("put the arrow in parentheses, (e.\"data\" ->> 'to').")
    else:
        assert found == lake.sql(join.format("p.sku = (e.data->>'to')")).fetchall()


@pytest.mark.parametrize(
    "expression",
    [
        "data->>'to' = 'free'",
        "(data->'n') = '1' and stream = 'user-1'",
        "stream = 'user-1' and (data->>'to') = 'free'",
        "data->>'to' in ('free')",
        "data->>('$.' || 'to') = 'free'",
        "data->'a'->0->>'b' is null",
        "list_filter([1, 2], lambda x: x > 1) = [2]",
        "json_extract_string(data, '$.to') = 'free' and not (data->>'n') is null",
    ],
)
def test_arrows_that_stand_where_they_are_meant_are_answered(lake: Lake, expression: str) -> None:
    assert len(lake.sql(f"select {expression} from events").fetchall()) == len(LOG)


def test_unsigned_integers_of_128_bits_keep_their_digits(lake: Lake) -> None:
    query = f"select md5_number('a') as hash, {2**128 - 1}::UHUGEINT as most, 7 as most, {2**127 - 1}::HUGEINT % 10 as small"
    relation = lake.sql(query)
    digits = ("129134844867590561315626153795017621772", str(2**128 - 1), 7, 7)
    assert relation.fetchall() == [digits]
    assert lake.sql(query.replace(" as most,", " as greatest,", 1)).pl().rows() == [(*digits[:3], Decimal(7))]
    done = CliRunner().invoke(app, ["sql", f"select {2**128 - 1} as most", "--lake", lake.path, "--json"])
    assert json.loads(done.stdout) == [{"most": str(2**128 - 1)}]


@pytest.mark.parametrize("value", ["[{0}::UHUGEINT]", "{{'a': {0}::UHUGEINT}}", "map {{1: [{0}::UHUGEINT]}}"])
def test_such_integers_within_another_value_are_an_error(lake: Lake, value: str) -> None:
    with pytest.raises(QueryError, match="'x' holds values of the type UHUGEINT within another: cast it to VARCHAR"):
        lake.sql(f"select {value.format(2**128 - 1)} as x")


@pytest.mark.parametrize("value", [2**127 - 1, -(2**127), 10**38, -(10**38)])
def test_a_signed_integer_of_39_digits_is_an_error_and_38_digits_are_kept(lake: Lake, value: int) -> None:
    with pytest.raises(QueryError, match="more than 38 digits"), lake.reading():
        lake.sql(f"select '{value}'::HUGEINT as x").pl()
    shorter = int(value / abs(value)) * (abs(value) // 10)
    assert lake.sql(f"select '{shorter}'::HUGEINT as x, null::HUGEINT as y").pl().rows() == [(Decimal(shorter), None)]


@pytest.mark.parametrize(("value", "text"), [("5::BIGNUM", "5"), ("'101'::BIT", "101"), ("'12:00:00+02'::TIMETZ", "12:00:00+02")])
def test_values_that_arrow_would_change_come_as_text(lake: Lake, value: str, text: str) -> None:
    assert lake.sql(f"select {value} as x").pl().rows() == [(text,)]
