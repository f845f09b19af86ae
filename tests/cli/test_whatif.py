"""``whatif``, ``steps``, ``diff`` of other rules, and ``--scenario``: what they print, their statuses, and the sentence of each failure."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest

from tests.cli.test_failures import run, says
from tests.replay.asking import event as recorded
from tests.replay.asking import timeline_in

PROJECTIONS = """
from decimal import Decimal
from typing import Annotated

from workbench import Digits, Fold, Projection, event, on


class Shopper(Projection, category="shopper"):
    name: str
    orders: int = 0
    paid: Annotated[Decimal, Digits(18, scale=2)] = Decimal(0)
    handlers = (
        on("created").create("name"),
        on("ordered").add(orders=1),
        on("paid").where(event.data["amount"] > 0).add(paid=event.data["amount"]),
        on("deleted").delete(),
    )


class Reworded(Projection, category="shopper"):
    name: str
    orders: int = 0
    handlers = [on("deleted").delete(), on("created").create(name=event.data["name"]), on("ordered").add(orders=1)]


class Stricter(Projection, category="shopper"):
    name: str
    orders: int = 0
    big: int = 0
    handlers = (on("created").create("name"), on("ordered").where(event.data["total"] > 10).add(orders=1), on("deleted").delete())


def names(state, event):
    return {"name": event.data["name"]}


Names = Fold(names, category="shopper")
"""
HISTORY = [
    recorded(10, "created", '{"name": "Ann"}', stream="shopper-1", revision=0),
    recorded(20, "ordered", '{"total": 7}', stream="shopper-1", revision=1),
    recorded(30, "created", '{"name": "Bob"}', stream="shopper-2", revision=0),
    recorded(40, "paid", '{"amount": 7.10}', stream="shopper-1", revision=2),
    recorded(50, "seen", "{}", stream="shopper-1", revision=3),
    recorded(60, "deleted", "{}", stream="shopper-2", revision=1),
    recorded(70, "ordered", '{"total": 20}', stream="shopper-1", revision=4),
]
KEPT = """\
name: kept
question: What if nobody had gone?
edits:
  - drop: {type: deleted}
projections:
  - projection: projections_of_shoppers.py:Shopper
    measures:
      shoppers: count(*)
      paid: sum(paid)
"""
CHEAPER = """\
name: cheaper
edits:
  - patch: {type: paid, set: {amount: 1.05}}
  - drop: {type: nothing}
projections:
  - projection: projections_of_shoppers.py:Shopper
    measures:
      paid: sum(paid)
  - shopper
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whatif")
    timeline_in(place / "lake", HISTORY)
    (place / "projections_of_shoppers.py").write_text(PROJECTIONS, encoding="utf-8")
    (place / "kept.yaml").write_text(KEPT, encoding="utf-8")
    (place / "cheaper.yaml").write_text(CHEAPER, encoding="utf-8")
    return place


def shopper(place: Path, name: str = "Shopper") -> list[str | Path]:
    return ["--projection", f"{place / 'projections_of_shoppers.py'}:{name}", "--lake", place / "lake"]


# whatif


def test_one_scenario_is_told_in_words(place: Path) -> None:
    result = run("whatif", place / "kept.yaml", "--lake", place / "lake")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:3] == ["scenario kept: What if nobody had gone?", "edits drop(type='deleted'): 1 event", "events 7 → 6 (-1)"]
    assert "entities 1 → 2 (+1): 1 added, 0 removed, 0 changed" in lines
    assert "shoppers 1 → 2 (+1)" in lines
    assert "paid 7.10 as before" in lines
    assert any(line.startswith("diverged at position 60, 2023-11-14T22:14:20Z: deleted (") for line in lines)
    assert "position 70" in result.stderr


def test_a_program_gets_all_of_it_as_json(place: Path) -> None:
    (told,) = json.loads(run("whatif", place / "cheaper.yaml", "--lake", place / "lake", "--json").stdout)
    assert (told["scenario"], told["question"], told["position"], told["events"]) == ("cheaper", "", 70, {"before": 7, "after": 7})
    assert [(edit["matched"], edit["cascaded"], edit["notes"]) for edit in told["edits"]] == [(1, 0, []), (0, 0, ["matches no event"])]
    first, second = told["projections"]
    assert (first["projection"], first["changed"], first["changed_fields"]) == ("projections_of_shoppers.py:Shopper", 1, {"paid": 1})
    assert first["measures"] == [{"name": "paid", "measure": "sum(paid)", "before": 7.10, "after": 1.05}]
    assert first["diverged"]["diverged_position"] == 40
    assert (second["projection"], second["measures"], second["changed_fields"]) == ("shopper", [], {"amount": 1})


def test_several_scenarios_stand_side_by_side_with_the_counts_of_each_alone(place: Path) -> None:
    files = [place / "kept.yaml", place / "cheaper.yaml"]
    both = list(csv.DictReader(io.StringIO(run("whatif", *files, "--lake", place / "lake", "--csv").stdout)))
    alone = [row for file in files for row in csv.DictReader(io.StringIO(run("whatif", file, "--lake", place / "lake", "--csv").stdout))]
    assert both == alone
    shown = [line.split() for line in run("whatif", *files, "--lake", place / "lake").stdout.splitlines()]
    assert ["recorded", "kept", "cheaper"] in shown
    assert ["events", "7", "6", "7"] in shown
    assert ["paid:", "sum(paid)", "7.10", "7.10", "1.05"] in shown
    assert ["entities", "1", "2", "1"] in shown
    assert "cheaper: drop(type='nothing'): 0 events; matches no event" in run("whatif", *files, "--lake", place / "lake").stderr


def test_a_scenario_is_asked_of_an_earlier_moment(place: Path) -> None:
    (told,) = json.loads(run("whatif", place / "kept.yaml", "--lake", place / "lake", "--at", "50", "--json").stdout)
    assert told["events"] == {"before": 5, "after": 5}
    assert told["projections"][0]["entities"] == {"before": 2, "after": 2}
    assert told["projections"][0]["diverged"] is None
    assert "nowhere: no state differs" in run("whatif", place / "kept.yaml", "--lake", place / "lake", "--at", "50").stdout


def test_the_entities_that_differ_are_written_to_a_file(place: Path, tmp_path: Path) -> None:
    result = run("whatif", place / "kept.yaml", "--lake", place / "lake", "--out", tmp_path / "d.parquet")
    assert (result.exit_code, "scenario" in result.stdout) == (0, True)
    one = pl.read_parquet(tmp_path / "d.parquet")
    assert one.select("scenario", "projection", "key", "change").rows() == [("kept", "projections_of_shoppers.py:Shopper", "2", "added")]
    assert one["after"].to_list()[0]["name"] == "Bob"
    assert run("whatif", place / "kept.yaml", place / "cheaper.yaml", "--lake", place / "lake", "--out", tmp_path / "d.json").exit_code == 0
    rows = json.loads((tmp_path / "d.json").read_text())
    assert [(row["scenario"], row["key"]) for row in rows] == [("kept", "2"), ("cheaper", "1"), ("cheaper", "1")]
    assert json.loads(rows[1]["after"])["paid"] == 1.05


def test_a_scenario_that_cannot_be_asked(place: Path, tmp_path: Path) -> None:
    lake: list[str | Path] = ["--lake", place / "lake"]
    says(run("whatif", tmp_path / "none.yaml", *lake), "There is no file", "none.yaml", status=2)
    (tmp_path / "wrong.yaml").write_text("name: a\nedits:\n  - drop: {strem: user-1}\n", encoding="utf-8")
    says(run("whatif", tmp_path / "wrong.yaml", *lake), "wrong.yaml, line 3, column 12: drop has no key 'strem'; it knows stream", status=2)
    says(run("whatif", place / "kept.yaml", place / "kept.yaml", *lake), "Two of the scenarios are named 'kept'", status=2)
    says(run("whatif", place / "kept.yaml", *lake, "--json", "--csv"), "exclude each other", status=2)
    says(run("whatif", place / "kept.yaml", *lake, "--out", tmp_path / "no" / "d.csv"), "There is no directory", status=2)
    (tmp_path / "bare.yaml").write_text("name: a\nedits:\n  - drop: {type: deleted}\n", encoding="utf-8")
    assert "events" in run("whatif", tmp_path / "bare.yaml", *lake).stdout
    says(run("whatif", tmp_path / "bare.yaml", *lake, "--out", tmp_path / "d.csv"), "under projections whose states", status=2)
    (tmp_path / "lost.yaml").write_text(f"{KEPT.replace('projections_of', 'no_projections_of')}", encoding="utf-8")
    says(run("whatif", tmp_path / "lost.yaml", *lake), "There is no file", "no_projections_of_shoppers.py", status=2)
    (place / "colour.yaml").write_text(KEPT.replace("sum(paid)", "sum(colour)"), encoding="utf-8")
    says(run("whatif", place / "colour.yaml", *lake), "a state has no colour; it has name, orders, paid", status=2)
    (place / "names.yaml").write_text(KEPT.replace(":Shopper", ":Names"), encoding="utf-8")
    says(run("whatif", place / "names.yaml", *lake), "raised KeyError: 'name'", "--errors collect", status=1)
    says(run("whatif", place / "kept.yaml", "--lake", tmp_path / "none"), str(tmp_path / "none"), status=1)


# --scenario


def test_every_reading_command_asks_the_what_if(place: Path) -> None:
    fork: list[str | Path] = ["--scenario", place / "kept.yaml"]
    assert [row["key"] for row in json.loads(run("state", *shopper(place), *fork, "--json").stdout)] == ["1", "2"]
    assert [row["key"] for row in json.loads(run("history", *shopper(place), *fork, "--key", "2", "--json").stdout)] == ["2"]
    assert len(json.loads(run("first", "name is not null", *shopper(place), *fork, "--at", "60", "--json").stdout)) == 2
    assert [
        row["after"] for row in json.loads(run("lineage", *shopper(place), *fork, "--key", "2", "--field", "name", "--json").stdout)
    ] == ["Bob"]
    sql = run("sql", "select count(*) as n from events", "--lake", place / "lake", *fork, "--json")
    assert json.loads(sql.stdout) == [{"n": 6}]
    assert "what if drop(type='deleted')" in sql.stderr
    assert "deleted" not in run("distribution", "--lake", place / "lake", *fork, "--csv").stdout


def test_an_edit_that_matches_nothing_is_said(place: Path) -> None:
    assert "drop(type='nothing'): 0 events; matches no event" in run("state", *shopper(place), "--scenario", place / "cheaper.yaml").stderr


def test_diff_compares_what_was_recorded_with_the_what_if_or_two_moments_of_it(place: Path) -> None:
    fork: list[str | Path] = ["--scenario", place / "kept.yaml"]
    (row,) = json.loads(run("diff", *shopper(place), *fork, "--json").stdout)
    assert (row["key"], row["change"], row["diverged_position"]) == ("2", "added", 60)
    assert json.loads(run("diff", *shopper(place), *fork, "--at", "50", "--json").stdout) == []
    assert [row["key"] for row in json.loads(run("diff", *shopper(place), *fork, "--from", "50", "--json").stdout)] == ["1"]


def test_what_is_nested_is_json_in_a_csv(place: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(run("diff", *shopper(place), "--scenario", place / "cheaper.yaml", "--csv").stdout))
    assert json.loads(row["changed_fields"]) == ["paid"]
    assert row["after"] == '{"name":"Ann","orders":2,"paid":1.05}'


# steps


def test_steps_tell_what_each_event_did(place: Path) -> None:
    result = run("steps", *shopper(place), "--key", "1")
    assert result.exit_code == 0, result.output
    for part in ("began name: Ann", "changed orders: 0 → 1", "paid: 0.00 → 7.10", "unhandled (no handler takes its type)"):
        assert part in result.stdout
    rows = json.loads(run("steps", *shopper(place), "--key", "1", "--after", "40", "--json").stdout)
    assert [(row["position"], row["outcome"]) for row in rows] == [(50, "unhandled"), (70, "changed")]
    assert "nothing is known of '99'" in run("steps", *shopper(place), "--key", "99").stderr


def test_steps_stand_beside_those_of_the_what_if(place: Path) -> None:
    result = run("steps", *shopper(place), "--key", "1", "--scenario", place / "cheaper.yaml")
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "paid: 0.00 → 7.10" in lines["40"]
    assert "paid: 0.00 → 1.05" in lines["40"]
    assert lines["40"].rstrip().endswith("← here they diverge")
    assert "the same" in lines["20"]
    assert "what if patch(" in result.stderr
    (row,) = json.loads(run("steps", *shopper(place), "--key", "2", "--scenario", place / "kept.yaml", "--after", "50", "--json").stdout)
    assert (row["side"], row["outcome"], row["against_outcome"], row["diverged"]) == ("timeline", "ended", "not there", True)


# diff --other


def test_other_rules_are_a_gate_by_their_exit_status(place: Path) -> None:
    same = run("diff", *shopper(place), "--other", f"{place / 'projections_of_shoppers.py'}:Reworded", "--fail-on-difference", "--json")
    assert (same.exit_code, json.loads(same.stdout)) == (0, [])
    other = ["--other", f"{place / 'projections_of_shoppers.py'}:Stricter"]
    differs = run("diff", *shopper(place), *other, "--fail-on-difference", "--json")
    assert differs.exit_code == 3
    assert [(row["key"], row["changed_fields"], row["diverged_position"]) for row in json.loads(differs.stdout)] == [("1", ["orders"], 20)]
    assert "1 differs between" in differs.stderr
    assert "not compared: paid (only in the first), big (only in the second)" in differs.stderr
    assert run("diff", *shopper(place), *other).exit_code == 0
    assert run("diff", *shopper(place), *other, "--fail-on-difference", "--at", "10").exit_code == 0
    assert run("diff", *shopper(place), "--from", "10", "--fail-on-difference").exit_code == 3


def test_a_projection_is_held_against_the_next_version_of_its_own_file(place: Path, tmp_path: Path) -> None:
    for name, least in (("now", 0), ("next", 10)):
        (tmp_path / name).mkdir()
        text = PROJECTIONS.replace('event.data["total"] > 10', f'event.data["total"] > {least}')
        (tmp_path / name / "shop_of_versions.py").write_text(text, encoding="utf-8")
    one, other = (f"{tmp_path / name / 'shop_of_versions.py'}:Stricter" for name in ("now", "next"))
    result = run("diff", "--projection", one, "--other", other, "--lake", place / "lake", "--json", "--fail-on-difference")
    assert [(row["key"], row["before"]["orders"], row["after"]["orders"]) for row in json.loads(result.stdout)] == [("1", 2, 1)]
    assert result.exit_code == 3


def test_a_diff_of_one_thing_and_a_gate_that_fails_for_another_reason(place: Path) -> None:
    says(run("diff", *shopper(place)), "give --from, --scenario, or --other", status=2)
    missing = f"{place / 'projections_of_shoppers.py'}:Missing"
    says(run("diff", *shopper(place), "--other", missing, "--fail-on-difference"), "has no Missing", status=2)
    names = f"{place / 'projections_of_shoppers.py'}:Names"
    says(run("diff", *shopper(place), "--other", names, "--fail-on-difference"), "raised KeyError: 'name'", status=1)
