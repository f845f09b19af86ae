"""What is measured, each as a process of its own that prints one line of JSON; ``python -m tests.bench`` runs them.

usage: python -m tests.bench.tasks TASK ARGUMENTS…
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def client_as_shipped(uri: str) -> dict[str, Any]:
    """The loop that a user of esdbclient would write."""
    from esdbclient import EventStoreDBClient

    client = EventStoreDBClient(uri)
    began, events = time.perf_counter(), 0
    for _ in client.read_all(filter_exclude=[]):
        events += 1
    return {"events": events, "seconds": time.perf_counter() - began}


def read_to_arrow(uri: str) -> dict[str, Any]:
    """The bulk reader: every column of every event as Arrow, nothing kept."""
    from workbench.kurrent import connect

    with connect(uri) as source:
        end = source.end()
        assert end is not None
        began, cpu, events = time.perf_counter(), time.process_time(), 0
        for batch in source.read_batches(upto=end):
            events += batch.events.num_rows
        return {"events": events, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}


def export(uri: str, lake: str, system: str = "") -> dict[str, Any]:
    """The whole export into a new lake, with the clustering measured apart; with ``system`` of the server's own streams too."""
    from workbench.events import Selection
    from workbench.export import export_log
    from workbench.kurrent import connect

    began = time.perf_counter()
    with connect(uri) as source:
        used = time.process_time()
        summary = export_log(source, lake, selection=Selection(system=bool(system)))
        used = time.process_time() - used
    return {
        "events": summary.events_kept,
        "seconds": summary.seconds,
        "cluster_seconds": summary.cluster_seconds,
        "whole_seconds": time.perf_counter() - began,
        "commits": summary.commits,
        "cpu_seconds": used,
    }


def info(lake: str) -> dict[str, Any]:
    """What ``workbench info`` does, after start-up."""
    from workbench.lake import open_lake

    began = time.perf_counter()
    found = open_lake(lake).info()
    return {"events": found.events, "seconds": time.perf_counter() - began, "files": found.files}


def sample(uri: str, events: str) -> dict[str, Any]:
    """Load the sample over gRPC."""
    from workbench.kurrent import connect
    from workbench.sample import load

    with connect(uri) as source:
        began = time.perf_counter()
        summary = load(source, events=int(events), days=90, seed=1)
        return {"events": summary.events, "seconds": time.perf_counter() - began}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {task.__name__: task for task in (client_as_shipped, read_to_arrow, export, info, sample)}


if __name__ == "__main__":
    result = TASKS[sys.argv[1]](*sys.argv[2:])
    # On Linux in kB. The work is done by threads of this one process, so this is the whole of it.
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(result))
