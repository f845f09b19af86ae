"""An event store in this process that speaks KurrentDB's gRPC protocol, for development and demonstration.

Appends and reads of any KurrentDB client come in over a loopback port; KurrentDB's own answers and errors go out.
Events live in memory or in a data folder; system projections, stream metadata, clusters and injected faults are supported as far as
the workbench and its tests need them.
``recording`` holds the events, ``calls`` answers the protocol's calls, and ``faults`` breaks things on purpose.
Only the demo, the sample system and tests use this room.
Begin reading with ``store``, then ``recording.log``.
"""

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
