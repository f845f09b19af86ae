"""The questions that are asked of a projection and a timeline: state, history, and the first event after which a rule holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import polars as pl

from workbench.errors import UsageError
from workbench.replay.engine import events_of, replay
from workbench.replay.fold import OnError, fold
from workbench.replay.function import Fold
from workbench.replay.materialised import history_of, state_of
from workbench.replay.results import Counts, FoldResult
from workbench.replay.subject import Source, folded, folded_from_the_start, keyed_by_stream, subject_of
from workbench.replay.versions import versions
from workbench.timeline import Provenance, Timeline


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild gives.

    Attributes
    ----------
    state
        One row for each entity that is there at the end of the timeline, sorted by key: ``key``, the fields, and of the last event that was
        applied to the entity ``position``, ``revision`` and ``recorded_at``; ``event_count`` events were, since it began.
    counts
        What became of the events: each of the projection's categories counts once.
    failures
        The events that had no effect since a value did not fit, if they were collected; one row each, in log order.
    """

    state: pl.DataFrame
    counts: Counts
    failures: pl.DataFrame
    timeline: Timeline = field(repr=False)

    @property
    def provenance(self) -> Provenance:
        """Where the state comes from. Counts the timeline's events."""
        return self.timeline.describe()


def rebuild(
    projection: Source, timeline: Timeline, *, key: str | None = None, revision: int | None = None, errors: OnError = "raise"
) -> Rebuilt:
    """Fold a timeline's events into state, and say what became of each event.

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
        result = replay(subject, whole, key=key, errors=errors)
    elif key is None or isinstance(subject, Fold) or not keyed_by_stream(subject):
        raise UsageError("revision= counts the events of one stream: give key= too, of a projection whose key is the stream's name.")
    else:
        events = events_of(subject, whole, key=key).collect()
        last = events["revision"].max()
        if not isinstance(last, int) or revision > last or revision < 0:
            has = f"its last is {last}" if isinstance(last, int) else "it has no events"
            raise UsageError(f"The stream of {key!r} has no revision {revision} at position {whole.position}: {has}.")
        result = fold(subject, events.filter(pl.col("revision") <= revision), errors=errors)
    return _rebuilt(result, timeline)


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
    rows, and no state: entities are folded from their first event.

    Raises
    ------
    UsageError, ValueDoesNotFit
        As ``rebuild`` does.
    """
    subject = subject_of(projection, timeline)
    whole = folded(timeline, subject, question="history")
    if isinstance(subject, Fold):
        rows = versions(subject, whole, key=key, errors=errors).history
    else:
        rows = history_of(subject, whole, key=key, errors=errors)
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
        first event after counts.

    Raises
    ------
    UsageError
        The rule is no condition, or names a column that is not there; or as ``rebuild`` does.
    """
    subject = subject_of(projection, timeline)
    found = versions(subject, folded(timeline, subject, question="first"), key=key, errors=errors)
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
    return rows if timeline.beyond is None else rows.filter(pl.col("valid_from_position") > timeline.beyond)


def _rebuilt(result: FoldResult, timeline: Timeline) -> Rebuilt:
    return Rebuilt(result.state, result.counts, result.failures, replace(timeline, system=False))
