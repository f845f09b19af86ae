"""``state``, ``history``, ``diff``, ``first``, ``lineage`` and ``infer``: what they print, and the sentence of each failure."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import polars as pl
import pytest

from tests.cli.test_failures import run, says
from tests.replay.asking import event as recorded
from tests.replay.asking import timeline_in

USER = """
from workbench import Fold, Projection, event, on


class User(Projection, category="user"):
    name: str
    logins: int = 0
    handlers = (
        on("user.created").create("name"),
        on("user.logged_in").add(logins=event.data["count"]),
        on("user.deleted").delete(),
    )


class ByMail(Projection, category="user", key=event.data["mail"]):
    logins: int = 0
    handlers = (on("user.logged_in").add(logins=1),)


def names(state, event):
    return {"name": event.data["name"]}


Names = Fold(names, category="user")
other = 7
"""

HISTORY = [
    recorded(10, "user.created", '{"name": "Ann", "mail": "a@x.org"}', stream="user-1", revision=0),
    recorded(20, "user.logged_in", '{"count": 2}', stream="user-1", revision=1),
    recorded(30, "user.created", '{"name": "Bob", "mail": null}', stream="user-2", revision=0),
    recorded(40, "user.logged_in", '{"count": 5}', stream="user-2", revision=1),
    recorded(50, "user.seen", "{}", stream="user-2", revision=2),
    recorded(60, "user.deleted", "{}", stream="user-2", revision=3),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a lake and a file of projections, whose module no other test has imported."""
    place = tmp_path_factory.mktemp("cli")
    timeline_in(place / "lake", HISTORY)
    broken = recorded(70, "user.logged_in", '{"count": "many"}', stream="user-1", revision=2)
    timeline_in(place / "broken", [*HISTORY, broken])
    (place / "projections_of_users.py").write_text(USER, encoding="utf-8")
    return place


def user(place: Path, name: str = "User", lake: str = "lake") -> list[str | Path]:
    return ["--projection", f"{place / 'projections_of_users.py'}:{name}", "--lake", place / lake]


def test_state_prints_every_entity_and_says_what_became_of_the_events(place: Path) -> None:
    result = run("state", *user(place), "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert tuple(row[name] for name in ("key", "name", "logins", "position", "revision", "event_count")) == ("1", "Ann", 2, 20, 1, 2)
    assert "1 entity from 5 events; 1 of types that no handler takes (user.seen 1)" in result.stderr
    assert "position 60" in result.stderr
    past = run("state", *user(place), "--at", "40", "--csv", "--fields", "name")
    assert past.stdout.split() == ["key,name", "1,Ann", "2,Bob"]
    assert "Bob" in run("state", *user(place), "--at", "40", "--stream", "user-2").stdout
    assert "2" in run("state", *user(place), "--key", "2", "--revision", "1").stdout


def test_a_result_goes_to_a_file_with_its_types(place: Path, tmp_path: Path) -> None:
    assert run("history", *user(place), "--out", tmp_path / "h.parquet").exit_code == 0
    frame = pl.read_parquet(tmp_path / "h.parquet")
    assert frame.height == 4
    assert frame.schema["logins"] == pl.Int64
    assert frame.schema["valid_from"] == pl.Datetime("us", "UTC")
    assert run("diff", *user(place), "--from", "10", "--out", tmp_path / "d.json").exit_code == 0
    assert [row["changed_fields"] for row in json.loads((tmp_path / "d.json").read_text())] == [["logins"]]


def test_history_of_one_entity(place: Path) -> None:
    result = run("history", *user(place), "--key", "2", "--json")
    assert [(row["valid_from_position"], row["valid_to_position"], row["logins"]) for row in json.loads(result.stdout)] == [
        (30, 40, 0),
        (40, 60, 5),
    ]
    assert [row["valid_from_position"] for row in json.loads(run("history", *user(place), "--after", "30", "--json").stdout)] == [40]


def test_diff_says_what_changed_in_words(place: Path) -> None:
    result = run("diff", *user(place), "--from", "10", "--at", "40")
    assert "logins: 0 → 2" in result.stdout
    assert "added" in result.stdout
    assert "2 differ between" in result.stderr


def test_first_takes_a_rule_in_sql(place: Path) -> None:
    result = run("first", "logins >= 2 and name <> 'Bob'", *user(place), "--json")
    assert [(row["key"], row["position"], row["event_type"]) for row in json.loads(result.stdout)] == [("1", 20, "user.logged_in")]


def test_where_chooses_rows_of_states_and_versions(place: Path, tmp_path: Path) -> None:
    assert len(json.loads(run("state", *user(place), "--where", "logins = 2 and name is not null", "--json").stdout)) == 1
    nobody = run("state", *user(place), "--where", "logins > 2", "--json")
    assert json.loads(nobody.stdout) == []
    assert re.match(r"0 of \d states fulfil logins > 2\n", nobody.stderr)
    versions = run("history", *user(place), "--where", "event_type = 'user.created'", "--json").stdout
    assert {row["event_type"] for row in json.loads(versions)} == {"user.created"}
    file = tmp_path / "versions.parquet"
    assert run("history", *user(place), "--where", "logins = 2", "--out", file).exit_code == 0
    assert pl.read_parquet(file)["logins"].to_list() == [2]
    says(run("state", *user(place), "--where", "colour = 'red'"), "column 1: a state has no colour; it has key, name", status=2)


def test_lineage_names_the_events(place: Path) -> None:
    result = run("lineage", *user(place), "--key", "1", "--field", "logins", "--json")
    assert [(row["position"], row["before"], row["after"]) for row in json.loads(result.stdout)] == [(20, 0, 2)]


def test_a_category_needs_no_declaration(place: Path) -> None:
    result = run("state", "--projection", "user", "--lake", place / "lake", "--key", "2", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["name"], row["mail"], row["count"]) == ("Bob", None, 5)


def test_a_key_that_nobody_has_is_said(place: Path) -> None:
    result = run("state", *user(place), "--key", "99", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "nothing is known of '99'" in result.stderr


def test_an_inferred_projection_is_python_that_runs(place: Path, tmp_path: Path) -> None:
    drafted = run("infer", "user", "--lake", place / "lake")
    assert drafted.exit_code == 0
    ast.parse(drafted.stdout)
    (tmp_path / "drafted_user.py").write_text(drafted.stdout, encoding="utf-8")
    result = run("state", "--projection", f"{tmp_path / 'drafted_user.py'}:User", "--lake", place / "lake", "--json")
    assert [(row["key"], row["name"], row["count"]) for row in json.loads(result.stdout)] == [("1", "Ann", 2)]


# Failures


def test_a_value_that_does_not_fit(place: Path) -> None:
    result = run("state", *user(place, lake="broken"))
    says(result, 'logins = "many" does not fit: it is not a number', "event 2 of stream 'user-1'", "position 70", status=1)
    assert run("state", *user(place, lake="broken"), "--at", "60").exit_code == 0
    collected = run("state", *user(place, lake="broken"), "--errors", "collect", "--json")
    assert [row["logins"] for row in json.loads(collected.stdout)] == [2]
    assert "1 left out, since a value does not fit; " in collected.stderr.replace("; 1 of types", "; ; 1 of types")


def test_a_function_that_raises(place: Path) -> None:
    says(run("state", *user(place, "Names")), "raised KeyError: 'name'", "event 1 of stream 'user-1'", "--errors collect", status=1)
    assert run("state", *user(place, "Names"), "--errors", "collect").exit_code == 0


def test_an_unknown_field(place: Path) -> None:
    says(run("lineage", *user(place), "--key", "1", "--field", "colour"), "has no field 'colour'", "name, logins", status=2)
    says(run("first", "colour = 'red'", *user(place)), "has no colour", "name, logins", status=2)
    says(run("state", *user(place), "--fields", "name,colour"), "no 'colour' to show", "logins", status=2)


def test_a_condition_that_is_none(place: Path) -> None:
    says(run("first", "logins >", *user(place)), "The condition 'logins >' is wrong at line 1, column 9: it ends too early", status=2)
    says(run("first", "logins + 1", *user(place)), "column 8: + is not allowed here; a condition compares", status=2)


def test_a_state_asked_of_a_part_of_an_entity(place: Path) -> None:
    result = run("state", *user(place, "ByMail"), "--stream", "user-1")
    says(result, "would fold parts of entities", "remove streams()", status=2)


def test_a_revision_that_is_not_there(place: Path) -> None:
    says(run("state", *user(place), "--key", "1", "--revision", "9"), "has no revision 9", "its last is 1", status=2)
    says(run("state", *user(place), "--revision", "9"), "pass key= too", status=2)


def test_an_unknown_category(place: Path) -> None:
    says(run("state", "--projection", "usr", "--lake", place / "lake"), "no category 'usr'", "it has user", status=2)
    says(run("infer", "usr", "--lake", place / "lake"), "no category 'usr'", "it has user", status=2)


@pytest.mark.parametrize(
    ("named", "sentences"),
    [
        ("{file}:Usr", ["has no Usr", "it has ByMail, Names, User."]),
        ("{file}:other", ["has other, but it is not a projection", "it has ByMail, Names, User."]),
        ("{file}", ["does not say which projection", "it has ByMail, Names, User."]),
        ("{place}/nowhere.py:User", ["There is no file", "nowhere.py", "FILE.py:CLASS"]),
        ("no.such.module:User", ["There is no module no", "FILE.py:CLASS"]),
        ("workbench.sample.projections:Usr", ["has no Usr", "LegacyUser, Post, Registration, Room, User"]),
        (":User", ["is not a projection", "FILE.py:CLASS"]),
        ("", ["is not a projection"]),
    ],
)
def test_a_projection_that_is_not_there(place: Path, named: str, sentences: list[str]) -> None:
    named = named.format(file=place / "projections_of_users.py", place=place)
    says(run("state", "--projection", named, "--lake", place / "lake"), *sentences, status=2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ny = (\n", "line 2: '(' was never closed"),
        ("x = 1\n\nraise KeyError('boom')\n", "line 3: KeyError: 'boom'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import no_such_thing\n", "line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        (
            "from workbench import Projection, on\n\nclass A(Projection, category='a'):\n    x: int\n    handlers = (on('t').set(y=1),)\n",
            "line 3: A, on('t').set(y=...): A has no field 'y'; it has x.",
        ),
    ],
)
def test_an_error_inside_the_file_names_its_line(place: Path, tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "projections_that_fail.py"
    file.write_text(text, encoding="utf-8")
    says(run("state", "--projection", f"{file}:A", "--lake", place / "lake"), str(file), sentence, status=2)


def test_a_file_with_the_name_of_another_module_is_refused(place: Path, tmp_path: Path) -> None:
    for name in ("json.py", "my-users.py"):
        (tmp_path / name).write_text(USER, encoding="utf-8")
        says(run("state", "--projection", f"{tmp_path / name}:User", "--lake", place / "lake"), name, "rename it", status=2)


@pytest.mark.parametrize("command", ["state", "history", "first", "lineage", "diff"])
def test_a_lake_that_is_none(place: Path, tmp_path: Path, command: str) -> None:
    words = {"first": ["true"], "lineage": ["--key", "1", "--field", "name"], "diff": ["--from", "10"]}.get(command, [])
    projection = ["--projection", f"{place / 'projections_of_users.py'}:User"]
    says(run(command, *words, *projection, "--lake", tmp_path / "none"), str(tmp_path / "none"), status=1)
