"""The demo on a server that is not ours: filled once, copied, and asked the same questions with the same answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import workbench as wb
from tests.stores import Server, Store
from workbench.cli.app import app
from workbench.cli.demo import make_lake
from workbench.kurrent import ANY, EventToWrite, connect
from workbench.sample import projections
from workbench.scenarios import Scenario, find_scenario, whatif

pytestmark = pytest.mark.needs("fresh server")

EVENTS = 3_000


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def theirs(server: Server) -> Iterator[Store]:
    """A store that stamps events itself, as every KurrentDB does."""
    options: dict[str, Any] = {"accept_timestamps": False} if server.name == "embedded" else {}
    with server.serve(**options) as store:
        yield store


@pytest.fixture(scope="module")
def place(theirs: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a demo of that store."""
    return tmp_path_factory.mktemp("theirs")


@pytest.fixture(scope="module")
def shown(theirs: Store, place: Path) -> str:
    result = run("demo", "--source", theirs.uri, "--dir", place, "--events", str(EVENTS))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def lakes(shown: str, place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[wb.Lake, wb.Lake]:
    """The embedded demo's lake, and theirs."""
    return wb.open(make_lake(tmp_path_factory.mktemp("ours"), events=EVENTS)), wb.open(place / "demo")


def test_every_step_has_an_answer(shown: str, place: Path) -> None:
    assert re.findall(r"^(\d)\. ", shown, flags=re.MULTILINE) == list("12345678")
    assert "the 90 days are compressed into the" in shown
    assert re.search(r"^[1-9][\d,]* users at \d+, and the busiest of them:$", shown, flags=re.MULTILINE)
    assert (place / "report.html").stat().st_size > 1_000_000


def test_the_commands_that_it_ends_with_run(shown: str) -> None:
    commands = [line.strip() for line in shown.splitlines() if line.strip().startswith("workbench ")]
    assert len(commands) >= 9
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        if words[0] != "lab":
            result = run(*words)
            assert result.exit_code == 0, (command, result.output, result.exception)


def test_the_events_are_the_same_but_for_their_times(lakes: tuple[wb.Lake, wb.Lake]) -> None:
    columns = [
        "stream",
        "revision",
        "type",
        "is_json",
        "data",
        "data_bytes",
        "metadata",
        "metadata_bytes",
        "correlation_id",
        "causation_id",
    ]
    ours, theirs = (lake.timeline.events().select(columns).collect() for lake in lakes)
    assert ours.height > EVENTS * 0.9
    assert ours.equals(theirs)


@pytest.mark.parametrize("name", ["User", "Room", "Post", "Registration", "LegacyUser"])
def test_states_are_the_same_but_for_their_times(lakes: tuple[wb.Lake, wb.Lake], name: str) -> None:
    ours, theirs = (wb.state(getattr(projections, name), lake.timeline) for lake in lakes)
    timeless = [column for column, kind in ours.schema.items() if not kind.is_temporal() and column not in PLACES]
    assert ours.height > 3
    assert len(timeless) > 1
    assert ours.select(timeless).equals(theirs.select(timeless))


PLACES = {"position", "first_position", "last_position"}


def test_shares_of_types_are_the_same(lakes: tuple[wb.Lake, wb.Lake]) -> None:
    ours, theirs = (wb.distribution(lake.timeline).select("type", "count", "share").sort("type") for lake in lakes)
    assert ours.equals(theirs)


def test_workflows_are_the_same_but_for_how_long_they_took(lakes: tuple[wb.Lake, wb.Lake]) -> None:
    registration = wb.Workflow(start="registration.started", done="registration.completed", compensated="registration.compensated")
    ours, theirs = (
        wb.workflows(registration, lake.timeline).traces.select("correlation_id", "outcome", "events", "last_type").sort("correlation_id")
        for lake in lakes
    )
    assert ours.height > 10
    assert ours.equals(theirs)


def test_a_what_if_comes_to_the_same(lakes: tuple[wb.Lake, wb.Lake]) -> None:
    scenario = Scenario.load(find_scenario("no-failed-steps"))
    ours, theirs = ([row for row in whatif(scenario, lake.timeline).values() if "position" not in row[1]] for lake in lakes)
    assert len(ours) > 10
    assert ours == theirs


def test_the_demo_of_a_server_can_be_run_again_and_copies_nothing_twice(theirs: Store, shown: str, place: Path) -> None:
    again = run("demo", "--source", theirs.uri, "--dir", place)
    assert again.exit_code == 0, (again.output, again.exception)
    assert "has its history already" in again.stdout
    assert "0 new events" in again.stdout


def test_a_store_that_is_not_empty_is_refused_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    with connect(store.uri) as source:
        with source.writer() as writer:
            writer.append("order-1", [EventToWrite("order.placed")], expected=ANY)
        before = source.end()
        result = run("demo", "--source", store.uri, "--dir", tmp_path)
        assert result.exit_code == 1
        assert "is not empty: stream 'order-1' has events. Nothing was written" in result.stderr
        assert "Traceback" not in result.stderr
        assert source.end() == before
    assert not (tmp_path / "demo").exists()


def test_a_lake_of_another_store_is_not_taken_for_the_copy_of_an_empty_one(
    theirs: Store, shown: str, place: Path, new_store: Callable[..., Store]
) -> None:
    result = run("demo", "--source", new_store().uri, "--dir", place)
    assert result.exit_code == 1
    assert "is empty, and" in result.stderr
    assert "--dir" in result.stderr


def test_an_address_in_the_environment_is_not_written_to(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_SOURCE", store.uri)
    with connect(store.uri) as source:
        before = source.end()
        assert run("demo", "--dir", tmp_path, "--events", "300").exit_code == 0
        assert source.end() == before


def test_a_history_without_users_has_its_sentence(tmp_path: Path) -> None:
    result = run("demo", "--dir", tmp_path, "--events", "1")
    assert result.exit_code == 0, (result.output, result.exception)
