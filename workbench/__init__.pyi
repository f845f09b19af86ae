"""What ``import workbench as wb`` offers. `workbench/__init__.py` loads each name from the module named here when it is first used."""

import IPython.core.interactiveshell

from . import analysis as analysis
from . import charts as charts
from . import errors as errors
from . import reports as reports
from .analysis import Workflow as Workflow
from .analysis import activity as activity
from .analysis import distribution as distribution
from .analysis import drift as drift
from .analysis import enrich as enrich
from .analysis import lifespans as lifespans
from .analysis import schemas as schemas
from .analysis import series as series
from .analysis import store_usage as store_usage
from .analysis import trace as trace
from .analysis import workflows as workflows
from .display import facts as facts
from .display.tables import table as table
from .export import export_log as export_log
from .fold.event_by_event.function_fold import Fold as Fold
from .fold.loading import load_projection as load_projection
from .jupyter.time_travel import travel as travel
from .lake import Lake as Lake
from .lake import open as open
from .materialised.histories import list_materialised as list_materialised
from .materialised.histories import materialise as materialise
from .payloads.infer import infer as infer
from .projection import Digits as Digits
from .projection import Json as Json
from .projection import Projection as Projection
from .projection import event as event
from .projection import event_path as event_path
from .projection import on as on
from .projection import upcast as upcast
from .publication import publish as publish
from .replay.diff import diff as diff
from .replay.first import first as first
from .replay.history import history as history
from .replay.history_export import write_history as write_history
from .replay.lineage import lineage as lineage
from .replay.rebuild import rebuild as rebuild
from .replay.state import state as state
from .replay.steps import steps as steps
from .scenarios import Scenario as Scenario
from .scenarios import whatif as whatif
from .timeline import Timeline as Timeline

__version__: str
__all__: list[str]

def load_ipython_extension(shell: IPython.core.interactiveshell.InteractiveShell) -> None: ...
def unload_ipython_extension(shell: IPython.core.interactiveshell.InteractiveShell) -> None: ...
