"""Scenario files: they say what the methods of a timeline say, and one that does not fit is refused with its line."""

from __future__ import annotations

import inspect
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from workbench import Timeline, event
from workbench.errors import UsageError
from workbench.scenarios import Scenario
from workbench.scenarios.scenario import EDITS
from workbench.timeline import EditAddress, RecordedLog
from workbench.timeline.timeline import words_of

NOWHERE = Timeline(log=cast(RecordedLog, None))
WHOLE = """\
name: everything at once
question: "What would be: all of it?"
edits:
  - drop: {type: user.deleted, after: 2026-02-01, cascade: causation}
  - drop:
      stream: [user-1, "user-2*"]
      category: user
      upto: 84731
      where: data.amount > 100 and not type = 'user.paid'
  - truncate: {event_id: 675ed28c-65d0-4b7e-af88-d2d9ec8aad5f}
  - patch:
      position: 10
      set: {plan: pro, "address.city": 'Rome', price: 1.10, since: 2026-02-03, trial: null, off: false, no: NO, tags: [1, x]}
      unset: [until]
  - replace: {type: "user.*", data: {a: {b: [true]}}, metadata: null, as_type: person.changed}
  - insert: {stream: user-42, type: user.logged_in, data: {}, at: 2026-02-03T10:00:00Z, metadata: {$correlationId: x}}
  - retime: {type: chat.message_sent, by: -1h}
  - retime: {position: 20, to: 2026-02-03 10:00:00+01:00}
projections:
  - user
  - projection: members.py:Member
    measures:
      members: count(*)
      paid by pros: sum(paid) filter (where plan = 'pro')
"""


def written(place: Path, text: str) -> Path:
    file = place / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_says_what_the_methods_of_a_timeline_say(tmp_path: Path) -> None:
    scenario = Scenario.load(written(tmp_path, WHOLE))
    price = Decimal("1.10")
    fields: dict[str, Any] = {"plan": "pro", "address.city": "Rome", "price": price, "since": "2026-02-03", "trial": None}
    fields |= {"off": False, "no": "NO", "tags": [1, "x"]}
    timeline = (
        NOWHERE.drop(type="user.deleted", after="2026-02-01", cascade="causation")
        .drop(
            stream=["user-1", "user-2*"],
            category="user",
            upto=84731,
            where=(event.data["amount"] > 100) & ~(event.type == "user.paid"),
        )
        .truncate(event_id="675ed28c-65d0-4b7e-af88-d2d9ec8aad5f")
        .patch(position=10, set=fields, unset=["until"])
        .replace(type="user.*", data={"a": {"b": [True]}}, metadata=None, as_type="person.changed")
        .insert(stream="user-42", type="user.logged_in", data={}, at="2026-02-03T10:00:00Z", metadata={"$correlationId": "x"})
        .retime(type="chat.message_sent", by="-1h")
        .retime(position=20, to="2026-02-03T09:00:00Z")
    )
    assert scenario.edits == timeline.edits
    assert scenario.on(NOWHERE) == timeline
    assert str(scenario) == "everything at once: What would be: all of it?"


def test_a_projections_file_is_seen_from_the_scenario_and_measures_keep_their_names(tmp_path: Path) -> None:
    first, second = Scenario.load(written(tmp_path, WHOLE)).projections
    assert (first.projection, first.name, first.measures) == ("user", "user", ())
    assert (second.projection, second.name) == (f"{tmp_path / 'members.py'}:Member", "members.py:Member")
    assert [(name, measure.text) for name, measure in second.measures] == [
        ("members", "count(*)"),
        ("paid by pros", "sum(paid) filter (where plan = 'pro')"),
    ]


def test_edits_come_behind_those_that_a_timeline_has(tmp_path: Path) -> None:
    scenario = Scenario.load(written(tmp_path, "name: a\nedits: [drop: {stream: b}]\n"))
    assert scenario.on(NOWHERE.drop(stream="a")) == NOWHERE.drop(stream="a").drop(stream="b")


def test_a_scenario_knows_every_edit_of_a_timeline_and_every_word_of_each() -> None:
    methods = {name: method for name, method in vars(Timeline).items() if inspect.isfunction(method) and not name.startswith("_")}
    assert {name for name, method in methods.items() if "self._edited(" in inspect.getsource(method)} == set(EDITS)
    for name in EDITS:
        own = list(inspect.signature(getattr(Timeline, name)).parameters)[1:]
        address = list(EditAddress.__annotations__) if "address" in own else []
        assert list(words_of(name)) == [*address, *(word for word in own if word != "address")]
    assert [name for name in EDITS if "stream" not in words_of(name)] == []


def test_the_scenario_of_the_guide_is_the_one_that_comes_along(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "guide" / "what_if.md").read_text(encoding="utf-8")
    [shown] = [text for text in re.findall(r"^```yaml\n(.*?)^```", guide, flags=re.MULTILINE | re.DOTALL) if "edits:" in text]
    assert Scenario.load(written(tmp_path, shown)) == Scenario.load("no-deletions")


HEAD = "name: a\nedits:\n"
MARK = "‸"  # stands where the error is


@pytest.mark.parametrize(
    ("marked", "sentence"),
    [
        (HEAD + "  - drop: {‸strem: user-1}\n", "drop has no key 'strem'; it knows stream, category, type, after, upto"),
        (HEAD + "  - ‸delete: {}\n", "an edit has no key 'delete'; it knows drop, truncate, patch, replace, insert, retime"),
        (HEAD + "  - ‸drop: {stream: a}\n    patch: {stream: a}\n", "an edit has one word"),
        (HEAD + "  - ‸drop\n", "an edit takes names with values, as in {drop: ...}"),
        (HEAD + "  - drop: ‸user-1\n", "drop takes names with values, as in {stream: ...}; it knows stream, category"),
        (HEAD + "  - drop: ‸{}\n", "drop takes names with values"),
        (HEAD + "  - drop: ‸{cascade: causation}\n", "drop() must say which events"),
        (HEAD + "  - drop: ‸{type: a, cascade: cause}\n", "cascade='causation' or 'correlation', got 'cause'"),
        (HEAD + "  - drop: {stream: a, ‸stream: b}\n", "'stream' is repeated here, first on line 3"),
        (HEAD + "  - drop: {stream: ‸5}\n", "stream takes a text: write it in quotes, '5'"),
        (HEAD + "  - drop: {stream: [a, ‸{b: c}]}\n", "stream takes a text"),
        (HEAD + "  - drop: {stream: ‸[]}\n", "stream takes a list, as in stream: [a, b]"),
        (HEAD + "  - drop: ‸{stream: $all}\n", "names system events"),
        (HEAD + "  - drop: ‸{after: 2026-02-01T10:00}\n", "has no time zone"),
        (HEAD + "  - drop: {after: ‸[1]}\n", "after takes a time or a position"),
        (HEAD + "  - drop: {position: ‸first}\n", "position takes the position of an event, a whole number"),
        (HEAD + "  - drop: ‸{event_id: abc}\n", "expects a UUID as event_id="),
        (HEAD + "  - drop: {type: a, where: data.x ‸== 1}\n", ": equal is =, not ==."),
        (HEAD + "  - drop: {type: a, where: ' ‸colour = 1'}\n", ": an event has no colour; it has data, metadata, position"),
        (HEAD + "  - drop: {type: a, where: 'data.x = ''a'' and ‸y = 1'}\n", "an event has no y; it has data"),
        (HEAD + '  - drop: {type: a, where: "data.\\"a b\\" = 1 and\\n\\t‸y = 1"}\n', "an event has no y; it has data"),
        (HEAD + "  - drop:\n      where:\n        data.x = 1\n\n        and ‸y = 1\n", "an event has no y; it has data"),
        (HEAD + "  - drop:\n      where: |\n        data.x = 1\n        and ‸y = 1\n", "an event has no y; it has data"),
        (HEAD + "  - drop:\n      where: >-\n\n        data.x = 1\n        and ‸y = 1\n", "an event has no y; it has data"),
        (HEAD + "  - drop: {where: data.x >‸}\n", "it ends too early; a condition compares names with constants"),
        (HEAD + "  - drop: {type: a, where: ‸true}\n", "where takes a text"),
        (HEAD + "  - patch: ‸{type: a}\n", "patch() needs set= or unset="),
        (HEAD + "  - patch: {type: a, set: ‸[plan]}\n", "set takes names with values, as in set: {plan: pro}"),
        (HEAD + "  - patch: {type: a, unset: ‸plan}\n", "unset takes a list, as in unset: [a, b]"),
        (HEAD + "  - patch: {type: a, set: {x: ‸012}}\n", "012 may be a number or a text: write it as in JSON, or in quotes"),
        (HEAD + "  - patch: {type: a, set: {x: ‸.inf}}\n", ".inf may be a number or a text"),
        (HEAD + "  - insert: ‸{stream: a}\n", "insert needs type and at; it knows stream, type, at, data, metadata, event_id"),
        (HEAD + "  - retime: ‸{type: a}\n", "retime() needs either by=, a duration like '-1h', or to="),
        (HEAD + "  - retime: ‸{type: a, by: soon}\n", "'soon' is not a duration"),
        (HEAD + "  - drop: {stream: &a b}\n  - drop: {stream: ‸*a}\n", "a scenario cannot have aliases"),
        (HEAD + "  - drop: {stream: ‸!!str 5}\n", "a scenario cannot have tags"),
        (HEAD + "  - drop: ‸!x {stream: a}\n", "a scenario cannot have tags"),
        (HEAD + "  - drop: {stream: a\n‸", "this is not valid YAML: while parsing a flow mapping"),
        (HEAD + "  - drop: {? ‸[a] : b}\n", "drop has no key 'a list or a mapping'"),
        (HEAD + "  - patch: {type: a, set: {? ‸[a] : b}}\n", "a name is a text"),
        ("name: a\nedits: ‸[]\n", "edits takes a list, as in edits: - drop: {...}"),
        ("‸name: a\n", "a scenario needs edits; it knows name, question, edits, projections"),
        ("‸- drop: {stream: a}\n", "a scenario takes names with values"),
        ("name: ‸[a]\nedits: [drop: {stream: a}]\n", "name takes a text"),
        ("name: ‸5\nedits: [drop: {stream: a}]\n", "name takes a text: write it in quotes, '5'"),
        ("name: a\n‸edit: []\n", "a scenario has no key 'edit'; it knows name, question, edits, projections"),
        ("name: a\nedits: [drop: {stream: a}]\nprojections: ‸user\n", "projections takes a list, as in projections: - user"),
        ("name: a\nedits: [drop: {stream: a}]\nprojections: ‸[user, user]\n", "projection 'user' is named twice"),
        ("name: a\nedits: [drop: {stream: a}]\nprojections: [‸{measures: {a: count}}]\n", "a projection needs projection"),
        (
            "name: a\nedits: [drop: {stream: a}]\nprojections: [{projection: user, measures: {a: ‸totl(x)}}]\n",
            "there is no function totl; a measure is count(*), count(field)",
        ),
        ("name: a\nedits: [drop: {stream: a}]\n‸---\nname: b\n", "this is not valid YAML: expected a single document"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_line_column_and_the_known_words(tmp_path: Path, marked: str, sentence: str) -> None:
    before, _, _ = marked.partition(MARK)
    file = written(tmp_path, marked.replace(MARK, ""))
    with pytest.raises(UsageError) as refused:
        Scenario.load(file)
    said = str(refused.value)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert said.startswith(f"{file}, line {line}, column {column}: ")
    assert sentence in said
    assert said.endswith(".")
    assert not said.endswith("..")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for content, sentence in (
        (b"", "is empty: a scenario must have a name and edits"),
        (b"name: \xff", "cannot be read as text"),
        (b"name: a\x00", "is not valid YAML"),
        (b"[" * 600 + b"]" * 600, "nested too deeply"),
    ):
        (tmp_path / "s.yaml").write_bytes(content)
        with pytest.raises(UsageError, match=sentence) as refused:
            Scenario.load(tmp_path / "s.yaml")
        assert "s.yaml" in str(refused.value)
    with pytest.raises(UsageError, match=r"There is no file .*none\.yaml: .* one of these names: no-deletions, no-failed-steps\."):
        Scenario.load(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read as text: Is a directory"):
        Scenario.load(tmp_path)
