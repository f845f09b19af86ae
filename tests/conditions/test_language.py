"""The language of conditions and measures: what a text means, and the sentence of each that means nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import Timeline, event, on, upcast
from workbench.errors import InvalidCondition, UsageError
from workbench.projection.event_conditions import event_path, where
from workbench.projection.expressions import Where
from workbench.scenarios.measures import Measure, measured

data = event.data
NOWHERE: Any = object()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("data.amount > 100", data["amount"] > 100),
        ("data.amount>=-1.5e3", data["amount"] >= -1500.0),
        ("100 < data.amount", data["amount"] > 100),
        ("data.address.city = 'Köln'", data["address"]["city"] == "Köln"),
        ("data.\"first name\" <> 'O''Hara'", data["first name"] != "O'Hara"),
        ("data.name != 'say \"no\" \\'", data["name"] != 'say "no" \\'),
        ('data."a ""b"".c".d = 1', data['a "b".c']["d"] == 1),
        ("data.tags[0] < 'b'", data["tags"][0] < "b"),
        ('data[0]."" = 1', data[0][""] == 1),
        ("data.a.b.c.d.e[1].f[2][3].g = 1", data["a"]["b"]["c"]["d"]["e"][1]["f"][2][3]["g"] == 1),
        ("data.from = 1", data["from"] == 1),
        ("data.in in (1, 2)", data["in"].isin(1, 2)),
        ("data.select.case.order.not.and = 1", data["select"]["case"]["order"]["not"]["and"] == 1),
        ("metadata.$correlationId = 'x'", event.metadata["$correlationId"] == "x"),
        ("type not in ('a', 'b')", ~event.type.isin("a", "b")),
        ("TYPE = 'a'".lower(), event.type == "a"),
        ("data.trial = TRUE", data["trial"] == True),  # noqa: E712  # a condition on the event
        ("exists(data.trial)", data["trial"].exists()),
        ("not exists (data.trial)", ~data["trial"].exists()),
        ("data.exists = 1", data["exists"] == 1),
        ("data.trial is null", data["trial"].is_null() | ~data["trial"].exists()),
        ("data.trial Is Not Null", ~(data["trial"].is_null() | ~data["trial"].exists())),
        ("metadata.schemaVersion = 1", event.metadata["schemaVersion"] == 1),
        ("revision < 3", event.revision < 3),
        ("position < 3.5", event.position < 3.5),
        ("recorded_at < '2026-03-01'", event.recorded_at < datetime(2026, 3, 1, tzinfo=UTC)),
        (
            "recorded_at in ('2026-03-01', '2026-03-01T09:00:00+01:00')",
            event.recorded_at.isin(*(datetime(2026, 3, 1, h, tzinfo=UTC) for h in (0, 8))),
        ),
        ("data.due < timestamp '2026-03-01T09:00:00Z'", data["due"] < datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("data.due < '2026-03-01'", data["due"] < "2026-03-01"),
        ("data.a between 1 and 5", (data["a"] >= 1) & (data["a"] <= 5)),
        ("data.a not between 1 and 5", ~((data["a"] >= 1) & (data["a"] <= 5))),
        ("not data.a = 1 and data.b = 2", ~(data["a"] == 1) & (data["b"] == 2)),
        ("data.a = 1 or data.b = 2 and data.c = 3", (data["a"] == 1) | ((data["b"] == 2) & (data["c"] == 3))),
        ("(data.a = 1 or data.b = 2) and data.c = 3", ((data["a"] == 1) | (data["b"] == 2)) & (data["c"] == 3)),
        ("not (data.a = 1 or data.b = 2)", ~((data["a"] == 1) | (data["b"] == 2))),
        ("((data.a)) = 1\n  AND\n  data.b = 2", (data["a"] == 1) & (data["b"] == 2)),
    ],
)
def test_a_text_says_what_the_condition_of_a_projection_says(text: str, meant: Where) -> None:
    assert where(text).condition == meant.condition


def test_a_text_stands_wherever_a_condition_does() -> None:
    both = on("a").where("data.x = 1").where("data.y = 2").condition
    assert both is not None
    assert both.condition == ((data["x"] == 1) & (data["y"] == 2)).condition
    when = upcast("a", when="metadata.v = 1").when
    assert when is not None
    assert when.condition == (event.metadata["v"] == 1).condition
    forks = [Timeline(log=NOWHERE).drop(where=one) for one in ("data.x = 1", data["x"] == 1)]
    assert forks[0] == forks[1]
    assert [str(fork.edits[0]) for fork in forks] == ["drop(where='data.x = 1')", "drop(where=event.data['x'] == 1)"]


def test_many_conditions_in_a_row_are_no_deep_ones() -> None:
    for word in ("and", "or"):
        assert len(where(f" {word} ".join(["data.a = 1"] * 5_000)).condition.conditions) == 5_000  # type: ignore[union-attr]
    for deep in ("(" * 400 + "data.a = 1" + ")" * 400, "not " * 4_000 + "data.a = 1", "data" + ".a" * 20_000 + " = 1"):
        with pytest.raises(InvalidCondition, match="nested"):
            where(deep)


@pytest.mark.parametrize(("text", "steps"), [("stream", "event.stream"), ('data."a.b"[0]', "event.data['a.b'][0]")])
def test_a_path_names_a_value_of_an_event(text: str, steps: str) -> None:
    assert repr(event_path(text)) == steps


MARK = "‸"  # stands where the error is


@pytest.mark.parametrize(
    ("marked", "sentence"),
    [
        ("‸", "there is nothing; a condition compares names with constants by =, <>"),
        ("‸data.amount", "data.amount is compared with nothing: write = true, is null or the like"),
        ("data.amount ‸== 100", "equal is =, not =="),
        ("data.amount >‸ ", "it ends too early"),
        ("data.a = 1 and‸", "it ends too early"),
        ("data.a between 1‸", "it ends too early"),
        ("(data.a = 1‸", "it ends too early"),
        ("data.a in‸", "it ends too early"),
        ("data.a is‸", "it ends too early"),
        ("data.‸", "it ends too early"),
        ("data.plan = ‸pro", "pro is a name, and a name is compared with a constant; a text stands in single quotes: 'pro'"),
        ('data.plan = ‸"pro"', "\"pro\" is a name, and a name is compared with a constant; a text stands in single quotes: 'pro'"),
        ("data.a = ‸data.b", "data.b is a name, and a name is compared with a constant"),
        ("data.plan = ‸'pro", "a quote is not closed; a quote inside a text is doubled: 'it''s'"),
        ("data.x = 1 and data.plan = ‸null", "nothing equals null: write is null, or is not null"),
        ("data.plan in ('a', ‸null)", "nothing equals null"),
        ("data.a = 1 ‸&& data.b = 2", "write and, or, not"),
        ("data.a = 1 ‸data.b = 2", "data is not allowed here; a condition compares"),
        ("‸and data.a = 1", "and is not allowed here"),
        ("data.a = 1 and ‸or data.b = 1", "or is not allowed here"),
        ("data.a = ‸012", "012 is not a number: write it as JSON does"),
        ("data.a = ‸.5", ". is not allowed here"),
        ("data.a = ‸+5", "+ is not allowed here"),
        ("data.a = 1‸_000", "_000 is not allowed here"),
        ("data.a = ‸1e999", "1e999 is beyond all numbers"),
        ("data.a = ‸99999999999999999999", "99999999999999999999 does not fit into 64 bits"),
        ("data.a in (‸)", ") is not allowed here"),
        ("data.a in (1, ‸)", ") is not allowed here"),
        ("data.a in (1, ‸'x')", "the constants of a list are all of one kind"),
        ("data.a in ‸['x']", "a list stands in parentheses: in ('a', 'b')"),
        ('data‸["first name"] = 1', 'a name that is no word stands in double quotes behind a dot: ."first name"'),
        ("data.trial ‸exists", "exists stands in front of the name: exists(data.trial)"),
        ("‸exists(data.a, 1)", "outside the language"),
        ("exists(‸'x')", "this is outside the language"),
        ("data.a‸[-1] = 1", "brackets hold the number of an element, from 0: [0]"),
        ("data.tags.‸0 = 1", 'an element of an array is [0], and a name that is no word stands in double quotes: "0"'),
        ("data.first‸-name = 'x'", 'a minus stands only before a number; a name that holds one stands in double quotes: "first-name"'),
        (
            "‸amount > 100",
            "an event has no amount; it has data, metadata, position, prepare_position, stream, category, revision, event_id, type",
        ),
        ("data.a = 1 or\n  ‸Type = 'a'", "an event has no Type"),
        ("‸type.x = 'a'", "type has no parts"),
        ("not ‸> 100", "> is not allowed here"),
        ("‸data.trial is true", "write = true; is goes with null"),
        ("‸data.trial < true", "true and false have no order: compare by = or <>"),
        ("recorded_at > ‸5", "recorded_at holds instants and cannot be compared with 5"),
        ("recorded_at > ‸'5'", "'5' is not a time"),
        ("recorded_at > ‸'2026-03-01T09:00'", "time zone"),
        ("data.due > timestamp ‸'2026-03-01T09:00'", "time zone"),
        ("type = ‸5", "type holds text and cannot be compared with 5"),
        ("‸type = true", "type holds text and cannot be compared with True"),
        ("data.a = 1‸;", "; is not allowed here"),
        ("data.a = 1 ‸-- a comment", "a minus stands only before a number"),
        ("data.a = 1 ‸/* a comment */", "/ is not allowed here"),
        ("data.a = ‸1 {# a comment #}", "a comment stands beside this, and is not allowed"),
        ("data.a = 'x' ‸{# a comment", "a comment is not closed"),
        ("‸lower(data.a) = 'x'", "there is no function lower; a condition compares"),
        ("data.a = ‸cast('1' as int)", "there is no function cast"),
        ("data.a = '1'‸::int", ": is not allowed here"),
        ("data.a ‸+ 1 > 2", "+ is not allowed here"),
        ("data.a ‸like 'x%'", "like is not allowed here"),
        ("data.a in (select ‸1)", "1 is not allowed here"),
        ("‸count(*) > 1", "there is no function count"),
        ("not ‸data.a = 1 = true", "outside the language"),
        ("data.a = ‸'x' 'y'", "outside the language"),
    ],
)
def test_a_text_that_is_no_condition_is_refused_with_its_line_and_column(marked: str, sentence: str) -> None:
    before, _, after = marked.partition(MARK)
    text = before + after
    with pytest.raises(InvalidCondition) as refused:
        where(text)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert str(refused.value).startswith(f"The condition {text!r} is wrong at line {line}, column {column}: ")
    assert sentence in str(refused.value)
    assert refused.value.offset == len(before)


WORDS = (
    "data a type recorded_at and or not in is null true between exists timestamp count sum filter where distinct case if cast select é ²"
)
SIGNS = (
    """. 'x' "q" 1 - 1.5e3 ( ) [ ] 0 , = == <> <= '2026-01-01' * :: || @ # $ $1 ? { } {{ }} {% {# #} \\ ` -- /* */ ; ' " -> : % ^ ~ ! $$"""
)


@given(st.lists(st.sampled_from([*WORDS.split(), *SIGNS.split(), "\0", "\n", "\ud800", "\u200b"]), max_size=9), st.sampled_from(["", " "]))
def test_any_text_is_a_condition_or_refused_in_one_sentence(fragments: list[str], space: str) -> None:
    text = space.join(fragments)
    for read in (where, Measure.parse, event_path):
        refused = None
        try:
            read(text)
        except InvalidCondition as error:
            refused = error
        if refused is not None:
            assert 0 <= refused.offset <= len(text)
            assert str(refused).endswith(".")


def test_the_error_of_a_long_text_shows_its_beginning() -> None:
    with pytest.raises(
        InvalidCondition, match=r"^The condition 'data\.a = 1 or .{186}…' is wrong at line 1, column 14003: x is not allowed"
    ) as refused:
        where("data.a = 1 or " * 1_000 + "x x")
    assert len(str(refused.value)) < 500


STATES = pl.DataFrame(
    {
        "key": ["1", "2", "3", "4"],
        "plan": ["pro", "free", "pro", None],
        "logins": [3, 2**62, 2**62, None],
        "paid": [Decimal("1.10"), Decimal("2.20"), None, Decimal("99.99")],
        "spent": [0.5, 1.5, 4.0, None],
        "locked": [True, False, None, False],
        "roles": [["a"], [], ["b"], None],
        "seen": [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4)],
        "data.key": ["x", "y", "z", "z"],
    },
    schema_overrides={"paid": pl.Decimal(18, 2)},
)
FIELDS = STATES.columns[1:]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("count(*)", 4),
        ("count(plan)", 3),
        ("count(roles)", 3),
        ("count(distinct plan)", 2),
        ("COUNT(DISTINCT plan) FILTER (WHERE spent > 1)", 2),
        ("count(plan) filter (where spent > 1)", 2),
        ("count(*) filter (where plan = 'pro')", 2),
        ("count(*) filter (where plan <> 'pro')", 1),
        ("count(*) filter (where plan is null)", 1),
        ("count(*) filter (where not plan is null and not locked = true)", 1),
        ("count(*) filter (where plan in ('pro', 'free') or paid > 50)", 4),
        ("count(*) filter (where plan not in ('pro'))", 1),
        ("count(*) filter (where locked = false)", 2),
        ("count(*) filter (where seen >= '2026-02-01T00:00:00Z')", 3),
        ("count(*) filter (where seen >= timestamp '2026-02-01')", 3),
        ("count(*) filter (where seen between '2026-02-01' and '2026-03-01')", 2),
        ("count(*) filter (where data.key = 'z')", 2),
        ("count(*) filter (where \"data.key\" = 'z')", 2),
        ("sum(logins)", 2**63 + 3),
        ("sum(paid)", Decimal("103.29")),
        ("sum(paid) filter (where plan = 'none')", Decimal("0.00")),
        ("avg(spent)", 2.0),
        ("max(spent) filter (where logins > 2)", 4.0),
        ("min(seen)", datetime(2026, 1, 1, tzinfo=UTC)),
        ("max(plan)", "pro"),
        ("max(spent) filter (where plan = 'none')", None),
    ],
)
def test_a_measure_of_states(text: str, value: Any) -> None:
    assert measured(Measure.parse(text), STATES, fields=FIELDS) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "column 1: there is nothing; a measure is count(*), count(field), count(distinct field), sum(field), avg(field)"),
        ("total(paid)", "column 1: there is no function total; a measure is count(*)"),
        ("sum", "column 1: this is outside the language; a measure is count(*)"),
        ("sum(", "column 5: it ends too early"),
        ("sum(paid", "column 9: it ends too early"),
        ("sum(paid) plan", "column 11: plan is not allowed here"),
        ("sum(*)", "outside the language"),
        ("sum(1)", "outside the language"),
        ("sum(distinct paid)", "outside the language"),
        ("count(plan, paid)", "outside the language"),
        ("count()", "column 7: ) is not allowed here"),
        ("count(*) over ()", "column 10: there is no function over"),
        ("max(sum(paid))", "column 5: there is no function sum"),
        ("count", "column 1: the number of entities is count(*), not count"),
        ("mean(paid)", "column 1: the mean is avg(field), not mean(field)"),
        ("count where plan = 'pro'", "column 7: a condition stands in a filter: count(*) filter (where plan = 'pro')"),
        ("sum(paid) where plan = 'pro'", "column 11: a condition stands in a filter: count(*) filter (where plan = 'pro')"),
        ("sum(paid) filter (plan = 'pro')", "column 19: a filter begins with where: count(*) filter (where plan = 'pro')"),
        ("count(*) filter (where )", "it ends too early"),
        ("count(*) filter (where plan == 'pro')", "column 29: equal is =, not =="),
        ("count(*) filter (where plan in ['pro'])", "column 32: a list stands in parentheses"),
    ],
)
def test_a_text_that_is_no_measure_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Measure.parse(text)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sum(colour)", "column 5: a state has no colour; it has plan, logins"),
        ("count(*) filter (where colour = 'red')", "column 24: a state has no colour"),
        ("count(*) filter (where exists(plan))", "exists() is always true, because a state has every field: write plan is not null"),
        ("sum(plan)", "plan has the type String and is not a number"),
        ("max(roles)", "has no order"),
        ("count(distinct roles)", "has no order"),
        ("count(*) filter (where logins = 'many')", "column 33: logins is Int64 and cannot be compared with 'many'"),
        ("count(*) filter (where plan > 5)", "column 31: plan is String and cannot be compared with 5"),
        ("count(*) filter (where seen > 5)", "cannot be compared with 5"),
        ("count(*) filter (where seen > 'soon')", "'soon' is not a time"),
    ],
)
def test_a_measure_that_states_do_not_have_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        measured(Measure.parse(text), STATES, fields=FIELDS)
    assert sentence in str(refused.value)
