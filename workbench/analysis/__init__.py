"""Questions that are asked of a history: one module a question, each a function of a timeline."""

from workbench.analysis.activity import Activity, activity
from workbench.analysis.distribution import distribution, lifespans
from workbench.analysis.drift import Drift, drift
from workbench.analysis.store_usage import StoreReport, store_usage

__all__ = ["Activity", "Drift", "StoreReport", "activity", "distribution", "drift", "lifespans", "store_usage"]
