"""The embedded store as a program that behaves as a fresh KurrentDB does, for ``WORKBENCH_TEST_SERVER=command:…``.

usage: python -m tests.stranger --port N --data DIR

It stamps events itself, and writes events of its own, at places that change from start to start, before anybody else does.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path
from uuid import uuid4

from workbench.embedded import EmbeddedStore, NewEvent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with EmbeddedStore(asked.data, port=asked.port, accept_timestamps=False) as store:
        for stream, type_ in (("$$$scavenges", "$metadata"), ("$users", "$UserAdded"), ("$$$user-admin", "$metadata")):
            store.append(stream, [NewEvent(id=uuid4(), type=type_, data=b'{"$maxAge":%d}' % 10 ** random.randint(1, 60))])
        store.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
