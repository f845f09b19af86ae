"""The server-side filter of a read of ``$all``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from workbench.events import Selection
from workbench.protocol import streams_pb2
from workbench.server_streams import NOT_EXPRESSION

WINDOW = 10_000
"""How many events the server examines per answer: far faster than the default of 32. The server never answers to 0."""

_LONGEST = 8_192
"""Longer expressions are not sent, to keep the request small; the client filters the answer anyway."""

_END = r"(?![\s\S])"
"""The end of a text for .NET and for Python; in .NET ``$`` also fits before a last newline."""


@dataclass(frozen=True, slots=True)
class ReadFilter:
    """A regular expression that stream names must match.

    It may let through more events than were selected, but never fewer; the reader selects again. It cannot filter by type, because a read
    has only one expression.

    Attributes
    ----------
    streams
        The expression, searched for in a name, in the syntax that .NET and Python share.
    """

    streams: str

    @classmethod
    def of(cls, selection: Selection) -> Self | None:
        """Return the filter for a selection; None if the server could leave out nothing.

        The metadata of a stream, in ``$$stream``, passes with the stream.
        """
        parts = [] if selection.system else [NOT_EXPRESSION]
        if selection.streams:
            parts.append(_lookahead(_pattern(name) for name in selection.streams))
        if selection.categories:
            parts.append(_lookahead(f"{re.escape(name)}(?:-[\\s\\S]*)?" for name in selection.categories))
        kept = [part for part in parts if len(part) <= _LONGEST]
        return cls(f"^{''.join(kept)}") if kept else None

    def keeps(self, stream: str) -> bool:
        """Whether the server lets a stream through."""
        return re.search(self.streams, stream) is not None

    def write_into(self, options: streams_pb2.ReadReq.Options) -> None:
        """Put the filter into the options of a request for events of ``$all``."""
        filters = streams_pb2.ReadReq.Options.FilterOptions
        expression = filters.Expression(regex=self.streams)
        options.filter.CopyFrom(filters(stream_identifier=expression, max=WINDOW, checkpointIntervalMultiplier=1))


def _pattern(pattern: str) -> str:
    """Translate a pattern, in which ``*`` matches any run of characters, to a regular expression."""
    return r"[\s\S]*".join(re.escape(part) for part in pattern.split("*"))


def _lookahead(names: Iterable[str]) -> str:
    return rf"(?=(?:\$\$)?(?:{'|'.join(names)}){_END})"
