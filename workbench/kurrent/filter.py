"""What the server is asked to leave out of a read of ``$all``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from workbench.events import Selection
from workbench.protocol import streams_pb2
from workbench.server_streams import NOT_EXPRESSION

WINDOW = 10_000
"""How many events the server looks at before it answers. It is far faster than the default of 32, and 0 is never answered."""

_LONGEST = 8_192
"""An expression longer than this is left out: the answer is checked here anyway, and the request stays small."""

_END = r"(?![\s\S])"
"""The end of a text for .NET and for Python; in .NET ``$`` also fits before a last newline."""


@dataclass(frozen=True, slots=True)
class ReadFilter:
    """A regular expression that the names of the streams must fit.

    It may let through more than was selected, and never less: whoever reads decides again. Types are not asked for, since a read has
    one expression only.

    Attributes
    ----------
    streams
        The expression, searched for in a name; of what .NET and Python read alike.
    """

    streams: str

    @classmethod
    def of(cls, selection: Selection) -> Self | None:
        """Return the filter for a selection; None where it cannot leave out anything at the server.

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
        """Tell whether the server lets a stream through."""
        return re.search(self.streams, stream) is not None

    def write_into(self, options: streams_pb2.ReadReq.Options) -> None:
        """Put the filter into the options of a request for events of ``$all``."""
        filters = streams_pb2.ReadReq.Options.FilterOptions
        expression = filters.Expression(regex=self.streams)
        options.filter.CopyFrom(filters(stream_identifier=expression, max=WINDOW, checkpointIntervalMultiplier=1))


def _pattern(pattern: str) -> str:
    """Return a pattern, in which ``*`` stands for any run of characters, as a regular expression."""
    return r"[\s\S]*".join(re.escape(part) for part in pattern.split("*"))


def _lookahead(names: Iterable[str]) -> str:
    return rf"(?=(?:\$\$)?(?:{'|'.join(names)}){_END})"
