"""KurrentDB's client for Node works with the embedded store, and is told what the store lacks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.embedded import EmbeddedStore

FOLDER = Path(__file__).parent / "node"
LACKS = "UnknownError: 12 UNIMPLEMENTED: Method is unimplemented."


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.skipif(
    not (FOLDER / "node_modules").is_dir(), reason="KurrentDB's client for Node is not installed: run npm install in tests/embedded/node"
)
def test_the_client_for_node_reads_and_writes_and_is_told_what_is_not_there() -> None:
    with EmbeddedStore() as store:
        uri = store.uri.replace("esdb://", "kurrentdb://")
        done = subprocess.run(["node", FOLDER / "calls.mjs", uri], capture_output=True, text=True, timeout=60, check=True)
    outcomes = dict(json.loads(line) for line in done.stdout.splitlines())
    assert outcomes.pop("append at a wrong revision").startswith("WrongExpectedVersionError")
    assert outcomes.pop("read no stream").startswith("StreamNotFoundError")
    assert outcomes == {
        "append": 2,
        "read a stream": [0, 1, 2],
        "read $all": [0, 1, 2],
        "subscribe": [0, 1, 2],
        "delete": "done",
        "list persistent subscriptions": [],
        "persistent subscription": LACKS,
        "new persistent subscription": LACKS,
        "replay parked": LACKS,
        "restart subsystem": LACKS,
        "projections": LACKS,
    }
