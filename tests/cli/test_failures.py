"""What goes wrong, and what is then said: one clear sentence with the next step, an exit status, no traceback, no password."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.cli.dated import undated
from tests.oracle import fill, lake_rows, log_of, new_events
from tests.proxy import Proxy
from tests.stores import Account, Server, Store
from workbench.cli.app import app
from workbench.lake import LakeWriter, open_lake
from workbench.lake.files.parquet import read_footer

PASSWORD = "s3cret-w0rd"


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert PASSWORD not in result.output + result.stderr + repr(result.exception)
    return result


def says(result: Result, *parts: str, status: int) -> None:
    """The command failed with one sentence on stderr that holds the parts, and nothing on stdout."""
    assert result.exit_code == status, (result.output, result.exception)
    assert result.stdout == ""
    lines = undated(result.stderr).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("workbench: ")
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in lines[0], (part, lines[0])


@pytest.fixture
def lake(store: Store, tmp_path: Path) -> Path:
    fill(store, 60)
    assert run("export", "--source", store.uri, "--lake", tmp_path / "lake").exit_code == 0
    return tmp_path / "lake"


GUARDED = pytest.mark.needs("tls", "users")


@pytest.fixture(scope="module")
def guarded(server: Server) -> Iterator[Store]:
    with server.serve(tls=True, username="admin", password=PASSWORD, users={"analyst": Account(PASSWORD)}) as store:
        store.append("order-1", new_events(5))
        yield store


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_server_there(tmp_path: Path) -> None:
    result = run("export", "--source", f"esdb://admin:{PASSWORD}@127.0.0.1:{free_port()}?tls=false", "--lake", tmp_path / "lake")
    says(result, "nothing answers there", "Check that the server runs", status=1)
    assert not (tmp_path / "lake").exists()


@contextmanager
def other_server(answer: bytes) -> Iterator[int]:
    """A port where something else listens: it says ``answer`` and then nothing."""
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            connection.sendall(answer)

    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in connections:
                connection.close()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"220 mail.example ESMTP\r\n", b""], ids=["http", "smtp", "silent"]
)
def test_a_port_where_something_else_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr("workbench.kurrent.connection.ANSWER_SECONDS", 1.0)
    with other_server(answer) as port:
        result = run("export", "--source", f"esdb://127.0.0.1:{port}?tls=false", "--lake", tmp_path / "lake")
    says(result, f"127.0.0.1:{port}", "Check that", "port", status=1)


def test_tls_asked_of_a_server_without_it(store: Store, tmp_path: Path) -> None:
    result = run("export", "--source", f"esdb://admin:{PASSWORD}@{store.address}?tls=true", "--lake", tmp_path / "lake")
    says(result, "does not speak TLS", "tls=false", status=1)


@GUARDED
def test_no_tls_with_a_server_that_wants_it(guarded: Store, tmp_path: Path) -> None:
    result = run("export", "--source", f"esdb://{guarded.address}?tls=false", "--lake", tmp_path / "lake")
    says(result, "speaks TLS", "tls=true", status=1)


@GUARDED
def test_a_certificate_that_is_not_trusted(guarded: Store, tmp_path: Path) -> None:
    result = run("export", "--source", f"esdb://admin:{PASSWORD}@{guarded.address}?tls=true", "--lake", tmp_path / "lake")
    says(result, "not trusted", "tlsCaFile", status=1)


@GUARDED
def test_a_wrong_password(guarded: Store, tmp_path: Path) -> None:
    wrong = guarded.uri.replace(PASSWORD, f"{PASSWORD}-not")
    says(run("export", "--source", wrong, "--lake", tmp_path / "lake"), "password was refused", "KURRENTDB_PASSWORD", status=1)


@GUARDED
def test_no_right_to_read_the_log(guarded: Store, tmp_path: Path) -> None:
    result = run("export", "--source", guarded.uri_for("analyst"), "--lake", tmp_path / "lake")
    says(result, "lacks the right", "$admins", status=1)


@GUARDED
@pytest.mark.parametrize("transport", ["http2", "grpc"])
def test_a_server_with_tls_and_password_is_exported(guarded: Store, tmp_path: Path, transport: str) -> None:
    result = run("export", "--source", guarded.uri, "--lake", tmp_path / "lake", "--transport", transport)
    assert result.exit_code == 0, result.stderr
    assert len([row for row in lake_rows(tmp_path / "lake") if row[2] == "order-1"]) == 5
    for file in (tmp_path / "lake").rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes()


@GUARDED
def test_a_password_from_the_environment(guarded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURRENTDB_USERNAME", "admin")
    monkeypatch.setenv("KURRENTDB_PASSWORD", PASSWORD)
    without = guarded.uri.replace(f"admin:{PASSWORD}@", "")
    assert run("export", "--source", without, "--lake", tmp_path / "lake").exit_code == 0


@pytest.mark.parametrize(
    "source",
    [
        f"http://u:{PASSWORD}@h",
        f"esdb://u:{PASSWORD}@h:port",
        f"esdb://u:{PASSWORD}@h?nope=1",
        f"esdb://u:{PASSWORD}@h?tlsCaFile=/not/there",
    ],
)
def test_an_address_that_cannot_be_read(tmp_path: Path, source: str) -> None:
    assert run("export", "--source", source, "--lake", tmp_path / "lake").exit_code == 2


@pytest.mark.parametrize(
    "login", [f"ops:{PASSWORD}/x", f"ops:4711/{PASSWORD}", f"ops:4711?{PASSWORD}", f"ops:4711#{PASSWORD}", f"ops:{PASSWORD}?a=b"]
)
def test_a_password_with_a_character_that_must_be_encoded_is_not_shown(tmp_path: Path, login: str) -> None:
    result = run("export", "--source", f"esdb://{login}@127.0.0.1:2113?tls=false", "--lake", tmp_path / "lake")
    says(result, "percent-encoded", status=2)
    assert "4711" not in result.stderr


def test_a_file_that_holds_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    source = f"esdb://u:{PASSWORD}@127.0.0.1:1?tlsCaFile={tmp_path / 'ca.crt'}"
    says(run("export", "--source", source, "--lake", tmp_path / "lake"), "certificate", status=2)


def test_keep_alive_can_be_turned_off(store: Store, tmp_path: Path) -> None:
    fill(store, 5)
    for transport in ("http2", "grpc"):
        source = f"{store.uri}&keepAliveInterval=-1"
        assert run("export", "--source", source, "--lake", tmp_path / transport, "--transport", transport).exit_code == 0


def test_a_place_for_the_duckdb_file_that_cannot_be_is_refused_before_anything_is_copied(store: Store, tmp_path: Path) -> None:
    fill(store, 5)
    result = run("export", "--source", store.uri, "--lake", tmp_path / "lake", "--duckdb", tmp_path / "no" / "x.duckdb")
    says(result, str(tmp_path / "no"), status=2)
    assert not (tmp_path / "lake").exists()


def test_a_selection_of_an_empty_name(store: Store, tmp_path: Path) -> None:
    fill(store, 5)
    says(run("export", "--source", store.uri, "--lake", tmp_path / "lake", "--stream", ""), "empty name", status=2)


def test_a_port_that_is_none() -> None:
    assert run("db", "start", "--port", "99999").exit_code == 2


@pytest.mark.needs("fresh server")
def test_a_lake_of_another_store_whose_log_is_shorter_is_told_at_once(new_store: Callable[..., Store], lake: Path) -> None:
    other = new_store()
    fill(other, 5, begin=3)
    began = time.monotonic()
    says(run("export", "--source", other.uri, "--lake", lake), "another store", status=1)
    assert time.monotonic() - began < 10


@pytest.mark.needs("fresh server")
def test_a_lake_of_another_store(new_store: Callable[..., Store], lake: Path) -> None:
    rows = lake_rows(lake)
    other = new_store()
    fill(other, 90, begin=3)
    says(run("export", "--source", other.uri, "--lake", lake), "another store", "new lake", status=1)
    assert lake_rows(lake) == rows


def test_a_lake_of_another_selection(store: Store, lake: Path) -> None:
    says(run("export", "--source", store.uri, "--lake", lake, "--stream", "user-*"), "user-*", "users' events", status=1)


@pytest.mark.needs("faults")
def test_a_log_that_was_rewritten(store: Store, lake: Path) -> None:
    rows = lake_rows(lake)
    store.faults.restore(upto=rows[30][0])
    fill(store, 90, begin=2)
    says(run("export", "--source", store.uri, "--lake", lake), "not the log from which the lake", "backup", "new lake", status=1)
    assert lake_rows(lake) == rows


@pytest.mark.parametrize("command", ["info", "sql", "distribution", "export"])
@pytest.mark.parametrize("what", ["nothing", "a file", "a directory of something else"])
def test_a_lake_that_is_none(store: Store, tmp_path: Path, command: str, what: str) -> None:
    place = tmp_path / "place"
    if what == "a file":
        place.write_text("x")
    elif what == "a directory of something else":
        place.mkdir()
        (place / "notes.txt").write_text("x")
    words = {"sql": ["select 1"], "export": ["--source", store.uri]}.get(command, [])
    result = run(command, *words, "--lake", place)
    if command == "export" and what == "nothing":
        assert result.exit_code == 0
    else:
        says(result, str(place), status=1)
    if what != "nothing":
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == (["place"] if what == "a file" else ["notes.txt"])


@pytest.mark.parametrize("damage", ["missing", "cut", "overwritten"])
def test_a_damaged_file(lake: Path, damage: str) -> None:
    file = max(lake.rglob("*.parquet"), key=lambda path: path.stat().st_size)
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.write_bytes(b"x" * file.stat().st_size)
    says(run("sql", "select sum(length(data)) from events", "--lake", lake), file.name, status=1)


def test_two_exports_into_one_lake(store: Store, lake: Path) -> None:
    info = open_lake(lake).info()
    with LakeWriter.open(lake, store=info.store, selection=info.selection):
        says(run("export", "--source", store.uri, "--lake", lake), str(lake), status=1)


def test_a_naive_time(lake: Path) -> None:
    says(run("sql", "select 1", "--lake", lake, "--at", "2026-03-01T09:00:00"), "has no time zone", "2026-03-01T09:00:00Z", status=2)


def test_no_time_at_all(lake: Path) -> None:
    says(run("distribution", "--lake", lake, "--at", "yesterday"), "yesterday", "2026-03-01T09:00:00Z", status=2)


def test_a_time_before_the_first_event(lake: Path) -> None:
    says(run("sql", "select 1", "--lake", lake, "--at", "1999-01-01"), "1999-01-01", "first", status=1)


def test_a_time_after_the_last_export(lake: Path) -> None:
    says(run("sql", "select 1", "--lake", lake, "--at", "2999-01-01"), "xport", status=1)
    assert run("sql", "select 1", "--lake", lake, "--at", "2999-01-01", "--stale").exit_code == 0


def test_an_unknown_column_in_sql(lake: Path) -> None:
    says(run("sql", "select tpe from events", "--lake", lake), "tpe", "type", "recorded_at", status=2)


@pytest.mark.parametrize(
    "query",
    ["selec 1", "select * from evnts", "drop view events", "", "select 1; select 2 from nothing", "select cast(type as int) from events"],
)
def test_sql_that_cannot_be_run(lake: Path, query: str) -> None:
    assert run("sql", query, "--lake", lake).exit_code == 2


def test_a_type_that_no_table_holds(lake: Path) -> None:
    says(run("sql", "select interval 1 day as d", "--lake", lake), "varchar", status=2)


def test_control_characters_of_data_do_not_reach_the_terminal(lake: Path) -> None:
    for query in ("select (chr(27) || '[31mred')::int", "select chr(27) || '[31m' as \"a\x1b[31mb\""):
        result = run("sql", query, "--lake", lake)
        assert "\x1b" not in result.stdout + result.stderr
        assert "\\x1b" in result.stdout + result.stderr
    # What turns the direction of writing, and what is beyond the first plane.
    result = run("sql", "select 'a' || chr(8238) || chr(917505) || 'b' as x", "--lake", lake)
    assert "a\\u202e\\U000e0001b" in result.stdout


def test_verify_finds_a_damaged_page_that_info_does_not_read(lake: Path) -> None:
    whole = run("info", "--verify", "--lake", lake)
    assert (whole.exit_code, whole.stderr) == (0, "1 file is what was written\n")
    [file] = lake.rglob("*.parquet")
    with file.open("rb") as source:
        column = read_footer(source, digest=None, columns=["data"]).chunk(0, "data")
    damaged = bytearray(file.read_bytes())
    damaged[column.start + column.size - 3] ^= 0x15
    file.write_bytes(damaged)
    assert run("info", "--lake", lake).exit_code == 0
    says(run("info", "--verify", "--lake", lake), "is damaged", file.name, "Restore it", status=1)


def test_a_missing_option_names_it() -> None:
    result = run("info")
    assert result.exit_code == 2
    assert "--lake" in result.stderr


def test_a_result_for_a_file_of_an_unknown_kind(lake: Path, tmp_path: Path) -> None:
    says(run("sql", "select 1", "--lake", lake, "--out", tmp_path / "x.xlsx"), ".parquet", status=2)


@pytest.mark.parametrize("place", ["nowhere/x.csv", "", "file/x.csv"])
def test_a_result_for_a_place_that_cannot_be_written(lake: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    assert run("sql", "select 1", "--lake", lake, "--out", tmp_path / place).exit_code == 2


def test_a_disk_that_is_full(store: Store, lake: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same way."""
    rows = lake_rows(lake)
    fill(store, 3000, begin=60)
    limited = subprocess.run(
        [
            "bash",
            "-c",
            'ulimit -f 8; trap "" XFSZ; exec "$@"',
            "-",
            sys.executable,
            "-m",
            "workbench",
            "export",
            "--source",
            store.uri,
            "--lake",
            lake,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert limited.returncode == 1, limited.stderr
    assert "Traceback" not in limited.stderr
    assert str(lake) in limited.stderr
    assert lake_rows(lake) == rows
    assert run("export", "--source", store.uri, "--lake", lake).exit_code == 0
    assert lake_rows(lake) == log_of(store)


def test_ctrl_c_keeps_what_was_committed(store: Store, lake: Path) -> None:
    rows = lake_rows(lake)
    fill(store, 2000, begin=60)
    host, _, port = store.address.rpartition(":")
    with Proxy(host, int(port)) as link:
        link.cut_after(200_000, by="stall")
        export = subprocess.Popen(
            [sys.executable, "-m", "workbench", "export", "--source", f"esdb://{link.address}?tls=false", "--lake", lake],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        deadline = time.monotonic() + 60
        while not link.cuts:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        export.send_signal(signal.SIGINT)
        out, err = export.communicate(timeout=20)
    assert export.returncode == 130, (out, err)
    assert undated(err.splitlines()[-1]).startswith("workbench: Stopped.")
    assert "Traceback" not in err
    copied = lake_rows(lake)
    assert copied[: len(rows)] == rows
    assert copied == log_of(store)[: len(copied)]
    assert run("export", "--source", store.uri, "--lake", lake).exit_code == 0
    assert lake_rows(lake) == log_of(store)


@pytest.mark.parametrize("form", ["--rows=100000", "--csv", "--json"])
def test_a_reader_that_has_heard_enough_ends_the_command_quietly(lake: Path, form: str) -> None:
    done = subprocess.run(
        [
            "bash",
            "-c",
            '"$@" | head -1',
            "-",
            sys.executable,
            "-m",
            "workbench",
            "sql",
            "select data from events, range(2000)",
            form,
            "--lake",
            lake,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "Traceback" in line or "rror" in line] == []
