"""Logs that real programs wrote into an EventStoreDB 23.10.8, each as it lay in ``$all``.

``with-projections`` is a whole log with the server's own events and the links of its four system projections; in it a client wrote
five links into ``links-1``. ``nest`` is what a Nest library writes, ``$svc-catch-all`` included.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.stores import NewEvent, Store

_TESTS = Path(__file__).parent
_FILES = {"with-projections": _TESTS / "embedded" / "projections.jsonl.gz", "nest": _TESTS / "export" / "nest.jsonl.gz"}


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the events of a log: stream, revision, type, id, content_type, data and metadata."""
    with gzip.open(_FILES[name], "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def replay(store: Store, events: list[dict[str, Any]]) -> None:
    """Write events into a store, whatever streams they are in; tombstones are events like others."""
    for event in events:
        new = NewEvent(
            id=UUID(event["id"]),
            type=event["type"],
            data=event["data"].encode(),
            metadata=event["metadata"].encode(),
            is_json=event["content_type"] == "application/json",
        )
        store.append(event["stream"], [new])
