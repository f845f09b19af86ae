"""Counts events by type, category or stream, in total or over time, and reports when each first and last occurred."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import polars as pl
import polars.selectors as cs

from workbench.analysis import periods
from workbench.analysis.periods import CHANCE, PERIOD, TABLE, UNITS, Every, Extent, Periods
from workbench.errors import UsageError
from workbench.lake.reading.user_events import USER_LINK_SQL
from workbench.timeline import Timeline, ensure_timelines
from workbench.zones import check_zone

By = Literal["type", "category", "stream"]

_MOST_ROWS = 20_000_000
_ENDS = ("first_recorded_at", "last_recorded_at", "first_position", "last_position")


def distribution(timeline: Timeline, *, by: By = "type", every: Every | Literal["auto"] | None = None, tz: str = "UTC") -> pl.DataFrame:
    """Count the events of a timeline by type, category or stream, in all or by period.

    The query runs when the function is called. Periods cost two more passes over names and times.

    Parameters
    ----------
    timeline
        Any history. Its cutoff and its selection decide what is counted.
    by
        What is counted: event types, categories or streams.
    every
        Also count by period: ``"1s"``, ``"1m"`` (minute), ``"15m"``, ``"1h"``, ``"1d"``, ``"1w"`` (from Monday), ``"1mo"`` (month),
        ``"1q"`` (quarter) or ``"1y"``. ``"auto"`` takes the shortest of these that cuts the timeline into no more than about a
        hundred periods and keeps the table within its limit. By default, each type has one row.
    tz
        The IANA name of the time zone in which days, weeks, months and hours begin.

    Returns
    -------
    polars.DataFrame
        Without ``every`` one row for each type (category, stream), the most frequent first, equal counts by name:

        ========================================  ============  ==============================================
        type *or* category *or* stream            String
        count                                     Int64         events; they add up to the timeline's length
        share                                     Float64       of all these events, 0 to 1
        payload_bytes                             Int64         length of the recorded data, without metadata
        mean_payload_bytes                        Float64       of an event
        median_payload_bytes                      Int64         one that occurs: of two in the middle the lesser
        largest_payload_bytes                     Int64
        first_recorded_at, last_recorded_at       Datetime UTC  by the events' own times
        first_position, last_position             Int64         in ``$all``
        links                                     Int64         links in users' streams, which are not counted
        ========================================  ============  ==============================================

        A type (category, stream) with links but no event has a row too, with count 0 and nulls. After ``links()`` the targets of links
        are counted instead; after ``with_system()`` the links are events themselves. In both cases ``links`` is 0.

        With ``every``, two columns come first: ``period`` (Datetime in ``tz``), the instant at which a period begins, and ``every``
        (Enum), the length of all periods, never ``"auto"``. There is no column ``links``. Rows are ordered by period, then as above.
        They are dense: every type has a row in every period between those of the first and the last event. Where it has no event, its
        count is 0, and times, positions and sizes of an event are null. ``share`` is of the period's events, null in a period without
        any. Undated events are in no period, so that they are missing from the counts.

    Raises
    ------
    UsageError
        ``by``, ``every`` or ``tz`` is unknown, or a dense table would have more than 20 million rows.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.distribution(now, by="category", every="1mo", tz="Europe/Berlin").select("period", "category", "count", "share").head(3)
    shape: (3, 4)
    ┌─────────────────────────────┬──────────┬───────┬──────────┐
    │ period                      ┆ category ┆ count ┆ share    │
    │ ---                         ┆ ---      ┆ ---   ┆ ---      │
    │ datetime[μs, Europe/Berlin] ┆ str      ┆ i64   ┆ f64      │
    ╞═════════════════════════════╪══════════╪═══════╪══════════╡
    │ 2026-01-01 00:00:00 CET     ┆ room     ┆ 4483  ┆ 0.560866 │
    │ 2026-01-01 00:00:00 CET     ┆ user     ┆ 1638  ┆ 0.204929 │
    │ 2026-01-01 00:00:00 CET     ┆ post     ┆ 832   ┆ 0.104091 │
    └─────────────────────────────┴──────────┴───────┴──────────┘
    """
    ensure_timelines(timeline)
    _check(by, every, tz)
    if every is None:
        total = timeline.sql(_total_query(by)).pl().with_columns(cs.datetime().dt.convert_time_zone("UTC"))
        return _with_links(total, timeline, by=by)
    names, extent = _size(timeline, by)
    settled = _settle(names, extent, by=by, every=every)
    cut = Periods.of(extent, settled, tz)
    frame = (
        timeline.log.query(timeline, _period_query(by, cut), tables=cut.tables())
        .pl()
        .with_columns(cs.datetime().dt.convert_time_zone("UTC"))
    )
    # A column, because the length cannot be derived: there may be only one period, and days have 23 to 25 hours.
    said = pl.lit(settled, dtype=PERIOD).alias("every")
    return frame.select(pl.col("period").dt.convert_time_zone(tz), said, pl.exclude("period"))


def lifespans(timeline: Timeline, *, by: By = "type", every: Every | Literal["auto"] = "auto", tz: str = "UTC") -> pl.DataFrame:
    """Return when each type, category or stream came and when it was last seen, by period. Reads the events once.

    Rare types come late and fall silent by chance. If the ``n`` events of a type were spread evenly over the timeline, all of them would
    avoid a share ``s`` of it with the probability ``(1 - s) ** n``. ``is_new`` and ``is_vanished`` are true only if that is less than one
    in a thousand.

    Parameters
    ----------
    timeline
        Any history.
    by
        What is counted: event types, categories or streams.
    every
        How long periods are, ``"1s"`` to ``"1y"``, as in :func:`distribution`. ``"auto"`` takes the shortest that cuts the timeline into
        no more than about a hundred.
    tz
        The IANA name of the time zone in which periods begin.

    Returns
    -------
    polars.DataFrame
        One row for each type (category, stream), in the order of the first events:

        ========================================  ==============  ========================================================
        type *or* category *or* stream            String
        first_period, last_period                 Datetime in tz  when the periods of its first and last event began
        every                                     Enum            how long periods are, never ``"auto"``
        is_new                                    Boolean         it came after the timeline's first period, and not by chance
        is_vanished                               Boolean         it was last seen before the timeline's last period, likewise
        count                                     Int64           events
        first_recorded_at, last_recorded_at       Datetime UTC    by the events' own times
        first_position, last_position             Int64           in ``$all``
        ========================================  ==============  ========================================================

    Raises
    ------
    UsageError
        ``by``, ``every`` or ``tz`` is unknown.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.lifespans(now, every="1mo").filter("is_vanished").select("type", "last_period", "count")
    shape: (5, 3)
    ┌───────────────────┬─────────────────────────┬───────┐
    │ type              ┆ last_period             ┆ count │
    │ ---               ┆ ---                     ┆ ---   │
    │ str               ┆ datetime[μs, UTC]       ┆ i64   │
    ╞═══════════════════╪═════════════════════════╪═══════╡
    │ chat.room_created ┆ 2026-01-01 00:00:00 UTC ┆ 33    │
    │ UserAdded         ┆ 2026-02-01 00:00:00 UTC ┆ 72    │
    │ UserLoggedIn      ┆ 2026-02-01 00:00:00 UTC ┆ 391   │
    │ UserRemoved       ┆ 2026-02-01 00:00:00 UTC ┆ 12    │
    │ UserRenamed       ┆ 2026-02-01 00:00:00 UTC ┆ 36    │
    └───────────────────┴─────────────────────────┴───────┘
    """
    ensure_timelines(timeline)
    _check(by, every, tz)
    extent = Extent.of(timeline)
    settled = extent.settle(every)
    cut = Periods.of(extent, settled, tz)
    frame = (
        timeline.sql(f"""
            WITH counted AS (
                SELECT {by}, count(*) AS count, min(recorded_at) AS first_recorded_at, max(recorded_at) AS last_recorded_at,
                       min(position) AS first_position, max(position) AS last_position
                FROM events GROUP BY {by}
            )
            SELECT * FROM counted ORDER BY first_recorded_at, first_position, {by}
        """)
        .pl()
        .with_columns(cs.datetime().dt.convert_time_zone("UTC"))
    )
    ends = ("first_recorded_at", "last_recorded_at")
    first_period, last_period = (_periods_of(frame[name], cut) for name in ends)
    frame = frame.with_columns(first_period=first_period, last_period=last_period)
    first, last = (pl.col(name).to_physical() for name in ends)
    length, late, silent = last.max() - first.min(), first - first.min(), last.max() - last

    def no_chance(away: pl.Expr) -> pl.Expr:
        share = pl.when(length > 0).then(away / length).otherwise(0.0)
        return (1 - share) ** pl.col("count") < CHANCE

    return frame.with_columns(
        *(pl.col(name).dt.convert_time_zone(tz) for name in ("first_period", "last_period")),
        every=pl.lit(settled, dtype=PERIOD),
        is_new=((pl.col("first_period") > pl.col("first_period").min()) & no_chance(late)).fill_null(value=False),
        is_vanished=((pl.col("last_period") < pl.col("last_period").max()) & no_chance(silent)).fill_null(value=False),
    ).select(by, "first_period", "last_period", "every", "is_new", "is_vanished", "count", *_ENDS)


def _periods_of(moments: pl.Series, cut: Periods) -> pl.Series:
    """Return the beginning of each moment's period; null if it has none."""
    if not len(cut.starts):
        return moments
    whole = moments.to_physical()
    return pl.Series(cut.start_of(whole.fill_null(int(cut.starts[0])).to_numpy())).set(whole.is_null(), None).cast(moments.dtype)


def _with_links(total: pl.DataFrame, timeline: Timeline, *, by: By) -> pl.DataFrame:
    """Add the number of links that a timeline leaves out, and rows for names that have only links."""
    if timeline.system or timeline.follows:
        return total.with_columns(links=pl.lit(0, dtype=pl.Int64))
    found = replace(timeline, system=True).sql(f"SELECT {by}, count(*) AS links FROM events WHERE {USER_LINK_SQL} GROUP BY {by}").pl()
    joined = total.join(found, on=by, how="full", coalesce=True, maintain_order="left_right")
    counted = joined.with_columns(pl.col("count", "payload_bytes", "links").fill_null(0))
    if total.height:
        counted = counted.with_columns(pl.col("share").fill_null(0.0))
    return counted.sort("count", by, descending=[True, False])


def check_by(by: str) -> None:
    """Check a value of ``by``.

    Raises
    ------
    UsageError
        It is not type, category or stream.
    """
    if by not in get_args(By):
        raise UsageError(f"by={by!r} is unknown: count by {periods.either(get_args(By))}.")


def _check(by: str, every: str | None, tz: str) -> None:
    check_by(by)
    if every is not None:
        periods.check_every(every)
    check_zone(tz)


# The lake's own columns; `strlen` counts the bytes of the UTF-8 text, as recorded.
_SIZE = "coalesce(strlen(data), octet_length(data_bytes), 0)"
_MEASURES = f"""
    count(*) AS count,
    CAST(sum({_SIZE}) AS BIGINT) AS payload_bytes,
    avg({_SIZE}) AS mean_payload_bytes,
    quantile_disc({_SIZE}, 0.5) AS median_payload_bytes,
    max({_SIZE}) AS largest_payload_bytes,
    min(recorded_at) AS first_recorded_at,
    max(recorded_at) AS last_recorded_at,
    min(position) AS first_position,
    max(position) AS last_position
"""


def _total_query(by: By) -> str:
    return f"""
        WITH counted AS (SELECT {by}, {_MEASURES} FROM events GROUP BY {by})
        SELECT {by}, count, count / sum(count) OVER () AS share, * EXCLUDE ({by}, count)
        FROM counted
        ORDER BY count DESC, {by}
    """


def _period_query(by: By, cut: Periods) -> str:
    """Count by period, then fill the gaps."""
    return f"""
        WITH
        counted AS (SELECT {by}, period, {_MEASURES} FROM {cut.with_period()} GROUP BY {by}, period),
        names AS (SELECT {by}, sum(count) FILTER (period IS NOT NULL) AS total FROM counted GROUP BY {by})
        SELECT
            period,
            {by},
            coalesce(count, 0) AS count,
            coalesce(count, 0) / nullif(sum(count) OVER (PARTITION BY period), 0) AS share,
            coalesce(payload_bytes, 0) AS payload_bytes,
            mean_payload_bytes, median_payload_bytes, largest_payload_bytes,
            first_recorded_at, last_recorded_at, first_position, last_position
        FROM (SELECT period FROM {TABLE}) CROSS JOIN names LEFT JOIN counted USING (period, {by})
        ORDER BY period, total DESC, {by}
    """


def _size(timeline: Timeline, by: By) -> tuple[int, Extent]:
    """Return how many types (categories, streams) there are, and when the events were recorded."""
    moments = "epoch_us(min(recorded_at)), epoch_us(max(recorded_at))"
    [(names, first, last)] = timeline.sql(f"SELECT count(DISTINCT {by}), {moments} FROM events").fetchall()
    return names, Extent.between(first, last)


def _settle(names: int, extent: Extent, *, by: By, every: Every | Literal["auto"]) -> Every:
    """Choose the period where that was left open, and refuse a dense table that would fill the memory."""
    longest = list(UNITS)[-1]
    readable = [period for period in UNITS if names * extent.periods(period) <= _MOST_ROWS] or [longest]
    settled = extent.settle(every, among=readable)
    if names * extent.periods(settled) > _MOST_ROWS:
        longer = "" if settled == longest else f"take a longer period than {settled!r}, or "
        raise UsageError(
            f"One row for each {by} and period would be {names:,} x {extent.periods(settled):,} rows, "
            f"more than {_MOST_ROWS:,}: {longer}select fewer events."
        )
    return settled
