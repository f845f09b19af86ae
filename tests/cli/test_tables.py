"""``publish`` and ``schemas`` on the command line: the same answers as in Python, and a sentence for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.cli.test_failures import run, says
from tests.lake.histories import lake_of, row

PROJECTION = """
from workbench import Fold, Projection, event, on


class User(Projection, category="user"):
    name: str
    handlers = (on("user.made").create("name"), on("user.named").set(name=event.data["name"]))


Names = Fold(lambda state, event: {"name": "x"}, category="user")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rows = [
        row(10, "user-1", revision=0, type="user.made", data='{"name": "Ann"}', metadata='{"v": 1}'),
        row(20, "user-1", revision=1, type="user.named", data='{"name": 7}', metadata='{"v": 2}'),
        row(30, "user-2", revision=0, type="user.made", data="{}", metadata='{"v": 2}'),
    ]
    lake_of(tmp_path / "lake", rows)
    (tmp_path / "users_to_tell.py").write_text(PROJECTION, encoding="utf-8")
    return tmp_path


def test_publish_writes_tables_and_adds_what_is_new(place: Path) -> None:
    words: list[str | Path] = ["publish", "--lake", place / "lake", "--to", place / "out", "--types", "user.made", "--types", "user.named"]
    first = run(*words, "--at", "10", "--json")
    assert first.exit_code == 0, first.output
    assert [(one["table"], one["rows"]) for one in json.loads(first.stdout)] == [("user_made", 1)]
    again = run(*words, "--json")
    assert {one["table"]: one["new_rows"] for one in json.loads(again.stdout)} == {"user_made": 1, "user_named": 1}
    assert "2 tables, 2 rows written, as parquet" in again.stderr
    assert pl.read_parquet(place / "out" / "user_made" / "*.parquet").height == 2
    says(run(*words[:5], "--types", "other"), "another publication", "another place", status=2)


def test_publish_puts_states_beside_events_or_alone(place: Path) -> None:
    projection = f"{place / 'users_to_tell.py'}:Names"
    words: list[str | Path] = ["publish", "--lake", place / "lake", "--projection", projection]
    told = run(*words, "--to", place / "out.duckdb", "--json")
    assert [one["table"] for one in json.loads(told.stdout)][-1].endswith("_state")
    told = run(*words, "--to", place / "states", "--states-only", "--format", "csv", "--json")
    assert [one["kind"] for one in json.loads(told.stdout)] == ["state"]
    says(run(*words[:3], "--to", place / "x", "--states-only"), "--projection", status=2)
    says(run(*words[:3], "--to", place / "x.duckdb", "--format", "csv"), "named like a file", status=2)


def test_schemas_shows_fields_changes_and_versions(place: Path) -> None:
    found = run("schemas", "--lake", place / "lake", "--version", "metadata.v", "--json")
    rows = json.loads(found.stdout)
    assert [(one["type"], one["version"], one["field"], one["kinds"]) for one in rows] == [
        ("user.made", "1", "name", ["text"]),
        ("user.named", "2", "name", ["integer"]),
    ]
    changes = json.loads(run("schemas", "--lake", place / "lake", "--table", "changes", "--json").stdout)
    assert [(one["field"], one["change"], one["position"]) for one in changes] == [("name", "vanished", 10)]
    over_time = json.loads(run("schemas", "--lake", place / "lake", "--table", "over_time", "--every", "1mo", "--json").stdout)
    assert {(one["type"], one["present"], one["events"]) for one in over_time} == {("user.made", 1, 2), ("user.named", 1, 1)}
    assert "absent %" in run("schemas", "--lake", place / "lake").stdout


def test_schemas_says_what_breaks_a_projection(place: Path) -> None:
    name = f"{place / 'users_to_tell.py'}"
    found = run("schemas", "--lake", place / "lake", "--breaks", f"{name}:User", "--json")
    rows = {one["type"]: one for one in json.loads(found.stdout)}
    assert (rows["user.made"]["absent"], rows["user.made"]["first_absent_position"]) == (1, 30)
    assert (rows["user.named"]["misfits"], rows["user.named"]["first_misfit_position"]) == (1, 20)
    says(run("schemas", "--lake", place / "lake", "--breaks", f"{name}:Names"), "declares no places", status=2)
    says(run("schemas", "--lake", place / "lake", "--breaks", f"{name}:User", "--types", "x"), "--breaks", status=2)
