"""Reports how a store is used: its rates, the lengths of its streams, snapshots, gaps, hidden events, and its clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from workbench.analysis import periods
from workbench.analysis.periods import PERIOD, Every
from workbench.analysis.stream_visibility import hidden_of
from workbench.analysis.times import Times, edges_of, rates
from workbench.errors import UsageError
from workbench.events import MAX_POSITION
from workbench.lake.reading.event_filter import quoted
from workbench.lake.reading.user_events import USER_STREAM_SQL
from workbench.timeline import Some, Timeline, ensure_timelines
from workbench.zones import check_zone

_LISTED = 1000
_MOST_PERIODS = 1_000_000
_UTC = pl.Datetime("us", "UTC")
_SPAN = pl.Duration("us")


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The result of :func:`store_usage`.

    Attributes
    ----------
    timeline
        The history, in words.
    every, tz
        The length of periods, never ``"auto"``, and the time zone in which they begin.
    summary
        One row of key figures.
    rates
        One row for each period, from the first event's to the last event's.
    lengths
        One row for each category, and how long its streams are.
    histogram
        How many streams are how long, in bins that double.
    longest
        The thousand longest streams, the longest first.
    snapshots
        One row for each category with snapshots.
    gaps
        The thousand streams with the most revisions missing.
    hidden
        The streams of which the store hides events from readers, or has a limit. None if the lake was exported with a choice of types,
        and so cannot tell.
    steps_back
        The thousand greatest steps back of the clock, the greatest first.
    """

    timeline: str
    every: Every
    tz: str
    summary: pl.DataFrame
    rates: pl.DataFrame
    lengths: pl.DataFrame
    histogram: pl.DataFrame
    longest: pl.DataFrame
    snapshots: pl.DataFrame
    gaps: pl.DataFrame
    hidden: pl.DataFrame | None
    steps_back: pl.DataFrame


def store_usage(timeline: Timeline, *, every: Every | Literal["auto"] = "auto", snapshots: Some = (), tz: str = "UTC") -> StoreReport:
    """Return how a store is used: rates, streams and their lengths, snapshots, gaps, what it hides, and its clock.

    The queries run when the function is called. They read positions, times, streams and revisions, but no payloads.

    Parameters
    ----------
    timeline
        Any history. A selection of types, or an edit that drops events, makes revisions missing.
    every
        How long the periods of ``rates`` are, as in :func:`workbench.distribution`.
    snapshots
        Types of events that are snapshots, in which ``*`` stands for any run of characters.
    tz
        The IANA name of the time zone in which periods begin.

    Returns
    -------
    StoreReport
        Frames. All instants are Datetime in UTC, but ``period`` is in ``tz``:

        - ``summary``: ``events``, ``undated_events`` (not counted in any rate), ``streams``, ``categories``;
          ``first_recorded_at``, ``last_recorded_at``; ``events_per_second`` (the mean between these two, null if they are equal);
          ``peak_second``, ``peak_second_events``, ``peak_minute``, ``peak_minute_events``;
          ``burstiness``, ``fano_factor``; ``median_length``, ``longest_length`` of streams; ``missing_revisions``, ``streams_with_gaps``,
          ``hidden_events``, ``steps_back``, ``largest_step_back`` (Duration).
        - ``rates``: ``period``, ``every``, ``events``, ``events_per_second`` (over the whole period), ``peak_second_events``,
          ``new_streams`` (whose first event of the timeline is in the period) and ``streams`` (so far), ``snapshots``.
        - ``lengths``: ``category``, ``streams``, ``events``, ``mean``, ``median``, ``p90``, ``p99``, ``longest`` in events of a stream.
        - ``histogram``: ``from_events``, ``upto_events`` (inclusive), ``streams``, ``events``; bins 1, 2-3, 4-7 and so on, dense.
        - ``longest``: ``stream``, ``category``, ``events``, ``first_recorded_at``, ``last_recorded_at``.
        - ``snapshots``: ``category``, ``snapshots``, ``streams`` (that have one), ``events`` (others in these streams),
          ``median_between`` and ``largest_between`` (other events of the stream since its snapshot before, or its beginning),
          ``median_since`` and ``largest_since`` (events since the last snapshot: what a load of the stream reads),
          ``median_age`` (Duration between two snapshots of a stream).
        - ``gaps``: ``stream``, ``missing``, ``first_missing`` (a revision), ``first_revision``, ``last_revision``: of the revisions between
          a stream's first and last event in the timeline. A stream that begins late, as a truncated one does, has no gap there. Links
          and other events of the server's own types do not count as missing, although the timeline leaves them out.
        - ``hidden``: ``stream``, ``fate`` (``tombstoned``; ``deleted``: may be written again; ``truncated``: some events are hidden;
          ``limited``: a limit hides nothing yet), ``events`` in the timeline, ``hidden`` of these, ``truncate_before``, ``max_count``,
          ``max_age`` (Duration). Streams without events are listed if the timeline has no selection.
        - ``steps_back``: ``position``, ``recorded_at``, ``step`` (Duration by which it is earlier than the event before it in the log).

        Burstiness is ``(s - m) / (s + m)`` of the mean and the standard deviation of the time from one event to the next, in the order
        of their times: -1 for a metronome, 0 for a Poisson process, towards 1 for bursts (Goh and Barabási, "Burstiness and memory in
        complex systems", Europhysics Letters 81, 2008). The Fano factor is the variance of the events in a minute over their mean,
        quiet minutes between the first and the last event included: 1 for a Poisson process (Fano, "Ionization yield of radiations
        II", Physical Review 72, 1947). Both are null if there are fewer than three events, or if all have the same time.

    Raises
    ------
    UsageError
        ``every`` or ``tz`` is unknown, or there would be more than a million periods.

    Examples
    --------
    >>> found = wb.store_usage(wb.open("data/demo").timeline, snapshots="*.snapshot")
    >>> found.lengths.select("category", "streams", "events", "median", "longest").head(3)
    shape: (3, 5)
    ┌──────────┬─────────┬────────┬────────┬─────────┐
    │ category ┆ streams ┆ events ┆ median ┆ longest │
    │ ---      ┆ ---     ┆ ---    ┆ ---    ┆ ---     │
    │ str      ┆ i64     ┆ i64    ┆ i64    ┆ i64     │
    ╞══════════╪═════════╪════════╪════════╪═════════╡
    │ room     ┆ 186     ┆ 23215  ┆ 17     ┆ 5670    │
    │ user     ┆ 612     ┆ 8400   ┆ 3      ┆ 551     │
    │ post     ┆ 684     ┆ 3987   ┆ 2      ┆ 134     │
    └──────────┴─────────┴────────┴────────┴─────────┘
    """
    ensure_timelines(timeline)
    periods.check_every(every)
    check_zone(tz)
    times = Times.of(timeline)
    extent = times.extent
    settled = extent.settle(every)
    if extent.periods(settled) > _MOST_PERIODS:
        raise UsageError(
            f"every={settled!r} would be {extent.periods(settled):,} periods, more than {_MOST_PERIODS:,}: use a longer period."
        )
    streams = timeline.sql(_STREAMS).pl().with_columns(pl.col("first_recorded_at", "last_recorded_at").dt.convert_time_zone("UTC"))
    whole = replace(timeline, system=True, follows=False)
    streams = streams if timeline.system else _with_what_stands_between(streams, whole)
    taken = _snapshots(timeline, snapshots)
    hidden = hidden_of(timeline, streams)
    by_period = rates(times, edges_of(extent, settled, tz), streams, taken)
    zoned = pl.col("period").dt.convert_time_zone(tz)
    lengths = streams.group_by("category").agg(*_LENGTHS).sort("events", "category", descending=[True, False])
    overall = streams.select(*_LENGTHS).row(0, named=True)
    gaps = streams.filter(pl.col("missing") > 0)
    events = int(streams["events"].sum())
    summary = {
        "events": events,
        "undated_events": events - times.ticks.size,
        "streams": streams.height,
        "categories": lengths.height,
        **times.summary(),
        "median_length": overall["median"],
        "longest_length": overall["longest"],
        "missing_revisions": int(gaps["missing"].sum()),
        "streams_with_gaps": gaps.height,
        "hidden_events": None if hidden is None else int(hidden["hidden"].sum()),
        **times.clock(),
    }
    return StoreReport(
        timeline=str(timeline),
        every=settled,
        tz=tz,
        summary=pl.DataFrame([summary], schema=_SUMMARY),
        rates=by_period.select(zoned, pl.lit(settled, dtype=PERIOD).alias("every"), pl.exclude("period")),
        lengths=lengths,
        histogram=_histogram(streams),
        longest=streams.sort("events", "stream", descending=[True, False])
        .head(_LISTED)
        .select("stream", "category", "events", "first_recorded_at", "last_recorded_at"),
        snapshots=_frequency(taken, streams),
        gaps=_gaps(whole, gaps.sort("missing", "stream", descending=[True, False]).head(_LISTED)),
        hidden=hidden,
        steps_back=times.steps_back(_LISTED),
    )


_SUMMARY: dict[str, pl.DataType] = {
    "events": pl.Int64(),
    "undated_events": pl.Int64(),
    "streams": pl.Int64(),
    "categories": pl.Int64(),
    "first_recorded_at": _UTC,
    "last_recorded_at": _UTC,
    "events_per_second": pl.Float64(),
    "peak_second": _UTC,
    "peak_second_events": pl.Int64(),
    "peak_minute": _UTC,
    "peak_minute_events": pl.Int64(),
    "burstiness": pl.Float64(),
    "fano_factor": pl.Float64(),
    "median_length": pl.Int64(),
    "longest_length": pl.Int64(),
    "missing_revisions": pl.Int64(),
    "streams_with_gaps": pl.Int64(),
    "hidden_events": pl.Int64(),
    "steps_back": pl.Int64(),
    "largest_step_back": _SPAN,
}
_LENGTHS = (
    pl.len().cast(pl.Int64).alias("streams"),
    pl.col("events").sum(),
    pl.col("events").mean().alias("mean"),
    *(pl.col("events").quantile(q, "lower").cast(pl.Int64).alias(name) for name, q in (("median", 0.5), ("p90", 0.9), ("p99", 0.99))),
    pl.col("events").max().alias("longest"),
)
# A tombstone has the greatest possible revision; the jump to it is not a gap.
_STREAMS = f"""
    SELECT stream, any_value(category) AS category, count(*) AS events,
           min(recorded_at) AS first_recorded_at, max(recorded_at) AS last_recorded_at,
           min(revision) AS first_revision, max(revision) FILTER (revision < {MAX_POSITION}) AS last_revision,
           coalesce(greatest(last_revision - first_revision + 1 - count(*) FILTER (revision < {MAX_POSITION}), 0), 0) AS missing
    FROM events GROUP BY stream
"""
_BETWEEN = f"SELECT stream, revision FROM events WHERE starts_with(type, '$') AND {USER_STREAM_SQL} AND revision < {MAX_POSITION}"
"""Records in users' streams that a timeline without system events leaves out, mostly links."""
_FIRST_MISSING = """
    WITH gaps AS (SELECT unnest([{streams}]) AS stream, unnest([{firsts}]::BIGINT[]) AS first_revision),
    steps AS (
        SELECT stream, revision, lead(revision) OVER (PARTITION BY stream ORDER BY revision) AS following
        FROM events JOIN gaps USING (stream) WHERE revision >= first_revision AND revision < {end}
    )
    SELECT stream, min(revision) + 1 AS first_missing FROM steps WHERE following > revision + 1 GROUP BY stream
"""
_TAKEN: dict[str, pl.DataType] = {"stream": pl.String(), "category": pl.String(), "revision": pl.Int64(), "recorded_at": _UTC}


def _snapshots(timeline: Timeline, types: Some) -> pl.DataFrame:
    names = (types,) if isinstance(types, str) else tuple(types)
    if not names:
        return pl.DataFrame(schema=_TAKEN)
    rows = timeline.types(*names).sql(f"SELECT {', '.join(_TAKEN)} FROM events ORDER BY stream, position, prepare_position").pl()
    return rows.with_columns(pl.col("recorded_at").dt.convert_time_zone("UTC"))


def _frequency(taken: pl.DataFrame, streams: pl.DataFrame) -> pl.DataFrame:
    """Say how often snapshots are taken, by the revisions of their streams."""
    before = pl.col("revision").shift(1).over("stream")
    each = taken.join(streams.select("stream", "first_revision", "last_revision", "events"), on="stream").with_columns(
        between=pl.coalesce(pl.col("revision") - before - 1, pl.col("revision") - pl.col("first_revision")),
        age=pl.col("recorded_at").diff().over("stream"),
        is_last=pl.col("revision").shift(-1).over("stream").is_null(),
    )
    last = pl.col("is_last")
    since = (pl.col("last_revision") - pl.col("revision")).filter(last)
    return (
        each.group_by("category")
        .agg(
            pl.len().cast(pl.Int64).alias("snapshots"),
            last.sum().cast(pl.Int64).alias("streams"),
            (pl.col("events").filter(last).sum() - pl.len()).cast(pl.Int64).alias("events"),
            pl.col("between").quantile(0.5, "lower").cast(pl.Int64).alias("median_between"),
            pl.col("between").max().alias("largest_between"),
            since.quantile(0.5, "lower").cast(pl.Int64).alias("median_since"),
            since.max().alias("largest_since"),
            pl.col("age").median().alias("median_age"),
        )
        .sort("snapshots", "category", descending=[True, False])
    )


def _histogram(streams: pl.DataFrame) -> pl.DataFrame:
    """Count streams in bins of length that double."""
    bins = streams.group_by(bin=63 - pl.col("events").bitwise_leading_zeros().cast(pl.Int64)).agg(
        pl.len().cast(pl.Int64).alias("streams"), pl.col("events").sum()
    )
    every = bins.select(bin=pl.int_range(pl.col("bin").max().fill_null(-1) + 1))
    lower = pl.lit(2, dtype=pl.Int64).pow(pl.col("bin"))
    return (
        every.join(bins, on="bin", how="left", maintain_order="left")
        .with_columns(pl.col("streams", "events").fill_null(0))
        .select(from_events=lower, upto_events=2 * lower - 1, streams="streams", events="events")
    )


def _with_what_stands_between(streams: pl.DataFrame, whole: Timeline) -> pl.DataFrame:
    """Return the streams, where a link or another record of a system type does not count as a missing revision."""
    between = (
        whole.sql(_BETWEEN)
        .pl()
        .join(streams.select("stream", "first_revision", "last_revision"), on="stream")
        .filter(pl.col("revision").is_between("first_revision", "last_revision"))
        .group_by("stream")
        .agg(pl.len().cast(pl.Int64).alias("between"))
    )
    missing = (pl.col("missing") - pl.col("between").fill_null(0)).clip(lower_bound=0)
    return streams.join(between, on="stream", how="left", maintain_order="left").with_columns(missing=missing).drop("between")


def _gaps(whole: Timeline, gaps: pl.DataFrame) -> pl.DataFrame:
    columns = ("stream", "missing", "first_missing", "first_revision", "last_revision")
    if gaps.is_empty():
        return gaps.with_columns(first_missing=pl.lit(None, dtype=pl.Int64)).select(columns)
    asked = _FIRST_MISSING.format(
        streams=", ".join(map(quoted, gaps["stream"])), firsts=", ".join(map(str, gaps["first_revision"])), end=MAX_POSITION
    )
    return gaps.join(whole.sql(asked).pl(), on="stream", how="left", maintain_order="left").select(columns)
