"""Reports the outcomes of workflows: sagas and other processes whose events share a correlation id across streams and services."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from workbench.analysis.without_links import NO_LINK_SQL, unlinked
from workbench.errors import UsageError
from workbench.events import format_time
from workbench.timeline import Some, Timeline, ensure_timelines
from workbench.timeline.edits import span_of

OUTCOMES = ("completed", "compensated", "failed", "stuck", "running")
_OUTCOME = pl.Enum(OUTCOMES)
_ENDS = {"done": "completed", "compensated": "compensated", "failed": "failed"}
_SPAN = pl.Duration("us")
_INSTANT = pl.Datetime("us", "UTC")
_TRACE = (
    *("correlation_id", "outcome", "started_at", "ended_at", "last_at", "duration", "events", "last_type", "variant"),
    *("first_position", "last_position"),
)
_EVENTS = pl.Schema(
    {
        "correlation_id": pl.String(),
        "type": pl.String(),
        "position": pl.Int64(),
        "prepare_position": pl.Int64(),
        "recorded_at": _INSTANT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """How a workflow begins and ends: by events of which types, in which ``*`` stands for any run of characters.

    Parameters
    ----------
    start
        The workflow begins with the first event of these types. Earlier events with its correlation id are not part of it.
    done, compensated, failed
        The workflow was completed, undone, or given up. The last such event decides.
    stuck_after
        A workflow that has not ended is stuck when nothing happened for longer than this: ``"1h"``, ``"2d 12h"``, a timedelta. By default,
        all that have not ended are running.

    Raises
    ------
    UsageError
        ``start`` or ``done`` names nothing, a type has two roles, or ``stuck_after`` is not a span of time.

    Examples
    --------
    >>> Workflow(start="order.placed", done="order.shipped", failed=("order.rejected", "order.lost"), stuck_after="2d").stuck_after
    datetime.timedelta(days=2)
    """

    start: Some
    done: Some
    compensated: Some = ()
    failed: Some = ()
    stuck_after: str | timedelta | None = None

    def __post_init__(self) -> None:
        said: dict[str, str] = {}
        for role in ("start", *_ENDS):
            names = _names(role, getattr(self, role))
            object.__setattr__(self, role, names)
            for name in names:
                if name in said:
                    raise UsageError(f"The workflow names {name!r} as {said[name]}= and as {role}=: an event says one thing.")
                said[name] = role
        for role in ("start", "done"):
            if not getattr(self, role):
                raise UsageError(f"The workflow has no {role}=: name the event types with which it {_BEGINS[role]}.")
        if self.stuck_after is not None:
            span = span_of(self.stuck_after)
            if span <= timedelta():
                raise UsageError(f"stuck_after={self.stuck_after!r} is not a span of time: use one like '1h' or '2d'.")
            object.__setattr__(self, "stuck_after", span)

    def role_of(self, event_type: str) -> str | None:
        """Return the role of an event type in the workflow.

        Parameters
        ----------
        event_type
            The event type.

        Returns
        -------
        str or None
            ``"start"``, ``"done"``, ``"compensated"`` or ``"failed"``; None for a type on the way.

        Raises
        ------
        UsageError
            The type has two roles.

        Examples
        --------
        >>> Workflow(start="order.placed", done="order.shipped", failed="order.*lost").role_of("order.was_lost")
        'failed'
        """
        roles = [role for role in ("start", *_ENDS) if any(_fits(pattern, event_type) for pattern in getattr(self, role))]
        if len(roles) > 1:
            raise UsageError(f"Events of type {event_type!r} fit {roles[0]}= and {roles[1]}= of the workflow: an event says one thing.")
        return roles[0] if roles else None


_BEGINS = {"start": "begins", "done": "is completed"}
_BEGINS_TRACE = (pl.col("trace") != pl.col("trace").shift(1)).fill_null(value=True)


@dataclass(frozen=True, slots=True)
class Workflows:
    """What became of a workflow in one history.

    Attributes
    ----------
    workflow, timeline
        What was asked, of which history.
    until
        The instant by which workflows are called stuck: the timeline's cutoff; for a position, the time of its last event; without a
        cutoff, the time until which the lake is complete.
    outcomes
        One row for each of completed, compensated, failed, stuck and running: ``outcome``, ``traces``, ``share``, and percentiles of how
        long they took, or have been under way by their last event: ``took_p50``, ``took_p90``, ``took_p99``, ``took_max``.
    traces
        One row for each correlation id, in the order of their beginnings: ``correlation_id``, ``outcome``, ``started_at``, ``ended_at``
        (of the event that decided; null if none did), ``last_at``, ``duration`` (from the start to that end, or to the last event),
        ``events``, ``last_type``, ``variant`` (as in ``variants``), ``first_position`` and ``last_position``. The time of an undated event
        is null, and so are durations from or to it; ``last_at`` is that of the last event that has one.
    steps
        One row for each event type, in the order in which they mostly come: ``type``, ``events``, ``traces``, ``share`` of the traces that
        have it, how long it took from the event before in the trace (``took_p50``, ``took_p90``, ``took_p95``, ``took_p99``, ``took_max``;
        null if it only begins), and in how many traces it is the ``last`` event, and ``stuck`` there.
    variants
        One row for each sequence of types, the most frequent first: ``variant`` (1, 2, …), ``traces``, ``share``, the number of each
        outcome, ``took_p50``, and the ``types``.
    process
        The process map, one row for each type that directly follows another in a trace, the most frequent first: ``from_type``,
        ``to_type``, ``count``, ``traces``, ``took_p50``, ``took_p90``, ``took_mean``, ``took_max``.
    unseen
        Names in the declaration that no event of the timeline has.
    """

    workflow: Workflow
    timeline: Timeline = field(repr=False)
    until: datetime
    outcomes: pl.DataFrame = field(repr=False)
    traces: pl.DataFrame = field(repr=False)
    steps: pl.DataFrame = field(repr=False)
    variants: pl.DataFrame = field(repr=False)
    process: pl.DataFrame = field(repr=False)
    unseen: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.select("outcome", "traces").iter_rows() if count)
        return f"{self.traces.height:,} workflows by {format_time(self.until)}: {said or 'none'}"

    def _repr_html_(self) -> str:
        parts = (("", self.outcomes), ("Steps", self.steps), ("Variants", self.variants), ("Process map", self.process))
        return "".join(f"<h4>{title}</h4>{frame._repr_html_()}" for title, frame in parts)


def workflows(workflow: Workflow, timeline: Timeline) -> Workflows:
    """Follow every trace of a workflow, and return what became of it.

    A trace is all events with one correlation id, in log order, from the first that begins the workflow. Durations are between the times
    of events: a step takes a negative time if the server's clock ran backwards.

    Parameters
    ----------
    workflow
        How the workflow begins and ends.
    timeline
        Any history. Links are left out. A selection also applies to traces: ``after`` leaves out those that began before.

    Returns
    -------
    Workflows
        Frames about outcomes, traces, steps, variants, and the process map. Without traces all of them but ``outcomes`` are empty.

    Raises
    ------
    UsageError
        Events of one type have two roles.

    Examples
    --------
    >>> registration = wb.Workflow(
    ...     start="registration.started",
    ...     done="registration.completed",
    ...     compensated="registration.compensated",
    ...     failed="registration.failed",
    ...     stuck_after="1h",
    ... )
    >>> wb.workflows(registration, wb.open("data/demo").timeline).outcomes.select("outcome", "traces", "share")
    shape: (5, 3)
    ┌─────────────┬────────┬──────────┐
    │ outcome     ┆ traces ┆ share    │
    │ ---         ┆ ---    ┆ ---      │
    │ enum        ┆ i64    ┆ f64      │
    ╞═════════════╪════════╪══════════╡
    │ completed   ┆ 494    ┆ 0.88057  │
    │ compensated ┆ 29     ┆ 0.051693 │
    │ failed      ┆ 20     ┆ 0.035651 │
    │ stuck       ┆ 18     ┆ 0.032086 │
    │ running     ┆ 0      ┆ 0.0      │
    └─────────────┴────────┴──────────┘
    """
    ensure_timelines(timeline)
    timeline = unlinked(timeline)
    until = _until(timeline)
    types = [name for (name,) in timeline.sql(f"SELECT DISTINCT type FROM events WHERE {NO_LINK_SQL}").fetchall()]
    roles = {name: role for name in types if (role := workflow.role_of(name)) is not None}
    events = _events(timeline, [name for name, role in roles.items() if role == "start"], roles)
    dtype = events.schema["type"]
    assert isinstance(dtype, pl.Enum)
    names = dict(enumerate(dtype.categories.to_list()))
    ends = pl.col("role").is_in(list(_ENDS))
    waits = None if not isinstance(workflow.stuck_after, timedelta) else until - workflow.stuck_after
    quiet = pl.lit(value=False) if waits is None else pl.col("last_at") < waits
    traces = (
        events.group_by("trace", maintain_order=True)
        .agg(
            pl.col("correlation_id").first(),
            pl.col("role").filter(ends).last().alias("decided"),
            pl.col("recorded_at").first().alias("started_at"),
            pl.col("recorded_at").filter(ends).last().alias("ended_at"),
            pl.col("recorded_at").drop_nulls().last().alias("last_at"),
            pl.len().cast(pl.Int64).alias("events"),
            pl.col("type").last().alias("last_type"),
            pl.col("type").to_physical().cast(pl.String).str.join(",").alias("way"),
            pl.col("position").first().alias("first_position"),
            pl.col("position").last().alias("last_position"),
            pl.col("prepare_position").first(),
        )
        .with_columns(
            pl.when(pl.col("decided").is_not_null())
            .then(pl.col("decided").cast(pl.String).replace_strict(_ENDS, default=None))
            .otherwise(pl.when(quiet).then(pl.lit("stuck")).otherwise(pl.lit("running")))
            .cast(_OUTCOME)
            .alias("outcome"),
            (pl.coalesce("ended_at", "last_at") - pl.col("started_at")).alias("duration"),
        )
        .sort("first_position", "prepare_position")
    )
    variants = _variants(traces, names)
    traces = traces.join(variants.select("variant", "way"), on="way", how="left", maintain_order="left")
    # The events of a trace are adjacent, so the previous event is the row above. Window functions would take several times as long.
    follows = ~_BEGINS_TRACE
    seen = events.with_columns(
        took=pl.when(follows).then(pl.col("recorded_at") - pl.col("recorded_at").shift(1)),
        from_type=pl.when(follows).then(pl.col("type").shift(1)),
    )
    declared = (name for role in ("start", *_ENDS) for name in getattr(workflow, role))
    return Workflows(
        workflow=workflow,
        timeline=timeline,
        until=until,
        outcomes=_outcomes(traces),
        traces=traces.select(*_TRACE).with_columns(pl.col("last_type").cast(pl.String)),
        steps=_steps(seen, traces),
        variants=variants.drop("way"),
        process=_process(seen),
        unseen=tuple(name for name in declared if not any(_fits(name, one) for one in types)),
    )


def _names(role: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for name in names:
        if not isinstance(name, str) or not name:
            raise UsageError(f"{role}= of a workflow expects names of event types, got {name!r}.")
    return tuple(dict.fromkeys(names))


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _until(timeline: Timeline) -> datetime:
    """Return the instant at which a timeline ends."""
    if timeline.cutoff is not None and timeline.cutoff.time is not None:
        return timeline.cutoff.time
    complete = Timeline(log=timeline.log).describe().complete_until if timeline.upto_position is None else None
    whole = replace(timeline, selections=(), after_position=None, system=True)
    [(last,)] = whole.sql("SELECT max(epoch_us(recorded_at)) FROM events").fetchall()
    latest = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=last or 0)
    return latest if complete is None else max(latest, complete)


def _events(timeline: Timeline, starts: list[str], roles: dict[str, str]) -> pl.DataFrame:
    """Return the events of all traces, grouped by trace and in log order, with a number for each trace."""
    frame = pl.DataFrame(schema=_EVENTS)
    if starts:
        begun = " OR ".join(f"type = '{name.replace(chr(39), chr(39) * 2)}'" for name in starts)
        found = timeline.sql(
            f"""
            WITH begun AS (SELECT DISTINCT correlation_id FROM events WHERE correlation_id IS NOT NULL AND ({begun}))
            SELECT {", ".join(_EVENTS)} FROM events SEMI JOIN begun USING (correlation_id) WHERE {NO_LINK_SQL}
            """
        ).to_arrow_table()
        frame = pl.DataFrame(found).cast(_EVENTS)
    types = frame["type"].unique().sort()
    role = pl.col("type").replace_strict(roles, default=None, return_dtype=pl.String)
    is_start = (pl.col("role") == "start").fill_null(value=False)  # events before the first start of a trace do not belong to it
    # Numbers sort several times as fast as texts.
    return (
        frame.with_columns(role.alias("role"))
        .with_columns(pl.col("correlation_id").cast(pl.Categorical), pl.col("type").cast(pl.Enum(types)))
        .with_columns(pl.col("correlation_id").to_physical().alias("trace"))
        .sort("trace", "position", "prepare_position")
        .filter(is_start.cum_sum() > pl.when(_BEGINS_TRACE).then(is_start.cum_sum() - is_start.cast(pl.UInt32)).forward_fill())
        .with_columns(pl.col("correlation_id").cast(pl.String))
    )


def _took(name: str, *shares: int, of: str = "took") -> list[pl.Expr]:
    """Return linearly interpolated percentiles of spans, and the maximum."""
    spans = pl.col(of).dt.total_microseconds()
    found = [spans.quantile(share / 100, "linear").round().cast(pl.Int64).cast(_SPAN).alias(f"{name}_p{share}") for share in shares]
    return [*found, pl.col(of).max().alias(f"{name}_max")]


def _outcomes(traces: pl.DataFrame) -> pl.DataFrame:
    counted = traces.group_by("outcome").agg(pl.len().cast(pl.Int64).alias("traces"), *_took("took", 50, 90, 99, of="duration"))
    every = pl.DataFrame({"outcome": OUTCOMES}, schema={"outcome": _OUTCOME})
    found = every.join(counted, on="outcome", how="left", maintain_order="left").with_columns(pl.col("traces").fill_null(0))
    share = pl.when(traces.height > 0).then(pl.col("traces") / max(traces.height, 1))
    return found.select("outcome", "traces", share.alias("share"), pl.exclude("outcome", "traces"))


def _variants(traces: pl.DataFrame, names: dict[int, str]) -> pl.DataFrame:
    way = pl.col("way").str.split(",")
    return (
        traces.group_by("way")
        .agg(
            pl.len().cast(pl.Int64).alias("traces"),
            (pl.len() / max(traces.height, 1)).alias("share"),
            *((pl.col("outcome") == outcome).sum().cast(pl.Int64).alias(outcome) for outcome in OUTCOMES),
            *_took("took", 50, of="duration")[:1],
            pl.col("first_position").min(),
        )
        .sort("traces", "first_position", "way", descending=[True, False, False])
        .with_row_index("variant", offset=1)
        .with_columns(
            pl.col("variant").cast(pl.Int64),
            types=way.list.eval(pl.element().cast(pl.Int64).replace_strict(names, default=None, return_dtype=pl.String)),
        )
        .drop("first_position")
    )


def _steps(seen: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    last = traces.group_by(pl.col("last_type").alias("type")).agg(
        pl.len().cast(pl.Int64).alias("last"), (pl.col("outcome") == "stuck").sum().cast(pl.Int64).alias("stuck")
    )
    row = pl.int_range(pl.len())
    place = row - pl.when(_BEGINS_TRACE).then(row).forward_fill()
    return (
        seen.with_columns(place.alias("place"))
        .group_by("type")
        .agg(
            pl.len().cast(pl.Int64).alias("events"),
            pl.col("trace").n_unique().cast(pl.Int64).alias("traces"),
            (pl.col("trace").n_unique() / max(traces.height, 1)).alias("share"),
            *_took("took", 50, 90, 95, 99),
            pl.col("place").mean(),
        )
        .join(last, on="type", how="left")
        .sort("place", "type")
        .drop("place")
        .with_columns(pl.col("type").cast(pl.String), pl.col("last", "stuck").fill_null(0))
    )


def _process(seen: pl.DataFrame) -> pl.DataFrame:
    p50, p90, greatest = _took("took", 50, 90)
    return (
        seen.drop_nulls("from_type")
        .group_by("from_type", pl.col("type").alias("to_type"))
        .agg(
            pl.len().cast(pl.Int64).alias("count"),
            pl.col("trace").n_unique().cast(pl.Int64).alias("traces"),
            p50,
            p90,
            pl.col("took").dt.total_microseconds().mean().round().cast(pl.Int64).cast(_SPAN).alias("took_mean"),
            greatest,
        )
        .with_columns(pl.col("from_type", "to_type").cast(pl.String))
        .sort("count", "from_type", "to_type", descending=[True, False, False])
    )
