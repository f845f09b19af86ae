"""What is published, read back, equals the payloads; in portions or at once; and nothing half is taken for whole."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import workbench as wb
from tests.lake.histories import Row, lake_of, row, write
from tests.laws import at_least
from tests.materialised.test_materialised_killed import room_for
from workbench.errors import LakeBusy, LakeDamaged, LakeMismatch, StorageFull, UsageError
from workbench.lake import open_lake
from workbench.payloads.shapes import MOST_KEYS
from workbench.publication import publish
from workbench.publication.catalogue import Notes, PublishedTable
from workbench.publication.target import MANIFEST, DirectoryTarget, staging

KEYS = ["a", "A", "b c", "order", "position", "payload", "n", "a_b", "é", "", 'q"', "x*", "2"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, 10**25, -(10**20)]),
    st.sampled_from([0.5, 1.0, -2.25, 1e300, 1e-7]),
    st.sampled_from(["", "x", "7", "true", "null", "[1]", 'q"\\', "é\n", "\u0000"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)), max_leaves=6
)
PAYLOADS = st.one_of(
    st.dictionaries(st.sampled_from(KEYS[:9]), VALUES, max_size=5).map(json.dumps),
    st.dictionaries(
        st.sampled_from(["a", "n"]), st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), max_size=2
    ).map(json.dumps),
    VALUES.map(json.dumps),
    st.sampled_from([b"\xff", b"", '{"a": "\\ud800"}']),
)
HISTORIES = st.lists(st.tuples(st.sampled_from(["a.b", "a_b", "A.B"]), PAYLOADS), max_size=12)


def rows_of(history: Sequence[tuple[str, str | bytes]], *, first: int = 1) -> list[Row]:
    return [
        row(10 * number, f"s-{number % 3}", revision=number, type=name, data=data) for number, (name, data) in enumerate(history, first)
    ]


def notes(to: Path) -> Notes:
    if to.suffix == ".duckdb":
        with duckdb.connect(str(to), read_only=True) as connection:
            [(text,)] = connection.execute("SELECT notes FROM workbench_published").fetchall()
        return Notes.decoded(text, place=str(to))
    return Notes.decoded((to / MANIFEST).read_text(encoding="utf-8"), place=str(to))


def read(to: Path, table: PublishedTable) -> pl.DataFrame:
    """Return a published table, in log order."""
    if to.suffix == ".duckdb":
        with duckdb.connect(str(to), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.sql(f'SELECT * FROM "{table.name}"').pl()
    elif notes(to).format == "arrow":
        found = pl.concat([pl.DataFrame(pa.ipc.open_file(to / file.path).read_all()) for file in table.files])
    else:
        assert {str(file.relative_to(to)) for file in (to / table.name).iterdir()} == {file.path for file in table.files}
        found = pl.concat([pl.read_parquet(to / file.path) for file in table.files])
    assert found.height == table.rows
    assert found.width == table.columns
    return found.sort("position")


def tables(to: Path) -> dict[str, PublishedTable]:
    return {table.source: table for table in notes(to).tables}


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif path:
        yield path


def check_equals_the_payloads(to: Path, history: Sequence[Row]) -> None:
    """Hold every cell against the payload, and every place of a payload against the columns."""
    published = tables(to)
    assert published.keys() == {one["type"] for one in history}
    for name, table in published.items():
        events = [one for one in history if one["type"] == name]
        frame = read(to, table)
        assert [one["position"] for one in events] == frame["position"].to_list()
        assert [one["event_id"] for one in events] == frame["event_id"].to_list()
        assert len({column.casefold() for column in frame.columns}) == frame.width
        assert table.layout is not None
        for event, cells in zip(events, frame.iter_rows(named=True), strict=True):
            check_event(event, cells, table)


def check_event(event: Row, cells: dict[str, Any], table: PublishedTable) -> None:
    layout = table.layout
    assert layout is not None
    if event["data"] is None:
        assert (event["data_bytes"] or None) == cells.get("payload_bytes")
        return
    try:
        event["data"].encode().decode("utf-8")
        payload = json.loads(event["data"])
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        assert event["data"] == cells["payload"]
        return
    if layout.payload == "always" or not isinstance(payload, dict):
        assert event["data"] == cells["payload"]
        return
    assert cells.get("payload") is None
    for column in layout.columns:
        value, cell = _at(payload, column.path), cells[column.name]
        if value is None:
            assert cell is None
        elif column.type == "VARCHAR":
            assert value == (cell if isinstance(value, str) else json.loads(cell))
            assert isinstance(value, str) or type(json.loads(cell)) is type(value)
        else:
            assert float(value) == cell if column.type == "DOUBLE" else (value, type(value)) == (cell, type(cell))
    named = [column.path for column in layout.columns]
    for path in _leaves(payload):
        assert any(path[: len(one)] == one for one in named) or _at(payload, path) in (None, {})


@settings(max_examples=at_least(25))
@given(HISTORIES, st.sampled_from(["out", "out.duckdb"]))
@example([("a.b", '{"a": 1}'), ("a.b", '{"a": 1.5}'), ("a_b", '{"a": 1}'), ("a_b", '{"a": "1"}'), ("A.B", '{"a": {"b": 1}}')], "out")
@example([("a.b", '{"a": 9223372036854775808}'), ("a.b", '{"a": 7}'), ("a_b", '{"a":1,"a":"x"}')], "out")
def test_what_is_published_read_back_equals_the_payloads(history: list[tuple[str, str | bytes]], name: str) -> None:
    rows = [one for one in rows_of(history) if one["data"] != '{"a":1,"a":"x"}']
    with TemporaryDirectory() as folder:
        lake = lake_of(Path(folder, "lake"), rows)
        publish(lake, Path(folder, name))
        check_equals_the_payloads(Path(folder, name), rows)


@settings(max_examples=at_least(15))
@given(HISTORIES, st.lists(st.integers(0, 12), max_size=3), st.sampled_from(["parquet", "arrow", "duckdb"]))
def test_what_is_published_in_portions_is_what_is_published_at_once(
    history: list[tuple[str, str | bytes]], cuts: list[int], form: Any
) -> None:
    rows = rows_of(history)
    suffix = ".duckdb" if form == "duckdb" else ""
    with TemporaryDirectory() as folder:
        lake, parts, once = Path(folder, "lake"), Path(folder, f"parts{suffix}"), Path(folder, f"once{suffix}")
        ends = sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)})
        start = 0
        for end in ends:
            write(lake, rows[start:end] if start else rows[:end])
            if end:
                publish(open_lake(lake), parts, format=form)
            start = end
        if not rows:
            return
        publish(open_lake(lake), once, format=form)
        first, second = tables(parts), tables(once)
        assert first.keys() == second.keys()
        for source, table in second.items():
            assert table.layout == first[source].layout
            assert table.seen == first[source].seen
            assert_frame_equal(read(once, table), read(parts, first[source]))


def test_a_second_run_adds_only_what_is_new_and_a_table_whose_columns_changed_is_written_anew(tmp_path: Path) -> None:
    lake, to = tmp_path / "lake", tmp_path / "out"
    write(lake, rows_of([("grows", '{"n": 1}'), ("stays", '{"n": 1}'), ("rests", "{}")]))
    publish(open_lake(lake), to)
    before = {table.source: table.files for table in notes(to).tables}
    write(lake, rows_of([("grows", '{"n": 2.5, "more": true}'), ("stays", '{"n": 2}'), ("comes", "{}")], first=4))
    found = publish(open_lake(lake), to).tables.select("source", "rows", "new_rows", "anew", "files").rows()
    assert found == [("comes", 1, 1, True, 1), ("grows", 2, 2, True, 1), ("rests", 1, 0, False, 1), ("stays", 2, 1, False, 2)]
    after = {table.source: table.files for table in notes(to).tables}
    assert (before["rests"], before["stays"]) == (after["rests"], after["stays"][:1])
    assert pl.read_parquet(to / "grows" / "*.parquet").select("n", "more").sort("n").rows() == [(1.0, None), (2.5, True)]
    assert publish(open_lake(lake), to).tables["new_rows"].sum() == 0


def test_a_table_that_grows_in_many_small_runs_keeps_its_columns_and_their_names(tmp_path: Path) -> None:
    lake, to = tmp_path / "lake", tmp_path / "out"
    for number, data in enumerate(['{"A": 1}', '{"a": 1, "A": 2}', '{"order": "x"}', '{"A": "7"}'], 1):
        write(lake, rows_of([("t", data)], first=number))
        publish(open_lake(lake), to)
    frame = pl.read_parquet(to / "t" / "*.parquet").sort("position").select("A", "a_2", "order_")
    assert frame.rows() == [("1", None, None), ("2", 1, None), (None, None, "x"), ("7", None, None)]


def test_as_of_selected_and_forked_timelines_are_published_each_as_it_is(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", '{"n": 1}'), ("b", '{"n": 2}'), ("a", '{"n": 3}')]))
    now = lake.timeline
    publish(now.upto(position=10), tmp_path / "past")
    assert list(tables(tmp_path / "past")) == ["a"]
    assert publish(now, tmp_path / "past").tables["new_rows"].to_list() == [1, 1]
    publish(now, tmp_path / "some", types=["b*"])
    assert list(tables(tmp_path / "some")) == ["b"]
    fork = now.patch(type="a", set={"n": "x"}).insert(stream="s-9", type="c", at=20, data={"m": 1})
    for _ in range(2):
        told = publish(fork, tmp_path / "fork").tables
        assert told["anew"].all()
    assert pl.read_parquet(tmp_path / "fork" / "a" / "*.parquet").select("n", "origin").rows() == [("x", "patched")] * 2
    assert pl.read_parquet(tmp_path / "fork" / "c" / "*.parquet").select("m", "origin").rows() == [(1, "inserted")]
    publish(now.visible(), tmp_path / "visible")
    assert tables(tmp_path / "visible").keys() == {"a", "b"}


def test_states_and_results_stand_beside_the_events_and_go_when_they_are_not_given(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", [row(10, "user-1", type="user.made", data='{"name": "Ann"}')])
    for to in (tmp_path / "out", tmp_path / "out.duckdb"):
        frame = wb.distribution(lake.timeline)
        told = publish(lake, to, projections=["user"], results={"By type": frame}).tables
        expected = [("user_made", "events"), ("user_state", "state"), ("By_type", "result")]
        assert told.select("table", "kind").rows() == expected
        state = wb.state("user", lake.timeline)
        if to.suffix:
            with duckdb.connect(str(to)) as connection:
                assert state["name"].to_list() == [name for (name,) in connection.execute("SELECT name FROM user_state").fetchall()]
        else:
            assert_frame_equal(state, pl.read_parquet(to / "user_state" / "*.parquet"))
        publish(lake, to)
        assert list(tables(to)) == ["user.made"]
    assert not (tmp_path / "out" / "user_state").exists()
    assert publish(lake, tmp_path / "none", types=[], projections=["user"]).tables["table"].to_list() == ["user_state"]


def test_csv_keeps_empty_texts_apart_from_nulls_and_instants_in_utc(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", '{"t": "", "l": [1, "x"]}'), ("a", '{"t": null}')]))
    publish(lake, tmp_path / "out", format="csv")
    [file] = (tmp_path / "out" / "a").iterdir()
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "position,recorded_at,stream,revision,event_id,correlation_id,causation_id,t,l"
    assert lines[1].startswith("10,2026-01-01T00:00:10.000000Z,s-1,1,")
    assert lines[1].endswith(',"","[1,""x""]"')
    assert lines[2].endswith(",,,,")


def test_names_of_types_and_keys_are_as_long_as_file_systems_allow_and_stay_apart(tmp_path: Path) -> None:
    """File systems count bytes: 255 of them, or 143 where names are encrypted."""
    names = [letter * count for letter in "é支𠮷" for count in (43, 90, 400)]
    lake = lake_of(tmp_path / "lake", rows_of([(name, json.dumps({name: name})) for name in names]))
    for to in (tmp_path / "out", tmp_path / "out.duckdb"):
        publish(lake, to)
        assert [read(to, table)["stream"].len() for table in tables(to).values()] == [1] * len(names)
        assert sorted(cells for table in tables(to).values() for cells in read(to, table).to_series(-1)) == sorted(names)
        assert max(len(table.name.encode()) for table in tables(to).values()) <= 110


def test_the_text_of_a_field_with_values_of_several_kinds_has_numbers_as_recorded(tmp_path: Path) -> None:
    numbers = ["0.1234567890123456789", "1.10", "-0", "1E+2", "1e400", "0.00001", "2.5", "7", "12345678901234567890123.5", "1.10 "]
    history: list[tuple[str, str | bytes]] = [("a", f'{{"n": {number}, "n": 1.70}}') for number in numbers]
    history += [("a", f'{{"n": {{"m": [{number}, "1.10"]}}}}') for number in numbers]
    history += [
        ("a", '{"n": "text 1.10"}'),
        ("a", '{"n": "1.10", "o": 1.20}'),
        ("a", '{"n": null, "o": 1.20}'),
        ("a", '{"n": true, "o": 1.20}'),
    ]
    lake = lake_of(tmp_path / "lake", rows_of(history))
    publish(lake, tmp_path / "out")
    [table] = tables(tmp_path / "out").values()
    texts = read(tmp_path / "out", table)["n"].to_list()
    assert texts[:10] == [number.strip() for number in numbers]
    assert [json.loads(text, parse_float=Decimal) for text in texts[10:20]] == [
        {"m": [json.loads(number, parse_float=Decimal), "1.10"]} for number in numbers
    ]
    assert texts[20:] == ["text 1.10", "1.10", None, "true"]


def test_a_type_with_ten_thousand_fields_has_one_column_of_json(tmp_path: Path) -> None:
    wide = json.dumps({f"k{number}": number for number in range(10_000)})
    inside = json.dumps({"id": 1, "counts": {f"k{number}": 1 for number in range(MOST_KEYS + 1)}})
    history = rows_of([("wide", wide), ("wide", '{"k1": 2}'), ("inside", inside)])
    publish(lake_of(tmp_path / "lake", history), tmp_path / "out")
    check_equals_the_payloads(tmp_path / "out", history)
    assert tables(tmp_path / "out")["wide"].columns == 8
    assert tables(tmp_path / "out")["inside"].columns == 9


def test_no_events_are_no_tables(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", "{}")]))
    found = publish(lake.timeline.types("none"), tmp_path / "out")
    assert found.tables.height == 0
    assert notes(tmp_path / "out").position == 10


def test_another_lake_another_choice_and_an_earlier_end_are_refused(tmp_path: Path) -> None:
    history = rows_of([("a", "{}"), ("b", "{}")])
    lake, other = lake_of(tmp_path / "lake", history), lake_of(tmp_path / "other", history)
    for to in (tmp_path / "out", tmp_path / "out.duckdb"):
        publish(lake, to)
        with pytest.raises(LakeMismatch, match="from another lake"):
            publish(other, to)
        with pytest.raises(UsageError, match="another publication"):
            publish(lake, to, types=["a"])
        with pytest.raises(UsageError, match="up to position 20, and this history ends at 10"):
            publish(lake.timeline.upto(position=10), to)
    with pytest.raises(UsageError, match="published as parquet, and this is csv"):
        publish(lake, tmp_path / "out", format="csv")
    with pytest.raises(UsageError, match="holds other files"):
        publish(lake, tmp_path / "lake")
    with pytest.raises(UsageError, match="is a file"):
        publish(lake, tmp_path / "out" / MANIFEST)
    with pytest.raises(UsageError, match="named like a file"):
        publish(lake, tmp_path / "out.parquet")
    with pytest.raises(UsageError, match="'sqlite' is unknown"):
        publish(lake, tmp_path / "out", format="sqlite")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(UsageError, match="must be a table"):
        publish(lake, tmp_path / "out", results={"x": object()})
    duckdb.connect(str(tmp_path / "mine.duckdb")).close()
    with pytest.raises(UsageError, match="not published here"):
        publish(lake, tmp_path / "mine.duckdb")


def test_a_history_that_was_rewritten_is_refused(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", "{}"), ("a", "{}")]))
    publish(lake, tmp_path / "out")
    file = tmp_path / "out" / MANIFEST
    file.write_text(file.read_text(encoding="utf-8").replace('"events": 2', '"events": 1'), encoding="utf-8")
    with pytest.raises(LakeMismatch, match="does not hold any more"):
        publish(lake, tmp_path / "out")
    file.write_text("{", encoding="utf-8")
    with pytest.raises(LakeDamaged, match="does not say what it holds"):
        publish(lake, tmp_path / "out")


def test_two_cannot_publish_to_one_place_at_once(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", "{}")]))
    with staging(DirectoryTarget(tmp_path / "out", "parquet")), pytest.raises(LakeBusy, match="Another process is publishing"):
        publish(lake, tmp_path / "out")
    publish(lake, tmp_path / "out")


class Killed(BaseException):
    """Stands for a process that ends."""


@pytest.mark.parametrize("name", ["out", "out.duckdb"])
def test_whatever_is_killed_the_publication_before_stands_and_the_next_run_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lake, to = tmp_path / "lake", tmp_path / name
    first, second = rows_of([("a", '{"n": 1}'), ("b", '{"n": 1}')]), rows_of([("a", '{"n": 2}'), ("b", '{"n": "x"}')], first=3)
    write(lake, first)
    steps = 0

    def die_at(step: int) -> None:
        """Count what reaches the file system, and end there."""
        seen = 0
        real_replace = Path.replace

        def counted(self: Path, target: Path) -> Path:
            nonlocal seen, steps
            seen += 1
            steps = max(steps, seen)
            if seen == step:
                raise Killed
            return real_replace(self, target)

        monkeypatch.setattr(Path, "replace", counted)

    for rows, whole in ((first, []), (second, first)):
        if whole:
            write(lake, rows)
        for step in range(1, 8):
            die_at(step)
            try:
                publish(open_lake(lake), to)
            except Killed:
                monkeypatch.undo()
                if to.exists() and (to.is_file() or (to / MANIFEST).exists()) and notes(to).tables:
                    held = {one["position"] for one in whole}
                    for table in notes(to).tables:
                        named = [to / file.path for file in table.files]
                        found = pl.concat([pl.read_parquet(file) for file in named]) if named else read(to, table)
                        assert set(found["position"]) <= held
            else:
                break
        monkeypatch.undo()
        check_equals_the_payloads(to, [*whole, *rows])
        assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]
    assert steps >= 1


@pytest.mark.parametrize("name", ["out", "out.duckdb"])
def test_a_full_disk_is_said_and_what_was_published_before_stands(tmp_path: Path, name: str) -> None:
    lake, to = tmp_path / "lake", tmp_path / name
    first = rows_of([("a", '{"n": 1}')])
    more = rows_of([("a", f'{{"n": 1, "text": "{random.Random(at).randbytes(400).hex()}"}}') for at in range(40)], first=2)
    write(lake, first)
    publish(open_lake(lake), to)
    write(lake, more)
    with room_for(1500), pytest.raises(StorageFull, match="No room is left"):
        publish(open_lake(lake), to)
    check_equals_the_payloads(to, first)
    publish(open_lake(lake), to)
    check_equals_the_payloads(to, [*first, *more])


def test_files_that_others_put_beside_are_left_alone(tmp_path: Path) -> None:
    lake, to = tmp_path / "lake", tmp_path / "out"
    write(lake, rows_of([("a", '{"n": 1}')]))
    publish(open_lake(lake), to)
    (to / "mine").mkdir()
    for mine in (to / "mine" / "000001.parquet", to / "a.sql"):
        mine.write_text("mine")
    write(lake, rows_of([("a", '{"n": "x"}')], first=2))
    publish(open_lake(lake), to)
    assert (to / "mine" / "000001.parquet").read_text() == (to / "a.sql").read_text() == "mine"
    assert [file.name for file in (to / "a").iterdir()] == ["000002.parquet"]


def test_csv_guards_texts_that_look_like_formulas_where_asked_and_goes_on_so(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of([("a", '{"t": "=1+1", "n": -1}'), ("a", '{"t": "b", "n": -2}')]))
    publish(lake, tmp_path / "plain", format="csv")
    publish(lake, tmp_path / "guarded", format="csv", guard_formulas=True)
    ends = [
        [line.split(",", 7)[-1] for line in next((tmp_path / to / "a").iterdir()).read_text().splitlines()] for to in ("plain", "guarded")
    ]
    assert ends == [["t,n", "=1+1,-1", "b,-2"], ["t,n", "'=1+1,-1", "b,-2"]]
    with pytest.raises(UsageError, match="was published with guard_formulas: do as then, or publish to another place"):
        publish(lake, tmp_path / "guarded", format="csv")
