"""Copy the log of a KurrentDB into a lake, exactly once.

A connection (:class:`Source`) and the path of a lake come in; a lake that holds every event up to the log's end goes out, with a summary.
Each batch of events is committed together with its checkpoint, so a crash leaves the last commit, and the next export goes on from there.
Before anything is written, ``same_log.py`` proves that the log is the one that was copied; ``promise.py`` says until when a lake is
complete. Where the connection breaks, ``resume.py`` waits, and the export goes on.
Nothing here knows gRPC or Parquet: :mod:`workbench.kurrent` reads, and :mod:`workbench.lake` writes.
Begin reading at :func:`export_log` in ``copy.py``.
"""

from workbench.export.copy import export_log
from workbench.export.progress import ExportSummary, Progress, Wait
from workbench.export.retrying import Stopwatch, wait_until_ready
from workbench.export.source import Source

__all__ = ["Stopwatch", "ExportSummary", "Progress", "Source", "Wait", "export_log", "wait_until_ready"]
