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
from tests.proxy import Proxy
from tests.stores import Store
from workbench.errors import LakeNotFound
from workbench.export import export_log
from workbench.kurrent import connect

# Small steps, so that there are many moments between them.
EXPORT = """
import sys
from workbench.export import copy, export_log
from workbench.kurrent import connect, reader
reader.CHUNK_EVENTS, copy.COMMIT_EVENTS = 50, 100
with connect(sys.argv[1]) as source:
    export_log(source, sys.argv[2])
"""


@pytest.mark.slow
def test_an_export_that_is_killed_again_and_again_while_the_log_grows_comes_out_as_one_exact_copy(store: Store, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    rng = random.Random(7)
    fill(store, 4000)
    grown = threading.Event()

    def grow() -> None:
        while not grown.wait(0.1):
            fill(store, 20, begin=rng.randrange(10_000))

    growing = threading.Thread(target=grow)
    growing.start()
    copied = 0
    lengths = []
    host, _, port = store.address.rpartition(":")
    try:
        for _ in range(8):
            with Proxy(host, int(port)) as link:
                # No further than here, so that it cannot be done before it is killed.
                link.cut_after(rng.randrange(60_000, 220_000), by="stall")
                child = subprocess.Popen([sys.executable, "-c", EXPORT, f"esdb://{link.address}?tls=false", str(lake)])
                while not link.cuts and child.poll() is None:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 1.5))
                child.send_signal(signal.SIGKILL)
                assert child.wait() == -signal.SIGKILL
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
    assert len(set(lengths)) > 3, f"the kills hit too few different moments: {lengths}"
    with connect(store.uri) as source:
        export_log(source, lake)
    assert lake_rows(lake) == log_of(store)
