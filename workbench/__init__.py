"""Ask questions of the history that your systems keep in KurrentDB.

>>> import workbench as wb
>>> lake = wb.open("data/demo")                                          # doctest: +SKIP
>>> lake.timeline.upto("2026-03-01T09:00:00Z").sql("select count(*) from events")   # doctest: +SKIP

Nothing is loaded before it is used: DuckDB, Polars, gRPC and Plotly come in with the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.analysis import distribution
    from workbench.charts import distribution_chart
    from workbench.embedded import EmbeddedStore
    from workbench.errors import WorkbenchError
    from workbench.events import Checkpoint, Cutoff, Selection
    from workbench.export import ExportSummary, export_log
    from workbench.kurrent import connect
    from workbench.lake import Lake, LakeInfo
    from workbench.lake import open_lake as open
    from workbench.reports import run_report
    from workbench.tables import facts, table
    from workbench.timeline import Timeline

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "workbench.events",
    "Cutoff": "workbench.events",
    "EmbeddedStore": "workbench.embedded",
    "ExportSummary": "workbench.export",
    "Lake": "workbench.lake",
    "LakeInfo": "workbench.lake",
    "Selection": "workbench.events",
    "Timeline": "workbench.timeline",
    "WorkbenchError": "workbench.errors",
    "connect": "workbench.kurrent",
    "distribution": "workbench.analysis",
    "distribution_chart": "workbench.charts",
    "export_log": "workbench.export",
    "facts": "workbench.tables",
    "open": "workbench.lake:open_lake",
    "run_report": "workbench.reports",
    "table": "workbench.tables",
}

__all__ = [
    "Checkpoint",
    "Cutoff",
    "EmbeddedStore",
    "ExportSummary",
    "Lake",
    "LakeInfo",
    "Selection",
    "Timeline",
    "WorkbenchError",
    "connect",
    "distribution",
    "distribution_chart",
    "export_log",
    "facts",
    "open",
    "run_report",
    "table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    home, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(home), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
