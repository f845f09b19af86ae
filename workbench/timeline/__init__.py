"""Describes histories: the lake, the cutoff, the selected events, and the edits of a what-if.

A caller refines a `Timeline` with methods that each return a new one; this room reads and writes nothing.
Selections, cutoffs and edits come in as plain values and are checked at once.
A timeline goes out to the lake, which executes it.
The protocol `RecordedLog` declares what a timeline needs of a lake, and `extraction` what a replay needs.
Begin reading with `timeline`, then `edits`.
"""

from workbench.timeline.bounds import Bound, Some
from workbench.timeline.edits import EditAddress
from workbench.timeline.recorded_log import Provenance, RecordedLog
from workbench.timeline.timeline import Timeline, ensure_timelines

__all__ = ["Bound", "EditAddress", "Provenance", "RecordedLog", "Some", "Timeline", "ensure_timelines"]
