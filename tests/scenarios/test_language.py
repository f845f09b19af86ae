"""The two small texts of a scenario: what they mean, and the sentence of each that means nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from workbench import event
from workbench.errors import UsageError
from workbench.projection.expressions import Where
from workbench.scenarios.events import where
from workbench.scenarios.language import Measure
from workbench.scenarios.measures import measured

data = event.data


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("data.amount > 100", data["amount"] > 100),
        ("data.amount>=-1.5e3", data["amount"] >= -1500.0),
        ("data.address.city == 'Köln'", data["address"]["city"] == "Köln"),
        ('data["first name"] != "O\'Hara"', data["first name"] != "O'Hara"),
        (r'data.name == "say \"no\" \\"', data["name"] == 'say "no" \\'),
        ("data.tags[0] < 'b'", data["tags"][0] < "b"),
        ("data.from == 1", data["from"] == 1),
        ("data.in in [1, 2]", data["in"].isin(1, 2)),
        ('type not in ["a", "b"]', ~event.type.isin("a", "b")),
        ("data.trial == true", data["trial"] == True),  # noqa: E712  # a condition on the event
        ("data.trial exists", data["trial"].exists()),
        ("data.trial is null", data["trial"].is_null() | ~data["trial"].exists()),
        ("data.trial is not null", ~(data["trial"].is_null() | ~data["trial"].exists())),
        ("metadata.schemaVersion == 1", event.metadata["schemaVersion"] == 1),
        ("revision < 3", event.revision < 3),
        ('recorded_at < "2026-03-01"', event.recorded_at < datetime(2026, 3, 1, tzinfo=UTC)),
        ("not data.a == 1 and data.b == 2", ~(data["a"] == 1) & (data["b"] == 2)),
        ("data.a == 1 or data.b == 2 and data.c == 3", (data["a"] == 1) | ((data["b"] == 2) & (data["c"] == 3))),
        ("(data.a == 1 or data.b == 2) and data.c == 3", ((data["a"] == 1) | (data["b"] == 2)) & (data["c"] == 3)),
        ("not (data.a == 1 or data.b == 2)", ~((data["a"] == 1) | (data["b"] == 2))),
    ],
)
def test_a_text_says_what_the_condition_of_a_projection_says(text: str, meant: Where) -> None:
    assert where(text).condition == meant.condition


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "at character 1, a name must stand where nothing stands"),
        ("data.amount", "==, !=, <=, >=, <, >, in, not in, is null"),
        ("data.amount = 100", "at character 13, '=' is none of its signs: equal is =="),
        ("data.amount > ", "at character 15, a constant must stand where nothing stands"),
        ("data.plan == pro", "at character 14, a constant must stand where pro stands; a text stands in quotes: 'pro'"),
        ("data.plan == 'pro", "at character 14, a quote is opened and never closed"),
        ("data.plan == null", "null is no constant: write is null"),
        ("data.a == 1 && data.b == 2", "write and, or, not"),
        ("data.a == 1 data.b == 2", "at character 13, data stands where the condition ends"),
        ("data.a == 012", "012 is no number"),
        ("data.a == 1e999", "1e999 is beyond all numbers"),
        ("data.a in []", "a constant must stand where ] stands"),
        ("data.a in [1, 'x']", "all of one kind"),
        ("(data.a == 1", "')' must stand where nothing stands"),
        ("data.a[-1] == 1", '["name"] or [0] goes on from a place'),
        ("amount > 100", "An event has no 'amount'; it has data, metadata, position"),
        ("not > 100", "a name must stand where > stands"),
        ("null == 1", "a name must stand where null stands"),
        ("data.trial < true", "booleans have no order"),
        ("recorded_at > 5", "is of type instant and cannot be compared with 5"),
        ("recorded_at > '5'", "which is no time"),
        ("recorded_at > '2026-03-01T09:00'", "time zone"),
        ("type == 5", "is of type text and cannot be compared with 5"),
    ],
)
def test_a_text_that_is_no_condition_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        where(text)
    assert sentence in str(refused.value)


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
        ("count", 4),
        ('count where plan == "pro"', 2),
        ('count where plan != "pro"', 1),
        ("count where plan is null", 1),
        ("count where not plan is null and not locked == true", 1),
        ('count where plan in ["pro", "free"] or paid > 50', 4),
        ('count where plan not in ["pro"]', 1),
        ("count where locked == false", 2),
        ('count where seen >= "2026-02-01T00:00:00Z"', 3),
        ('count where data.key == "z"', 2),
        ("sum(logins)", 2**63 + 3),
        ("sum(paid)", Decimal("103.29")),
        ('sum(paid) where plan == "none"', Decimal("0.00")),
        ("mean(spent)", 2.0),
        ("max(spent) where logins > 2", 4.0),
        ("min(seen)", datetime(2026, 1, 1, tzinfo=UTC)),
        ("max(plan)", "pro"),
        ('max(spent) where plan == "none"', None),
    ],
)
def test_a_measure_of_states(text: str, value: Any) -> None:
    assert measured(Measure.parse(text), STATES, fields=FIELDS) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a name must stand where nothing stands"),
        ("total(paid)", "'total' is no measure; known are count, sum(field), mean(field), min(field), max(field)"),
        ("sum", "'(' must stand where nothing stands"),
        ("sum(paid", "')' must stand where nothing stands"),
        ("sum(paid) plan", "plan stands where the measure ends, or goes on with where"),
        ("count where", "a name must stand where nothing stands"),
        ('count where plan = "pro"', "equal is =="),
        ("count where plan exists", "a field of a state is null or is not null"),
    ],
)
def test_a_text_that_is_no_measure_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Measure.parse(text)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sum(colour)", "names colour, which no state has; it has plan, logins"),
        ('count where colour == "red"', "names colour, which no state has"),
        ("sum(plan)", "plan is String and no number"),
        ("max(roles)", "has no order"),
        ("count where logins == 'many'", "compares logins, which is Int64, with 'many'"),
        ("count where plan > 5", "compares plan, which is String, with 5"),
        ("count where seen > 5", "compares seen"),
    ],
)
def test_a_measure_that_states_do_not_have_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        measured(Measure.parse(text), STATES, fields=FIELDS)
    assert sentence in str(refused.value)
