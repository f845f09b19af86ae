"""What a declaration means, one rule at a time."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest

from tests.projection.declare import declare
from tests.replay.told import column, folded, log, mixed, one
from workbench.errors import ReplayError, ValueDoesNotFit
from workbench.fold.event_by_event.plan_fold import fold
from workbench.fold.results import FAILURES_SCHEMA, Counts
from workbench.projection import Digits, Json, Projection, event, on, plan_of, upcast
from workbench.projection.expressions import Where
from workbench.projection.plan import Kind
from workbench.projection.values import Misfit, converted, fitting, instant_of

Money = Annotated[Decimal, Digits(5, scale=2)]


class User(Projection, category="user"):
    name: str
    city: str | None
    logins: int = 0
    seen: datetime | None
    roles: set[str]

    handlers = (
        on("created").create("name"),
        on("moved").set(city=event.data["address"]["city"]),
        on("logged_in").add(logins=1).set(seen=event.recorded_at),
        on("granted").include(roles=event.data["role"]),
        on("revoked").exclude(roles=event.data["role"]),
        on("deleted").delete(),
    )


def holding(annotation: Any, text: str) -> Any:
    """Return what a field of a type holds after an event set it to a JSON text."""
    return one(declare({"a": annotation}, [on("t").set(a=event.data["a"])]), ("t", f'{{"a": {text}}}'))["a"]


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, '"Zo\\u00eb"', "Zoë"),
        (str, '"a\\u0000b"', "a\0b"),
        (str, '"q\\"\\\\\\/"', 'q"\\/'),
        (str, '"\\ud83d\\ude00"', "😀"),
        (str, '""', ""),
        (int, "9223372036854775807", 2**63 - 1),
        (int, "-9223372036854775808", -(2**63)),
        (int, "-0", 0),
        (int, "1.0", 1),
        (int, "1e3", 1000),
        (int, "9007199254740992.0", 2**53),
        (float, "1", 1.0),
        (float, "0.1", 0.1),
        (float, "9007199254740993", 9007199254740992.0),
        (float, "123456789012345678901234567890", 123456789012345678901234567890.0),
        (float, "5e-324", 5e-324),
        (Money, "1.10", Decimal("1.10")),
        (Money, "1", Decimal("1.00")),
        (Money, "1e2", Decimal("100.00")),
        (Money, "1.5000", Decimal("1.50")),
        (Money, "-0.0", Decimal("0.00")),
        (
            Annotated[Decimal, Digits(38, scale=20)],
            "123456789012345678.12345678901234567890",
            Decimal("123456789012345678.12345678901234567890"),
        ),
        (bool, "true", True),
        (datetime, '"2026-03-01T09:00:00.1234567+01:30"', datetime(2026, 3, 1, 7, 30, 0, 123456, UTC)),
        (Json, ' { "b" : [1.10, 1e3, 1.0, -0], "a" : "\\u00e9", "a": 2 }', '{"a":"é","b":[1.1,1000.0,1.0,0]}'),
        (Json, '"x"', '"x"'),
        (Json, "12345678901234567890123", "12345678901234567890123"),
        (set[str], '["b", "a", "b", "B", "é"]', ["B", "a", "b", "é"]),
        (set[int], "[10, 9, 1.0, 1]", [1, 9, 10]),
        (set[Money], "[1.5, 1.50]", [Decimal("1.50")]),
        (list[str], '["b", "a", "b"]', ["b", "a", "b"]),
        (list[datetime], '["2026-03-01T09:00:00Z"]', [datetime(2026, 3, 1, 9, tzinfo=UTC)]),
        (list[Json], '[{"x": 1}, [1]]', ['{"x":1}', "[1]"]),
    ],
)
def test_a_value_becomes_what_its_field_says(annotation: Any, text: str, expected: Any) -> None:
    held = holding(annotation, text)
    assert expected == held
    assert type(expected) is type(held)
    assert None is holding(annotation, "null")


@pytest.mark.parametrize(
    ("annotation", "text", "reason"),
    [
        (str, "1", "it is not text"),
        (int, '"1"', "it is not a number"),
        (int, "true", "it is not a number"),
        (int, "1.5", "it is not a whole number"),
        (int, "9007199254740994.0", "it is not a whole number"),
        (int, "9223372036854775808", "it does not fit into int64"),
        (float, '"0.5"', "it is not a number"),
        (float, "1e999", "it is outside the range of a double"),
        (float, "1" * 400, "it is outside the range of a double"),
        (float, "1" * 5000, "it is outside the range of a double"),
        (Money, "1.005", "it has more digits than decimal(5, 2) allows"),
        (Money, "1000", "it has more digits than decimal(5, 2) allows"),
        (Money, "1.0000000000000000000000001", "it has more digits than decimal(5, 2) allows"),
        (Money, "1e999999999999999999999", "it has more digits than decimal(5, 2) allows"),
        (Money, '"1.5"', "it is not a number"),
        (bool, "1", "it is neither true nor false"),
        (datetime, '"2026-03-01T09:00:00"', "it is not an RFC 3339 time with a zone, like 2026-03-01T09:00:00Z"),
        (datetime, "1700000000", "it is not an RFC 3339 time with a zone, like 2026-03-01T09:00:00Z"),
        (Json, "[1e999]", "a number in it is outside the range of a double"),
        (Json, r'["\ud800x"]', "a text in it contains half a surrogate pair, which is not a character"),
        (Json, r'{"\ud800": 1}', "a text in it contains half a surrogate pair, which is not a character"),
        (str, r'"\ud800x"', "it contains half a surrogate pair, which is not a character"),
        (set[str], '"a"', "it is not an array"),
        (set[str], '["a", null]', "an element is null"),
        (list[int], '["1"]', "it is not a number"),
    ],
)
def test_a_value_that_does_not_fit_stops_the_replay_and_says_where(annotation: Any, text: str, reason: str) -> None:
    with pytest.raises(ValueDoesNotFit) as raised:
        holding(annotation, text)
    error = raised.value
    assert (reason, "user-1", 0, 10, "t", "a") == (error.reason, error.stream, error.revision, error.position, error.type, error.field)
    assert f"does not fit: {reason}; in event 0 of stream 'user-1' (t, id 00000000-0000-0000-0000-000000000010, position 10)." in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.5-00:00", 500_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-00:01", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-02-29T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2016-12-31T23:59:60Z", None),
        ("2026-01-01T00:00Z", None),
        ("2026-01-01", None),
        ("20260101T000000Z", None),
        ("2026-01-01T00:00:00+0100", None),
        ("2026-01-01T00:00:00.Z", None),
        ("2026-01-01T00:00:00Z\n", None),
        ("\u0662026-01-01T00:00:00Z", None),
    ],
)
def test_an_instant_is_rfc_3339_with_a_zone_cut_to_microseconds(text: str, expected: int | None) -> None:
    assert expected == instant_of(text)


def test_there_is_one_zero() -> None:
    zero = holding(float, "-0.0")
    assert str(zero) == "0.0"


def test_absent_changes_nothing_and_null_becomes_null() -> None:
    before = ("created", {"name": "Ann"})
    assert one(User, before, ("created", {}))["name"] == "Ann"
    assert None is one(User, before, ("created", {"name": None}))["name"]
    moved = ("moved", {"address": {"city": "Bonn"}})
    nothing: Any
    for nothing in ({}, {"address": {}}, {"address": None}, {"address": "city"}, {"address": ["city"]}, [], "city", 7, None):
        assert one(User, before, moved, ("moved", nothing if nothing is None else json.dumps(nothing)))["city"] == "Bonn"
    assert None is one(User, before, moved, ("moved", {"address": {"city": None}}))["city"]


def test_an_index_finds_elements_of_arrays_only() -> None:
    projection = declare({"a": str}, [on("t").set(a=event.data["x"][1])])
    assert one(projection, ("t", {"x": ["a", "b"]}))["a"] == "b"
    for other in ({"x": ["a"]}, {"x": {"1": "b"}}, {"x": "ab"}):
        assert None is one(projection, ("t", other))["a"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"\\u0061": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        '{ "a" : 1 , "a" : 2 }',
        '{"b": {"a": 9}, "a": 1, "a": "a"}',
        '{"a": 1, "x": 1e999, "a": 2}',
    ],
)
def test_of_duplicate_keys_the_first_counts(text: str) -> None:
    assert one(declare({"a": int}, [on("t").set(a=event.data["a"])]), ("t", text))["a"] == 1


def test_keys_that_have_to_be_escaped_are_found() -> None:
    for key in ('q"', "back\\slash", "a/b", "é", "", "a.b", "$", "line\n"):
        projection = declare({"a": int}, [on("t").set(a=event.data[key])])
        for escaped in (True, False):
            text = f"{{{json.dumps(key, ensure_ascii=escaped).replace('/', chr(92) + '/')}: 1, {json.dumps(key)}: 2}}"
            assert one(projection, ("t", text))["a"] == 1


def test_a_binary_payload_has_nothing_in_it() -> None:
    state = one(User, ("created", {"name": "Ann"}), ("created", None), ("logged_in", None))
    assert (state["name"], state["logins"]) == ("Ann", 1)


def test_values_come_from_metadata_columns_and_constants() -> None:
    projection = declare(
        {
            "user": str,
            "at": datetime,
            "number": int,
            "stream": str,
            "size": float,
            "status": str,
            "cause": str | None,
            "moments": list[datetime],
        },
        [
            on("t")
            .set(user=event.metadata["user"], at=event.recorded_at, number=event.revision, stream=event.stream)
            .set(size=event.position, status="new", cause=event.causation_id)
            .append(moments=event.recorded_at, keep=2)
        ],
    )
    state = one(projection, ("t", {}, {"user": "ann"}), ("t", {}, {"user": "bob"}))
    at = datetime.fromtimestamp(1_700_000_001, UTC)
    assert ["bob", at, 1, "user-1", 20.0, "new", None, [at - timedelta(seconds=1), at]] == list(state.values())[1:9]


def test_sums_begin_at_zero_skip_null_and_stay_exact() -> None:
    projection = declare(
        {"n": int, "f": float | None, "d": Money},
        [on("in").add(n=event.data["n"], f=event.data["f"], d=event.data["d"]), on("out").subtract(d=event.data["d"], n=1)],
    )
    events = [("in", '{"n": 4611686018427387905, "f": 0.1, "d": 0.10}'), ("in", '{"n": null, "f": 0.2, "d": 0.20}'), ("out", '{"d": 0.30}')]
    state = one(projection, *events)
    assert (4611686018427387904, 0.1 + 0.2, Decimal("0.00")) == (state["n"], state["f"], state["d"])


@pytest.mark.parametrize(
    ("annotation", "texts", "reason"),
    [
        (int, ["9223372036854775807", "1"], "with it the sum leaves int64"),
        (float, ["1e308", "1e308"], "with it the sum is outside the range of a double"),
        (Money, ["999.99", "0.01"], "with it the sum has more digits than the field"),
    ],
)
def test_a_sum_that_overflows_is_an_error_also_if_it_would_come_back(annotation: Any, texts: list[str], reason: str) -> None:
    projection = declare({"a": annotation}, [on("t").add(a=event.data["a"]), on("back").subtract(a=event.data["a"])])
    events = [*(("t", f'{{"a": {text}}}') for text in texts), ("back", f'{{"a": {texts[-1]}}}')]
    with pytest.raises(ValueDoesNotFit, match=reason):
        folded(projection, log(*events))


def test_max_and_min_skip_null_and_take_the_first_value() -> None:
    projection = declare(
        {"high": int, "low": str | None, "last": datetime | None},
        [on("t").max(high=event.data["n"], last=event.recorded_at).min(low=event.data["s"])],
    )
    state = one(projection, ("t", {"n": None, "s": "b"}), ("t", {"n": -5, "s": "Z"}), ("t", {"n": -7, "s": None}))
    assert (state["high"], state["low"]) == (-5, "Z")
    assert datetime.fromtimestamp(1_700_000_002, UTC) == state["last"]


def test_sets_take_elements_and_arrays_and_begin_from_null() -> None:
    projection = declare(
        {"roles": set[str] | None},
        [on("in").include(roles=event.data["r"]), on("out").exclude(roles=event.data["r"]), on("x").include(roles=("k", "a"))],
    )
    assert None is one(projection, ("in", {"r": None}))["roles"]
    assert one(projection, ("out", {"r": "b"}))["roles"] == []
    state = one(projection, ("in", {"r": "b"}), ("in", {"r": ["c", "a", "b"]}), ("out", {"r": ["b", "z"]}), ("x", {}))
    assert state["roles"] == ["a", "c", "k"]


def test_lists_keep_the_last_elements_only() -> None:
    projection = declare(
        {"tags": list[str], "notes": list[Json] | None},
        [on("t").append(tags=event.data["t"], notes=event.data["t"], keep=3), on("all").set(tags=event.data["t"])],
    )
    state = one(projection, ("all", {"t": ["1", "2", "3", "4"]}), ("t", {"t": None}), ("t", {"t": ["5", "6"]}))
    assert (state["tags"], state["notes"]) == (["4", "5", "6"], ['["5","6"]'])


def test_only_a_creating_handler_begins_an_entity_and_others_are_orphans() -> None:
    result = folded(User, log(("logged_in", {}), ("created", {"name": "Ann"}), ("logged_in", {}), ("never", {}), ("never", {})))
    assert column(result.state, "logins") == [1]
    assert Counts(applied=2, orphans=1, unhandled={"never": 2}) == result.counts
    assert result.counts.events == 5


def test_without_a_creating_handler_the_first_event_that_matches_begins_the_entity() -> None:
    projection = declare({"n": int}, [on("t").where(event.data["x"] == 1).add(n=1), on("end").delete()])
    result = folded(projection, log(("end", {}), ("t", {"x": 2}), ("t", {"x": 1}), ("t", {"x": 1})))
    assert column(result.state, "n") == [2]
    assert column(result.state, "position") == [30 + 10]
    assert Counts(applied=2, unmatched=1, orphans=1) == result.counts


def test_after_a_delete_the_next_creation_begins_a_new_life_from_nothing() -> None:
    first = [("created", {"name": "Ann"}), ("granted", {"role": "a"}), ("logged_in", {}), ("deleted", {})]
    assert folded(User, log(*first)).state.height == 0
    result = folded(User, log(*first, ("logged_in", {}), ("created", {}), ("logged_in", {})), history=True)
    state = result.state.row(0, named=True)
    assert (state["name"], state["city"], state["logins"], state["roles"], state["event_count"]) == (None, None, 1, [], 2)
    assert result.counts.orphans == 1
    assert result.history is not None
    assert column(result.history, "event_count") == [1, 2, 3, 1, 2]
    assert column(result.history, "valid_to_position") == [20, 30, 40, 70, None]


def test_a_create_on_an_entity_that_is_there_only_sets() -> None:
    state = one(User, ("created", {"name": "Ann"}), ("logged_in", {}), ("created", {"name": "Bob"}))
    assert (state["name"], state["logins"], state["event_count"]) == ("Bob", 1, 3)


def test_all_handlers_that_match_run_in_the_order_of_the_declaration() -> None:
    projection = declare(
        {"n": int, "s": str},
        [
            on("t").create().set(n=event.data["n"]).add(n=1),
            on("t").where(event.data["n"] > 5).set(s="big").add(n=10),
            on("reset").delete(),
            on("reset").create(s="again"),
            on("t").set(s=event.data["s"]),
        ],
    )
    assert tuple(one(projection, ("t", {"n": 6, "s": "x"}))[name] for name in ("n", "s")) == (17, "x")
    assert tuple(one(projection, ("t", {"n": 1}))[name] for name in ("n", "s")) == (2, None)
    state = one(projection, ("t", {"n": 6}), ("reset", {}))
    assert (state["n"], state["s"], state["event_count"]) == (None, "again", 1)


def decided(condition: Where, data: Any, *, metadata: Any = None) -> bool:
    """Return whether a condition holds of an event."""
    return folded(declare({"a": int}, [on("t").where(condition).add(a=1)]), log(("t", data, metadata))).counts.applied == 1


def test_a_condition_that_is_unknown_does_not_hold_nor_does_its_opposite() -> None:
    for data in ({}, {"a": None}, {"a": "7"}, {"a": True}, {"a": [7]}, None):
        for condition in (event.data["a"] > 5, event.data["a"] != 5, event.data["a"].isin(5, 6)):
            assert not decided(condition, data)
            assert not decided(~condition, data)
    unknown, yes, no = event.data["a"] > 5, event.data["b"] == 1, event.data["b"] == 2
    assert decided(unknown | yes, {"b": 1})
    assert not decided(unknown & yes, {"b": 1})
    assert decided(~(unknown & no), {"b": 1})
    assert not decided(~(unknown & yes), {"b": 1})
    assert not decided(~(unknown | no), {"b": 1})


def test_absent_and_null_differ_in_conditions() -> None:
    place = event.data["a"]
    assert [decided(place.is_null(), data) for data in ({"a": None}, {}, {"a": 1})] == [True, False, False]
    assert [decided(place.exists(), data) for data in ({"a": None}, {}, {"a": 1})] == [True, False, True]
    assert decided(~place.exists(), None)
    assert not decided(event.correlation_id.exists(), {})
    assert decided(event.correlation_id.exists(), {}, metadata={"$correlationId": "c"})


def test_numbers_compare_as_numbers_and_integers_exactly() -> None:
    place = event.data["a"]
    assert decided(place == 1, '{"a": 1.0}')
    assert decided(place == 1.0, '{"a": 1}')
    assert decided(place > 2**53, '{"a": 9007199254740993}')
    assert not decided(place > float(2**53), '{"a": 9007199254740993}')
    assert decided(place > 5, '{"a": 1e999}')
    assert decided(place > 5.5, '{"a": ' + "1" * 400 + "}")
    assert decided(place == Decimal("0.1"), '{"a": 0.1}')
    assert not decided(place == 1, '{"a": true}')
    assert not decided(place == True, '{"a": 1}')  # noqa: E712  # a condition


def test_text_compares_by_code_points_and_instants_as_instants() -> None:
    assert decided(event.data["a"] < "\U0001f600", {"a": "\uffff"})
    nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert decided(event.data["a"] == nine, {"a": "2026-03-01T10:00:00+01:00"})
    assert not decided(event.data["a"] != nine, {"a": "tomorrow"})
    assert decided(event.recorded_at < datetime(2024, 1, 1, tzinfo=UTC), {})


def test_a_key_is_what_stands_behind_the_category() -> None:
    state = folded(User, mixed(("user-x-1", "created", {}), ("user-2", "created", {}), ("users-3", "created", {}))).state
    assert column(state, "key") == ["2", "x-1"]


@pytest.mark.parametrize("stream", ["user", "user-"])
def test_a_stream_without_a_key_is_refused_with_a_hint(stream: str) -> None:
    with pytest.raises(ValueDoesNotFit, match="declare key=") as raised:
        folded(User, mixed((stream, "created", {})))
    assert ("key", stream) == (raised.value.field, raised.value.stream)
    assert folded(User, mixed((stream, "never", {}))).state.height == 0


def test_a_key_from_a_place_is_text_or_an_integer_across_streams() -> None:
    projection = declare({"n": int}, [on("t").add(n=1)], category=("user", "order"), key=event.data["k"])
    texts = ['{"k": "7"}', '{"k": 7}', '{"k": 7.0}', '{"k": null}', "{}", '{"k": ""}', '{"k": true}', '{"k": 9223372036854775808}']
    result = folded(projection, mixed(*((f"{'user' if index % 2 else 'order'}-{index}", "t", text) for index, text in enumerate(texts))))
    assert [(row["key"], row["n"]) for row in result.state.iter_rows(named=True)] == [("7", 2)]
    assert (result.counts.applied, result.counts.keyless) == (2, 6)


def test_events_of_other_categories_are_not_counted() -> None:
    assert folded(User, mixed(("user-1", "created", {}), ("order-1", "created", {}))).counts.events == 1


def test_collected_failures_leave_out_the_whole_event() -> None:
    projection = declare(
        {"roles": set[str], "tags": list[str], "n": int, "m": int},
        [
            on("t").create().include(roles=event.data["r"]).append(tags=event.data["r"], keep=9).add(n=event.data["n"]),
            on("t").exclude(roles="a").set(m=event.data["m"]),
        ],
    )
    big = 2**63 - 1
    events = [("t", {"r": ["a", "b"], "n": big}), ("t", {"r": ["c", "a"], "n": 1}), ("t", {"r": "d", "m": "x"}), ("t", {"r": "a", "n": 0})]
    result = folded(projection, log(*events), errors="collect", history=True)
    state = result.state.row(0, named=True)
    assert (["b"], ["a", "b", "a"], big, 2) == (state["roles"], state["tags"], state["n"], state["event_count"])
    assert Counts(applied=2, failed=2) == result.counts
    assert result.failures.schema == FAILURES_SCHEMA
    assert list(zip(column(result.failures, "field"), column(result.failures, "value"), strict=True)) == [("n", "1"), ("m", '"x"')]
    assert result.history is not None
    assert column(result.history, "valid_from_position") == [10, 40]


def test_values_of_handlers_that_are_passed_over_are_not_looked_at() -> None:
    projection = declare({"n": int}, [on("begin").create(), on("t").set(n=event.data["n"])])
    assert folded(projection, log(("t", {"n": "x"}))).counts.orphans == 1


def test_events_that_are_not_in_log_order_are_refused() -> None:
    events = log(("created", {}), ("logged_in", {}))
    with pytest.raises(ReplayError, match="not in log order: position 10 comes after 20"):
        folded(User, events.reverse().with_columns(type=events["type"]))


def test_a_history_says_from_when_to_when_each_version_was_valid() -> None:
    history = folded(
        User, log(("created", {"name": "A"}), ("never", {}), ("created", {"name": "B"}), ("deleted", {})), history=True
    ).history
    assert history is not None
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    assert [
        ("A", "created", 0, 10, 30, at, at + timedelta(seconds=2)),
        ("B", "created", 2, 30, 40, at + timedelta(seconds=2), at + timedelta(seconds=3)),
    ] == history.select("name", "event_type", "revision", "valid_from_position", "valid_to_position", "valid_from", "valid_to").rows()


def lifted(chain: list[Any], data: Any, *, metadata: Any = None, event_type: str = "t") -> Any:
    """Return the payload that upcasters make, as the handlers see it, by way of single names and of a function."""
    names = ("a", "b", "c")
    by_names = declare(dict.fromkeys(names, Json), [on("t").create(*names)], upcasters=chain)
    by_function = declare(dict.fromkeys(names, Json), [on("t").create(*names)], upcasters=[*chain, upcast("t").apply(lambda d, m: d)])
    assert (plan_of(by_names).python_only, plan_of(by_function).python_only) == (False, True)
    event_given = (event_type, data, metadata)
    state, other = (one(projection, event_given) for projection in (by_names, by_function))
    assert state == other
    return {name: json.loads(state[name]) for name in names if state[name] is not None}


def test_upcasters_rename_default_move_split_and_retype() -> None:
    assert lifted([upcast("t").rename(a="b")], {"a": 1, "b": 2}) == {"b": 1}
    assert lifted([upcast("t").rename(a="b")], {"b": 2}) == {"b": 2}
    assert lifted([upcast("t").rename(a="c", b="a").rename(c="b")], {"a": 1, "b": 2}) == {"a": 2, "b": 1}
    assert lifted([upcast("t").default(a=5, b=True)], {"b": False}) == {"a": 5, "b": False}
    assert lifted([upcast("t").default(a=5)], {"a": None}) == {}
    assert lifted([upcast("t").move(a=event.data["x"]["city"])], {"x": {"city": "Bonn"}}) == {"a": "Bonn"}
    assert lifted([upcast("t").split("a", into=("b", "c"))], {"a": "Ann van Dyk"}) == {"b": "Ann", "c": "van Dyk"}
    assert lifted([upcast("t").split("a", into=("b", "c"))], {"a": "Ann", "c": 7}) == {"b": "Ann", "c": 7}
    assert lifted([upcast("t").split("a", into=("b", "c"))], {"a": 7}) == {"a": 7}
    assert lifted([upcast("t").retype(a=int, b=str, c=bool)], {"a": "7", "b": 7, "c": "true"}) == {"a": 7, "b": "7", "c": True}
    assert lifted([upcast("t").retype(a=int, b=str, c=bool)], {"a": "x", "b": 1.5}) == {"a": "x", "b": 1.5}
    assert lifted([upcast("t").default(a=1)], None) == {"a": 1}


def test_an_upcaster_sees_the_event_as_recorded_and_a_chain_of_versions_lifts_through() -> None:
    version = event.metadata["v"]
    chain = [upcast("t", when=version == 1).rename(a="b"), upcast("t", when=version == 2).rename(b="c")]
    assert lifted(chain, {"a": 7}, metadata={"v": 1}) == {"c": 7}
    assert lifted(chain, {"a": 7}, metadata={"v": 2}) == {"a": 7}
    assert lifted(chain, {"b": 7}, metadata={"v": 2}) == {"c": 7}
    assert lifted(chain, {"b": 7}, metadata={"v": 3}) == {"b": 7}
    assert lifted([upcast("t").rename(a="b"), upcast("t", when=event.data["a"] == 1).default(c=2)], {"a": 1}) == {"b": 1, "c": 2}


def test_an_upcaster_makes_another_type_of_an_event() -> None:
    chain = [upcast("old", when=event.data["x"] == 1).rename(x="a").to("t"), upcast("t").default(b=2)]
    assert lifted(chain, {"x": 1}, event_type="old") == {"a": 1, "b": 2}
    projection = declare({"a": int, "kind": str}, [on("t").create("a", kind=event.type)], upcasters=chain)
    result = folded(projection, log(("old", {"x": 1}), ("old", {"x": 2})), history=True)
    assert result.counts.unhandled == {"old": 1}
    assert column(result.state, "kind") == ["t"]
    assert result.history is not None
    assert column(result.history, "event_type") == ["old"]


def test_a_value_of_which_a_part_was_moved_is_read_after_the_move() -> None:
    projection = declare({"a": Json, "x": Json}, [on("t").create("a", "x")], upcasters=[upcast("t").move(a=event.data["x"]["y"])])
    assert plan_of(projection).python_only
    state = one(projection, ("t", {"x": {"y": 1, "z": 2}}))
    assert (state["a"], state["x"]) == ("1", '{"z":2}')


def _broken(data: Any, metadata: Any) -> Any:
    return {"a": 1 / data["a"]}


def test_an_error_in_an_upcasters_function_says_at_which_event_or_is_collected() -> None:
    projection = declare({"a": float}, [on("t").set(a=event.data["a"])], upcasters=[upcast("t").apply(_broken)])
    events = log(("t", {"a": 2}), ("t", {"a": 0}))
    with pytest.raises(ZeroDivisionError) as raised:
        folded(projection, events)
    assert raised.value.__notes__ == ["in event 1 of stream 'user-1' (t, id 00000000-0000-0000-0000-000000000020, position 20)"]
    result = folded(projection, events, errors="collect")
    assert column(result.state, "a") == [0.5]
    assert column(result.failures, "reason") == ["an upcaster's function raised ZeroDivisionError: division by zero"]


def test_what_an_upcasters_function_returns_must_be_json() -> None:
    projection = declare({"a": Json}, [on("t").set(a=event.data)], upcasters=[upcast("t").apply(lambda data, metadata: {"a": {1}})])
    with pytest.raises(ValueDoesNotFit, match="the upcaster's function did not return a JSON value"):
        folded(projection, log(("t", {})))


def test_a_state_of_another_projection_is_not_gone_on_from() -> None:
    state = folded(User, log(("created", {}))).state
    with pytest.raises(ReplayError, match="The state to continue from has the columns"):
        fold(plan_of(User), log(("created", {})), initial=state.drop("name"))


def test_text_becomes_a_number_only_if_all_of_it_is_one() -> None:
    for text in ("1", "-0", "1.50", "1e3"):
        assert float(text) == converted(text, "number")
    for text in ("", "01", "+1", ".5", "1.", " 1", "1\n", "0x1", "NaN", "\u0661"):
        assert text == converted(text, "number")


def test_a_misfit_names_the_value_as_recorded() -> None:
    with pytest.raises(Misfit):
        fitting(Kind("integer"))("x")
    with pytest.raises(ValueDoesNotFit, match=r"a = 1\.0050 does not fit"):
        holding(Money, "1.0050")


def test_the_error_crosses_processes() -> None:
    with pytest.raises(ValueDoesNotFit) as raised:
        holding(int, '"x"')
    copied = pickle.loads(pickle.dumps(raised.value))
    assert str(copied) == str(raised.value)
    assert copied.position == 10
