"""Finds the events about one entity: by the names of streams, by an index of keys, or by the text of payloads."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from workbench.errors import UsageError
from workbench.events import Selection
from workbench.fold.event_by_event.function_fold import Fold
from workbench.projection import plan as ir
from workbench.projection.fields import fits_int64, storable
from workbench.projection.rows import ROW
from workbench.timeline import Timeline
from workbench.timeline.extraction import Mention

if TYPE_CHECKING:
    from workbench.fold.resolve import Subject

KeyIndex = Callable[[ir.Plan, Timeline, Sequence[str]], set[str] | None]
"""Names streams that hold every event about some entities; None if it does not know them, or to search payloads is quicker."""


@dataclass(frozen=True, slots=True)
class EntityScope:
    """The part of a timeline that has to be read for one entity, or for all of them.

    Attributes
    ----------
    timeline
        Holds every event about the entity, and few others where streams or an index of keys tell.
    key
        The entity's; None for all entities.
    """

    subject: Subject
    timeline: Timeline
    key: str | None = None

    @classmethod
    def of(cls, subject: Subject, timeline: Timeline, *, key: str | None = None, index: KeyIndex | None = None) -> EntityScope:
        """Narrow a timeline to one entity.

        Parameters
        ----------
        index
            What is known of keys that stand in events. Without it, payloads are searched.

        Raises
        ------
        UsageError
            The key is not text.
        """
        if key is None or isinstance(subject, Fold) or keyed_by_stream(subject) or any(one.streams for one in timeline.selections):
            return cls(subject, timeline, key)
        given: object = key
        if not isinstance(given, str):
            raise UsageError(f"key={key!r} is no text, and keys are, those that are numbers in the events too: write key={str(key)!r}.")
        # No key has half a surrogate pair, and no text that is searched for can have one.
        streams = set() if not storable(key) else None if index is None else index(subject, timeline, [key])
        return cls(subject, timeline if streams is None else only_streams(timeline, streams), key)

    @property
    def plan(self) -> ir.Plan:
        """The plan, which acts on the events of the entity only, so that no other one costs anything, or fails."""
        assert not isinstance(self.subject, Fold)
        if self.key is None or keyed_by_stream(self.subject):
            return self.subject
        types = tuple(
            replace(handled, branches=tuple(_about(branch, self.key) for branch in handled.branches)) for handled in self.subject.types
        )
        return replace(self.subject, types=types)

    def events(self) -> pl.LazyFrame:
        """Return the events that have to be looked at, in log order, with the columns that an engine reads."""
        ours = self.timeline.categories(*self.subject.categories)
        streams = None if self.key is None else streams_named(self.subject, self.key)
        if streams is None:
            return ours.events().select(ROW)
        # A star in a name stands for any run of characters: what it lets in too goes out by the second condition.
        return ours.streams(*streams).events().filter(pl.col("stream").is_in(streams)).select(ROW)


def keyed_by_stream(subject: Subject) -> bool:
    """Tell whether the name of its stream says which entity an event is about."""
    if isinstance(subject, Fold):
        return subject.key is None
    return all(branch.key is None for handled in subject.types for branch in handled.branches)


def streams_named(subject: Subject, key: str) -> tuple[str, ...] | None:
    """Return the streams of an entity whose key is the stream's name; None where keys stand in events."""
    return tuple(f"{category}-{key}" for category in subject.categories) if keyed_by_stream(subject) else None


def only_streams(timeline: Timeline, streams: Collection[str]) -> Timeline:
    """Return a timeline that looks at these streams alone, or at nothing."""
    if not streams:
        return replace(timeline, cutoff=None, upto_position=-1, after_position=None)
    return replace(timeline, selections=(*timeline.selections, Selection(streams=tuple(sorted(streams)))))


def mention_of(plan: ir.Plan, key: str) -> Mention | None:
    """Return what every event about an entity has in its payload, and few others have; None where a key may come from elsewhere.

    The key stands there as a JSON string or as a whole number, or an escape does that may spell it.
    """
    keys = {branch.key for handled in plan.types for branch in handled.branches}
    paths = [one for one in keys if isinstance(one, ir.Path)]
    if len(paths) < len(keys) or plan.python_only:
        return None
    # Without the quote before it: a search for a text that begins with a quote stops at every name and value.
    text = key if key.removeprefix("-").isdecimal() else json.dumps(key, ensure_ascii=False)[1:]
    return Mention(tuple(sorted({path.root for path in paths})), (text, "\\"))


def mentioned(plan: ir.Plan, key: str) -> pl.Expr | None:
    """Return the condition that an event is of a handled type and fits ``mention_of``; None where there is no such condition."""
    mention = mention_of(plan, key)
    if mention is None:
        return None
    found = [pl.col(root).str.contains(text, literal=True) for root in mention.roots for text in mention.texts]
    return pl.col("type").is_in([handled.type for handled in plan.types]) & pl.any_horizontal(found)


def _about(branch: ir.Branch, key: str) -> ir.Branch:
    assert branch.key is not None
    mine: list[ir.Condition] = [ir.Comparison(branch.key, "==", key)]
    if key.removeprefix("-").isdecimal() and str(int(key)) == key and fits_int64(int(key)):
        mine.append(ir.Comparison(branch.key, "==", int(key)))
    about: ir.Condition = ir.AnyOf(tuple(mine))
    handlers = tuple(
        replace(handler, where=about if handler.where is None else ir.AllOf((about, handler.where))) for handler in branch.handlers
    )
    return replace(branch, handlers=handlers)
