"""Notebooks run as reports: checked parameters, one isolated run, one HTML file that opens anywhere."""

from workbench.reports.notebooks import find_notebook, shipped_notebooks
from workbench.reports.parameters import Parameter, declared_parameters
from workbench.reports.runner import ReportRun, run_report

__all__ = ["Parameter", "ReportRun", "declared_parameters", "find_notebook", "run_report", "shipped_notebooks"]
