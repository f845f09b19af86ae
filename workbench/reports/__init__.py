"""Notebooks run as reports: checked parameters, one isolated run, one HTML file that opens anywhere, and a record that seals it."""

from workbench.reports.notebook_files import find_notebook, shipped_notebooks
from workbench.reports.parameters import Parameter, declared_parameters
from workbench.reports.record import Run, RunRecord, read_record
from workbench.reports.runner import ReportRun, run_report
from workbench.reports.runs import read_runs, write_index
from workbench.reports.verify import Difference, Verification, verify_run

__all__ = [
    "Difference",
    "Parameter",
    "ReportRun",
    "Run",
    "RunRecord",
    "Verification",
    "declared_parameters",
    "find_notebook",
    "read_record",
    "read_runs",
    "run_report",
    "shipped_notebooks",
    "verify_run",
    "write_index",
]
