"""``rebuild``: returns the state of entities at the end of a timeline, and counts the outcome of each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from workbench.display import card
from workbench.errors import UsageError
from workbench.fold.dispatch import replay
from workbench.fold.entity_scope import EntityScope, keyed_by_stream
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.resolve import Source, folded_from_the_start, subject_of
from workbench.fold.results import Counts, FoldResult
from workbench.materialised.fold_point import KeptState
from workbench.materialised.histories import kept_answer
from workbench.materialised.key_index import streams_about
from workbench.timeline import Provenance, Timeline


@dataclass(slots=True)
class _Account:
    """Counts and failures of a rebuild; if they are unknown, a replay computes them on first use."""

    counts: Counts | None
    failures: pl.DataFrame | None
    replayed: Callable[[], FoldResult]

    def counted(self) -> Counts:
        if self.counts is None:
            self._replay()
        assert self.counts is not None
        return self.counts

    def failed(self) -> pl.DataFrame:
        if self.failures is None:
            self._replay()
        assert self.failures is not None
        return self.failures

    def _replay(self) -> None:
        result = self.replayed()
        self.counts, self.failures = result.counts, result.failures


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild gives.

    Attributes
    ----------
    state
        One row for each entity that is there at the end of the timeline, sorted by key: ``key``, the fields, and of the last event that was
        applied to the entity ``position``, ``revision`` and ``recorded_at``; ``event_count`` events were, since it began.
    timeline
        Of which it is the end.
    """

    state: pl.DataFrame
    timeline: Timeline = field(repr=False)
    _account: _Account = field(repr=False)

    @property
    def is_counted(self) -> bool:
        """Whether ``counts`` and ``failures`` are known, so that asking for them folds nothing."""
        return self._account.counts is not None and self._account.failures is not None

    @property
    def counts(self) -> Counts:
        """What became of the events: each of the projection's categories counts once.

        A state that was read from a materialised history which goes on beyond it, or is of one entity, does not tell: then the events are
        folded when this is first asked for.
        """
        return self._account.counted()

    @property
    def failures(self) -> pl.DataFrame:
        """The events that had no effect since a value did not fit, if they were collected; one row each, in log order.

        Of one entity, where any were left out, they are found in the same way as ``counts``.
        """
        return self._account.failed()

    @property
    def provenance(self) -> Provenance:
        """Where the state comes from. Counts the timeline's events."""
        return self.timeline.describe()

    def _repr_html_(self) -> str:
        """Show how many entities there are, the counts where they are known, and the first rows of the state."""
        position = self.timeline.position
        values: dict[str, object] = {"Entities": self.state.height, "Position": None if position is None else str(position)}
        notes = [str(self.timeline)]
        if self.is_counted:
            counts = self.counts
            values["Events applied"] = counts.applied
            left = {
                "unmatched": counts.unmatched,
                "orphans": counts.orphans,
                "without a key": counts.keyless,
                "failed": counts.failed,
                "of types without a handler": sum(counts.unhandled.values()),
            }
            notes += [f"{count:,} {what}" for what, count in left.items() if count]
        return card("Rebuilt", values, notes=notes)._repr_html_() + str(self.state._repr_html_())


def rebuild(
    projection: Source, timeline: Timeline, *, key: str | None = None, revision: int | None = None, errors: OnError = "raise"
) -> Rebuilt:
    """Fold a timeline's events into state, and count what became of each event.

    States that were materialised are read; only the events after them are folded.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category. The payloads of a category are merged: the last event to
        name a top-level key wins, and null makes it null.
    timeline
        The history to fold, from its first event to its cutoff, inclusive.
    key
        Only this entity. Only the events that had to be looked at are counted.
    revision
        Only events of the entity's stream up to this revision, inclusive. Needs ``key``.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out and returns them as
        ``failures``.

    Returns
    -------
    Rebuilt
        ``state`` is the frame of `state`. ``counts`` and ``failures`` say what became of the events.

    Raises
    ------
    UsageError
        The timeline selects a part of the events, which would change the state; the lake has no such category; or the stream has no
        such revision.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> found = wb.rebuild(User, wb.open("data/demo").timeline)
    >>> found.state.height, found.counts.applied, found.counts.orphans
    (535, 8227, 0)
    """
    subject = subject_of(projection, timeline)
    whole = folded_from_the_start(timeline, subject, question="state")
    if revision is None:
        replayed = partial(replay, subject, whole, key=key, index=streams_about, errors=errors)
        found = kept_answer(subject, whole, key=key, errors=errors)
        if found is None:
            result = replayed()
            found = KeptState(result.state, result.counts, result.failures)
        return Rebuilt(found.state, replace(timeline, system=False), _Account(found.counts, found.failures, replayed))
    if key is None or isinstance(subject, Fold) or not keyed_by_stream(subject):
        raise UsageError("revision= applies to one stream: pass key= too, with a projection whose key is the stream's name.")
    events = EntityScope(subject, whole, key).events().collect()
    last = events["revision"].max()
    if not isinstance(last, int) or revision > last or revision < 0:
        has = f"its last is {last}" if isinstance(last, int) else "it has no events"
        raise UsageError(f"The stream of {key!r} has no revision {revision} at position {whole.position}: {has}.")
    result = fold(subject, events.filter(pl.col("revision") <= revision), errors=errors)
    return Rebuilt(result.state, replace(timeline, system=False), _Account(result.counts, result.failures, lambda: result))
