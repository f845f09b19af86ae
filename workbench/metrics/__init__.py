"""Figures for Prometheus: of jobs from the ledger, of lakes from the lakes themselves."""

from workbench.metrics.collector import Figures
from workbench.metrics.lakes import LakeFigures, WatchedLake, measure, watched_lakes
from workbench.metrics.serving import MetricsServer, serve_metrics, write_metrics

__all__ = ["Figures", "LakeFigures", "MetricsServer", "WatchedLake", "measure", "serve_metrics", "watched_lakes", "write_metrics"]
