"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conformance import IMAGE
from tests.oracle import fill
from tests.stores import Store, clock_of
from workbench.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the demo was run, as the README's commands expect it."""
    place = tmp_path_factory.mktemp("readme")
    result = CliRunner().invoke(app, ["demo", "--dir", str(place / "data"), "--events", "3000"])
    assert result.exit_code == 0, (result.output, result.exception)
    shutil.copytree(ROOT / "pipelines", place / "pipelines")
    return place


def test_the_pythons_of_the_readme_run(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_commands_of_the_readme_are_commands(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that read a lake run, on the demo's; of the others the options are checked."""
    monkeypatch.chdir(demo)
    monkeypatch.setenv("COLUMNS", "200")
    lines = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines() if line.startswith("workbench ")]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line.replace("data/orders", "data/demo"), comments=True)[1:]
        if "--source" in words:
            shown = CliRunner().invoke(app, [*words[:1], "--help"])
            for option in (word for word in words if word.startswith("--")):
                assert option in shown.output, (line, option)
        else:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (line, result.output, result.exception)


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


@pytest.mark.needs("fresh server")
def test_the_way_with_a_container_works_step_by_step(
    store: Store, new_store: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/container.md shows, on a store in place of the container, and on another for its last command, which wants an empty one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    text = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("workbench ")]
    assert [shlex.split(line)[1] for line in lines[:3]] == ["sample", "export", "info"]
    for line in lines:
        uri, more = (new_store().uri, ["--events", "1000"]) if " demo " in line else (store.uri, [])
        result = CliRunner().invoke(app, [*shlex.split(line.replace("esdb://127.0.0.1:2113?tls=false", uri))[1:], *more])
        assert result.exit_code == 0, (line, result.output, result.exception)
    assert (tmp_path / "data" / "container.html").exists()


def test_the_container_is_the_same_everywhere() -> None:
    documents = [README, (ROOT / "docs" / "container.md").read_text(encoding="utf-8")]
    assert all(f"{IMAGE} --insecure --mem-db" in text for text in documents)


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
    named = set(re.findall(r"^make ([a-z]+)$|`make ([a-z]+)`", README, flags=re.MULTILINE))
    assert named
    assert {first or second for first, second in named} <= targets
