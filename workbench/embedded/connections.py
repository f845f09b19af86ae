"""Connections as a real server treats them: the number of calls on each, and the detection of lost clients."""

from __future__ import annotations

import math

from workbench.errors import UsageError

STREAMS = 100
"""How many calls one connection carries at a time; more wait at the client."""

KEEP_ALIVE = 10.0
"""After how many silent seconds KurrentDB sends a PING, and after how many more it drops a client that has not answered."""


def channel_options(keep_alive: float) -> tuple[tuple[str, int], ...]:
    """Return the options of a gRPC server that behaves so.

    Raises
    ------
    UsageError
        The seconds are not positive.
    """
    if not keep_alive > 0:
        raise UsageError(f"keep_alive={keep_alive!r} is no time: give seconds, or math.inf for a store that drops no client.")
    limits = (("grpc.max_concurrent_streams", STREAMS), ("grpc.http2.max_ping_strikes", 0))
    if math.isinf(keep_alive):
        return limits
    milliseconds = max(1, round(keep_alive * 1000))
    return (
        *limits,
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", milliseconds),
        ("grpc.http2.ping_timeout_ms", milliseconds),  # else a PING without an answer is borne for a minute
        ("grpc.http2.max_pings_without_data", 0),
    )
