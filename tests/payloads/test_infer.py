"""Drafts of projections: Python that runs, whatever a category holds, and says what it saw."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.laws import at_least
from tests.replay.asking import event as recorded
from tests.replay.asking import lake_of, timeline_in
from workbench.errors import InvalidProjection, UsageError
from workbench.fold.loading import load_projection
from workbench.projection import Projection, plan_of
from workbench.timeline import Timeline


def drafted(text: str, category: str) -> type[Projection]:
    names: dict[str, Any] = {}
    exec(compile(text, category, "exec"), names)
    (found,) = (one for one in names.values() if isinstance(one, type) and issubclass(one, Projection) and one is not Projection)
    return found


_KEYS = st.sampled_from(
    [
        "name",
        "class",
        "key",
        "_x",
        "2nd",
        "a b",
        "a-b",
        "é",
        'q"uote',
        "back\\slash",
        "event",
        "Json",
        "handlers",
        "new\nline",
        "x²",
        "ﬁeld",
        "²",
        "\U0001d427ame",
        "e\u0301",
        "\u0301",
        "😀",
    ]
)
_VALUES = st.sampled_from([None, True, 1, 2**53 + 1, 2**70, 1.5, "text", "2026-03-01T09:00:00Z", [], [1, 2], ["a", None], [[1]], {"a": 1}])
_PAYLOADS = st.none() | st.lists(st.integers()) | st.dictionaries(_KEYS, _VALUES, max_size=5)


@settings(max_examples=at_least(60))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begun", 'a "strange" type\\', "thing.deleted", "thing.snapshot", "😀\x7f", "\U000e0001 \u2028", "支𠮷"]),
            st.sampled_from(["-1", "-2"]),
            _PAYLOADS,
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["thing", "my-things", "class", "x²", "\U0001d40frojection", "\u202e😀"]),
)
def test_a_draft_of_anything_runs_and_every_value_fits(events: list[tuple[str, str, Any]], name: str) -> None:
    category = name.partition("-")[0]
    history = [
        recorded(number * 10, type_, None if payload is None else json.dumps(payload), stream=f"{name}{suffix}")
        for number, (type_, suffix, payload) in enumerate(events)
    ]
    with lake_of(history) as timeline:
        text = wb.infer(category, timeline)
        if all(type_ == "thing.snapshot" for type_, *_ in events):
            return
        counts = wb.rebuild(drafted(text, category), timeline).counts
    assert counts.failed == counts.keyless == 0
    assert counts.events == len(events)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    history = []
    for number in range(1, 11):
        stream = f"order-{number}"
        at = number * 100
        history += [
            recorded(at, "order.placed", json.dumps({"customer": "c", "total": number / 2, "from": "web"}), stream=stream, revision=0),
            recorded(at + 1, "order.paid", '{"paidAt": "2026-03-01T09:00:00Z", "total": null}', stream=stream, revision=1),
            recorded(at + 2, "order.snapshot", '{"version": 1}', stream=stream, revision=2),
            recorded(at + 3, "order.item_removed", '{"items": ["a", "b"]}', stream=stream, revision=3),
        ]
        if number > 5:
            history.append(recorded(at + 4, "order.deleted", '{"reason": 7}', stream=stream, revision=4))
        else:
            history.append(recorded(at + 4, "order.seen", "{}", stream=stream, revision=4))
    return timeline_in(tmp_path_factory.mktemp("infer") / "lake", history)


def test_a_draft_guesses_fields_and_what_begins_and_ends_an_entity(orders: Timeline) -> None:
    text = wb.infer("order", orders)
    projection = drafted(text, "order")
    assert [(field.name, str(field.kind)) for field in plan_of(projection).fields] == [
        ("customer", "text"),
        ("total", "float"),
        ("from_", "text"),
        ("paidAt", "instant"),
        ("items", "list of text"),
        ("reason", "integer"),
    ]
    assert 'on("order.placed").create("customer", "total", from_=event.data["from"])' in text
    assert 'on("order.deleted").delete()' in text
    assert 'on("order.item_removed").set("items")' in text
    assert '# "order.snapshot": 10 events, named like a snapshot' in text
    assert '# "order.seen": 5 events, without keys' in text
    assert "total: float | None  # in 50 % of the events, null in 50 % of these" in text
    assert [f"{number}" for number in range(1, 6)] == sorted(wb.state(projection, orders)["key"])


def test_a_draft_of_one_stream_for_all_takes_its_key_from_the_payload(tmp_path: Path) -> None:
    history = [
        recorded(10, "Added", '{"name": "a", "userId": 1}', stream="users", revision=0),
        recorded(20, "Added", '{"name": "b", "userId": 2}', stream="users", revision=1),
        recorded(30, "Removed", '{"userId": 1, "name": "a"}', stream="users", revision=2),
    ]
    timeline = timeline_in(tmp_path / "lake", history)
    text = wb.infer("users", timeline)
    assert 'class Users(Projection, category="users", key=event.data["userId"]):' in text
    assert wb.state(drafted(text, "users"), timeline)["key"].to_list() == ["2"]
    without = timeline_in(tmp_path / "other", [recorded(10, "Added", '{"name": null}', stream="users")])
    assert "# No key stands in all payloads" in wb.infer("users", without)


def test_a_draft_does_not_depend_on_the_cutoff_or_the_selection(orders: Timeline) -> None:
    assert wb.infer("order", orders) == wb.infer("order", orders.upto(position=100).types("order.paid"))
    with pytest.raises(UsageError, match="no category 'orders'; it has order"):
        wb.infer("orders", orders)


def test_a_file_is_run_anew_each_time_it_is_named(tmp_path: Path) -> None:
    declared = (
        "from workbench import Projection, on\n"
        "class A(Projection, category='a'):\n    {field}: int\n    handlers = (on('t').add({field}=1),)\n"
    )
    for place, field in (("one", "x"), ("one", "y"), ("two", "z")):
        file = tmp_path / place / "projections_named_alike.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(declared.format(field=field), encoding="utf-8")
        found = load_projection(f"{file}:A")
        assert isinstance(found, type)
        assert [one.name for one in plan_of(found).fields] == [field]


def test_a_draft_names_keys_and_types_of_any_letters(tmp_path: Path) -> None:
    history = [
        recorded(10, "a😀\x7f", '{"x²": 1, "ﬁeld": "f", "field": "g"}', stream="thing-1"),
        recorded(20, "\U000e0001", '{"x²": 2}', stream="thing-1"),
    ]
    with lake_of(history) as timeline:
        state = wb.state(drafted(wb.infer("thing", timeline), "thing"), timeline)
    assert state.select("x2", "field_", "field").rows() == [(2, "f", "g")]


@pytest.mark.parametrize("text", ["{file}:Order", "shop:Order"])
def test_a_file_that_was_imported_as_a_module_is_loaded_as_that_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "shop.py"
    file.write_text(
        "from workbench import Projection, on\n\n\nclass Order(Projection, category='order'):\n    handlers = [on('paid').delete()]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    shop = importlib.import_module("shop")
    for _ in range(2):
        assert load_projection(text.format(file=file)) is shop.Order
    other = tmp_path / "other" / "shop.py"
    other.parent.mkdir()
    other.write_text(file.read_text())
    with pytest.raises(InvalidProjection, match="has the name of another module"):
        load_projection(f"{other}:Order")
    monkeypatch.delitem(sys.modules, "shop")
