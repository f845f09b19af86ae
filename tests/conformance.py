"""Run the tests that talk to an event store against a server that is not ours: ``make conformance``.

The server is the one that ``WORKBENCH_TEST_SERVER`` names, see ``tests/stores.py``; without it KurrentDB's official container, if
Docker runs here. Further words go to pytest: ``make conformance ARGS="-x -k export"``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

IMAGE = "kurrentplatform/kurrentdb:latest"

NOTHING = """\
There is no server to test against. Do one of these:
  install and start Docker: then KurrentDB's official container is used (untried)
  WORKBENCH_TEST_SERVER='command:PROGRAM --port {port} --data {data}' make conformance    a program, started anew for each test
  WORKBENCH_TEST_SERVER='esdb://127.0.0.1:2113?tls=false' make conformance                a server that runs; the tests write into it
"""


def chosen(named: str | None) -> str | None:
    """Return the server to test against; None where there is none. The embedded store is none: ``make test`` runs against it."""
    if named and named != "embedded":
        return named
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], check=False, capture_output=True).returncode:
        return None
    return f"docker:{IMAGE}"


def main(words: list[str]) -> int:
    server = chosen(os.environ.get("WORKBENCH_TEST_SERVER"))
    if server is None:
        print(NOTHING, end="", file=sys.stderr)
        return 1
    os.environ["WORKBENCH_TEST_SERVER"] = server
    # A server that runs already is shared by all tests, and so they take turns.
    workers = "0" if "://" in server and not server.startswith(("command:", "docker:")) else "auto"
    return subprocess.run([sys.executable, "-m", "pytest", "-n", workers, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
