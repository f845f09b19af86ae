"""One suite, any server: what the tests may assume of a store, and what happens where a server does not offer it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conformance
from tests.stores import NEEDS, Store, server_of

TESTS = Path(__file__).parent
COMMAND = f"command:{sys.executable} -m tests.stranger --port {{port}} --data {{data}}"

IMPORTS_THE_EMBEDDED_STORE = {
    "stores.py": "it is where the tests get it from",
    "stranger.py": "it serves it as if it were somebody else's",
    "bench": "the benchmarks measure it, and fill it past the wire",
    "embedded": "the embedded store's own tests",
    "documents": "the documents tell readers to start one, and their blocks run against it",
}


def test_no_test_but_the_embedded_stores_own_imports_it() -> None:
    found = {path.relative_to(TESTS) for path in TESTS.rglob("*.py") if _imports(path, "workbench.embedded")}
    assert found
    assert sorted(str(path) for path in found if path.parts[0] not in IMPORTS_THE_EMBEDDED_STORE) == []


def _imports(path: Path, package: str) -> bool:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return any(name == package or name.startswith(f"{package}.") for name in names)


def _pytest(server: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"WORKBENCH_TEST_SERVER": server, "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False, timeout=250)


NAMES = "several_hosts or an_empty_log or server_that_has_stopped or names_the_leader or servers_own_time"


def test_a_program_is_started_for_each_test_and_what_it_does_not_offer_is_said() -> None:
    done = _pytest(COMMAND, "tests/kurrent/test_connection.py", "-k", NAMES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed, 2 skipped" in done.stdout
    assert "needs faults, which the server under test does not offer" in done.stdout
    assert "needs empty log, which the server under test does not offer" in done.stdout


@pytest.mark.needs("faults")  # a store of our own, to be the one that runs already
def test_of_a_server_that_runs_only_tests_that_take_any_log_are_run(store: Store) -> None:
    done = _pytest(store.uri, "tests/kurrent/test_connection.py", "-k", NAMES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 4 skipped" in done.stdout
    assert "SKIPPED [2] " in done.stdout
    assert "needs fresh server, which" in done.stdout
    assert "needs empty log, which" in done.stdout


def test_a_program_that_ends_is_an_error_that_shows_its_last_words() -> None:
    done = _pytest("command:sh -c 'echo no port {port}; exit 7'", "tests/kurrent/test_connection.py", "-k", "several_hosts")
    assert done.returncode == 1
    assert "The server under test ended: status 7" in done.stdout
    assert "no port" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kurrentdb", "it must be embedded, command:"),
        ("command:kurrentd", "it must be embedded, command:"),
        ("docker:", "it must be embedded, command:"),
        ("esdb://db.example:2113?tls=false", "not on this machine"),
        ("esdb://ops:secret@db.example:2113?tls=false", "//db.example:2113"),
        ("esdb://127.0.0.1:2113", "without TLS"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_with_what_can(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="WORKBENCH_TEST_SERVER") as caught:
        server_of(text)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_elsewhere_is_taken_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_TEST_ANYWHERE", "1")
    assert server_of("esdb://db.example:2113?tls=false").offers == frozenset()


def test_the_embedded_store_offers_everything() -> None:
    assert server_of("embedded").offers == NEEDS.keys()


def test_conformance_without_a_server_says_so_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    for named in ("", "embedded"):
        monkeypatch.setenv("WORKBENCH_TEST_SERVER", named)
        assert conformance.main([]) == 1
        assert "There is no server to test against" in capsys.readouterr().err
    assert conformance.chosen("command:x {port}") == "command:x {port}"
