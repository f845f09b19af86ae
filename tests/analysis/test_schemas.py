"""What payloads are made of, held against a naive look at every event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lake.histories import Row, lake_of, row
from tests.lakes import START, Recorded, write_lake
from tests.laws import at_least
from workbench.analysis.breaks import breaks
from workbench.analysis.schemas import schemas
from workbench.errors import UsageError
from workbench.lake import open_lake
from workbench.payloads.shapes import ELEMENT, MOST_KEYS, shown
from workbench.projection import Projection, event, on, upcast
from workbench.timeline import Timeline

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 2**63, 1e300]), st.sampled_from(["", "x", "7"]))
OBJECTS = st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b", "order"]), inner, max_size=3), max_leaves=6)
PAYLOADS = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), OBJECTS, max_size=3).map(json.dumps),
    OBJECTS.map(json.dumps),
    st.sampled_from([b"\xff", b"", '{"a": "\\ud800"}', '{"a": [1, "x"], "b": [{"c": 1}, {"c": null}], "c": []}']),
)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(["t", "u"]), PAYLOADS, st.sampled_from([None, '{"v": 1}', '{"v": "2"}', b"\xff"])), max_size=12
)
KINDS = {type(None): "null", bool: "boolean", int: "integer", float: "float", str: "text", dict: "object", list: "array"}


def timeline_of(path: Path, *payloads: str | bytes, name: str = "t") -> Timeline:
    events = [
        Recorded(
            name,
            START + timedelta(days=number),
            data=None if isinstance(data, bytes) else data,
            binary=data if isinstance(data, bytes) else None,
        )
        for number, data in enumerate(payloads)
    ]
    return open_lake(write_lake(path, events)).timeline


def naive(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    yield path, "integer" if type(value) is int else KINDS[type(value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from naive(inner, (*path, key))


def decoded(one: Row) -> tuple[bool, Any]:
    if one["data"] is None or "ud800" in one["data"]:
        return False, None
    return True, json.loads(one["data"])


@settings(max_examples=at_least(30))
@given(HISTORIES)
def test_fields_are_what_a_naive_look_at_every_event_finds(history: list[tuple[str, str | bytes, str | bytes | None]]) -> None:
    rows = [row(10 * at, "s", revision=at, type=name, data=data, metadata=meta) for at, (name, data, meta) in enumerate(history, 1)]
    expected: dict[tuple[str, str | None, str], dict[str, list[int]]] = {}
    objects: dict[tuple[str, str | None], int] = {}
    for one in rows:
        version = None if one["metadata"] is None else str(json.loads(one["metadata"])["v"])
        is_json, payload = decoded(one)
        if not is_json:
            continue
        objects[one["type"], version] = objects.get((one["type"], version), 0) + isinstance(payload, dict)
        for path, kind in naive(payload):
            if path:
                expected.setdefault((one["type"], version, shown(path)), {}).setdefault(kind, []).append(one["position"])
    with TemporaryDirectory() as folder:
        found = schemas(lake_of(Path(folder), rows).timeline, version=event.metadata["v"])
    fields = {(one["type"], one["version"], one["field"]): one for one in found.fields.to_dicts() if "[]" not in one["field"]}
    assert expected.keys() == fields.keys()
    for key, kinds in expected.items():
        one, positions = fields[key], sorted(position for found in kinds.values() for position in found)
        assert sorted(kinds) == sorted(one["kinds"])
        assert (one["events"], one["present"]) == (objects[key[:2]], len(positions))
        assert (one["first_position"], one["last_position"]) == (positions[0], positions[-1])
        assert one["absent_share"] == pytest.approx(1 - len(positions) / objects[key[:2]])
        assert one["null_share"] == pytest.approx(len(kinds.get("null", [])) / len(positions))
    assert found.payloads["events"].sum() == len(rows)
    held = found.payloads.select(pl.sum_horizontal("objects", "other_json", "bytes", "empty", "unreadable"))
    assert held.to_series().to_list() == found.payloads["events"].to_list()


def test_changes_say_when_a_field_came_changed_its_type_and_vanished(tmp_path: Path) -> None:
    timeline = timeline_of(
        tmp_path,
        '{"a": 1, "old": "x"}',
        '{"a": null, "old": "y"}',
        '{"a": "1", "new": {"b": true}}',
        '{"a": 2.5, "tags": ["x"]}',
        '{"a": 3}',
    )
    found = schemas(timeline).changes.drop("recorded_at", "type").rows()
    assert found == [
        (200, "old", "vanished", ["text"], []),
        (300, "a", "changed type", ["integer"], ["text"]),
        (300, "new", "came", [], ["object"]),
        (300, "new", "vanished", ["object"], []),
        (300, "new.b", "came", [], ["boolean"]),
        (300, "new.b", "vanished", ["boolean"], []),
        (400, "a", "changed type", ["integer", "text"], ["float"]),
        (400, "tags", "came", [], ["array"]),
        (400, "tags", "vanished", ["array"], []),
    ]


def test_payloads_that_are_no_objects_or_no_json_are_counted_and_said(tmp_path: Path) -> None:
    found = schemas(timeline_of(tmp_path, "{}", "[1]", "7", "null", b"\xff", b"", '"\\ud800"'))
    assert found.payloads.rows() == [("t", 7, 1, 3, 1, 1, 1)]
    assert found.fields.filter(pl.col("field") != "[]").height == 0


def test_an_object_with_ten_thousand_keys_is_a_map_and_its_keys_are_no_fields(tmp_path: Path) -> None:
    wide = json.dumps({"id": 1, "counts": {f"k{number}": number for number in range(10_000)}})
    found = schemas(timeline_of(tmp_path, wide, '{"id": 2, "counts": {"k1": 1}}'), every="auto")
    assert found.fields.select("field", "kinds", "present").rows() == [("id", ["integer"], 2), ("counts", ["object", "map"], 2)]
    root = json.dumps({f"k{number}": number for number in range(MOST_KEYS + 1)})
    assert schemas(timeline_of(tmp_path / "root", root)).fields.height == 0


def test_over_time_counts_add_up_and_a_field_that_is_missing_counts_none(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, '{"a": 1}', '{"a": null, "b": 1}', "[1]", '{"b": 2}')
    found = schemas(timeline, every="1d", tz="Europe/Berlin").over_time
    assert found is not None
    assert found.schema["period"] == pl.Datetime("us", "Europe/Berlin")
    rows = found.filter(pl.col("field") != "[]").select("field", "events", "present", "nulls").rows()
    assert rows == [
        ("a", 1, 1, 0), ("b", 1, 0, 0), ("a", 1, 1, 1), ("b", 1, 1, 0), ("a", 0, 0, 0), ("b", 0, 0, 0), ("a", 1, 0, 0), ("b", 1, 1, 0),
    ]  # fmt: skip


def test_as_of_and_what_if_are_histories_like_any_other(tmp_path: Path) -> None:
    now = timeline_of(tmp_path, '{"a": 1}', '{"b": 1}')
    assert schemas(now.upto(position=100)).fields["field"].to_list() == ["a"]
    assert sorted(schemas(now.patch(type="t", set={"c": "x"})).fields["field"]) == ["a", "b", "c"]
    for nothing in (now.types("none"), now.upto(position=100).after(position=100)):
        found = schemas(nothing, every="auto")
        assert found.over_time is not None
        assert (found.fields.height, found.changes.height, found.payloads.height, found.over_time.height) == (0, 0, 0, 0)


def test_what_is_no_place_or_no_period_is_refused(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, "{}")
    with pytest.raises(UsageError, match="is not a value of an event"):
        schemas(timeline, version="v")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(UsageError, match="DuckDB cannot search for"):
        schemas(timeline, version=event.metadata["a*"])
    with pytest.raises(UsageError, match="is unknown: periods are"):
        schemas(timeline, every="2d")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(UsageError, match="expects a class that extends Projection"):
        breaks("user", timeline)  # type: ignore[arg-type]  # what is refused


def test_a_place_is_written_so_that_no_other_one_is_written_so() -> None:
    assert [shown(path) for path in ((), ("a", "b"), ("a.b",), ("a", ELEMENT, "b"), ("",))] == ["", "a.b", '["a.b"]', "a[].b", '[""]']


class User(Projection, category="user"):
    name: str | None
    size: int = 0
    upcasters = (upcast("made", when=event.metadata["v"] == 1).rename(title="name"),)
    handlers = (
        on("made").create("name"),
        on("grew").add(size=event.data["by"]),
        on("first").set(name=event.data["names"][0]),
        on("ended").delete(),
    )


def test_breaks_says_of_each_place_what_is_missing_and_what_does_not_fit_without_stopping(tmp_path: Path) -> None:
    payloads: list[tuple[str, str | bytes]] = [
        ("made", '{"name": "x"}'),
        ("grew", '{"by": 1}'),
        ("grew", '{"by": "1"}'),
        ("grew", '{"by": null}'),
        ("grew", "{}"),
    ]
    payloads += [("grew", '{"by": 1.5}'), ("first", '{"names": ["y"]}'), ("first", '{"names": []}'), ("made", b"\xff"), ("other", "{}")]
    events = [row(10 * at, "user-1", revision=at, type=name, data=data, metadata='{"v": 2}') for at, (name, data) in enumerate(payloads, 1)]
    found = {(one["type"], one["place"]): one for one in breaks(User, lake_of(tmp_path, events).timeline).to_dicts()}
    grew = found["grew", "event.data['by']"]
    assert (grew["events"], grew["absent"], grew["nulls"], grew["misfits"]) == (5, 1, 1, 2)
    assert (grew["first_absent_position"], grew["first_null_position"], grew["first_misfit_position"]) == (50, 40, 30)
    assert grew["fields"] == ["size"]
    assert "1" in grew["reason"]
    first = found["first", "event.data['names'][0]"]
    assert (first["absent"], first["first_absent_position"], first["kinds"]) == (1, 80, ["text"])
    made = found["made", "event.data['name']"]
    assert (made["absent"], made["first_absent_position"], made["misfits"]) == (1, 90, 0)
    assert found["made", "event.metadata['v']"]["absent"] == 0
    assert found["ended", None]["events"] == 0
    assert {name for name, _ in found} == {"made", "grew", "first", "ended"}


def test_an_optional_field_that_is_missing_at_the_end_by_chance_has_not_vanished(tmp_path: Path) -> None:
    payloads = ['{"a": 1, "note": "x"}' if number % 5 == 0 else '{"a": 1}' for number in range(99)]
    found = schemas(timeline_of(tmp_path, *payloads)).changes
    assert found.height == 0
    began_late = ['{"a": 1}'] * 3 + payloads
    assert schemas(timeline_of(tmp_path / "late", *began_late)).changes.height == 0


def test_an_optional_field_that_is_missing_for_long_has_vanished(tmp_path: Path) -> None:
    payloads = ['{"a": 1, "note": "x"}' if number % 5 == 0 and number < 100 else '{"a": 1}' for number in range(200)]
    found = schemas(timeline_of(tmp_path, *payloads)).changes
    assert found.select("field", "change").rows() == [("note", "vanished")]


def test_a_whole_number_after_fractions_is_no_change_of_type(tmp_path: Path) -> None:
    assert schemas(timeline_of(tmp_path / "whole", '{"a": 5.5}', '{"a": 5}')).changes.height == 0
    found = schemas(timeline_of(tmp_path / "fraction", '{"a": 5}', '{"a": 5.5}')).changes
    assert found.select("change", "before", "after").rows() == [("changed type", ["integer"], ["float"])]
