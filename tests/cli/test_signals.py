"""What a command says to a log, and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.dated import STAMP, undated
from tests.oracle import fill, lake_rows, log_of
from tests.stores import Store


def workbench(*words: str | Path, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}, start_new_session=True
    )


SLOW_EXPORT = """
import sys
from workbench.cli import app
from workbench.export import copy
from workbench.kurrent import reader
reader.CHUNK_EVENTS, copy.COMMIT_EVENTS = 50, 100
app.app(sys.argv[1:], prog_name="workbench")
"""


@pytest.mark.needs("faults")
@pytest.mark.parametrize(("number", "status", "transport"), [(signal.SIGTERM, 143, "http2"), (signal.SIGHUP, 129, "grpc")])
def test_a_signal_ends_an_export_with_one_line_and_what_was_committed_is_kept(
    store: Store, tmp_path: Path, number: signal.Signals, status: int, transport: str
) -> None:
    lake = tmp_path / "lake"
    fill(store, 3000)
    store.faults.delay = 0.1
    command = [sys.executable, "-c", SLOW_EXPORT, "export", "--source", store.uri, "--lake", str(lake), "--transport", transport]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as export:
        _wait(lambda: len(list(lake.rglob("*.parquet"))) > 2)
        export.send_signal(number)
        out, err = export.communicate(timeout=60)
    assert export.returncode == status
    assert out == ""
    assert err.count("\n") == 1
    assert undated(err) == f"workbench: Stopped by {number.name}. What was committed is kept, and nothing else.\n"
    store.faults.clear()
    kept = lake_rows(lake)
    log = log_of(store)
    assert 0 < len(kept) < len(log)
    assert kept == log[: len(kept)]


@pytest.mark.needs("faults")
def test_a_hangup_that_nohup_ignores_stays_ignored(store: Store, tmp_path: Path) -> None:
    fill(store, 1000)
    store.faults.delay = 0.1
    lake = tmp_path / "lake"
    command = ["nohup", sys.executable, "-c", SLOW_EXPORT, "export", "--source", store.uri, "--lake", str(lake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as export:
        _wait(lambda: len(list(lake.rglob("*.parquet"))) > 2)
        export.send_signal(signal.SIGHUP)
        store.faults.clear()
        export.communicate(timeout=60)
    assert export.returncode == 0
    assert lake_rows(lake) == log_of(store)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_writer_is_stopped_by_a_signal_as_soon_as_grpc_is_left(store: Store, number: signal.Signals) -> None:
    # Raised within grpc, the exception would leave a lock of the channel held, and the process would hang at its end.
    script = """
import os, sys, threading
from workbench.kurrent import ANY, EventToWrite, connect
from workbench.host.stopping import Stopped, interrupted_by_signals
with interrupted_by_signals(), connect(sys.argv[1]) as source:
    threading.Timer(0.3, os.kill, (os.getpid(), int(sys.argv[2]))).start()
    try:
        with source.writer() as writer:
            while True:
                writer.append(sys.argv[3], [EventToWrite("a")], expected=ANY)
    except Stopped as stopped:
        assert source.end() is not None
        print(stopped.signal.name)
"""
    command = [sys.executable, "-c", script, store.uri, str(int(number)), f"busy-{number.name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (f"{number.name}\n", "", 0)


def test_each_line_of_an_export_to_a_log_begins_with_the_time(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    began = datetime.now(UTC) - timedelta(seconds=1)
    export = workbench("export", "--source", store.uri, "--lake", tmp_path / "lake")
    out, err = export.communicate(timeout=120)
    assert export.returncode == 0, err
    assert err == ""
    assert _times(out, lines=2) >= [began, began]
    failed = workbench("export", "--source", "esdb://127.0.0.1:1?tls=false", "--lake", tmp_path / "lake")
    out, err = failed.communicate(timeout=120)
    assert (out, failed.returncode) == ("", 1)
    assert _times(err, lines=1) >= [began]
    assert undated(err).startswith("workbench: esdb://127.0.0.1:1: nothing answers there")


def test_json_and_other_commands_have_no_times_before_their_lines(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    for words in (("export", "--source", store.uri, "--json"), ("info", "--json")):
        done = workbench(*words, "--lake", tmp_path / "lake")
        out, err = done.communicate(timeout=120)
        assert out.startswith("{"), (out, err)
    failed = workbench("info", "--lake", tmp_path / "none")
    assert failed.communicate(timeout=120)[1].startswith("workbench: ")


def test_on_a_terminal_the_lines_of_an_export_have_no_times(store: Store, tmp_path: Path) -> None:
    fill(store, 10)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "workbench", "export", "--source", store.uri, "--lake", str(tmp_path / "lake")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as export:
        os.close(theirs)
        out, _ = export.communicate(timeout=120)
    os.close(ours)
    assert export.returncode == 0
    assert out.startswith(f"{tmp_path / 'lake'}: ")


def test_each_line_of_a_schedule_to_a_log_begins_with_the_time(tmp_path: Path) -> None:
    pipeline = tmp_path / "nightly.yaml"
    pipeline.write_text("source: esdb://127.0.0.1:1?tls=false\nlake: lake\nschedule: 0 * * * *\njobs:\n  copy: {export: everything}\n")
    due = workbench("schedule", "due", pipeline, "--now", "2026-03-01T00:30:00Z")
    out, err = due.communicate(timeout=120)
    assert undated(err) == "Nothing is due.\n", (out, err)
    _times(err, lines=1)
    run = workbench("schedule", "run", "nightly/copy", pipeline, "--time", "2026-03-01T00:00:00Z")
    out, _ = run.communicate(timeout=120)
    _times(out, lines=1)
    assert undated(out).startswith("2026-03-01T00:00:00Z nightly/copy failed"), out
    upcoming = workbench("schedule", "next", pipeline, "--now", "2026-03-01T00:00:00Z", "--rows", "1", "--csv")
    assert upcoming.communicate(timeout=120)[0].startswith("job,")


def test_a_warning_of_the_workbench_is_one_line(store: Store, tmp_path: Path) -> None:
    fill(store, 3)
    export = workbench("export", "--source", f"{store.uri}&keepAliveTimeout=500", "--lake", tmp_path / "lake")
    _, err = export.communicate(timeout=120)
    assert export.returncode == 0
    assert undated(err).startswith("workbench: The option keepAliveTimeout in the address is 500 ms.")
    assert err.count("\n") == 1


@contextmanager
def leaving_server() -> Iterator[int]:
    """A server that says GOAWAY to whoever connects."""

    def frame(kind: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(frame(4, b""))
                    connection.recv(65_536)
                    connection.sendall(frame(7, struct.pack(">II", 0, 11) + b"too_many_pings"))
                    connection.settimeout(10)
                    while connection.recv(65_536):
                        pass
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


CONNECT = """
import sys
from workbench.errors import WorkbenchError
from workbench.kurrent import connect
from workbench.kurrent.transport import channels
try:
    connect(sys.argv[1])
except WorkbenchError:
    pass
"""


def test_grpc_writes_no_lines_of_its_own_unless_the_user_wants_them() -> None:
    with leaving_server() as port:
        command = [sys.executable, "-c", CONNECT, f"esdb+discover://127.0.0.1:{port}?tls=false&gossipTimeout=1&maxDiscoverAttempts=1"]
        env = {name: value for name, value in os.environ.items() if name not in ("GRPC_VERBOSITY", "GLOG_minloglevel")}
        quiet = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
        assert quiet.stderr == ""
        wanted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={**env, "GRPC_VERBOSITY": "INFO"})
        assert "Got goaway" in wanted.stderr


def _times(text: str, *, lines: int) -> list[datetime]:
    """The times before the lines of a log."""
    found = [STAMP.match(line) for line in text.splitlines()]
    assert len(found) == lines
    assert all(found), text
    return [datetime.fromisoformat(one[1]) for one in found if one]


def _wait(until: Callable[[], bool], *, seconds: float = 60) -> None:
    done = threading.Event()
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    while not until():
        assert datetime.now(UTC) < deadline, "it did not come so far"
        done.wait(0.05)
