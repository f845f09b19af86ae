"""Answers questions about the events of a timeline: how many, when, by whom, in which order, and made of what.

A timeline comes in, for some questions with a projection or with what to look for; frames and small results go out.
Each module answers one question and none writes anything; every function is exported here.
Results show themselves in a notebook, and `workbench.charts` draws them.
Begin reading with `distribution`.
"""

from workbench.analysis.activity import Activity, activity
from workbench.analysis.breaks import breaks
from workbench.analysis.distribution import distribution, lifespans
from workbench.analysis.drift import Drift, drift
from workbench.analysis.enrich import enrich
from workbench.analysis.ocel import export_ocel
from workbench.analysis.schemas import schemas
from workbench.analysis.series import series
from workbench.analysis.store_usage import StoreReport, store_usage
from workbench.analysis.traces import Trace, trace
from workbench.analysis.workflows import Workflow, Workflows, workflows

__all__ = [
    "Activity",
    "Drift",
    "StoreReport",
    "Trace",
    "Workflow",
    "Workflows",
    "activity",
    "breaks",
    "distribution",
    "drift",
    "enrich",
    "export_ocel",
    "lifespans",
    "schemas",
    "series",
    "store_usage",
    "trace",
    "workflows",
]
