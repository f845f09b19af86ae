"""``first``: the first event after which a rule holds, for each entity."""

from __future__ import annotations

import polars as pl

from workbench.errors import UsageError
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.replay.versions import beginning_after, versions
from workbench.timeline import Timeline


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
    rows = _holding(
        beginning_after(found.rows, timeline), rule, known=[name for name in found.rows.columns if name not in found.witness.values()]
    )
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
