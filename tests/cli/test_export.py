"""``workbench export``: what it says of waits, of a checkpoint that is gone, and of a time that it could not reach."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from tests.cli.test_failures import run, says
from tests.oracle import new_events
from tests.proxy import Proxy
from tests.stores import NewEvent, Store, clock_of
from workbench.export import complete_until


def scavenged(store: Store) -> None:
    store.append("a", new_events(2))
    store.faults.scavenge()


def limit(store: Store, stream: str) -> None:
    store.append(f"$${stream}", [NewEvent(id=uuid4(), type="$metadata", data=b'{"$maxCount": 1}')])


@pytest.mark.needs("faults")
def test_a_checkpoint_that_was_scavenged_is_said_with_what_proves_the_log(store: Store, tmp_path: Path) -> None:
    limit(store, "a")
    store.append("kept", new_events(1))
    store.append("a", new_events(2))
    assert run("export", "--source", store.uri, "--lake", tmp_path / "lake").exit_code == 0
    scavenged(store)
    result = run("export", "--source", store.uri, "--lake", tmp_path / "lake")
    assert result.exit_code == 0
    assert "1 stream proves" in result.stdout


@pytest.mark.needs("faults")
def test_a_log_that_nothing_proves_is_refused_until_it_is_accepted(store: Store, tmp_path: Path) -> None:
    limit(store, "a")
    store.append("a", new_events(2))
    words = ("export", "--source", store.uri, "--lake", tmp_path / "lake")
    assert run(*words).exit_code == 0
    scavenged(store)
    says(run(*words), "--accept-scavenged", "new lake", status=1)
    result = run(*words, "--accept-scavenged")
    assert result.exit_code == 0
    assert "nothing proves" in result.stdout


def test_each_wait_is_said_on_standard_error_and_all_of_them_in_the_end(store: Store, tmp_path: Path) -> None:
    for number in range(6):
        store.append(f"large-{number}", [NewEvent(id=uuid4(), type="large", data=b"x" * 8_000) for _ in range(50)])
    host, _, port = store.address.rpartition(":")
    with Proxy(host, int(port)) as link:
        link.cut_after(1_000_000)
        result = run("export", "--source", f"esdb://{link.address}?tls=false", "--lake", tmp_path / "lake")
    assert result.exit_code == 0
    [line] = result.stderr.splitlines()
    assert "Waiting 1 s" in line
    assert "position" in line
    assert "broke once" in result.stdout


@pytest.mark.needs("faults", "clock", "fresh server")
def test_a_time_that_could_not_be_reached_is_an_error_behind_the_summary(
    new_store: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complete_until, "UNTIL_SECONDS", 0.1)
    store = new_store(accept_timestamps=False)
    clock_of(store).set(datetime(2026, 3, 1, 12, tzinfo=UTC))
    store.append("a", new_events(2))
    words = ("export", "--source", store.uri, "--lake", tmp_path / "lake", "--json", "--until")
    result = run(*words, "2026-03-01T12:00:00Z")
    assert orjson.loads(result.stdout)["events_kept"] == 2
    assert result.exit_code == 1
    assert "is complete until 2026-03-01T11:59:59.999999Z" in result.stderr
    clock_of(store).advance(timedelta(seconds=30))
    assert run(*words, "2026-03-01T12:00:00Z").exit_code == 0


@pytest.mark.needs("faults", "clock")
def test_late_events_are_said(store: Store, tmp_path: Path) -> None:
    store.append("a", new_events(2))
    words = ("export", "--source", store.uri, "--lake", tmp_path / "lake")
    assert "have times" not in run(*words).stdout
    store.faults.transaction("b", [NewEvent(id=uuid4(), type="t", created=1)])
    assert "1 new events have times" in run(*words).stdout
