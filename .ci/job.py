"""What the built wheel is tried with: the demo, a cutoff, a what-if, an OCEL log and a report. usage: python job.py DIRECTORY"""

import subprocess
import sys
from importlib.metadata import metadata, version
from importlib.resources import files
from pathlib import Path

place = Path(sys.argv[1])
lake = str(place / "demo")


def workbench(*words: str) -> str:
    """Run a command in a process of its own, and return what it printed."""
    done = subprocess.run(["workbench", *words], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        sys.exit(f"workbench {' '.join(words)} ended with the status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


print(*(f"{name} {version(name)}" for name in ("duckdb", "polars", "pyarrow", "deltalake", "numpy", "typer")), sep=", ")
assert workbench("--version") == f"workbench {version('event-workbench')}\n"
assert metadata("event-workbench")["License-Expression"] == "Apache-2.0"
assert all((files("workbench") / "jupyter" / name).is_file() for name in ("travel.js", "travel.css")), "the widget's own files are missing"

workbench("demo", "--events", "2000", "--dir", str(place))
assert (place / "report.html").stat().st_size
workbench("info", "--verify", "--lake", lake)

count = ("sql", "select count(*) as events from events", "--lake", lake, "--csv")
whole, past = (int(workbench(*count, *at).split()[-1]) for at in ((), ("--at", "2026-02-01")))
assert 0 < past < whole, (past, whole)

assert "no deletions" in workbench("whatif", "no-deletions", "--lake", lake, "--at", "2026-03-01")
workbench("state", "--projection", "workbench.sample.projections:User", "--lake", lake, "--at", "2026-03-01")
workbench("publish", "--lake", lake, "--to", str(place / "tables"), "--projection", "workbench.sample.projections:User")
for name in ("log.sqlite", "log.json"):
    workbench("ocel", "--out", str(place / name), "--lake", lake)
    assert (place / name).stat().st_size > 100_000
workbench("report", "run", "first_tour", "--lake", lake, "--out", str(place / "tour.html"))
assert (place / "tour.html").stat().st_size > 100_000
