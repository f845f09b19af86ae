"""Digests with which the workbench verifies that it reads what it wrote.

The same two functions check the events of a lake and materialised results. The name of a file holds the digest of its content, or, for a
Parquet file, of its footer, which holds the digests of the data: see `workbench.lake.files.parquet`. The records that name files have a
check value: the configuration and the transactions of the table (`workbench.lake.files.sums`), and the manifests of
`workbench.materialised.stored_file`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST_BYTES = 16
"""The number of bytes of a SHA-256 that are stored."""


class Malformed(OSError):
    """Raised when bytes differ from what was written; an ``OSError``, so that Arrow propagates it from a file that it reads."""


def digest_of(content: Any) -> bytes:
    """Return the digest of bytes, or of any object with the buffer protocol."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def check_value(values: Mapping[str, str] | Mapping[str, int]) -> bytes:
    """Return the check value of named values, independent of their order."""
    return digest_of(json.dumps(values, sort_keys=True).encode())
