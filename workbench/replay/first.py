"""``first``: the first event after which a condition holds, for each entity."""

from __future__ import annotations

import polars as pl

from workbench.errors import UsageError
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.replay.state_conditions import StateConditions
from workbench.replay.versions import beginning_after, versions
from workbench.timeline import Timeline


def first(
    projection: Source, timeline: Timeline, where: str | pl.Expr, *, key: str | None = None, errors: OnError = "raise"
) -> pl.DataFrame:
    """Return, for each entity, the first event after which a condition holds: in log order, so that the first row is the first over all.

    Parameters
    ----------
    where
        A condition on the columns of ``history``, as SQL (see ``workbench.conditions``): ``"logins > 100 and plan = 'pro'"``; or as an
        expression of Polars: ``pl.col("logins") > 100``. A condition that is unknown does not hold.

    Returns
    -------
    polars.DataFrame
        ``key``, the fields after the event, and of the event ``position``, ``revision``, ``recorded_at``, ``event_type``, ``event_id`` and
        ``event_stream``. ``timeline.after(...)`` bounds the events, and no state: where the condition held before, the
        first event after counts. What is materialised is used as by ``history``.

    Raises
    ------
    InvalidCondition
        The text is outside the language, or names a column that is not there.
    UsageError
        The expression is no condition, or names a column that is not there; or as ``rebuild`` does.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> timeline = wb.open("data/demo").timeline
    >>> first(User, timeline, "logins > 5 and city is not null")["logins"].min()
    6
    """
    subject = subject_of(projection, timeline)
    found = versions(subject, folded(timeline, subject, question="first"), key=key, since=timeline.after_position, errors=errors)
    rows = _holding(
        beginning_after(found.rows, timeline), where, known=[name for name in found.rows.columns if name not in found.witness.values()]
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


def _holding(rows: pl.DataFrame, where: str | pl.Expr, *, known: list[str]) -> pl.DataFrame:
    condition: object = _parsed(where, rows.schema, known) if isinstance(where, str) else where
    if not isinstance(condition, pl.Expr):
        raise UsageError(f"{where!r} is not a condition: write one like 'logins > 100'.")
    unknown = [name for name in condition.meta.root_names() if name not in known]
    if unknown:
        raise UsageError(f"The condition names {', '.join(unknown)}, which no version has; it has {', '.join(known)}.")
    try:
        holds = rows.select(known).select(_holds=condition)["_holds"]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The condition cannot be asked: {str(error).partition(chr(10))[0]}.") from error
    if holds.dtype != pl.Boolean or len(holds) not in (1, rows.height):
        raise UsageError(f"{where} is {holds.dtype} and no condition on each version: compare something, like pl.col('logins') > 100.")
    if len(holds) != rows.height:
        return rows if holds[0] else rows.clear()
    return rows.filter(holds)


def _parsed(where: str, schema: pl.Schema, known: list[str]) -> pl.Expr:
    from workbench.conditions.parser import parse_condition  # noqa: PLC0415  # sqlglot takes long to import

    return parse_condition(where, StateConditions(schema, known, what="version"))
