"""``materialise``: what is kept answers as before, is listed and removed; what cannot be kept gets its sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_failures import run, says
from tests.lake.histories import STORE, checkpoint_at, row, table
from tests.lake.s3 import object_store
from tests.replay.asking import event as recorded
from tests.replay.asking import timeline_in
from workbench.events import Selection
from workbench.lake import LakeWriter
from workbench.materialised import fold_point

PROJECTIONS = """
from workbench import Fold, Projection, event, on, upcast


class User(Projection, category="user"):
    name: str
    logins: int = 0
    handlers = (
        on("user.created").create("name"),
        on("user.logged_in").add(logins=event.data["count"]),
        on("user.deleted").delete(),
    )


class Named(Projection, category="user", key=event.data["name"]):
    created: int = 0
    handlers = (on("user.created").add(created=1),)


def names(state, event):
    return {"name": event.data.get("name") or state["name"]}


def fails(state, event):
    return {"name": event.data["name"]}


Names = Fold(names, category="user", version=1)
Unnamed = Fold(names, category="user")
Fails = Fold(fails, category="user", version=1)
"""

HISTORY = [
    recorded(10, "user.created", '{"name": "Ann"}', stream="user-1", revision=0),
    recorded(20, "user.logged_in", '{"count": 2}', stream="user-1", revision=1),
    recorded(30, "user.created", '{"name": "Bob"}', stream="user-2", revision=0),
    recorded(40, "user.seen", "{}", stream="user-2", revision=1),
    recorded(50, "user.deleted", "{}", stream="user-2", revision=2),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    timeline_in(tmp_path / "lake", HISTORY)
    (tmp_path / "projections_to_keep.py").write_text(PROJECTIONS, encoding="utf-8")
    return tmp_path


def asked(place: Path, name: str = "User") -> list[str | Path]:
    return ["--projection", f"{place / 'projections_to_keep.py'}:{name}", "--lake", place / "lake"]


def listed(place: Path, *words: str | Path) -> list[dict[str, Any]]:
    result = run("materialise", "--list", "--lake", place / "lake", "--json", *words)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(("name", "kind", "rows"), [("User", "history", 3), ("Names", "snapshots", 2)])
def test_what_is_materialised_answers_as_before_until_it_is_removed_and_after(place: Path, name: str, kind: str, rows: int) -> None:
    def answers() -> list[tuple[str, str]]:
        questions = (["state"], ["state", "--key", "1"], ["history"], ["diff", "--from", "20"], ["first", "name = 'Bob'"])
        found = [run(*words, *asked(place, name), "--json") for words in questions]
        return [(one.stdout, one.stderr if words[0] != "state" else "") for one, words in zip(found, questions, strict=True)]

    before = answers()
    account = run("state", *asked(place, name)).stderr
    made = run("materialise", *asked(place, name), "--json")
    [row] = json.loads(made.stdout)
    assert (row["projection"], row["kind"], row["position"], row["rows"]) == (name if kind == "history" else "names", kind, 50, rows)
    assert listed(place) == [row] == listed(place, *asked(place, name))
    assert before == answers()
    assert account == run("state", *asked(place, name)).stderr
    run("materialise", *asked(place, "Names" if name == "User" else "User"))
    assert len(listed(place)) == 2
    removed = run("materialise", "--remove", *asked(place, name), "--json")
    assert json.loads(removed.stdout) == [row]
    assert len(listed(place)) == 1
    assert listed(place, *asked(place, name)) == []
    assert run("materialise", "--remove", "--lake", place / "lake").exit_code == 0
    assert listed(place) == []
    assert before == answers()


def test_the_index_of_keys_is_made_with_a_history_and_listed_and_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_point, "WORTH_KEEPING", 5)
    first = run("state", "--key", "Ann", *asked(place, "Named"), "--json")
    assert listed(place) == []
    assert run("materialise", *asked(place, "Named")).exit_code == 0
    [history, row] = sorted(listed(place), key=lambda one: str(one["kind"]))
    assert history["kind"] == "history"
    assert (row["projection"], row["kind"], row["position"], row["rows"]) == ("Named", "keys", 50, 2)
    assert len(listed(place, *asked(place, "Named"))) == 2
    assert first.stdout == run("state", "--key", "Ann", *asked(place, "Named"), "--json").stdout
    assert listed(place, *asked(place, "User")) == []
    assert run("materialise", "--remove", *asked(place, "Named")).exit_code == 0
    assert listed(place) == []


def test_a_state_from_before_the_end_of_what_is_kept_says_where_it_came_from(place: Path) -> None:
    before = run("state", *asked(place), "--at", "40", "--json")
    assert "2 entities from 3 events; 1 of types that no handler takes (user.seen 1)" in before.stderr
    run("materialise", *asked(place))
    after = run("state", *asked(place), "--at", "40", "--json")
    assert before.stdout == after.stdout
    assert after.stderr.splitlines()[0] == "2 entities, from what is materialised"


def test_nothing_kept_is_an_empty_list(place: Path) -> None:
    assert listed(place) == []
    assert run("materialise", "--list", "--lake", place / "lake").exit_code == 0
    assert run("materialise", "--remove", "--lake", place / "lake").exit_code == 0


def test_a_lake_in_an_object_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store() as store:
        for name, value in store.options.items():
            monkeypatch.setenv(name, value)
        url = "s3://bucket/lakes/kept"
        with LakeWriter.open(url, store=STORE, selection=Selection()) as writer:
            event = row(10, "user-1", type="user.created", data='{"name": "Ann"}')
            writer.append(table([event]), checkpoint_at(event))
        projection = ["--projection", f"{place / 'projections_to_keep.py'}:User"]
        says(run("materialise", *projection, "--lake", url), "file system", url, "an object store", status=2)
        assert json.loads(run("materialise", "--list", "--lake", url, "--json").stdout) == []
        assert run("state", *projection, "--lake", url).exit_code == 0


def test_what_cannot_be_materialised(place: Path) -> None:
    says(run("materialise", *asked(place, "Unnamed")), "Python function", "version=", status=2)
    says(run("materialise", *asked(place, "Fails")), "raised KeyError: 'name'", "event 1 of stream 'user-1'", status=1)
    says(run("materialise", "--lake", place / "lake"), "--projection", "--list", status=2)
    says(run("materialise", *asked(place), "--list", "--remove"), "--list", "--remove", "give one of them", status=2)
    says(run("materialise", "--list", "--lake", place / "none"), "There is no lake", status=1)
    says(run("materialise", *asked(place), "--at", "1999-01-01"), "Nothing had been recorded", status=1)
    assert listed(place) == []


def test_no_right_to_write(place: Path) -> None:
    (place / "lake" / "materialised").write_text("in the way")
    says(run("materialise", *asked(place)), str(place / "lake"), status=1)
    assert run("state", *asked(place)).exit_code == 0
