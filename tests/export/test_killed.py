"""A real process, killed for real: SIGKILL at random moments, while the log grows."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.oracle import fill, lake_rows, log_of
from workbench.embedded import EmbeddedStore
from workbench.errors import LakeNotFound
from workbench.export import export_log
from workbench.kurrent import connect

# Small steps, so that there are many moments between them.
EXPORT = """
import sys
from workbench.export import copy, export_log
from workbench.kurrent import connect, reader
reader.CHUNK_EVENTS, copy.COMMIT_EVENTS = 50, 100
print("ready", flush=True)
with connect(sys.argv[1]) as source:
    export_log(source, sys.argv[2])
"""


@pytest.mark.slow
def test_an_export_that_is_killed_again_and_again_while_the_log_grows_comes_out_as_one_exact_copy(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    rng = random.Random(7)
    fill(store, 2500)
    grown = threading.Event()

    def grow() -> None:
        while not grown.wait(0.1):
            fill(store, 20, begin=rng.randrange(10_000))

    growing = threading.Thread(target=grow)
    growing.start()
    copied = 0
    lengths = []
    try:
        for _ in range(8):
            store.faults.delay = 0.05
            child = subprocess.Popen(
                [sys.executable, "-c", EXPORT, store.uri, str(lake)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0.1, 0.9))
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            store.faults.clear()
            try:
                rows = lake_rows(lake)
            except LakeNotFound:
                rows = []  # killed before the first commit
            assert rows == log_of(store)[: len(rows)]
            assert len(rows) >= copied
            copied = len(rows)
            lengths.append(copied)
    finally:
        grown.set()
        growing.join()
        store.faults.clear()
    assert len(set(lengths)) > 3, f"the kills hit too few different moments: {lengths}"
    with connect(store.uri) as source:
        export_log(source, lake)
    assert lake_rows(lake) == log_of(store)
