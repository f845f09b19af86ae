"""Write N serialised ReadResp messages for fixed_server: u32 length, u64 position, bytes (little-endian).

usage: python -m tests.bench.make_frames N FILE [plain]

The log is of mixed make, so that a reader cannot be fast by being simple: about 600 bytes an event on average and 60 to 6,000
in single ones, 20,000 streams of very different lengths, eight types, nulls and nested lists, text beyond ASCII, binary payloads
(2 %), payloads with the JSON flag that are no JSON (0.1 %), empty payloads and events without metadata. The same N gives the
same file.

With ``plain`` it is a log as most are: 300 bytes of JSON an event, data and metadata together, with both ids of the trace, in as many
streams and of two types.
"""

from __future__ import annotations

import random
import struct
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from esdbclient.protos.Grpc import shared_pb2, streams_pb2

TYPES = (
    "OrderPlaced",
    "ItemAdded",
    "ItemRemoved",
    "PaymentReceived",
    "OrderShipped",
    "注文.キャンセル済み",
    "order.note-added",
    "Café.Visited",
)
NAMES = ("Ada", "Zoë", "Đặng Thị", "山田太郎", "Łukasz", "Σωκράτης", "محمد", "🦊 Fox")
BINARY = bytes(range(256)) * 2


def events(count: int, *, plain: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield the position and the serialised response of each event, in log order."""
    rng = random.Random(1)
    position = 0
    revisions: dict[str, int] = {}

    def new_uuid() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128)))

    for i in range(count):
        stream = f"order-{int(20_000 * rng.random() ** 3):08d}"
        revision = revisions[stream] = revisions.get(stream, -1) + 1
        kind = rng.random()
        content_type = "application/json"
        if plain:
            data, metadata = _plain(rng, stream, ids=[new_uuid(), new_uuid()])
        elif kind < 0.02:
            data, content_type = BINARY[: rng.randrange(513)], "application/octet-stream"
        elif kind < 0.021:
            data = b'{"broken": NaN'
        elif kind < 0.03:
            data = b""
        else:
            data = orjson.dumps(_payload(rng, stream, lines=40 if kind > 0.99 else rng.randrange(5)))
        if not plain:
            metadata = (
                b"" if kind > 0.97 else orjson.dumps({"$correlationId": new_uuid(), "$causationId": new_uuid(), "user": rng.choice(NAMES)})
            )
        event = streams_pb2.ReadResp.ReadEvent.RecordedEvent(
            id=shared_pb2.UUID(string=new_uuid()),
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=stream.encode()),
            stream_revision=revision,
            prepare_position=position,
            commit_position=position,
            metadata={
                "type": TYPES[min(revision, 1 if plain else 7)],
                "content-type": content_type,
                "created": str(17638884000000000 + i * 1000 + rng.randrange(1000)),
            },
            custom_metadata=metadata,
            data=data,
        )
        message = streams_pb2.ReadResp(event=streams_pb2.ReadResp.ReadEvent(event=event, commit_position=position)).SerializeToString()
        yield position, message
        position += len(message) + 60


def _plain(rng: random.Random, stream: str, *, ids: list[str]) -> tuple[bytes, bytes]:
    metadata = orjson.dumps({"$correlationId": ids[0], "$causationId": ids[1]})
    data = {"orderId": stream, "customer": f"customer-{rng.randrange(99999):05d}", "amount": round(rng.random() * 1000, 2), "note": ""}
    data["note"] = "n" * (300 - len(metadata) - len(orjson.dumps(data)))
    return orjson.dumps(data), metadata


def _payload(rng: random.Random, stream: str, *, lines: int) -> dict[str, Any]:
    return {
        "orderId": stream,
        "customer": f"customer-{rng.randrange(99999):05d}",
        "name": rng.choice(NAMES),
        "amount": round(rng.random() * 1000, 2),
        "currency": "EUR",
        "coupon": None,
        "express": rng.random() < 0.1,
        "lines": [
            {"sku": f"sku-{rng.randrange(9999):04d}", "qty": rng.randrange(9), "price": round(rng.random() * 99, 2), "gift": None}
            for _ in range(lines)
        ],
        "note": "n" * rng.randrange(80),
    }


def main(count: int, path: str, *, plain: bool) -> None:
    with Path(path).open("wb") as out:
        for position, message in events(count, plain=plain):
            out.write(struct.pack("<IQ", len(message), position))
            out.write(message)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], plain=sys.argv[3:] == ["plain"])
