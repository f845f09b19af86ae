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
    from workbench.pipelines import load_pipeline
    from workbench.projection import Digits, Json, Projection, event, on, upcast
    from workbench.replay.diff import diff
    from workbench.replay.function import Fold
    from workbench.replay.infer import infer
    from workbench.replay.lineage import lineage
    from workbench.replay.materialised import materialise, materialised
    from workbench.replay.questions import Rebuilt, first, history, rebuild, state
    from workbench.replay.steps import steps
    from workbench.reports import run_report
    from workbench.scenarios import Scenario, whatif
    from workbench.schedule import Ledger, Scheduler
    from workbench.tables import facts, table
    from workbench.timeline import Timeline

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "workbench.events",
    "Cutoff": "workbench.events",
    "Digits": "workbench.projection",
    "EmbeddedStore": "workbench.embedded",
    "ExportSummary": "workbench.export",
    "Fold": "workbench.replay.function",
    "Json": "workbench.projection",
    "Lake": "workbench.lake",
    "LakeInfo": "workbench.lake",
    "Ledger": "workbench.schedule",
    "Projection": "workbench.projection",
    "Rebuilt": "workbench.replay.questions",
    "Scenario": "workbench.scenarios",
    "Scheduler": "workbench.schedule",
    "Selection": "workbench.events",
    "Timeline": "workbench.timeline",
    "WorkbenchError": "workbench.errors",
    "connect": "workbench.kurrent",
    "diff": "workbench.replay.diff",
    "distribution": "workbench.analysis",
    "distribution_chart": "workbench.charts",
    "event": "workbench.projection",
    "export_log": "workbench.export",
    "facts": "workbench.tables",
    "first": "workbench.replay.questions",
    "history": "workbench.replay.questions",
    "infer": "workbench.replay.infer",
    "lineage": "workbench.replay.lineage",
    "load_pipeline": "workbench.pipelines",
    "materialise": "workbench.replay.materialised",
    "materialised": "workbench.replay.materialised",
    "on": "workbench.projection",
    "open": "workbench.lake:open_lake",
    "rebuild": "workbench.replay.questions",
    "run_report": "workbench.reports",
    "state": "workbench.replay.questions",
    "steps": "workbench.replay.steps",
    "table": "workbench.tables",
    "upcast": "workbench.projection",
    "whatif": "workbench.scenarios",
}

__all__ = [
    "Checkpoint",
    "Cutoff",
    "Digits",
    "EmbeddedStore",
    "ExportSummary",
    "Fold",
    "Json",
    "Lake",
    "LakeInfo",
    "Ledger",
    "Projection",
    "Rebuilt",
    "Scenario",
    "Scheduler",
    "Selection",
    "Timeline",
    "WorkbenchError",
    "connect",
    "diff",
    "distribution",
    "distribution_chart",
    "event",
    "export_log",
    "facts",
    "first",
    "history",
    "infer",
    "lineage",
    "load_pipeline",
    "materialise",
    "materialised",
    "on",
    "open",
    "rebuild",
    "run_report",
    "state",
    "steps",
    "table",
    "upcast",
    "whatif",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    home, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(home), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
