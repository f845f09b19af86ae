"""The questions that are asked of a projection and a timeline: state, history, and the first event after which a rule holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from workbench.display import card
from workbench.errors import UsageError
from workbench.fold.dispatch import events_of, replay
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError, fold
from workbench.fold.resolve import Source, folded, folded_from_the_start, keyed_by_stream, subject_of
from workbench.fold.results import Counts, FoldResult
from workbench.materialised.fold_point import KeptState
from workbench.materialised.histories import history_of, kept_answer, state_of
from workbench.replay.versions import versions
from workbench.timeline import Provenance, Timeline


@dataclass(slots=True)
class _Account:
    """What became of events, worked out by a replay when it is first asked for, where it is not known."""

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
                "of types that nobody handles": sum(counts.unhandled.values()),
            }
            notes += [f"{count:,} {what}" for what, count in left.items() if count]
        return card("Rebuilt", values, notes=notes)._repr_html_() + str(self.state._repr_html_())


def rebuild(
    projection: Source, timeline: Timeline, *, key: str | None = None, revision: int | None = None, errors: OnError = "raise"
) -> Rebuilt:
    """Fold a timeline's events into state, and say what became of each event. Reads what is materialised of it.

    Parameters
    ----------
    projection
        A class that extends ``Projection``, a ``Fold``, or the name of a category, whose payloads are then merged: the last event to name
        a top-level key wins, and null makes it null.
    key
        Only this entity. The counts are then of the events that had to be looked at.
    revision
        Only the events of its stream up to this revision, inclusively; with ``key``.
    errors
        ``"collect"`` gives events with a value that does not fit, none of which has any effect, as ``failures`` instead of stopping at the
        first.

    Raises
    ------
    UsageError
        The timeline looks at a part of the events that would change what the state is, the lake has no such category, or the stream has
        no such revision.
    ValueDoesNotFit
        A value does not fit its field, or a stream has no key.
    """
    subject = subject_of(projection, timeline)
    whole = folded_from_the_start(timeline, subject, question="state")
    if revision is None:
        replayed = partial(replay, subject, whole, key=key, errors=errors)
        found = kept_answer(subject, whole, key=key, errors=errors)
        if found is None:
            result = replayed()
            found = KeptState(result.state, result.counts, result.failures)
        return Rebuilt(found.state, replace(timeline, system=False), _Account(found.counts, found.failures, replayed))
    if key is None or isinstance(subject, Fold) or not keyed_by_stream(subject):
        raise UsageError("revision= counts the events of one stream: give key= too, of a projection whose key is the stream's name.")
    events = events_of(subject, whole, key=key).collect()
    last = events["revision"].max()
    if not isinstance(last, int) or revision > last or revision < 0:
        has = f"its last is {last}" if isinstance(last, int) else "it has no events"
        raise UsageError(f"The stream of {key!r} has no revision {revision} at position {whole.position}: {has}.")
    result = fold(subject, events.filter(pl.col("revision") <= revision), errors=errors)
    return Rebuilt(result.state, replace(timeline, system=False), _Account(result.counts, result.failures, lambda: result))


def state(
    projection: Source, timeline: Timeline, *, key: str | None = None, revision: int | None = None, errors: OnError = "raise"
) -> pl.DataFrame:
    """Return the state of every entity at the end of a timeline: one row for each that is there, sorted by key.

    The columns are ``key``, the projection's fields, and of the last event that was applied to the entity ``position``, ``revision`` and
    ``recorded_at``; ``event_count`` events were, since it began. Parameters and errors are those of ``rebuild``, whose ``state`` it is;
    ``rebuild`` also says what became of each event.
    """
    if revision is not None:
        return rebuild(projection, timeline, key=key, revision=revision, errors=errors).state
    subject = subject_of(projection, timeline)
    return state_of(subject, folded_from_the_start(timeline, subject, question="state"), key=key, errors=errors)


def history(projection: Source, timeline: Timeline, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return every version of every entity, or of one: sorted by key, versions in log order.

    One row for each event that was applied to an entity and left it there: ``key``, the fields after it, the event's ``event_type`` and
    ``revision``, ``event_count`` as in a state, and how long the version was valid: from ``valid_from_position`` and ``valid_from``,
    inclusively, to ``valid_to_position`` and ``valid_to``, exclusively, which are null while it is. ``timeline.after(...)`` bounds the
    rows, and no state: entities are folded from their first event. A materialised history is read instead; a ``Fold`` has snapshots,
    which help where ``after`` leaves out what lies before one. The columns of a fold are those of the states that stand there, or follow.

    Raises
    ------
    UsageError, ValueDoesNotFit
        As ``rebuild`` does.
    """
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="history")
    if isinstance(subject, Fold):
        rows = versions(subject, whole, key=key, since=timeline.after_position, errors=errors).history
    else:
        rows = history_of(subject, whole, key=key, since=timeline.after_position, errors=errors)
    return _after(rows, timeline)


def first(projection: Source, timeline: Timeline, rule: pl.Expr, *, key: str | None = None, errors: OnError = "raise") -> pl.DataFrame:
    """Return, for each entity, the first event after which a rule holds: in log order, so that the first row is the first over all.

    Parameters
    ----------
    rule
        A condition on the columns of ``history``: ``pl.col("logins") > 100``. A rule that is null does not hold.

    Returns
    -------
    polars.DataFrame
        ``key``, the fields after the event, and of the event ``position``, ``revision``, ``recorded_at``, ``event_type``, ``event_id`` and
        ``event_stream``. ``timeline.after(...)`` bounds the events, and no state: where a rule held before, the
        first event after counts. What is materialised is used as by ``history``.

    Raises
    ------
    UsageError
        The rule is no condition, or names a column that is not there; or as ``rebuild`` does.
    """
    subject = subject_of(projection, timeline)
    found = versions(subject, folded(timeline, subject, question="first"), key=key, since=timeline.after_position, errors=errors)
    rows = _holding(_after(found.rows, timeline), rule, known=[name for name in found.rows.columns if name not in found.witness.values()])
    named = {
        "position": pl.col("valid_from_position"),
        "revision": pl.col("revision"),
        "recorded_at": pl.col("valid_from"),
        "event_type": pl.col("event_type"),
        "event_id": pl.col(found.witness["event_id"]),
        "event_stream": pl.col(found.witness["stream"]),
    }
    return (
        rows.unique("key", keep="first", maintain_order=True)
        .sort("valid_from_position", found.witness["prepare_position"], maintain_order=True)
        .select("key", *found.fields, **named)
    )


def _holding(rows: pl.DataFrame, rule: pl.Expr, *, known: list[str]) -> pl.DataFrame:
    given: object = rule
    if not isinstance(given, pl.Expr):
        raise UsageError(f"{rule!r} is no rule: write a Polars expression like pl.col('logins') > 100.")
    unknown = [name for name in rule.meta.root_names() if name not in known]
    if unknown:
        raise UsageError(f"The rule names {', '.join(unknown)}, which no version has; it has {', '.join(known)}.")
    try:
        holds = rows.select(known).select(_holds=rule)["_holds"]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The rule cannot be asked: {str(error).partition(chr(10))[0]}.") from error
    if holds.dtype != pl.Boolean or len(holds) not in (1, rows.height):
        raise UsageError(f"The rule is {holds.dtype} and no condition on each version: compare something, like pl.col('logins') > 100.")
    if len(holds) != rows.height:
        return rows if holds[0] else rows.clear()
    return rows.filter(holds)


def _after(rows: pl.DataFrame, timeline: Timeline) -> pl.DataFrame:
    return rows if timeline.after_position is None else rows.filter(pl.col("valid_from_position") > timeline.after_position)
