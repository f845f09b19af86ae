"""Jobs: exports and reports that pipelines declare, run at their times, once, with limits, retries and a ledger.

A pipeline is a YAML file; it declares jobs with their schedule, limits, retries and retention.
`load_pipeline` reads and checks it, and every refusal names line and column.
The scheduler asks each job's cron text what is due, claims a run in the ledger, and starts a process that does the work.
What goes out are reports and copied events in the places that the pipeline names, and the ledger's account of every attempt.
Begin with `pipeline`, which declares the values, then read `scheduler`, which runs them.
"""

from workbench.jobs.cron import CronTimes
from workbench.jobs.ledger import Attempt, Ledger, Run, Total, utc_now
from workbench.jobs.output_conflicts import overwriting
from workbench.jobs.pipeline import Export, Job, Limits, Metrics, Pipeline, Report, Retention, Retry
from workbench.jobs.pipeline_reader import check_pipeline, find_pipelines, load_pipeline
from workbench.jobs.scheduler import Done, Scheduler, Waiting

__all__ = [
    "Attempt",
    "CronTimes",
    "Done",
    "Export",
    "Job",
    "Ledger",
    "Limits",
    "Metrics",
    "Pipeline",
    "Report",
    "Retention",
    "Retry",
    "Run",
    "Scheduler",
    "Total",
    "Waiting",
    "check_pipeline",
    "find_pipelines",
    "load_pipeline",
    "overwriting",
    "utc_now",
]
