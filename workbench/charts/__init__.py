"""Draws results as Plotly figures that state their question, cutoff and source.

A result of `workbench.analysis`, `workbench.scenarios` or `workbench.performance` comes in; a figure goes out.
Each figure carries its numbers as a table, which a report prints beside it.
Charts suit print, light and dark backgrounds, and colour-blind readers.
Names from the data are escaped, because Plotly interprets markup in every text.
Begin reading with `figure`, then any of the charts.
"""

from workbench.charts.activity_chart import active_users, hours, retention
from workbench.charts.distribution_chart import distribution
from workbench.charts.drift_chart import drift
from workbench.charts.figure import CAPTION, PALETTES, PLOTLY_CONFIG, Chart, template
from workbench.charts.lifespans_chart import lifespans
from workbench.charts.performance_chart import performance
from workbench.charts.schemas_chart import schemas
from workbench.charts.series_chart import series
from workbench.charts.usage_chart import rates, stream_lengths
from workbench.charts.whatif_chart import whatif
from workbench.charts.workflows_chart import process_map, trace, workflows

__all__ = [
    "CAPTION",
    "Chart",
    "PALETTES",
    "PLOTLY_CONFIG",
    "active_users",
    "distribution",
    "drift",
    "hours",
    "lifespans",
    "performance",
    "process_map",
    "rates",
    "retention",
    "schemas",
    "series",
    "stream_lengths",
    "template",
    "trace",
    "whatif",
    "workflows",
]
