"""Digests by which the workbench proves that what it reads is what it wrote.

The events of a lake and what is materialised are checked by the same two functions. The name of a file holds the digest of its content,
or of a Parquet file's footer, which in turn holds the digests of the data: see `workbench.lake.files.parquet`. Whatever names files has
a check value: the configuration and the transactions of the table, see `workbench.lake.files.sums`, and the manifests of
`workbench.materialised.stored_file`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST_BYTES = 16
"""How much of a SHA-256 is kept."""


class Malformed(OSError):
    """Raised when bytes are not what was written; an ``OSError``, so that Arrow passes it on from a file that it reads."""


def digest_of(content: Any) -> bytes:
    """Return the digest of bytes, or of anything that has the buffer protocol."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def check_value(values: Mapping[str, str] | Mapping[str, int]) -> bytes:
    """Return the check value of named values, whatever their order."""
    return digest_of(json.dumps(values, sort_keys=True).encode())
