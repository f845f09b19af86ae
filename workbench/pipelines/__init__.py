"""Pipelines: exports and reports declared in YAML files, with when they run, what they need, and what is kept of them."""

from workbench.pipelines.cron import CronTimes
from workbench.pipelines.declaration import Export, Job, Limits, Metrics, Pipeline, Report, Retention, Retry
from workbench.pipelines.places import overwriting
from workbench.pipelines.reading import check_pipeline, find_pipelines, load_pipeline

__all__ = [
    "CronTimes",
    "Export",
    "Job",
    "Limits",
    "Metrics",
    "Pipeline",
    "Report",
    "Retention",
    "Retry",
    "check_pipeline",
    "find_pipelines",
    "load_pipeline",
    "overwriting",
]
