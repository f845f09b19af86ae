"""A process ends, whatever it leaves open.

When Python ends, it closes the generators that are left, and with them the blocks that they are in. Daemon threads no longer run by then,
so a wait for one would never end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPENED = {
    "a store": "with EmbeddedStore():\n        yield",
    "a writer": "with EmbeddedStore() as store, connect(store.uri) as source, source.writer():\n        yield",
    "metrics": "with serve_metrics([], ledger=Ledger('ledger.sqlite')):\n        yield",
}
"""What a generator holds open; a read is among the tests of HTTP/2."""


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED.keys())
def test_a_process_ends_while_a_generator_holds_something_open(opened: str, tmp_path: Path) -> None:
    program = f"""
import sys
from workbench.embedded import EmbeddedStore
from workbench.jobs import Ledger
from workbench.kurrent import connect
from workbench.metrics.serving import serve_metrics

def left_open():
    {opened}

one = left_open()
next(one)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=100, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
