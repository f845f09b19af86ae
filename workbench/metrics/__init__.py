"""Publishes metrics of jobs and lakes for Prometheus.

The ledger of scheduled runs and the lakes that pipelines name come in.
Text in Prometheus's format goes out, over HTTP or as a file for the node exporter.
``collector`` reads the ledger, and ``lakes`` measures each lake.
Nothing is written to a lake or to the ledger.
Begin reading with ``collector``.
"""

from workbench.metrics.collector import Figures
from workbench.metrics.lakes import LakeFigures, WatchedLake, measure, watched_lakes
from workbench.metrics.serving import MetricsServer, serve_metrics, write_metrics

__all__ = ["Figures", "LakeFigures", "MetricsServer", "WatchedLake", "measure", "serve_metrics", "watched_lakes", "write_metrics"]
