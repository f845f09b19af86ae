"""Legal events that are out of the common end no command in a traceback."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

import workbench as wb
from tests.cli.test_failures import run, says
from tests.lakes import START, Recorded, write_lake
from workbench.cli.app import app
from workbench.errors import ReplayError

DEEP = '{"x": 1, "deep": ' + '{"a": ' * 500 + "1" + "}" * 500 + ', "list": ' + "[" * 500 + "]" * 500 + "}"
NEARLY_TOO_DEEP = '{"x": 1, "deep": ' + "[" * 970 + "]" * 970 + "}"  # a lake takes it for JSON; a deeper stack may not read it any more
NUL = '{"a\\u0000b": 1, "c": "x\\u0000y"}'


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    payloads = {"deep-1": DEEP, "near-1": NEARLY_TOO_DEEP, "nul-1": NUL, "meta-1": "{}"}
    events = [
        Recorded("t", START + timedelta(seconds=number), stream=stream, data=data)
        for number, (stream, data) in enumerate([*((one, '{"x": 0}') for one in payloads), *payloads.items()])
    ]
    return write_lake(tmp_path / "lake", events)


@pytest.mark.parametrize("category", ["deep", "near", "nul"])
def test_a_projection_is_drafted_of_payloads_that_are_nested_deeply_or_have_a_zero_in_a_name(lake: Path, category: str) -> None:
    result = run("infer", category, "--lake", lake)
    assert (result.exit_code, result.stderr) == (0, "")
    assert 'on("t").' in result.stdout
    compile(result.stdout, category, "exec")


@pytest.mark.parametrize("category", ["deep", "near", "nul"])
def test_every_question_about_such_a_category_is_answered_or_told_by_its_event(
    lake: Path, category: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lake.parent)
    for command in (
        ["state", "--json"],
        ["state", "--csv"],
        ["history", "--json"],
        ["materialise"],
        ["steps", "--key", "1"],
        ["lineage", "--key", "1", "--field", "x"],
        ["publish", "--to", "published"],
    ):
        result = CliRunner().invoke(app, [*command, "--projection", category, "--lake", str(lake)])
        assert isinstance(result.exception, SystemExit | None), (command, result.exception)
        if result.exit_code:
            assert (category, result.exit_code) == ("near", 1)
            assert "nested too deeply; in event 1 of stream 'near-1'" in result.stderr


def test_the_schemas_of_such_payloads_are_told_as_far_as_they_are_not_too_deep(lake: Path) -> None:
    assert run("schemas", "--lake", lake).exit_code == 0
    assert run("publish", "--to", lake.parent / "published", "--lake", lake).exit_code == 0
    held = wb.schemas(wb.open(lake).timeline).payloads
    assert held["unreadable"].sum() == 2


def test_a_zero_in_the_name_of_a_key_is_written_out_in_the_name_of_its_column(lake: Path) -> None:
    assert run("materialise", "--projection", "nul", "--lake", lake).exit_code == 0
    answers = [wb.state("nul", wb.open(lake).timeline).to_dicts()[0]]  # what is kept
    assert run("materialise", "--remove", "--lake", lake).exit_code == 0
    answers.append(wb.state("nul", wb.open(lake).timeline).to_dicts()[0])
    for answer in answers:
        assert (answer["a\\u0000b"], answer["c"], answer["x"]) == (1, "x\0y", 0)
    shown = json.loads(run("state", "--projection", "nul", "--lake", lake, "--json").stdout)
    assert shown[0]["a\\u0000b"] == 1


def test_a_fold_that_cannot_read_its_key_names_the_event(tmp_path: Path) -> None:
    too_deep = '{"x": 1, "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"  # for every version of Python: newer ones read deeper
    lake = write_lake(tmp_path / "lake", [Recorded("t", START, "near-1", data) for data in ('{"x": 0}', too_deep)])
    fold = wb.Fold(lambda state, event: state, category="near", key=wb.event.data["x"], version=1)
    with pytest.raises(ReplayError, match="the key cannot be read because it is nested too deeply; in event 1 of stream 'near-1'"):
        wb.state(fold, wb.open(lake).timeline)


@pytest.mark.parametrize(
    ("category", "what"),
    [
        ("$ce", "the server keeps links to the events of each category, in a stream $ce-CATEGORY there; name a category of yours"),
        ("$ce-order", "the server keeps links to the events of category order there; name that category"),
        ("$stats", "the server keeps its own statistics there"),
        ("$$order", "it holds the metadata of the streams of order"),
    ],
)
def test_a_category_of_the_system_is_told_to_be_one_and_what_stands_there(lake: Path, category: str, what: str) -> None:
    says(run("infer", category, "--lake", lake), f"names {category}, but system events never become state: {what}", status=2)
    result = run("state", "--projection", category, "--lake", lake)
    assert what in result.stderr
    assert result.exit_code == 2
