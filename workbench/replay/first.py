"""``first``: finds, for each entity, the first event after which a condition holds."""

from __future__ import annotations

import polars as pl

from workbench.errors import UsageError
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, folded, subject_of
from workbench.replay.state_conditions import StateConditions, json_fields
from workbench.replay.versions import beginning_after, versions
from workbench.timeline import Timeline


def first(
    projection: Source, timeline: Timeline, where: str | pl.Expr, *, key: str | None = None, errors: OnError = "raise"
) -> pl.DataFrame:
    """Return, for each entity, the first event after which a condition holds.

    Materialised histories are read as by `history`.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` leaves out earlier events but changes no state: if the condition held before, the
        entity's first event after the bound is returned.
    where
        A condition on the columns of `history`: SQL such as ``"logins > 100 and plan = 'pro'"`` (see ``workbench.conditions``), or a
        Polars expression such as ``pl.col("logins") > 100``. A condition that is null does not hold.
    key
        Only this entity.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        One row for each entity for which the condition ever held, in log order, so that the first row is the first over all: ``key``, the
        fields after the event, and the event's ``position``, ``revision``, ``recorded_at``, ``event_type``, ``event_id`` and
        ``event_stream``.

    Raises
    ------
    InvalidCondition
        The SQL is not in the language of conditions, or names a column that does not exist.
    UsageError
        The expression is not a condition, or names a column that does not exist; or the timeline selects a part of the events, which would
        change the states.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.first(User, now, "logins > 5 and city is not null").select("key", "logins", "city", "recorded_at").head(3)
    shape: (3, 4)
    ┌─────┬────────┬────────┬────────────────────────────────┐
    │ key ┆ logins ┆ city   ┆ recorded_at                    │
    │ --- ┆ ---    ┆ ---    ┆ ---                            │
    │ str ┆ i64    ┆ str    ┆ datetime[μs, UTC]              │
    ╞═════╪════════╪════════╪════════════════════════════════╡
    │ 1   ┆ 6      ┆ London ┆ 2026-01-01 10:45:07.730812 UTC │
    │ 4   ┆ 6      ┆ Łódź   ┆ 2026-01-01 13:35:02.557667 UTC │
    │ 3   ┆ 6      ┆ İzmir  ┆ 2026-01-02 15:14:38.911734 UTC │
    └─────┴────────┴────────┴────────────────────────────────┘
    """
    subject = subject_of(projection, timeline)
    found = versions(subject, folded(timeline, subject, question="first"), key=key, since=timeline.after_position, errors=errors)
    known = [name for name in found.rows.columns if name not in found.event_columns.values()]
    conditions = StateConditions(found.rows.schema, known, json=json_fields(subject), what="version")
    rows = _holding(beginning_after(found.rows, timeline), where, conditions)
    named = {
        "position": pl.col("valid_from_position"),
        "revision": pl.col("revision"),
        "recorded_at": pl.col("valid_from"),
        "event_type": pl.col("event_type"),
        "event_id": pl.col(found.event_columns["event_id"]),
        "event_stream": pl.col(found.event_columns["stream"]),
    }
    return (
        rows.unique("key", keep="first", maintain_order=True)
        .sort("valid_from_position", found.event_columns["prepare_position"], maintain_order=True)
        .select("key", *found.fields, **named)
    )


def _holding(rows: pl.DataFrame, where: str | pl.Expr, conditions: StateConditions) -> pl.DataFrame:
    known = conditions.names
    condition: object = _parsed(where, conditions) if isinstance(where, str) else where
    if not isinstance(condition, pl.Expr):
        raise UsageError(f"{where!r} is not a condition: write one like 'logins > 100'.")
    unknown = [name for name in condition.meta.root_names() if name not in known]
    if unknown:
        raise UsageError(f"The condition names {', '.join(unknown)}, which is not a column of a version; it has {', '.join(known)}.")
    try:
        holds = rows.select(known).select(_holds=condition)["_holds"]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The condition cannot be evaluated: {str(error).partition(chr(10))[0]}.") from error
    if holds.dtype != pl.Boolean or len(holds) not in (1, rows.height):
        raise UsageError(f"{where} has the type {holds.dtype} and is not a condition: compare something, like pl.col('logins') > 100.")
    if len(holds) != rows.height:
        return rows if holds[0] else rows.clear()
    return rows.filter(holds)


def _parsed(where: str, conditions: StateConditions) -> pl.Expr:
    from workbench.conditions.parser import parse_condition  # noqa: PLC0415  # sqlglot takes long to import

    return parse_condition(where, conditions)
