"""Describes histories: which lake, up to where, which of its events, and what happened otherwise.

A caller refines a `Timeline` by methods that each return a new one; nothing is read and nothing is written here.
Selections, cutoffs and edits come in as plain values and are checked at once.
A timeline goes out to the lake, which executes it: `RecordedLog` is all that a timeline asks of a lake, and `extraction` is all that a
replay asks of it.
Begin reading with `timeline`, then `edits`.
"""

from workbench.timeline.timeline import Bound, Provenance, RecordedLog, Some, Timeline, ensure_timelines

__all__ = ["Bound", "Provenance", "RecordedLog", "Some", "Timeline", "ensure_timelines"]
