"""Ask questions of the history that your systems keep in KurrentDB.

>>> import workbench as wb
>>> lake = wb.open("data/demo")
>>> lake.timeline.upto("2026-03-01T09:00:00Z").sql("select count(*) from events").fetchall()
[(20348,)]

Nothing is loaded before it is used: DuckDB, Polars, gRPC and Plotly come in with the first name that needs them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.platforms import ensure_supported

# gRPC's library writes lines of its own to stderr, `Got goaway` among them, which cron mails. It reads this when it is loaded, which is
# never before this line where the workbench loads it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from workbench import charts
    from workbench.analysis import Activity, Drift, StoreReport, activity, distribution, drift, lifespans, store_usage
    from workbench.analysis.breaks import breaks
    from workbench.analysis.enrich import enrich
    from workbench.analysis.ocel import export_ocel
    from workbench.analysis.schemas import schemas
    from workbench.analysis.series import series
    from workbench.analysis.traces import Trace, trace
    from workbench.analysis.workflows import Workflow, Workflows, workflows
    from workbench.embedded import EmbeddedStore
    from workbench.errors import WorkbenchError
    from workbench.events import Checkpoint, Cutoff, Selection
    from workbench.export import ExportSummary, export_log
    from workbench.fold.event_by_event.function_fold import Fold
    from workbench.fold.loading import load_projection
    from workbench.jobs import Ledger, Scheduler, load_pipeline
    from workbench.jupyter.time_travel import travel
    from workbench.kurrent import connect
    from workbench.lake import Lake, LakeInfo
    from workbench.lake import open_lake as open
    from workbench.materialised.histories import list_materialised, materialise
    from workbench.payloads.infer import infer
    from workbench.performance import bench, measurements
    from workbench.projection import Digits, Json, Projection, event, event_path, on, upcast
    from workbench.publish import publish
    from workbench.replay.diff import diff
    from workbench.replay.first import first
    from workbench.replay.history import history
    from workbench.replay.history_export import write_history
    from workbench.replay.lineage import lineage
    from workbench.replay.rebuild import Rebuilt, rebuild
    from workbench.replay.state import state
    from workbench.replay.steps import steps
    from workbench.reports import read_runs, run_report, verify_run
    from workbench.scenarios import Scenario, whatif
    from workbench.tables import facts, table
    from workbench.timeline import Timeline

__version__ = "0.1.0"

_HOMES = {
    "Activity": "workbench.analysis",
    "Checkpoint": "workbench.events",
    "Cutoff": "workbench.events",
    "Digits": "workbench.projection",
    "Drift": "workbench.analysis",
    "EmbeddedStore": "workbench.embedded",
    "ExportSummary": "workbench.export",
    "Fold": "workbench.fold.event_by_event.function_fold",
    "Json": "workbench.projection",
    "Lake": "workbench.lake",
    "LakeInfo": "workbench.lake",
    "Ledger": "workbench.jobs",
    "Projection": "workbench.projection",
    "Rebuilt": "workbench.replay.rebuild",
    "Scenario": "workbench.scenarios",
    "Scheduler": "workbench.jobs",
    "Selection": "workbench.events",
    "StoreReport": "workbench.analysis",
    "Timeline": "workbench.timeline",
    "Trace": "workbench.analysis.traces",
    "WorkbenchError": "workbench.errors",
    "Workflow": "workbench.analysis.workflows",
    "Workflows": "workbench.analysis.workflows",
    "activity": "workbench.analysis",
    "bench": "workbench.performance",
    "breaks": "workbench.analysis.breaks",
    "charts": "workbench.charts:",
    "connect": "workbench.kurrent",
    "diff": "workbench.replay.diff",
    "distribution": "workbench.analysis",
    "drift": "workbench.analysis",
    "enrich": "workbench.analysis.enrich",
    "event": "workbench.projection",
    "event_path": "workbench.projection",
    "export_log": "workbench.export",
    "export_ocel": "workbench.analysis.ocel",
    "facts": "workbench.tables",
    "first": "workbench.replay.first",
    "history": "workbench.replay.history",
    "infer": "workbench.payloads.infer",
    "lifespans": "workbench.analysis",
    "lineage": "workbench.replay.lineage",
    "list_materialised": "workbench.materialised.histories",
    "load_pipeline": "workbench.jobs",
    "load_projection": "workbench.fold.loading",
    "materialise": "workbench.materialised.histories",
    "measurements": "workbench.performance",
    "on": "workbench.projection",
    "open": "workbench.lake:open_lake",
    "publish": "workbench.publish",
    "read_runs": "workbench.reports",
    "rebuild": "workbench.replay.rebuild",
    "run_report": "workbench.reports",
    "schemas": "workbench.analysis.schemas",
    "series": "workbench.analysis.series",
    "state": "workbench.replay.state",
    "steps": "workbench.replay.steps",
    "store_usage": "workbench.analysis",
    "table": "workbench.tables",
    "trace": "workbench.analysis.traces",
    "travel": "workbench.jupyter.time_travel",
    "upcast": "workbench.projection",
    "verify_run": "workbench.reports",
    "whatif": "workbench.scenarios",
    "workflows": "workbench.analysis.workflows",
    "write_history": "workbench.replay.history_export",
}

__all__ = [
    "Activity",
    "Checkpoint",
    "Cutoff",
    "Digits",
    "Drift",
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
    "StoreReport",
    "Timeline",
    "Trace",
    "WorkbenchError",
    "Workflow",
    "Workflows",
    "activity",
    "bench",
    "breaks",
    "charts",
    "connect",
    "diff",
    "distribution",
    "drift",
    "enrich",
    "event",
    "event_path",
    "export_log",
    "export_ocel",
    "facts",
    "first",
    "history",
    "infer",
    "lifespans",
    "lineage",
    "list_materialised",
    "load_pipeline",
    "load_projection",
    "materialise",
    "measurements",
    "on",
    "open",
    "publish",
    "read_runs",
    "rebuild",
    "run_report",
    "schemas",
    "series",
    "state",
    "steps",
    "store_usage",
    "table",
    "trace",
    "travel",
    "upcast",
    "verify_run",
    "whatif",
    "workflows",
    "write_history",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    ensure_supported()
    home, colon, attribute = _HOMES[name].partition(":")
    module = import_module(home)
    value = globals()[name] = module if colon and not attribute else getattr(module, attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Load ``%%events`` into a notebook; IPython calls this for ``%load_ext workbench``."""
    import_module("workbench.jupyter.magics").load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take it away again."""
    import_module("workbench.jupyter.magics").unload(shell)
