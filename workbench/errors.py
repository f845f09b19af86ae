"""The tree of errors.

Every failure that a caller can cause or meet has one of these classes and says in one sentence what happened, where, and what to do::

    WorkbenchError
    ├── UsageError                 the call itself is wrong              (exit status 2 on the command line)
    │   ├── InvalidAddress         a KurrentDB address that cannot be read
    │   ├── InvalidTime            a time that is naive or cannot be read
    │   ├── InvalidProjection      an invalid projection, handler, upcaster or fold
    │   ├── InvalidCondition       an invalid condition, measure or path
    │   └── QueryError             SQL that the lake cannot run
    ├── SourceError                KurrentDB, or the way to it           (exit status 1, as all that follow)
    │   ├── SourceUnavailable      no answer at that address
    │   │   └── SourceNotReady     temporary: the node is starting, or its cluster elects a leader
    │   ├── TlsMismatch            one side speaks TLS, the other does not, or does not trust it
    │   ├── AccessDenied           wrong password, or no right to read
    │   ├── ReadInterrupted        a read that stopped before its end
    │   ├── WrongExpectedRevision  an append met another revision than it expected
    │   ├── StreamNotFound         no such stream
    │   ├── StreamDeleted          the stream was tombstoned
    │   ├── InvalidPosition        a position at which no record of the log begins
    │   ├── SourceBehind           the log ends before the lake's checkpoint
    │   ├── LogRewritten           the log is no longer the one that was copied
    │   └── LogUnproven            no event proves that the log is the one that was copied
    ├── LakeError                  the copy on the analyst's side
    │   ├── LakeNotFound           there is no lake there
    │   ├── LakeMismatch           a lake of another store, or of another selection
    │   ├── LakeBusy               another export wrote to the lake at the same time
    │   ├── LakeDamaged            files of the lake are missing or damaged
    │   └── StorageFull            no space left where the lake is written
    ├── OutsideHistory             a cutoff that the lake cannot answer
    │   ├── BeforeFirstEvent       nothing had been recorded yet
    │   └── BeyondExport           later than the last export: export first
    ├── ReplayError                events that cannot become state
    │   └── ValueDoesNotFit        a value that its field cannot hold, or a stream that has no key
    ├── ReportError                a notebook or its report failed
    │   ├── CellFailed             a cell of the notebook raised an error
    │   ├── CellTimedOut           a cell exceeded the time limit of a cell
    │   ├── TooMuchOutput          the output of the cells exceeded the limit of a report
    │   ├── KernelDied             the process that ran the notebook ended
    │   ├── RunTimedOut            the run exceeded its time limit
    │   └── RunOutOfMemory         the run exceeded its memory limit
    ├── ScheduleError              the ledger of scheduled runs cannot be read or written
    └── EmbeddedStoreError         the embedded store cannot start or serve

A ``WorkbenchWarning`` reports what is not a failure but worth knowing.
"""

import functools

_LONGEST_SHOWN = 200


class WorkbenchError(Exception):
    """Base of all errors that the workbench raises on purpose."""


class WorkbenchWarning(UserWarning):
    """Issued when the workbench continues, but differently than requested, or with settings that may fail later."""


class UsageError(WorkbenchError, ValueError):
    """Raised when a call is invalid: an unknown name, a wrong combination, a value out of range."""


class InvalidAddress(UsageError):
    """Raised when the address of a KurrentDB cannot be read."""


class InvalidTime(UsageError):
    """Raised when a time has no time zone or cannot be parsed."""


class InvalidProjection(UsageError):
    """Raised when the declaration of a projection, handler, upcaster or fold is invalid."""


class InvalidCondition(UsageError):
    """Raised when the text of a condition, a measure or a path is outside the language, or has an unknown name.

    Attributes
    ----------
    offset
        The index of the wrong character in the text, from 0.
    reason
        What is wrong, as a sentence without a full stop.
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
    """Raised when the server answers but is not ready yet: it is starting, or its cluster is electing a leader."""


class TlsMismatch(SourceError):
    """Raised when client and server disagree about TLS, or one does not accept the other's certificate."""


class AccessDenied(SourceError):
    """Raised when the server refuses the login, or the user lacks a right."""


class ReadInterrupted(SourceError):
    """Raised when a read stops before its end: the connection broke, the server died, the stream ended early."""


class WrongExpectedRevision(SourceError):
    """Raised when an append expected another revision than the stream has."""


class StreamNotFound(SourceError):
    """Raised when a stream does not exist or was deleted."""


class StreamDeleted(SourceError):
    """Raised when a stream was tombstoned."""


class InvalidPosition(SourceError):
    """Raised when no record of the log begins at the position of a read."""


class SourceBehind(SourceError):
    """Raised when the log ends before the position up to which it was copied."""


class LogRewritten(SourceError):
    """Raised when the log contradicts the lake."""


class LogUnproven(SourceError):
    """Raised when the event at the lake's checkpoint was scavenged and no other event proves that the log is the one that was copied."""


class LakeError(WorkbenchError):
    """Raised when a lake cannot be read or written."""


class LakeNotFound(LakeError):
    """Raised when a path does not exist or does not hold a lake."""


class LakeMismatch(LakeError):
    """Raised when a lake is a copy of another store, or of another selection."""


class LakeBusy(LakeError):
    """Raised when another writer committed to the lake first; this writer's batch was discarded."""


class LakeDamaged(LakeError):
    """Raised when files of a lake are missing or damaged."""


class StorageFull(LakeError):
    """Raised when the disk or the quota under the lake is full; the lake is as it was at its last commit."""


class OutsideHistory(WorkbenchError):
    """Raised when a cutoff is outside the history in the lake."""


class BeforeFirstEvent(OutsideHistory):
    """Raised when a time is before the first event of the log."""


class BeyondExport(OutsideHistory):
    """Raised when a time is after the last export, so that the lake may lack events up to it."""


class ReplayError(WorkbenchError):
    """Raised when events cannot become state."""


class ValueDoesNotFit(ReplayError):
    """Raised when an event holds a value that its field cannot hold; the attributes identify both."""

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
    """Raised when a cell of a notebook raises an error, or exits the notebook early."""


class CellTimedOut(ReportError):
    """Raised when a cell of a notebook exceeds the time limit of a cell."""


class TooMuchOutput(ReportError):
    """Raised when the output of a notebook's cells exceeds the limit of a report."""


class KernelDied(ReportError):
    """Raised when the process that runs a notebook's cells ends unexpectedly: killed, out of memory, crashed."""


class RunTimedOut(ReportError):
    """Raised when a run exceeds its time limit."""


class RunOutOfMemory(ReportError):
    """Raised when the processes of a run exceed their memory limit."""


class ScheduleError(WorkbenchError):
    """Raised when the ledger of scheduled runs cannot be read or written."""


class EmbeddedStoreError(WorkbenchError):
    """Raised when the embedded store cannot start: the port is taken, or the data folder is in use or belongs to something else."""
