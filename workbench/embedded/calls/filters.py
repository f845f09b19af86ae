"""Filters of reads of ``$all`` and of subscriptions to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpc import StatusCode

from workbench.embedded.calls.failures import Failure, invalid_argument
from workbench.embedded.calls.filter_expressions import UnreadableExpression, compiled
from workbench.embedded.recording.log import Log
from workbench.protocol import streams_pb2

DEFAULT_WINDOW = 32
"""How many events a filter looks at in one step when the client names no window; the server's page."""


class _Verdicts(dict[str, bool]):
    """The answers of a test, each asked for once: a log has few event types, and streams come again."""

    def __init__(self, allows: Callable[[str], bool]) -> None:
        super().__init__()
        self._allows = allows

    def __missing__(self, name: str) -> bool:
        self[name] = verdict = self._allows(name)
        return verdict


class Filter:
    """The filter of one call.

    Parameters
    ----------
    options
        As the client sent them: an event type or a stream's name, by a regular expression that is searched for (not anchored), or
        by prefixes of which one must fit.

    Raises
    ------
    Failure
        INVALID_ARGUMENT: an expression that .NET cannot read, or that cannot be translated.
    """

    def __init__(self, options: streams_pb2.ReadReq.Options.FilterOptions) -> None:
        subject = options.WhichOneof("filter") or "event_type"
        self._by_type = subject == "event_type"
        self._verdicts = _Verdicts(_test(getattr(options, subject)))
        self.window = options.max if options.HasField("max") else DEFAULT_WINDOW
        """How many events a subscription looks at in one step."""
        if not self.window:
            raise invalid_argument("The filter's window is 0: it would look at no event, and never end.")
        self.checkpoint_interval = self.window * options.checkpointIntervalMultiplier
        """After how many events that were looked at a subscription is sent a checkpoint."""

    def allowed(self, log: Log, numbers: Sequence[int]) -> list[int]:
        """Return those of some records that pass, in order."""
        verdicts = self._verdicts
        if self._by_type:
            types = log.type_of
            return [number for number in numbers if verdicts[types[number]]]
        streams = log.stream_of
        return [number for number in numbers if verdicts[streams[number].name]]


def _test(expression: streams_pb2.ReadReq.Options.FilterOptions.Expression) -> Callable[[str], bool]:
    if not expression.regex:
        prefixes = tuple(expression.prefix)
        return lambda name: name.startswith(prefixes)
    try:
        pattern = compiled(expression.regex)
    except UnreadableExpression as error:
        raise Failure(StatusCode.INVALID_ARGUMENT, f"The filter's expression {expression.regex!r} cannot be read: {error}.") from None
    return lambda name: pattern.search(name) is not None
