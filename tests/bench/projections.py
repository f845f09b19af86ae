"""Copy a log with the links of the four system projections, without and with ``--system``; make sure that both copies are exact.

usage: python -m tests.bench.projections [--events N]

Method. The embedded store writes the links behind each append, as a server with the standard projections does: by stream, category, event
type and correlation id. Users' events have payloads of about 300 bytes, ten to a correlation id. Each export is a process of its own, which
reads over HTTP/2 into a new lake on the same machine; its seconds are those of reading and committing, and its processor time is that
of its process alone. By default the server leaves the links out. A copy is exact if what a plain read of the log with protobuf's own
parser gives, and what the lake gives back, have the same digest: positions, streams, revisions, ids, types, times, flags, data and
metadata of every event, in order. The store is written in Python, so the rates are bounded by it: compare the two copies with each other.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
from esdbclient.protos.Grpc import shared_pb2, streams_pb2, streams_pb2_grpc

from tests.bench.__main__ import _run, _say
from tests.oracle import given_back
from workbench.embedded import EmbeddedStore, NewEvent
from workbench.lake import open_lake
from workbench.server_streams import is_server_stream

TYPES = ("order.placed", "order.paid", "order.packed", "order.sent", "order.received")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=75_000, help="events of users (default: 75,000, with their links more than 300,000)")
    asked = parser.parse_args()
    print(__doc__.partition("Method. ")[2])
    exact = True
    with EmbeddedStore(links=True) as store, tempfile.TemporaryDirectory(prefix="workbench-bench-") as scratch:
        fill(store, asked.events)
        digests = log_digests(store)
        for name, words in (("by default", ()), ("with --system", ("system",))):
            lake = Path(scratch) / name
            run = _run("export", store.uri, str(lake), *words)
            count, digest = digests[bool(words)]
            is_exact = lake_digest(lake) == digest and run["events"] == count
            exact &= is_exact
            rate = f"{run['seconds']:.1f} s, {run['cpu_seconds'] / run['events'] * 1e6:.1f} µs of CPU an event"
            _say(f"copy {name}", f"{run['events']:>12,} events", f"{rate}; {'exact' if is_exact else 'NOT EXACT'}")
    return 0 if exact else 1


def fill(store: EmbeddedStore, events: int) -> None:
    """Write users' events, fifty to an append and a hundred to a stream."""
    written = 0
    while written < events:
        count = min(50, events - written)
        numbers = range(written, written + count)
        store.append(
            f"order-{written // 100}",
            [
                NewEvent(
                    id=UUID(int=number + 1),
                    type=TYPES[number % len(TYPES)],
                    data=b'{"number": %d, "note": "%s"}' % (number, b"x" * (240 + number % 80)),
                    metadata=b'{"$correlationId": "c-%d", "user": "u-%d"}' % (number // 10, number % 97),
                )
                for number in numbers
            ],
        )
        written += count


def log_digests(store: EmbeddedStore) -> tuple[tuple[int, str], tuple[int, str]]:
    """Return count and digest of users' events and their metadata, and of the whole log, read the plain way."""
    options = streams_pb2.ReadReq.Options
    request = streams_pb2.ReadReq(
        options=options(
            all=options.AllOptions(start=shared_pb2.Empty()),
            count=2**62,
            no_filter=shared_pb2.Empty(),
            uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
        )
    )
    own, whole = _Digest(), _Digest()
    with grpc.insecure_channel(store.address) as channel:
        for answer in streams_pb2_grpc.StreamsStub(channel).Read(request):
            if not answer.HasField("event"):
                continue
            event = answer.event.event
            stream = event.stream_identifier.stream_name.decode()
            row = (
                event.commit_position,
                event.prepare_position,
                stream,
                event.stream_revision,
                event.id.string,
                event.metadata["type"],
                int(event.metadata["created"]),
                event.metadata["content-type"] == "application/json",
                event.data,
                event.custom_metadata,
            )
            whole.add(row)
            if not is_server_stream(stream):
                own.add(row)
    return own.told, whole.told


def lake_digest(lake: Path) -> str:
    """Return the digest of what a lake gives back."""
    found = _Digest()
    columns = ("position", "prepare_position", "stream", "revision", "event_id", "type", "recorded_ticks", "is_json")
    payloads = ("data", "data_bytes", "metadata", "metadata_bytes")
    frame = open_lake(lake).timeline.with_system().events().select(*columns, *payloads)
    for batch in frame.collect_batches(maintain_order=True):
        for *told, data, data_bytes, metadata, metadata_bytes in batch.iter_rows():
            found.add((*told, given_back(data, data_bytes), given_back(metadata, metadata_bytes)))
    return found.told[1]


class _Digest:
    def __init__(self) -> None:
        self._hash, self._count = hashlib.sha256(), 0

    def add(self, row: Iterable[Any]) -> None:
        self._hash.update(repr(tuple(row)).encode())
        self._count += 1

    @property
    def told(self) -> tuple[int, str]:
        return self._count, self._hash.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
