"""The page that lists all runs of a directory: one file, offline, readable on a phone and on paper.

It is written by whoever ends a run, who has no use for Plotly: so its colours stand in its own style sheet, and tests hold them to those
of the reports.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from workbench.reports.record import EXECUTED, PAGE, RECORD, Run, RunRecord

_STYLE = Path(__file__).parent / "template" / "runs.css"
_LONGEST = 400
"""How many letters of a message are shown: errors may quote whole payloads."""
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


def render_index(runs: Sequence[Run]) -> str:
    """Return the page of some runs, in the order in which they are given, under the months in which they were."""
    style = _STYLE.read_text(encoding="utf-8")
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    readable = [(run, run.record) for run in runs if run.record is not None]
    parts = []
    for month, group in groupby(readable, key=lambda one: f"{one[1].started:%B %Y}"):
        parts += [f"<h2>{month}</h2>", "<ol>", *(_item(run, record) for run, record in group), "</ol>"]
    if lost := [run.directory.name for run in runs if run.record is None]:
        parts += ["<h2>Cannot be read</h2>", "<ul>", *(f"<li>{_visible(name)}: its record is damaged.</li>" for name in lost), "</ul>"]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Reports</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Reports</h1>
<p class="summary">{_summary([record for _, record in readable])}</p>
{chr(10).join(parts)}
</main>
</body>
</html>
"""


def _summary(records: Sequence[RunRecord]) -> str:
    if not records:
        return "No run yet."
    failed = sum(record.outcome != "succeeded" for record in records)
    runs = f"{len(records):,} run{'s' if len(records) > 1 else ''}, the newest first"
    return f"{runs}; {failed:,} failed." if failed else f"{runs}; none failed."


def _item(run: Run, record: RunRecord) -> str:
    here = f"./{quote(run.directory.name)}"
    done = record.outcome == "succeeded"
    title = _visible(record.title)
    heading = f'<a href="{here}/{PAGE}">{title}</a>' if done else title
    mark = "✓" if done else "✕"
    said = record.message if len(record.message) <= _LONGEST else f"{record.message[:_LONGEST]}… (the record has all of it)"
    message = "" if done else f'<p class="message">{_visible(said)}</p>'
    links = [("Record", RECORD), *([("Notebook", EXECUTED)] if (run.directory / EXECUTED).exists() else [])]
    listed = ", ".join(f'<a href="{here}/{file}" aria-label="{name} of {_visible(run.directory.name)}">{name}</a>' for name, file in links)
    facts = "".join(f"<div><dt>{_visible(name)}</dt><dd>{_visible(value)}</dd></div>" for name, value in _facts(record))
    return (
        f'<li class="{"done" if done else "failed"}"><h3>{heading}</h3>'
        f'<p class="outcome"><span aria-hidden="true">{mark}</span> {_WORDS[record.outcome]}</p>{message}'
        f'<dl><div><dt>Run</dt><dd><time datetime="{record.started:%Y-%m-%dT%H:%M:%SZ}">{record.started:%Y-%m-%d %H:%M} UTC</time>, '
        f"{_duration(record.seconds)}</dd></div>{facts}<div><dt>Files</dt><dd>{listed}</dd></div></dl></li>"
    )


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
    """Return text of the page in which everything can be seen: also what turns the direction of writing, or the line."""
    return escape("".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text))
