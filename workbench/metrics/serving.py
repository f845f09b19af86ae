"""Publishes the metrics: in a file for node_exporter's textfile collector, or at an endpoint that Prometheus scrapes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile

from workbench.errors import UsageError, WorkbenchError
from workbench.host_port import join_host_port
from workbench.jobs import Ledger, Pipeline
from workbench.metrics.collector import Figures

REFRESH_SECONDS = 15.0
"""How often an endpoint checks whether lakes have changed."""

_FIRST_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """A running endpoint."""

    host: str
    port: int
    figures: Figures

    @property
    def url(self) -> str:
        """Where the figures are."""
        return f"http://{join_host_port(self.host, self.port)}/metrics"


def write_metrics(figures: Figures, file: str | Path) -> None:
    """Measure the lakes, and write all metrics to a file, which is replaced atomically.

    Raises
    ------
    UsageError
        The name does not end in ``.prom``, so node_exporter would ignore the file.
    WorkbenchError
        The file cannot be written; the previous file stays.
    """
    target = Path(file)
    if target.suffix != ".prom":
        raise UsageError(f"{target} does not end in .prom, and node_exporter reads no other files: name it {target.with_suffix('.prom')}.")
    figures.refresh()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    try:
        write_to_textfile(str(target), registry)
    except OSError as error:
        raise WorkbenchError(f"{target} cannot be written ({error.strerror}): look whether its directory is there and has room.") from error


@contextmanager
def serve_metrics(
    pipelines: Sequence[Pipeline], *, ledger: Ledger, host: str = "127.0.0.1", port: int = 0, refresh: float = REFRESH_SECONDS
) -> Iterator[MetricsServer]:
    """Answer scrapes at ``host`` and ``port`` until the context ends; port 0 takes a free one.

    Lakes are measured in the background, so that a scrape never waits for them. The start waits some seconds for the first measurement.

    Raises
    ------
    UsageError
        The address is taken or invalid, or the path of a lake uses an environment variable that is not set.
    """
    figures = Figures(pipelines, ledger=ledger)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"Metrics cannot be given at {join_host_port(host, port)} ({error.strerror}): name another port or host."
        ) from error
    stop, measured = threading.Event(), threading.Event()

    def measuring() -> None:
        while not stop.is_set():
            figures.refresh()
            measured.set()
            stop.wait(refresh)

    beside = threading.Thread(target=measuring, name="measure", daemon=True)
    beside.start()
    try:
        measured.wait(_FIRST_SECONDS)
        yield MetricsServer(host, server.server_port, figures)
    finally:
        stop.set()
        if not sys.is_finalizing():  # at interpreter exit, daemon threads no longer run
            server.shutdown()
            server.server_close()
            thread.join()
            beside.join(REFRESH_SECONDS)
