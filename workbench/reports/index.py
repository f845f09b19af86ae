"""The page that lists all runs of a directory: one file, offline, readable on a phone and on paper.

Whoever ends a run writes it, without Plotly. So its colours stand in a style sheet of its own, and tests hold them to those of the reports.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from workbench.reports.record import EXECUTED, PAGE, RECORD, KeptRun, RunRecord

_TEMPLATES = Path(__file__).parent / "template"
_LONGEST = 400
"""How many letters of a message the page shows: errors may quote whole payloads."""
_WORDS = {
    "succeeded": "Succeeded",
    "cell failed": "Failed: error in a cell",
    "cell timed out": "Failed: a cell took too long",
    "too much output": "Failed: too much output",
    "kernel died": "Failed: the kernel died",
    "timed out": "Failed: the run took too long",
    "out of memory": "Failed: too much memory",
    "failed": "Failed",
}


def render_index(runs: Sequence[KeptRun]) -> str:
    """Return the page of some runs, in their order, under the months in which they began."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  # a report that is not kept has no use for it

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"visible": _visible, "duration": _duration, "facts": _facts, "files": _files, "percent_encoded": quote}
    style = (_TEMPLATES / "runs.css").read_text(encoding="utf-8")
    readable = [run for run in runs if run.record is not None]
    return environment.get_template("runs.html.j2").render(
        style=style,
        digest=b64encode(sha256(style.encode()).digest()).decode(),
        readable=readable,
        damaged=[run for run in runs if run.record is None],
        failed=sum(run.record is not None and run.record.outcome != "succeeded" for run in readable),
        months=[(month, list(group)) for month, group in groupby(readable, key=_month)],
        words=_WORDS,
        longest=_LONGEST,
        PAGE=PAGE,
    )


def _month(run: KeptRun) -> str:
    return "" if run.record is None else f"{run.record.started:%B %Y}"


def _files(run: KeptRun) -> list[tuple[str, str]]:
    return [("Record", RECORD), *([("Notebook", EXECUTED)] if (run.directory / EXECUTED).exists() else [])]


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    basis = record.basis
    position = "no event" if basis.position is None else f"position {basis.position}"
    until = position if basis.cutoff in (position, "everything recorded") else f"{basis.cutoff}, {position}"
    facts = [("Report", record.report), ("Source", basis.store), ("Until", until), ("Events", f"{basis.events:,}")]
    if record.asked.scenario is not None:
        facts.append(("What if", Path(record.asked.scenario).stem))
    return facts + [(name, str(value)) for name, value in record.asked.parameters.items()]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _visible(text: str) -> str:
    """Return text in which everything can be seen: also what turns the direction of writing, or the line."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
