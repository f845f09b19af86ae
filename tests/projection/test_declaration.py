"""What can be declared, and the sentence for what cannot."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, cast

import pytest

from tests.projection.declare import declare
from workbench.errors import InvalidProjection
from workbench.projection import Digits, Json, Projection, event, fingerprint, on, plan_of, upcast
from workbench.projection.plan import Column, Constant, Kind, Path
from workbench.projection.values import converted


class User(Projection, category="user"):
    name: str
    logins: int = 0
    last_login: datetime | None
    balance: Annotated[Decimal, Digits(18, scale=2)]
    extra: Json
    roles: set[str]
    tags: list[str] | None

    handlers = (
        on("user.created").create("name"),
        on("user.logged_in").add(logins=1).set(last_login=event.recorded_at),
        on("user.deleted").delete(),
    )


def test_a_declaration_is_compiled_to_a_plan_when_the_class_is_made() -> None:
    plan = plan_of(User)
    assert plan.categories == ("user",)
    assert [(field.name, str(field.kind), field.initial) for field in plan.fields] == [
        ("name", "text", None),
        ("logins", "integer", 0),
        ("last_login", "instant", None),
        ("balance", "decimal(18, 2)", None),
        ("extra", "json", None),
        ("roles", "set of text", ()),
        ("tags", "list of text", None),
    ]
    logged_in = plan.types[2].branches[0].handlers[0]
    assert [Constant(1), Column("recorded_at")] == [operation.value for operation in logged_in.operations]
    assert plan.creates
    assert hash(plan) == hash(plan_of(User))


def test_a_plain_decimal_has_nine_digits_behind_the_point() -> None:
    plan = plan_of(declare({"a": Decimal}, [on("t").set(a=1)]))
    assert Kind("decimal", precision=38, scale=9) == plan.fields[0].kind


def test_a_create_takes_the_named_fields_from_the_top_of_the_payload_and_others_from_where_it_is_told() -> None:
    plan = plan_of(declare({"a": str, "b": str, "c": str}, [on("t").create("a", b=event.metadata["x"][0], c="z")]))
    values = [operation.value for operation in plan.types[0].branches[0].handlers[0].operations]
    assert [Path("data", ("a",)), Path("metadata", ("x", 0)), Constant("z")] == values


def test_a_set_takes_names_as_a_create_does_and_means_the_same_as_with_their_values() -> None:
    fields: dict[str, Any] = {"a": str, "b": str, "c": str}
    named = plan_of(declare(fields, [on("t").set("a", "b", c="z")]))
    values = [operation.value for operation in named.types[0].branches[0].handlers[0].operations]
    assert [Path("data", ("a",)), Path("data", ("b",)), Constant("z")] == values
    assert named == plan_of(declare(fields, [on("t").set(a=event.data["a"], b=event.data["b"], c="z")]))
    assert not named.creates


def test_types_named_inside_a_function_are_found() -> None:
    Alias = list[int]  # noqa: N806  # a type

    class Local(Projection, category="user"):
        numbers: "Alias"
        handlers = (on("t").append(numbers=event.data["n"], keep=3),)

    assert str(plan_of(Local).fields[0].kind) == "list of integer"


def test_a_declaration_is_not_made_an_object() -> None:
    with pytest.raises(InvalidProjection, match="User is a declaration"):
        User()


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown field": (lambda: declare({"a": str}, [on("t").set(b=1)]), "User, on('t').set(b=...): User has no field 'b'; it has a."),
    "create of an unknown field": (lambda: declare({"a": str}, [on("t").create("b")]), "User, on('t').set(b=...): User has no field 'b'"),
    "set of an unknown field by name": (lambda: declare({"a": str}, [on("t").set("b")]), "User, on('t').set(b=...): User has no field 'b'"),
    "create of a value": (lambda: on("t").create(event.data["a"]), "on('t').create() expects names of fields, got "),  # type: ignore[arg-type]  # wrong on purpose
    "set of a value": (lambda: on("t").set(event.data["a"]), "on('t').set() expects names of fields, got "),  # type: ignore[arg-type]  # wrong on purpose
    "set of nothing": (lambda: on("t").set(), "on('t').set() names no field: write set(field=...)."),
    "set of a name after delete": (lambda: on("t").delete().set("a"), "on('t'): set() cannot follow delete()"),
    "add to text": (
        lambda: declare({"a": str}, [on("t").add(a=1)]),
        "add cannot change a field of type text; it takes decimal, float, integer.",
    ),
    "max of booleans": (lambda: declare({"a": bool}, [on("t").max(a=True)]), "max cannot change a field of type boolean"),
    "include in a list": (
        lambda: declare({"a": list[str]}, [on("t").include(a="x")]),
        "include cannot change a field of type list of text",
    ),
    "append to a set": (
        lambda: declare({"a": set[str]}, [on("t").append(a="x", keep=1)]),
        "append cannot change a field of type set of text",
    ),
    "a constant of another type": (
        lambda: declare({"a": int}, [on("t").set(a="x")]),
        "User, on('t').set(a=...) takes 'x', which does not fit",
    ),
    "a boolean for an integer": (lambda: declare({"a": int}, [on("t").set(a=True)]), "takes True, which does not fit its type, integer."),
    "an integer beyond int64": (lambda: declare({"a": int}, [on("t").set(a=2**63)]), "does not fit its type, integer."),
    "too many digits": (
        lambda: declare({"a": Annotated[Decimal, Digits(3, 2)]}, [on("t").set(a=Decimal("0.001"))]),
        "does not fit its type",
    ),
    "a naive time": (lambda: declare({"a": datetime}, [on("t").set(a=datetime(2026, 1, 1))]), "has no time zone"),  # noqa: DTZ001
    "adding None": (lambda: declare({"a": int}, [on("t").add(a=None)]), "None has no effect here."),
    "a column of another type": (lambda: declare({"a": int}, [on("t").set(a=event.stream)]), "event.stream has the type text"),
    "an unknown type": (lambda: declare({"a": bytes}, [on("t").set(a=1)]), "User: field 'a' has the unknown type bytes: use str, int"),
    "a union": (lambda: declare({"a": str | int}, [on("t").set(a=1)]), "has the unknown type str | int"),
    "a bare set": (lambda: declare({"a": set}, [on("t").set(a=1)]), "has a set without an element type"),
    "a set of JSON": (lambda: declare({"a": set[Json]}, [on("t").set(a=1)]), "set of json, which is not possible"),
    "a list of lists": (lambda: declare({"a": list[list[str]]}, [on("t").set(a=1)]), "take a Json field for nested values"),
    "a default that can change": (
        lambda: declare({"a": list[str]}, [on("t").set(a=None)], a=[]),
        "User: field 'a' takes [], which is mutable",
    ),
    "a default of another type": (lambda: declare({"a": int}, [on("t").set(a=1)], a="x"), "User: field 'a' takes 'x', which does not fit"),
    "a reserved name": (lambda: declare({"position": int}, [on("t").set(position=1)]), "'position' is reserved and cannot name a field"),
    "an unknown annotation": (lambda: declare({"a": "Nowhere"}, [on("t").set(a=1)]), "the type of a field is unknown: name 'Nowhere'"),
    "a name without a type": (lambda: declare({"a": int}, [on("t").set(a=1)], b=3), "User: 'b' has no type"),
    "a method": (lambda: declare({"a": int}, [on("t").set(a=1)], m=lambda self: 1), "User: 'm' is a function"),
    "no handlers": (lambda: declare({"a": int}, []), "User has no list of handlers"),
    "a handler that is none": (lambda: declare({"a": int}, ["t"]), "User: 't' cannot be in handlers"),
    "a handler that does nothing": (lambda: declare({"a": int}, [on("t")]), "User, on('t'): the handler does nothing"),
    "no category": (lambda: declare({"a": int}, [on("t").set(a=1)], category=()), "User has no category"),
    "a category twice": (lambda: declare({"a": int}, [on("t").set(a=1)], category=("a", "a"), key=event.stream), "a category twice: a, a."),
    "several without a key": (lambda: declare({"a": int}, [on("t").set(a=1)], category=("a", "b")), "several categories and needs key="),
    "a key that is none": (lambda: declare({"a": int}, [on("t").set(a=1)], key="userId"), "a key is a value of the event"),
    "a key that is a time": (lambda: declare({"a": int}, [on("t").set(a=1)], key=event.recorded_at), "a key is text or an integer"),
    "a change after delete": (lambda: on("t").delete().set(a=1), "on('t'): set() cannot follow delete()"),
    "create and delete": (lambda: on("t").create().delete(), "delete() is not allowed, as the handler creates"),
    "keep of nothing": (lambda: on("t").append(a=1, keep=0), "expects keep= as a whole number from 1 to 2147483647, got 0"),
    "keep of more than there can be": (
        lambda: on("t").append(a=1, keep=2**31),
        "expects keep= as a whole number from 1 to 2147483647, got 2147483648",
    ),
    "a handler without a type": (lambda: on(""), "on() expects an event type name, got ''"),
    "and for &": (lambda: bool(event.data["a"].exists()), "combine conditions by &, | and ~"),
    "a value as a condition": (lambda: on("t").where(event.data["a"]), "on('t').where() expects a condition"),  # type: ignore[arg-type]  # wrong on purpose
    "two values compared": (lambda: event.data["a"].isin(cast(Any, event.data["b"])), "with constants only"),
    "a comparison with None": (lambda: event.data["a"] == None, "use .is_null()"),  # noqa: E711  # wrong on purpose
    "a comparison with infinity": (lambda: event.data["a"] < float("inf"), "use a finite number"),
    "an order of booleans": (lambda: event.data["a"] < True, "booleans have no order"),
    "a column compared with text": (lambda: event.revision == "1", "event.revision is of type integer and cannot be compared with '1'"),
    "isin of two kinds": (lambda: event.data["a"].isin(1, "1"), "one or more constants of the same type"),
    "a negative index": (lambda: event.data[-1], "an index (a whole number from 0)"),
    "a part of a column": (lambda: event.stream["a"], "is a column and has no parts"),
    "too many digits at all": (lambda: Digits(39, 2), "a precision of 1 to 38"),
    "a field of an instance": (lambda: plan_of(int), "is not a projection"),  # type: ignore[arg-type]  # wrong on purpose
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_declared_gets_its_sentence(case: str) -> None:
    build, sentence = BROKEN[case]
    with pytest.raises(InvalidProjection, match=re.escape(sentence)) as raised:
        build()
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("to", "value", "expected"),
    [
        *[("text", value, expected) for value, expected in ((True, "true"), (False, "false"), (7, "7"), (1.5, 1.5), (None, None))],
        *[("boolean", value, expected) for value, expected in ((1, True), (0, False), ("true", True), ("false", False))],
        *[("boolean", value, value) for value in (1.0, 0.0, 2, "True", "1", None, True)],
        *[("number", value, expected) for value, expected in ((True, 1), (False, 0), ("12", 12), ("1.5", 1.5), ("1e2", 100.0))],
        *[("number", value, value) for value in ("", "012", "1.", "+1", " 1", None)],
    ],
)
def test_a_value_is_retyped_only_where_it_says_exactly_that(to: Any, value: Any, expected: Any) -> None:
    found = converted(value, to)
    assert (found, isinstance(found, bool)) == (expected, isinstance(expected, bool))  # True == 1


def test_a_name_that_no_event_has_is_told_with_those_that_it_has() -> None:
    with pytest.raises(AttributeError, match="an event has no 'colour'; it has data, metadata, position"):
        _ = event.colour


UPCASTERS: dict[str, tuple[list[Any], str]] = {
    "a circle": ([upcast("a").to("b"), upcast("b").to("a")], "User: its upcasters form a cycle: a to b to a."),
    "a step to itself": ([upcast("t").to("t")], "its upcasters form a cycle: t to t."),
    "a gap in types": ([upcast("a").to("b")], "User: upcast('a') leads to 'b', which has no handler."),
    "a type that nobody handles": ([upcast("a").rename(x="y")], "upcast('a') leads to 'a', which has no handler."),
    "a gap in versions": (
        [upcast("t", when=event.metadata["v"] == version).rename(x="y") for version in (1, 3)],
        "upcasters start from event.metadata['v'] == 1 and 3, but none from 2.",
    ),
    "versions that fall": (
        [upcast("t", when=event.metadata["v"] == version).rename(x="y") for version in (2, 1)],
        "upcast('t') for event.metadata['v'] == 1 comes after the one for 2: declare it first.",
    ),
    "an order that skips": ([upcast("t").rename(x="y"), upcast("a").to("t")], "upcast('a').to('t') comes after upcast('t')"),
    "nothing to do": ([upcast("t")], "User: upcast('t') does nothing."),
}


@pytest.mark.parametrize("case", UPCASTERS)
def test_chains_of_upcasters_are_checked(case: str) -> None:
    chain, sentence = UPCASTERS[case]
    with pytest.raises(InvalidProjection, match=re.escape(sentence)):
        declare({"a": int}, [on("t").set(a=1)], upcasters=chain)


@pytest.mark.parametrize(
    "build",
    [
        lambda: upcast(""),
        lambda: upcast("t", when=5),  # type: ignore[arg-type]  # wrong on purpose
        lambda: upcast("t").rename(),
        lambda: upcast("t").rename(a="a"),
        lambda: upcast("t").move(a=event.metadata["b"]),
        lambda: upcast("t").move(a=event.data["a"]),
        lambda: upcast("t").move(a=event.data["b"][0]),
        lambda: upcast("t").default(a=float("nan")),
        lambda: upcast("t").default(a=[]),  # type: ignore[arg-type]  # wrong on purpose
        lambda: upcast("t").retype(a=list),  # type: ignore[arg-type]  # wrong on purpose
        lambda: upcast("t").split("a", into=("b",)),
        lambda: upcast("t").split("a", into=("b", "c"), by=""),
        lambda: upcast("t").apply(1),  # type: ignore[arg-type]  # wrong on purpose
        lambda: upcast("t").to("a").to("b"),
    ],
)
def test_an_upcaster_that_means_nothing_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(InvalidProjection):
        build()


def _lift(data: Any, metadata: Any) -> Any:
    return data


def test_a_fingerprint_depends_on_the_meaning_and_not_on_the_name() -> None:
    def build(**changed: Any) -> type[Projection]:
        parts: dict[str, Any] = {"fields": {"a": int}, "handlers": [on("t").add(a=1)], "category": "user", **changed}
        return declare(parts.pop("fields"), parts.pop("handlers"), **parts)

    class Other(Projection, category="user"):
        a: int
        handlers = (on("t").add(a=1),)

    assert fingerprint(build()) == fingerprint(Other)
    others: list[type[Projection]] = [
        build(category="users"),
        build(key=event.data["k"]),
        build(a=0),
        build(fields={"a": float}),
        build(handlers=[on("t").add(a=2)]),
        build(handlers=[on("t").where(event.data["x"] == 1).add(a=1)]),
        build(handlers=[on("t").where(event.data["x"] == 1.0).add(a=1)]),
        build(handlers=[on("t").where(event.data["x"] == True).add(a=1)]),  # noqa: E712  # a condition
        build(handlers=[on("t").create().add(a=1)]),
        build(upcasters=[upcast("t").default(a=1)]),
        build(handlers=[on("t").add(a=event.data["a"])], upcasters=[upcast("t").apply(_lift, version=1)]),
        build(handlers=[on("t").add(a=event.data["a"])], upcasters=[upcast("t").apply(_lift, version=2)]),
    ]
    fingerprints = [fingerprint(Other), *map(fingerprint, others)]
    fingerprints.remove(fingerprint(build(upcasters=[upcast("t").default(a=1)])))  # nothing reads what it changes
    assert None not in fingerprints
    assert len(fingerprints) == len(set(fingerprints))


def test_a_function_without_a_version_takes_the_fingerprint_away() -> None:
    assert None is fingerprint(declare({"a": int}, [on("t").create("a")], upcasters=[upcast("t").apply(_lift)]))
