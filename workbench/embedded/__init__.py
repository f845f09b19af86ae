"""An event store in this process that speaks KurrentDB's gRPC protocol, for development and demonstration."""

from workbench.embedded.calls.accounts import Account
from workbench.embedded.faults import Faults
from workbench.embedded.membership import Member
from workbench.embedded.recording.appends import ANY, NO_STREAM, STREAM_EXISTS, AppendResult, Tombstoned, WrongRevision
from workbench.embedded.recording.clock import Clock
from workbench.embedded.recording.records import NewEvent
from workbench.embedded.store import NOTICE, EmbeddedStore

__all__ = [
    "ANY",
    "NOTICE",
    "NO_STREAM",
    "STREAM_EXISTS",
    "Account",
    "AppendResult",
    "Clock",
    "EmbeddedStore",
    "Faults",
    "Member",
    "NewEvent",
    "Tombstoned",
    "WrongRevision",
]
