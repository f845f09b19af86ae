"""The demo, the pipeline and the targets of make that the documents name do what they say."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conformance import IMAGE
from tests.documents.blocks import ROOT
from tests.oracle import fill
from tests.stores import Store, clock_of
from workbench.cli.app import app

HAND_WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the demo was run, as the README's commands expect it."""
    place = tmp_path_factory.mktemp("readme")
    result = CliRunner().invoke(app, ["demo", "--dir", str(place / "data"), "--events", "3000"])
    assert result.exit_code == 0, (result.output, result.exception)
    shutil.copytree(ROOT / "pipelines", place / "pipelines")
    return place


def test_the_demo_can_be_run_twice_and_the_commands_that_it_ends_with_run(demo: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--dir", str(demo / "data"), "--events", "3000"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "0 new events" in result.output
    assert (demo / "data" / "report.html").stat().st_size > 1_000_000
    commands = [line.strip() for line in result.output.splitlines() if line.strip().startswith("workbench ")]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        if words[:2] != ["db", "start"]:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (command, result.output, result.exception)


def test_the_container_is_the_same_everywhere() -> None:
    text = (ROOT / "docs" / "how_to" / "kurrentdb_container.md").read_text(encoding="utf-8")
    assert f"{IMAGE} --insecure --mem-db" in text


@pytest.mark.needs("clock")
def test_the_nightly_pipeline_exports_and_reports_and_may_run_twice(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_of(store).set(datetime.now(UTC) - timedelta(days=2))
    fill(store, 30)
    clock_of(store).reset()
    for name, value in (("SOURCE", store.uri), ("LAKE", tmp_path / "lake"), ("REPORTS", tmp_path / "reports")):
        monkeypatch.setenv(f"WORKBENCH_{name}", str(value))
    night = (datetime.now(UTC) - timedelta(days=1)).replace(hour=0, minute=15, second=0, microsecond=0)
    words = ["schedule", "due", str(ROOT / "pipelines" / "nightly.yaml"), "--ledger", str(tmp_path / "ledger"), "--now", night.isoformat()]
    for succeeded in (2, 0):
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, result.stdout.count("succeeded")) == (0, succeeded), (result.output, result.exception)
    kept, report = sorted((tmp_path / "reports").iterdir())
    assert (kept.name, report.name) == (f"event_types-{night:%Y-%m-%d}", f"event_types-{night:%Y-%m-%d}.html")
    verified = CliRunner().invoke(app, ["report", "verify", str(kept)])
    assert verified.exit_code == 0, verified.output
    assert "type.1" in report.read_text(encoding="utf-8")


def test_the_names_of_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    texts = [document.read_text(encoding="utf-8") for document in HAND_WRITTEN]
    named = {first or second for text in texts for first, second in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, flags=re.MULTILINE)}
    assert {"demo", "test", "check", "docs", "laws", "mutants", "bench"} <= named <= targets


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_relative_links_of_the_documents_that_a_checkout_shows_lead_to_files() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_architecture_names_every_room_and_only_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text.partition("## The rooms")[2].partition("Where to look")[0], flags=re.MULTILINE)
    rooms = [folder.parent.name for folder in (ROOT / "workbench").glob("*/__init__.py")]
    assert sorted(named) == sorted(rooms)
    files = re.findall(r"`(\w+(?:/\w+)*\.py)`", text)
    assert len(files) > 5
    assert [file for file in files if not (ROOT / "workbench" / file).exists()] == []


def test_every_room_says_what_it_is_for() -> None:
    for room in (ROOT / "workbench").glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(room.read_text(encoding="utf-8"))), room


def test_the_image_holds_what_the_wheel_is_built_from_and_runs_a_command() -> None:
    """No image is built here: Docker does not run where the tests do."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    steps = [step.split(maxsplit=1) for step in re.sub(r"\\\n", " ", text).splitlines() if step and not step.startswith("#")]
    copied = {word for verb, words in steps if verb == "COPY" and "--from" not in words for word in words.split()[:-1]}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"], *wheel["force-include"]}
    assert {name.split("/")[0] for name in needed} <= copied
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not copied & set(ignored)
    [(name, _)] = [(json.loads(words)[0], words) for verb, words in steps if verb == "ENTRYPOINT"]
    assert name in project["project"]["scripts"]
    [command] = [json.loads(words) for verb, words in steps if verb == "CMD"]
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0
    [user] = [words for verb, words in steps if verb == "USER"]
    assert user != "root"
    versions = {version for verb, words in steps if verb == "FROM" for version in re.findall(r"python:(3\.\d+)-slim", words)}
    assert versions == {"3.13"}
