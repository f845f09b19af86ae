"""Which events make up a history: how many of each type, category or stream, in all or over time."""

from __future__ import annotations

from typing import Literal, get_args
from zoneinfo import available_timezones

import polars as pl
import polars.selectors as cs

from workbench.errors import UsageError
from workbench.timeline import Timeline

By = Literal["type", "category", "stream"]
Every = Literal["1h", "1d", "1w", "1mo"]

_UNITS: dict[Every, str] = {"1h": "hour", "1d": "day", "1w": "week", "1mo": "month"}
_MOST_ROWS = 20_000_000
_READABLE_PERIODS = 100


def distribution(timeline: Timeline, *, by: By = "type", every: Every | Literal["auto"] | None = None, tz: str = "UTC") -> pl.DataFrame:
    """Count the events of a timeline by type, category or stream, in all or by period.

    The query runs when it is called; periods cost a second look at the times.

    Parameters
    ----------
    timeline
        Any timeline. Its cutoff and its selection say what is counted.
    by
        What is counted: event types, categories or streams.
    every
        Also count by hour, day, week (from Monday) or month. ``"auto"`` takes the shortest of these that cuts the timeline
        into no more than about a hundred periods and keeps the table within its limit. Without it, one row stands for each type.
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
        first_recorded_at, last_recorded_at       Datetime UTC  by the events' own times
        first_position, last_position             Int64         in ``$all``
        ========================================  ============  ==============================================

        With ``every`` a first column ``period`` (Datetime in ``tz``) holds the instant at which a period begins, and a second
        column ``every`` (Enum) says how long periods are: the same in all rows, and never ``"auto"``. Rows are ordered by
        period, then as above. They are dense: every type has a row in every period from the first event's to the last event's,
        with count 0 and null times and positions where it has no event. ``share`` is of the period's events, null in a period
        without any.

    Raises
    ------
    UsageError
        ``by``, ``every`` or ``tz`` is unknown, or a dense table would have more than 20 million rows.

    Examples
    --------
    >>> distribution(lake.timeline, by="category", every="1mo", tz="Europe/Berlin")  # doctest: +SKIP
    """
    if by not in get_args(By):
        raise UsageError(f"by={by!r} is unknown: count by {_either(get_args(By))}.")
    if every is not None and every != "auto" and every not in _UNITS:
        raise UsageError(f"every={every!r} is unknown: periods are {_either((*_UNITS, 'auto'))}.")
    if tz not in available_timezones():
        raise UsageError(f"tz={tz!r} is no time zone: give an IANA name such as 'UTC' or 'Europe/Berlin'.")
    if every is None:
        frame = timeline.sql(_total_query(by)).pl()
        return frame.with_columns(cs.datetime().dt.convert_time_zone("UTC"))
    settled = _settle(timeline, by=by, every=every)
    frame = timeline.sql(_period_query(by, settled, tz)).pl().with_columns(cs.datetime().dt.convert_time_zone("UTC"))
    # A column and not a guess from the distance of two periods: there may be one period only, and days have 23 to 25 hours.
    said = pl.lit(settled, dtype=pl.Enum(list(_UNITS))).alias("every")
    return frame.select(pl.col("period").dt.convert_time_zone(tz), said, pl.exclude("period"))


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(repr(name) for name in names[:-1])} or {names[-1]!r}"


# The lake's own columns; `strlen` counts the bytes of the UTF-8 text, as recorded.
_MEASURES = """
    count(*) AS count,
    CAST(coalesce(sum(coalesce(strlen(data), octet_length(data_bytes))), 0) AS BIGINT) AS payload_bytes,
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


def _period_query(by: By, every: Every, tz: str) -> str:
    """Count by period, then fill the gaps.

    Days, weeks and months begin at a wall clock's midnight, so they are counted on the wall clock and turned into instants at
    the end: DuckDB takes the next existing instant where a clock was put forward over midnight. A date that a zone left out has
    no instant of its own and so no period. Hours are cut on the time line instead, since the wall clock shows one hour twice
    when it is put back; where it moves by half an hour, hours from then on begin at another minute.
    """
    unit = _UNITS[every]
    local = f"(recorded_at AT TIME ZONE '{tz}')"
    series = f"generate_series(min(start), max(start), INTERVAL 1 {unit})"
    if every == "1h":
        cut, instant = f"recorded_at - ({local} - date_trunc('hour', {local}))", "start"
        between = f"SELECT {cut} AS start FROM (SELECT unnest({series}) AS recorded_at FROM counted)"
    else:
        cut, instant = f"date_trunc('{unit}', {local})", f"start AT TIME ZONE '{tz}'"
        between = f"SELECT unnest({series}) AS start FROM counted"
    return f"""
        WITH
        counted AS (SELECT {by}, {cut} AS start, {_MEASURES} FROM events GROUP BY {by}, start),
        names AS (SELECT {by}, sum(count) AS total FROM counted GROUP BY {by}),
        starts AS (
            SELECT {instant} AS period, max(start) AS start
            FROM (SELECT start FROM counted UNION {between})
            GROUP BY period
        )
        SELECT
            period,
            {by},
            coalesce(count, 0) AS count,
            coalesce(count, 0) / nullif(sum(count) OVER (PARTITION BY start), 0) AS share,
            coalesce(payload_bytes, 0) AS payload_bytes,
            first_recorded_at, last_recorded_at, first_position, last_position
        FROM starts CROSS JOIN names LEFT JOIN counted USING (start, {by})
        ORDER BY start, total DESC, {by}
    """


def _settle(timeline: Timeline, *, by: By, every: Every | Literal["auto"]) -> Every:
    """Choose the period where that was left open, and refuse a dense table that would fill the memory."""
    counts = ", ".join(f"date_diff('{unit}', min(recorded_at), max(recorded_at)) + 1" for unit in _UNITS.values())
    [(names, *lengths)] = timeline.sql(f"SELECT count(DISTINCT {by}), {counts} FROM events").fetchall()
    periods = dict(zip(_UNITS, (length or 0 for length in lengths), strict=True))
    fits = (period for period, length in periods.items() if length <= _READABLE_PERIODS and names * length <= _MOST_ROWS)
    settled: Every = next(fits, "1mo") if every == "auto" else every
    if names * periods[settled] > _MOST_ROWS:
        longer = "" if settled == "1mo" else f"take a longer period than {settled!r}, or "
        raise UsageError(
            f"One row for each {by} and period would be {names:,} x {periods[settled]:,} rows, "
            f"more than {_MOST_ROWS:,}: {longer}select fewer events."
        )
    return settled
