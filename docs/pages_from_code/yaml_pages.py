"""YAML files: pipelines from the values that they declare, scenarios from the methods of a timeline."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from numpydoc.docscrape import ClassDoc, FunctionDoc

import workbench
from workbench.events import Selection
from workbench.jobs import cron, pipeline, pipeline_reader
from workbench.scenarios import scenario
from workbench.timeline import EditAddress
from workbench.timeline.timeline import words_of

_DECLARED = {
    "name": (pipeline.Pipeline, "name"),
    "schedule": (pipeline.Job, "times"),
    "zone": (cron.CronTimes, "zone"),
    "export": (pipeline.Export, "selection"),
}
"""The words of a pipeline whose value has another name in Python; all others are declared under their own."""
_BLOCKS = {
    "limits": pipeline.Limits,
    "retry": pipeline.Retry,
    "retention": pipeline.Retention,
    "metrics": pipeline.Metrics,
    "export": Selection,
}
"""The words that have words of their own."""


def pages() -> Mapping[str, str]:
    """Return the pages by file name."""
    index = ["YAML files", "==========", "", ".. toctree::", "   :maxdepth: 2", "", "   pipelines", "   scenarios", ""]
    return {"index.rst": "\n".join(index), "pipelines.rst": _pipelines(), "scenarios.rst": _scenarios()}


def pipeline_words() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each part of a pipeline with the words that its reader knows there."""
    yield "At the top", pipeline_reader._TOP
    yield "An export", pipeline_reader._EXPORT
    yield "A report", pipeline_reader._REPORT


def described(word: str) -> list[str]:
    """Return what a word of a pipeline means, from the docstring of the class that holds its value."""
    home, attribute = _DECLARED.get(word) or next((one, word) for one in _homes() if word in _attributes(one))
    return _attributes(home)[attribute]


def _homes() -> tuple[type, ...]:
    return pipeline.Job, pipeline.Export, pipeline.Report, pipeline.Pipeline


def _attributes(declared: type) -> dict[str, list[str]]:
    documentation = ClassDoc(declared)
    found = [*documentation["Attributes"], *documentation["Parameters"]]
    return {name: list(one.desc) for one in found for name in one.name.split(", ") if one.desc}


def _pipelines() -> str:
    parts = [_heading("Pipelines", "="), inspect.getdoc(pipeline_reader) or "", ""]
    for title, words in pipeline_words():
        parts += [_heading(title, "-"), *_terms((word, described(word)) for word in words)]
    for word, declared in _BLOCKS.items():
        told = _attributes(declared)
        parts += [_heading(f"``{word}``", "-"), *_terms((_with_default(one), told[one.name]) for one in dataclasses.fields(declared))]
    return "\n".join(parts)


def _with_default(field: "dataclasses.Field[object]") -> str:
    value = field.default
    if value in (None, ()) or value is dataclasses.MISSING:
        return field.name
    if isinstance(value, timedelta):
        return f"{field.name} = {_span(value)}"
    return f"{field.name} = {value}".lower()


def _span(value: timedelta) -> str:
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if value.total_seconds() % seconds == 0:
            return f"{value.total_seconds() / seconds:.0f}{unit}"
    return f"{value.total_seconds():g}s"


def _scenarios() -> str:
    shipped = sorted(scenario.shipped_scenarios().values())
    parts = [_heading("Scenarios", "="), inspect.getdoc(scenario) or "", ""]
    parts += [_heading("Edits", "-"), "Each edit is a method of :class:`workbench.Timeline`, with the method's arguments as its words.", ""]
    address = _attributes(EditAddress)
    for edit in scenario.EDITS:
        documentation = FunctionDoc(getattr(workbench.Timeline, edit))
        told = {name: list(one.desc) for one in documentation["Parameters"] for name in one.name.split(", ")}
        told = {**address, **told} if edit == scenario.EDITS[0] else told
        parts += [_heading(f"``{edit}``", "^"), *documentation["Summary"], ""]
        words = words_of(edit)
        parts += _terms((f"{word}, required" if words[word] else word, told[word]) for word in words if word in told)
        others = [f"``{word}``" for word in words if word not in told]
        parts += [f"{', '.join(others)}: as for ``drop``.", ""] if others else []
    parts += [_heading("Scenarios that are shipped", "-")]
    for file in shipped:
        parts += [f"``{file.stem}``::", "", *(f"   {line}" for line in file.read_text(encoding="utf-8").splitlines()), ""]
    return "\n".join(parts)


def _terms(words: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    for word, told in words:
        name, equals, default = word.partition(" = ")
        name, comma, needed = name.partition(", ")
        yield f"``{name}``" + (f" (default ``{default}``)" if equals else "") + (f" ({needed})" if comma else "")
        yield from (f"   {line}" for line in told)
        yield ""


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n"
