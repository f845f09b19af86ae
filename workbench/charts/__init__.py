"""A result in, a Plotly figure out: charts that state their question, cutoff and source.

Charts are made for print and for colour-blind readers, read well on light and on dark ground, and carry the numbers that they
show as a table, which a report puts beside them. Names that come from the data are escaped: Plotly reads markup in every text.
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
