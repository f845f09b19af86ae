"""Reports: notebooks that are run over a lake, and kept as HTML pages that open anywhere, offline.

A notebook, a lake, a cutoff and parameters come in, and are checked before anything starts.
The notebook runs in a process of its own, with limits and without the secrets of whoever started it.
An HTML page goes out; a run that is kept also has its executed notebook, a record, and a line in the index of runs.
`verify_run` runs a report again from its record and says whether the page is the same to the byte.
Begin with `runner`, then read `notebook_process`, which executes the notebook, and `page`, which makes the HTML.
"""

from workbench.reports.notebook_files import find_notebook, shipped_notebooks
from workbench.reports.parameters import Parameter, declared_parameters
from workbench.reports.record import KeptRun, RunRecord, read_record
from workbench.reports.runner import ReportRun, run_report
from workbench.reports.runs import read_runs, write_index
from workbench.reports.verify import Difference, Verification, verify_run

__all__ = [
    "Difference",
    "KeptRun",
    "Parameter",
    "ReportRun",
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
