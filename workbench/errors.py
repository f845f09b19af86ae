"""The tree of errors.

Every failure that a caller can cause or meet is one of these, and says in one sentence what happened, where, and what to do::

    WorkbenchError
    ├── UsageError                 the call itself is wrong              (exit status 2 on the command line)
    │   ├── InvalidAddress         a KurrentDB address that cannot be read
    │   ├── InvalidTime            a time that is naive or cannot be read
    │   ├── InvalidProjection      a projection, handler, upcaster or fold that cannot be
    │   ├── InvalidCondition       a text that is no condition, measure or path
    │   └── QueryError             SQL that the lake cannot run
    ├── SourceError                KurrentDB, or the way to it           (exit status 1, as all that follow)
    │   ├── SourceUnavailable      no answer at that address
    │   │   └── SourceNotReady     the node is starting, or its cluster elects a leader: it passes by itself
    │   ├── TlsMismatch            one side speaks TLS, the other does not, or does not trust it
    │   ├── AccessDenied           wrong password, or no right to read
    │   ├── ReadInterrupted        a read that stopped before its end
    │   ├── WrongExpectedRevision  an append met another revision than it expected
    │   ├── StreamNotFound         no such stream
    │   ├── StreamDeleted          the stream was tombstoned
    │   ├── InvalidPosition        a position at which no record of the log begins
    │   ├── SourceBehind           the log ends before the lake's checkpoint
    │   ├── LogRewritten           the log is no longer the one that was copied
    │   └── LogUnproven            nothing proves that the log is the one that was copied
    ├── LakeError                  the copy on the analyst's side
    │   ├── LakeNotFound           there is no lake there
    │   ├── LakeMismatch           a lake of another store, or of another selection
    │   ├── LakeBusy               another export wrote to the lake meanwhile
    │   ├── LakeDamaged            files of the lake are missing or cannot be read
    │   └── StorageFull            no room left where the lake is written
    ├── OutsideHistory             a cutoff that the lake cannot answer
    │   ├── BeforeFirstEvent       nothing had been recorded yet
    │   └── BeyondExport           later than the last export: export first
    ├── ReplayError                events that do not become state
    │   └── ValueDoesNotFit        a value that is not of its field's type, or a stream that has no key
    ├── ReportError                a notebook or its report failed
    │   ├── CellFailed             a cell of the notebook raised an error
    │   ├── CellTimedOut           a cell took longer than a cell may
    │   ├── TooMuchOutput          the cells put out more than a report may hold
    │   ├── KernelDied             the process that ran the notebook is gone
    │   ├── RunTimedOut            the run as a whole took longer than it may
    │   └── RunOutOfMemory         the run held more memory than it may
    ├── ScheduleError              the ledger of scheduled runs cannot be read or written
    └── EmbeddedStoreError         the embedded store cannot start or serve

What is no failure, and should be known all the same, is a ``WorkbenchWarning``.
"""

import functools

_LONGEST_SHOWN = 200


class WorkbenchError(Exception):
    """Base of all errors that the workbench raises on purpose."""


class WorkbenchWarning(UserWarning):
    """Warned of when the workbench goes on, but otherwise than was asked for, or with settings that may fail later."""


class UsageError(WorkbenchError, ValueError):
    """Raised when a call cannot mean anything: an unknown name, a wrong combination, a value out of range."""


class InvalidAddress(UsageError):
    """Raised when the address of a KurrentDB cannot be read."""


class InvalidTime(UsageError):
    """Raised when a time has no time zone or is no time at all."""


class InvalidProjection(UsageError):
    """Raised when a projection, one of its handlers or upcasters, or a fold is declared in a way that cannot mean anything."""


class InvalidCondition(UsageError):
    """Raised when the text of a condition, a measure or a path is outside the language, or names what is not there.

    Attributes
    ----------
    offset
        Which character of the text is wrong, counted from 0.
    reason
        Why, in a sentence without its full stop.
    """

    def __init__(self, kind: str, text: str, *, offset: int, reason: str) -> None:
        before = text[:offset]
        place = f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        super().__init__(f"The {kind} {shown!r} is wrong at {place}: {reason}.")
        self.offset, self.reason = offset, reason


class QueryError(UsageError):
    """Raised when DuckDB refuses an SQL query: an unknown column, a syntax error, a wrong type."""


class SourceError(WorkbenchError):
    """Raised when KurrentDB, or the way to it, fails."""


class SourceUnavailable(SourceError):
    """Raised when nothing answers at the address, or the answer is not that of a KurrentDB."""


class SourceNotReady(SourceUnavailable):
    """Raised when the server is there but not ready: it is starting, or its cluster has no leader just now. It passes by itself."""


class TlsMismatch(SourceError):
    """Raised when client and server disagree about TLS, or one does not accept the other's certificate."""


class AccessDenied(SourceError):
    """Raised when the server refuses the user or the right to read."""


class ReadInterrupted(SourceError):
    """Raised when a read stops before its end: the connection broke, the server died, the stream ended early."""


class WrongExpectedRevision(SourceError):
    """Raised when an append expected another revision than the stream has."""


class StreamNotFound(SourceError):
    """Raised when a stream does not exist, or no longer does."""


class StreamDeleted(SourceError):
    """Raised when a stream was tombstoned."""


class InvalidPosition(SourceError):
    """Raised when the server finds no record at a position that it was asked to read from."""


class SourceBehind(SourceError):
    """Raised when the log ends before the position up to which it was already copied."""


class LogRewritten(SourceError):
    """Raised when the log contradicts what the lake holds of it."""


class LogUnproven(SourceError):
    """Raised when the event at the lake's checkpoint was scavenged, and no other proves that the log is the one that was copied."""


class LakeError(WorkbenchError):
    """Raised when a lake cannot be read or written."""


class LakeNotFound(LakeError):
    """Raised when there is no lake at a path, or what is there is none."""


class LakeMismatch(LakeError):
    """Raised when a lake holds the copy of another store, or of another selection."""


class LakeBusy(LakeError):
    """Raised when another writer committed to the lake first; nothing of this writer's batch was kept."""


class LakeDamaged(LakeError):
    """Raised when files that the lake names are missing or cannot be read."""


class StorageFull(LakeError):
    """Raised when the disk or the quota under the lake is full; the lake is as it was at its last commit."""


class OutsideHistory(WorkbenchError):
    """Raised when a cutoff lies outside of what the lake knows."""


class BeforeFirstEvent(OutsideHistory):
    """Raised when a time lies before the first event of the log."""


class BeyondExport(OutsideHistory):
    """Raised when a time lies after the last export, so that the lake may lack events up to it."""


class ReplayError(WorkbenchError):
    """Raised when events cannot become state."""


class ValueDoesNotFit(ReplayError):
    """Raised when an event holds a value that its field cannot take; the attributes say which."""

    def __init__(
        self,
        reason: str,
        *,
        stream: str,
        revision: int,
        position: int,
        type: str,  # noqa: A002  # the field's own word
        event_id: str,
        field: str,
        value: str,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stream = stream
        self.revision = revision
        self.position = position
        self.type = type
        self.event_id = event_id
        self.field = field
        self.value = value

    def __str__(self) -> str:
        return (
            f"{self.field} = {self.value} does not fit: {self.reason}; in event {self.revision} of stream {self.stream!r} "
            f"({self.type}, id {self.event_id}, position {self.position})."
        )

    def __reduce__(self) -> tuple[object, ...]:
        named = ("stream", "revision", "position", "type", "event_id", "field", "value")
        return functools.partial(ValueDoesNotFit, **{name: getattr(self, name) for name in named}), self.args


class ReportError(WorkbenchError):
    """Raised when a notebook fails, or its report cannot be made."""


class CellFailed(ReportError):
    """Raised when a cell of a notebook raises an error, or ends the notebook before its end."""


class CellTimedOut(ReportError):
    """Raised when a cell of a notebook takes longer than a cell may."""


class TooMuchOutput(ReportError):
    """Raised when the cells of a notebook put out more than a report may hold."""


class KernelDied(ReportError):
    """Raised when the process that runs a notebook's cells ends by itself: killed, out of memory, crashed."""


class RunTimedOut(ReportError):
    """Raised when a run as a whole takes longer than it may."""


class RunOutOfMemory(ReportError):
    """Raised when the processes of a run hold more memory than they may."""


class ScheduleError(WorkbenchError):
    """Raised when the ledger of scheduled runs cannot be read or written."""


class EmbeddedStoreError(WorkbenchError):
    """Raised when the embedded store cannot start: the port is taken, the data folder is in use or not its own."""
