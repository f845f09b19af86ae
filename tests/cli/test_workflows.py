"""``series``, ``workflows``, ``trace`` and ``ocel`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.analysis.traced import Traced, timeline_in
from tests.cli.test_failures import run, says

DECLARED = """
from workbench import Projection, Workflow, event, on

orders = Workflow(start="placed", done="shipped", failed="lost", stuck_after="1m")
number = 7


class Order(Projection, category="order"):
    amount: int = 0
    handlers = (on("placed").create("amount"), on("paid").add(amount=event.data["amount"]), on("lost").delete())
"""

STORY = [
    Traced("placed", "a", 0, data='{"amount": 5}'),
    Traced("paid", "a", 3, cause=1, data='{"amount": 7}'),
    Traced("placed", "b", 10, stream="order-2", data='{"amount": 1}'),
    Traced("shipped", "a", 60, cause=2),
    Traced("placed", "c", 86_400, stream="order-3\x1b[31m", data='{"amount": 2}'),
]
TYPES = ["--start", "placed", "--done", "shipped", "--failed", "lost", "--stuck-after", "1m"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    timeline_in(tmp_path / "lake", STORY)
    (tmp_path / "declared_workflows.py").write_text(DECLARED, encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_LAKE", str(tmp_path / "lake"))
    return tmp_path


def test_series_prints_measures_step_by_step(place: Path) -> None:
    order = f"{place / 'declared_workflows.py'}:Order"
    result = run("series", "orders=count(*)", "sum(amount)", "--projection", order, "--every", "1d", "--json")
    assert json.loads(result.stdout) == [
        {"at": "2026-03-02T00:00:00Z", "position": 40, "sum(amount)": 13, "orders": 2},
        {"at": "2026-03-02T09:00:00Z", "position": 50, "sum(amount)": 15, "orders": 3},
    ]
    says(run("series", "many", "--projection", order), "a measure is count(*)", status=2)
    says(run("series", "tz=count(*)", "--projection", order), "No measure can be called 'tz' here", status=2)


@pytest.mark.parametrize("named", [False, True])
def test_workflows_are_declared_by_options_or_by_name(place: Path, named: bool) -> None:
    declared = [f"{place / 'declared_workflows.py'}:orders"] if named else TYPES
    found = json.loads(run("workflows", *declared, "--json").stdout)
    assert {one["outcome"]: one["traces"] for one in found["outcomes"] if one["traces"]} == {"completed": 1, "stuck": 1, "running": 1}
    assert found["unseen"] == ["lost"]
    assert [one["duration"] for one in found["traces"]] == [60.0, 0.0, 0.0]
    stuck = json.loads(run("workflows", *declared, "--outcome", "stuck", "--json").stdout)
    assert [one["correlation_id"] for one in stuck] == ["b"]
    printed = run("workflows", *declared)
    for words in ("completed", "How long each step took", "placed → paid → shipped", "What follows what"):
        assert words in printed.stdout
    assert "no event here is of type 'lost'" in printed.stderr
    assert run("workflows", *declared, "--show", "process", "--csv").stdout.startswith("from_type,to_type,count")


def test_a_workflow_that_is_none_is_refused(place: Path) -> None:
    file = place / "declared_workflows.py"
    says(run("workflows"), "--start TYPE --done TYPE", status=2)
    says(run("workflows", f"{file}:orders", "--start", "placed"), "give one of the two", status=2)
    says(run("workflows", f"{file}:number"), "is no Workflow", status=2)
    says(run("workflows", f"{file}:nothing"), "has no nothing", status=2)
    says(run("workflows", "orders"), "does not name a workflow: write FILE.py:NAME", status=2)
    says(run("workflows", f"{place / 'none.py'}:orders"), "There is no file", status=2)


def test_a_trace_prints_its_tree_and_nothing_that_moves_the_cursor(place: Path) -> None:
    assert run("trace", "a").stdout.splitlines()[1:] == [
        "placed  order-1@0  +0 s",
        "└─ paid  order-1@1  +3 s",
        "   └─ shipped  order-1@2  +1 min",
    ]
    assert "\x1b" not in run("trace", "c").stdout
    assert [one["type"] for one in json.loads(run("trace", "a", "--json").stdout)] == ["placed", "paid", "shipped"]
    says(run("trace", "z"), "No event has the correlation id 'z'", status=2)


def test_ocel_writes_a_log_of_what_is_asked(place: Path) -> None:
    result = run("ocel", "--out", str(place / "log.json"), "--type", "placed", "--at", "30")
    assert result.exit_code == 0, result.output
    assert "2 events, 4 objects, 4 relations between them, 2 between objects" in result.stderr
    assert [one["id"] for one in json.loads((place / "log.json").read_bytes())["events"]] == ["10", "30"]
    says(run("ocel", "--out", str(place / "log.csv")), "ends in .sqlite or .json", status=2)
