"""Conditions that select users' streams and events, for DuckDB and for Polars; see ``workbench.server_streams``."""

from __future__ import annotations

import polars as pl

from workbench.server_streams import EXPRESSION

SERVER_STREAM_SQL = f"(starts_with(stream, '$') AND regexp_matches(stream, '{EXPRESSION}'))"
"""Whether an event is in a server's own stream, or in the metadata of one."""

USER_STREAM_SQL = f"(NOT starts_with(stream, '$') OR (NOT starts_with(stream, '$$') AND NOT regexp_matches(stream, '{EXPRESSION}')))"
"""Whether an event is in a user's stream, and not in the metadata of one."""

USER_EVENT_SQL = f"(NOT starts_with(type, '$') AND {USER_STREAM_SQL})"
"""Whether a user recorded an event; links, metadata and tombstones are none."""

USER_LINK_SQL = f"(type = '$>' AND {USER_STREAM_SQL})"
"""Whether an event is a link in a user's stream."""


def server_stream() -> pl.Expr:
    """Return ``SERVER_STREAM_SQL`` for Polars."""
    return pl.col("stream").str.contains(EXPRESSION)


def user_stream() -> pl.Expr:
    """Return ``USER_STREAM_SQL`` for Polars."""
    stream = pl.col("stream").str
    return ~stream.starts_with("$") | ~(stream.starts_with("$$") | stream.contains(EXPRESSION))


def user_event() -> pl.Expr:
    """Return ``USER_EVENT_SQL`` for Polars."""
    return ~pl.col("type").str.starts_with("$") & user_stream()
