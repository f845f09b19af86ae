"""Reads scenarios: a question, edits of the history, and the projections to compare.

As a file::

    name: no bans
    question: How many members would there be had nobody been banned since February?
    edits:
      - drop: {type: community.member_banned, after: 2026-02-01, cascade: causation}
      - patch: {stream: user-42, type: user.updated, set: {plan: pro}, unset: [trial]}
    projections:
      - projection: members.py:Member
        measures:
          members: count(*)
          banned: count(*) filter (where is_banned = true)

An edit is a method of a timeline, with the same words; ``where`` and measures are texts, see :mod:`workbench.conditions`. Projections are
named as on the command line; a file is relative to the scenario's file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml

import workbench
from workbench.errors import InvalidCondition, UsageError
from workbench.fold.resolve import Source
from workbench.projection.event_conditions import where
from workbench.scenarios.measures import Measure
from workbench.strict_yaml import Document
from workbench.timeline import RecordedLog, Timeline
from workbench.timeline.edits import Edit
from workbench.timeline.timeline import words_of

EDITS = ("drop", "truncate", "patch", "replace", "insert", "retime")
_TOP = ("name", "question", "edits", "projections")
_WATCHED = ("projection", "measures")


@dataclass(frozen=True, slots=True)
class Watched:
    """A projection whose states a scenario is about, and what is measured of them.

    Attributes
    ----------
    projection
        As in every question; a text may also name a file or module: ``members.py:Member``.
    name
        What it is called in results.
    measures
        Names, and what they stand for.
    """

    projection: Source
    name: str
    measures: tuple[tuple[str, Measure], ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A what-if with a name and a question. `load` reads one from YAML; `whatif` applies it.

    Parameters
    ----------
    name
        What it is called.
    edits
        What happens otherwise, in the order of application, as in ``Timeline.edits``.
    question
        The question that it asks, for titles and reports.
    projections
        The projections whose states it is about, and what is measured of them.

    Examples
    --------
    >>> edits = wb.open("data/demo").timeline.drop(type="user.deleted").edits
    >>> print(wb.Scenario("no-deletions", edits=edits, question="What if nobody had left?"))
    no-deletions: What if nobody had left?
    """

    name: str
    edits: tuple[Edit, ...]
    question: str = ""
    projections: tuple[Watched, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a scenario from a YAML file.

        Opens no lake, and runs no code that the file names. Plain words are text, dates and times too; numbers are those of JSON;
        ``true``, ``false`` and ``null`` are values.

        Parameters
        ----------
        path
            The path of the file, or the name of a scenario that the workbench includes, such as ``"no-deletions"``.

        Returns
        -------
        Scenario
            The scenario, checked.

        Raises
        ------
        UsageError
            There is no such file, or it is not a scenario: the message gives line and column, and the words that are known there.

        Examples
        --------
        >>> scenario = wb.Scenario.load("no-deletions")
        >>> scenario.name, len(scenario.edits)
        ('no deletions', 1)
        """
        document = Document.open(find_scenario(path))
        top = document.words(document.root, "a scenario", _TOP, needs=("name", "edits"))
        name = document.text(top["name"], "name")
        question = document.text(top["question"], "question") if "question" in top else ""
        edits = tuple(_edit(document, item) for item in document.items(top["edits"], "edits", "edits: - drop: {...}"))
        watched: tuple[Watched, ...] = ()
        if "projections" in top:
            watched = tuple(_watched(document, item) for item in document.items(top["projections"], "projections", "projections: - user"))
        names = [one.name for one in watched]
        for index, one in enumerate(names):
            if one in names[:index]:
                raise document.wrong(top["projections"], f"projection {one!r} is named twice: put all its measures in one entry")
        return cls(name, edits, question, watched)

    def on(self, timeline: Timeline) -> Timeline:
        """Return a timeline with the scenario's edits after its own.

        Parameters
        ----------
        timeline
            The history to edit.

        Returns
        -------
        Timeline
            The what-if.

        Examples
        --------
        >>> now = wb.open("data/demo").timeline
        >>> fork = wb.Scenario.load("no-deletions").on(now)
        >>> now.count() - fork.count()
        351
        """
        return replace(timeline, edits=(*timeline.edits, *self.edits))

    def __str__(self) -> str:
        return f"{self.name}: {self.question}" if self.question else self.name


def shipped_scenarios() -> dict[str, Path]:
    """Return the scenarios of the sample system by name, from beside the package in a checkout or inside the installed package."""
    package = Path(workbench.__file__).parent
    outer = package.parent if (package.parent / "pyproject.toml").is_file() else package
    return {path.stem: path for path in sorted((outer / "pipelines" / "scenarios").glob("*.yaml"))}


def find_scenario(scenario: str | Path) -> Path:
    """Return the path of a scenario, given its path or the name of a shipped one.

    Raises
    ------
    UsageError
        There is no such file, and no shipped scenario of that name.

    >>> find_scenario("no-deletions").name
    'no-deletions.yaml'
    """
    path = Path(scenario).expanduser()
    if path.exists():
        return path
    shipped = shipped_scenarios()
    if str(scenario) in shipped:
        return shipped[str(scenario)]
    raise UsageError(f"There is no file {scenario}: give the path of a scenario, a YAML file, or one of these names: {', '.join(shipped)}.")


def _edit(document: Document, item: yaml.Node) -> Edit:
    """Read one edit by calling the timeline's method of that name."""
    found = document.words(item, "an edit", EDITS)
    if len(found) != 1:
        raise document.wrong(item, f"an edit has one word, followed by its arguments: {', '.join(EDITS)}")
    [(method, given)] = found.items()
    known = words_of(method)
    words = document.words(given, method, known, needs=[name for name, is_needed in known.items() if is_needed])
    arguments = {name: _ARGUMENTS[name](document, node, name) for name, node in words.items()}
    # A timeline only stores its edits, so making one needs no lake.
    nowhere = Timeline(log=cast(RecordedLog, None))
    try:
        return cast(Timeline, getattr(nowhere, method)(**arguments)).edits[0]
    except UsageError as error:
        raise document.wrong(given, str(error).rstrip(".")) from error


def _watched(document: Document, item: yaml.Node) -> Watched:
    if isinstance(item, yaml.ScalarNode):
        name, measures = document.text(item, "projection"), None
    else:
        found = document.words(item, "a projection", _WATCHED, needs=("projection",))
        name, measures = document.text(found["projection"], "projection"), found.get("measures")
    place, colon, attribute = name.rpartition(":")
    is_file = colon and (place.endswith(".py") or "/" in place)
    source = f"{document.file.parent / place}:{attribute}" if is_file else name
    return Watched(source, name, () if measures is None else tuple(_measures(document, measures)))


def _measures(document: Document, node: yaml.Node) -> Iterator[tuple[str, Measure]]:
    for name, value in document.mapping(node, "measures", "measures: {members: count}").items():
        text = document.text(value, name)
        try:
            yield name, Measure.parse(text)
        except InvalidCondition as error:
            raise document.wrong_inside(value, error.offset, error.reason) from error


def _names(document: Document, node: yaml.Node, word: str) -> str | list[str]:
    if isinstance(node, yaml.SequenceNode):
        return [document.text(one, word) for one in document.items(node, word, f"{word}: [a, b]")]
    return document.text(node, word)


def _some(document: Document, node: yaml.Node, word: str) -> list[str]:
    return [document.text(one, word) for one in document.items(node, word, f"{word}: [a, b]")]


def _bound(document: Document, node: yaml.Node, word: str) -> str | int:
    value = document.value(node)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise document.wrong(node, f"{word} takes a time or a position: 2026-03-01T09:00:00Z, 2026-03-01, or 84731")
    return value


def _position(document: Document, node: yaml.Node, word: str) -> int:
    value = document.value(node)
    if isinstance(value, bool) or not isinstance(value, int):
        raise document.wrong(node, f"{word} takes the position of an event, a whole number")
    return value


def _json(document: Document, node: yaml.Node, _: str) -> Any:
    return document.value(node)


def _fields(document: Document, node: yaml.Node, word: str) -> dict[str, Any]:
    return {name: document.value(value) for name, value in document.mapping(node, word, f"{word}: {{plan: pro}}").items()}


def _text(document: Document, node: yaml.Node, word: str) -> str:
    return document.text(node, word)


def _where(document: Document, node: yaml.Node, word: str) -> str:
    text = document.text(node, word)
    try:
        where(text)
    except InvalidCondition as error:
        raise document.wrong_inside(node, error.offset, error.reason) from error
    return text


_ARGUMENTS: dict[str, Callable[[Document, yaml.Node, str], Any]] = {
    "stream": _names,
    "category": _names,
    "type": _names,
    "after": _bound,
    "upto": _bound,
    "at": _bound,
    "to": _bound,
    "position": _position,
    "event_id": _text,
    "cascade": _text,
    "as_type": _text,
    "by": _text,
    "where": _where,
    "set": _fields,
    "unset": _some,
    "data": _json,
    "metadata": _json,
}
"""The reader of each word that an edit can have."""
