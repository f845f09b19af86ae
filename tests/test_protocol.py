"""The messages of the protocol live beside those of any client in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.protocol import shared_pb2, streams_pb2

CLASH = """
from google.protobuf import descriptor_pb2, descriptor_pool

other = descriptor_pb2.FileDescriptorProto(name="kurrentdbclient/protos/v1/shared.proto", package="event_store.client")
other.message_type.add(name="UUID")
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
"""
"""What another client does when it is imported: it registers a message of the same name from a file of its own."""
EXPORT = """
import workbench as wb
from workbench.embedded import EmbeddedStore
from workbench.kurrent import NO_STREAM, EventToWrite, connect

with EmbeddedStore() as store, connect(store.uri) as source, source.writer() as writer:
    writer.append("user-1", [EventToWrite("created", b"{}")], expected=NO_STREAM).result()
    print(wb.export_log(source, "lake").events_kept)
"""
READ = """
import sys
import workbench as wb

print(wb.open("lake").timeline.sql("select count(*) from events").fetchall(), wb.open("lake").timeline.events().collect().height)
print(sorted({"esdbclient", "kurrentdbclient", "grpc", "google.protobuf"} & set(sys.modules)))
"""
CLIENTS = """
import sys
print(sorted({"esdbclient", "kurrentdbclient"} & set(sys.modules)))
"""


def run(code: str, place: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("code", [CLASH + EXPORT, EXPORT + CLASH], ids=["before", "after"])
def test_another_client_may_be_imported_before_and_after_an_export_in_one_process(code: str, tmp_path: Path) -> None:
    assert run(code + CLIENTS, tmp_path) == ["1", "[]"]


def test_reading_a_lake_loads_no_client_and_no_grpc(tmp_path: Path) -> None:
    run(EXPORT, tmp_path)
    assert run(READ, tmp_path) == ["[(1,)] 1", "[]"]


def test_the_messages_are_those_of_esdbclient() -> None:
    from esdbclient.protos.Grpc import shared_pb2 as theirs
    from esdbclient.protos.Grpc import streams_pb2 as their_streams

    assert shared_pb2.DESCRIPTOR.serialized_pb == theirs.DESCRIPTOR.serialized_pb
    assert streams_pb2.DESCRIPTOR.serialized_pb == their_streams.DESCRIPTOR.serialized_pb
    told = {name for name in vars(their_streams) if not name.startswith(("_", "google", "esdbclient"))}
    assert told <= set(vars(streams_pb2))
