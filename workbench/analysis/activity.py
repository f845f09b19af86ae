"""Reports who acts, when, where and how often, and who returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.analysis import periods
from workbench.analysis.periods import PERIOD, Extent, Periods
from workbench.analysis.without_links import NO_LINK_SQL, unlinked
from workbench.errors import UsageError
from workbench.lake.json_paths import is_reachable, json_path
from workbench.lake.reading.event_filter import quoted
from workbench.projection import plan
from workbench.projection.expressions import Value
from workbench.timeline import Some, Timeline, ensure_timelines
from workbench.zones import check_zone, offsets

Days = Literal["1d", "1w", "1mo", "1q", "1y"]
Cohort = Literal["1d", "1w", "1mo"]

_DAYS: tuple[Days, ...] = ("1d", "1w", "1mo", "1q", "1y")
_COHORTS: tuple[Cohort, ...] = ("1d", "1w", "1mo")
_WEEK, _MONTH = 7, 30
_DENSE = 10_000_000
"""Above this many minutes, the calendar contains only minutes with actions."""
_FIRST_DAY = -719_162
"""1 January of the year 1, in days since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The result of :func:`activity`.

    Attributes
    ----------
    timeline
        The history, in words.
    actor
        The path in an event that says who acted.
    every, cohorts, tz
        The lengths of the periods of ``over_time`` and of ``retention``, never ``"auto"``, and the time zone in which days begin.
    summary
        One row of key figures.
    over_time
        One row for each period, from the first action's to the last action's.
    days
        One row for each day from the first action's to the last action's: active actors of the day, the week and the month.
    hours
        One row for each hour of each weekday.
    actors, streams
        One row for each actor and each stream, the most active first.
    retention
        One row for each cohort of actors and each period since it was first seen.
    """

    timeline: str
    actor: str
    every: Days
    cohorts: Cohort
    tz: str
    summary: pl.DataFrame
    over_time: pl.DataFrame
    days: pl.DataFrame
    hours: pl.DataFrame
    actors: pl.DataFrame
    streams: pl.DataFrame
    retention: pl.DataFrame


def activity(
    timeline: Timeline,
    *,
    actor: Value,
    actions: Some = (),
    every: Days | Literal["auto"] = "auto",
    cohorts: Cohort = "1w",
    tz: str = "UTC",
) -> Activity:
    """Return who acts in a timeline, when, and who comes back.

    The query runs when the function is called and reads the events once. Names and times are held in memory: about 50 bytes an event.

    Parameters
    ----------
    timeline
        Any history. Links are left out. An actor is new at the first action in this timeline: after ``after(...)``, all are new.
    actor
        Where an event says who acted: ``event.metadata["userId"]``, ``event.data["by"]["id"]``, ``event.stream``. A number counts as its
        text. An event in which it is absent or null is not an action and is counted apart, and so is one whose payload DuckDB cannot
        read because it has half a surrogate pair in it.
    actions
        Types of events that are actions, in which ``*`` stands for any run of characters. By default, all types.
    every
        The length of the periods of ``over_time``: ``"1d"``, ``"1w"`` (from Monday), ``"1mo"``, ``"1q"`` or ``"1y"``. ``"auto"`` takes the
        shortest that gives no more than about a hundred periods.
    cohorts
        The length of the periods of ``retention``: ``"1d"``, ``"1w"`` or ``"1mo"``.
    tz
        The IANA name of the time zone in which days begin.

    Returns
    -------
    Activity
        Frames. Days and periods are Dates on the zone's calendar, by the events' own times:

        - ``summary``: ``actions``, ``without_actor`` (events of these types that name no actor), ``undated_actions`` (counted nowhere
          else, as they fall on no day), ``actors``, ``streams``; ``first_day``, ``last_day``; ``daily_actors``, ``weekly_actors``,
          ``monthly_actors`` (means over the days); ``peak_day``, ``peak_day_actors``; ``stickiness`` (the mean of daily actors over
          the mean of monthly actors).
        - ``over_time``: ``period`` (its first day), ``every``, ``actions``, ``actors`` (who acted in it), ``new_actors`` (whose first
          action is in it), ``actions_per_actor``. Dense; the first and the last period may be incomplete.
        - ``days``: ``day``, ``actions``, ``daily``, ``weekly``, ``monthly`` (actors of the day, of the 7 and of the 30 days that end with
          it), ``new_actors``, ``stickiness`` (``daily / monthly``). Dense; the first 29 days have shorter months.
        - ``hours``: ``weekday`` (1 is Monday), ``hour`` (of the wall clock), ``actions``, ``share``. All 168.
        - ``actors``: ``actor``, ``actions``, ``active_days``, ``first_day``, ``last_day``; the most active first, then by name.
        - ``streams``: ``stream``, ``actions``; the most active first, then by name.
        - ``retention``: ``cohort`` (the period in which its actors were first seen), ``size``, ``age`` (in periods; 0 is the first),
          ``actors`` (how many acted then), ``share`` (of the size). Dense up to the last period, which may be incomplete.

    Raises
    ------
    UsageError
        ``actor`` is not a path to text in an event, or ``every``, ``cohorts`` or ``tz`` is unknown.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> found = wb.activity(now, actor=wb.event.metadata["userId"], tz="Europe/Berlin")
    >>> found.days.select("day", "actions", "daily", "new_actors").head(3)
    shape: (3, 4)
    ┌────────────┬─────────┬───────┬────────────┐
    │ day        ┆ actions ┆ daily ┆ new_actors │
    │ ---        ┆ ---     ┆ ---   ┆ ---        │
    │ date       ┆ i64     ┆ i64   ┆ i64        │
    ╞════════════╪═════════╪═══════╪════════════╡
    │ 2026-01-01 ┆ 232     ┆ 8     ┆ 8          │
    │ 2026-01-02 ┆ 171     ┆ 8     ┆ 3          │
    │ 2026-01-03 ┆ 138     ┆ 7     ┆ 0          │
    └────────────┴─────────┴───────┴────────────┘
    """
    ensure_timelines(timeline)
    periods.check_every(every, among=_DAYS)
    if cohorts not in _COHORTS:
        raise UsageError(f"cohorts={cohorts!r} is unknown: cohorts are by {periods.either(_COHORTS)}.")
    check_zone(tz)
    who = _sql(actor)
    names = (actions,) if isinstance(actions, str) else tuple(actions)
    timeline = unlinked(timeline)
    chosen = timeline.types(*names) if names else timeline
    acts = _acts(chosen, who, tz=tz)
    each = _each(acts)
    days = _days(each)
    settled = _settle(days) if every == "auto" else every
    actors = (
        each.group_by("actor")
        .agg(pl.col("actions").sum(), active_days=pl.len().cast(pl.Int64), first_day=pl.col("day").min(), last_day=pl.col("day").max())
        .with_columns(pl.col("actor").map_batches(partial(_texts, acts.actors), return_dtype=pl.String))
        .sort("actions", "actor", descending=[True, False])
    )
    counts = np.bincount(acts.streams.to_physical().to_numpy())
    streams = (
        pl.DataFrame({"stream": np.flatnonzero(counts).astype(np.uint32), "actions": counts[counts > 0].astype(np.int64)})
        .with_columns(pl.col("stream").map_batches(partial(_texts, acts.streams), return_dtype=pl.String))
        .sort("actions", "stream", descending=[True, False])
    )
    return Activity(
        timeline=str(chosen),
        actor=str(actor),
        every=settled,
        cohorts=cohorts,
        tz=tz,
        summary=_summary(
            days,
            actions=len(acts.slots),
            without_actor=acts.nobody,
            undated_actions=acts.undated,
            actors=actors.height,
            streams=streams.height,
        ),
        over_time=_over_time(each, days, settled),
        days=days,
        hours=_hours(acts),
        actors=actors,
        streams=streams,
        retention=_retention(each, cohorts),
    )


def _sql(actor: Value) -> str:
    """Return the SQL of the text at a path."""
    if not isinstance(actor, Value):
        raise UsageError(f"actor={actor!r} is not a value of an event: write one like event.metadata['userId'].")
    place = actor.value
    if isinstance(place, plan.Column):
        if plan.COLUMNS[place.name] != "text":
            raise UsageError(f"{actor} cannot be an actor: use a text in the payload or in a column such as event.stream.")
        return place.name
    if not place.steps:
        raise UsageError(f"{actor} is the whole payload: name the value in it that says who acts, as in event.metadata['userId'].")
    for step in place.steps:
        if not is_reachable([step]):
            raise UsageError(f"{actor} has the key {step!r}, which has a character that DuckDB cannot search for: use another value.")
    return f"TRY(json_extract_string({place.root}, {quoted(json_path(place.steps))}))"


@dataclass(frozen=True, slots=True)
class _Acts:
    """The actions that have a time, and the numbers of events without an actor and of actions without a time.

    Attributes
    ----------
    actors, streams
        The actor and stream of each action, categorical.
    slots
        The row of the calendar for each action.
    calendar
        The ``day`` of each slot, and its ``hour`` in the week from Monday. They are computed once for each slot, see `periods`.
    """

    actors: pl.Series
    streams: pl.Series
    slots: NDArray[np.integer[Any]]
    calendar: pl.DataFrame
    nobody: int
    undated: int


def _acts(timeline: Timeline, who: str, *, tz: str) -> _Acts:
    # As a table, because DuckDB fills a reader with only one thread.
    table = timeline.sql(f"SELECT {who} AS actor, stream, epoch_us(recorded_at) AS moment FROM events WHERE {NO_LINK_SQL}").to_arrow_table()
    found = pl.from_arrow(table, rechunk=False)
    assert isinstance(found, pl.DataFrame)
    undated = int((found["actor"].is_not_null() & found["moment"].is_null()).sum())
    acts = found.lazy().drop_nulls(["actor", "moment"]).select(pl.col("actor", "stream").cast(pl.Categorical), "moment").collect()
    starts, slots = _slots(acts["moment"].to_numpy())
    days = Periods.of(Extent.between(*map(int, starts[[0, -1]])), "1d", tz).start_of(starts) if starts.size else starts
    calendar = pl.DataFrame({"day": days + offsets(days, tz), "clock": starts + offsets(starts, tz)}).cast(pl.Datetime("us"))
    clock = pl.col("clock").dt
    calendar = calendar.select(pl.col("day").dt.date(), hour=(clock.weekday().cast(pl.Int16) - 1) * 24 + clock.hour())
    return _Acts(acts["actor"], acts["stream"], slots, calendar, found["actor"].null_count(), undated)


def _slots(moments: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]]]:
    """Return the beginnings of slots, in order, and the slot of each moment."""
    if not moments.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first, last = int(moments.min()), int(moments.max())
    length = Extent.between(first, last).slot() * 1_000_000
    begin = first // length * length
    numbers = (moments - begin) // length
    if (last - begin) // length > _DENSE:
        used, numbers = np.unique(numbers, return_inverse=True)
        return used * length + begin, numbers
    return np.arange(begin, last + 1, length), numbers


def _texts(of: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return the texts of a categorical series for physical codes."""
    all_of_them = of.to_physical().to_numpy()
    places = np.zeros(int(all_of_them.max(initial=0)) + 1, np.int64)
    places[all_of_them] = np.arange(all_of_them.size)
    return of.gather(pl.Series(places[numbers.to_numpy()])).cast(pl.String)


def _each(acts: _Acts) -> pl.DataFrame:
    """Count the actions of each actor on each day, and return each actor's first day; sorted, so that neighbours show what is new.

    Actors are numbers here. Actor and day are sorted as one number, which is several times as fast as grouping.
    """
    days = acts.calendar["day"].to_physical().to_numpy().astype(np.int64) - _FIRST_DAY
    keys = acts.actors.to_physical().to_numpy().astype(np.int64) << 32
    keys += days[acts.slots]
    keys.sort()
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    each = pl.DataFrame(
        {
            "actor": (keys[begins] >> 32).astype(np.uint32),
            "day": pl.Series((keys[begins] & 0xFFFFFFFF) + _FIRST_DAY, dtype=pl.Int32).cast(pl.Date),
            "actions": np.diff(begins, append=keys.size),
        }
    )
    return each.with_columns(first=pl.col("day").min().over("actor"))


def _days(each: pl.DataFrame) -> pl.DataFrame:
    """Count the actors of each day, and of the weeks and months that end with it."""
    day = each["day"].to_physical().to_numpy()
    first, last = (int(day.min()), int(day.max())) if day.size else (0, -1)
    length, place = last - first + 1, day - first

    def counted(places: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[np.int64]:
        return np.bincount(places, weights, minlength=length + 1)[: length + 1].astype(np.int64)

    daily = counted(place)
    is_last = each["actor"].ne_missing(each["actor"].shift(-1)).to_numpy()
    following = np.where(is_last, length, np.append(place[1:], length))

    def within(window: int) -> NDArray[np.int64]:
        # An actor counts from an active day until the window ends or the next active day, which starts a new window.
        return (daily - counted(np.minimum(np.minimum(following, place + window), length))).cumsum()[:length]

    found = pl.DataFrame(
        {
            "day": pl.int_range(first, last + 1, dtype=pl.Int32, eager=True).cast(pl.Date),
            "actions": counted(place, each["actions"].to_numpy())[:length],
            "daily": daily[:length],
            "weekly": within(_WEEK),
            "monthly": within(_MONTH),
            "new_actors": counted(place[each.select(pl.col("first") == pl.col("day")).to_series().to_numpy()])[:length],
        }
    )
    return found.select(
        "day", "actions", "daily", "weekly", "monthly", "new_actors", stickiness=pl.col("daily") / _unless_0(pl.col("monthly"))
    )


def _settle(days: pl.DataFrame) -> Days:
    counted = days.select(pl.col("day").dt.truncate(every).n_unique().alias(every) for every in _DAYS).row(0, named=True)
    return next((every for every in _DAYS if counted[every] <= periods.READABLE), "1y")


def _over_time(each: pl.DataFrame, days: pl.DataFrame, every: Days) -> pl.DataFrame:
    period = pl.col("day").dt.truncate(every)
    actors = _distinct(each, every).group_by("period").agg(actors=pl.len().cast(pl.Int64))
    return (
        days.group_by(period=period)
        .agg(pl.col("actions", "new_actors").sum())
        .join(actors, on="period", how="left")
        .with_columns(pl.col("actors").fill_null(0))
        .sort("period")
        .select(
            "period",
            pl.lit(every, dtype=PERIOD).alias("every"),
            "actions",
            "actors",
            "new_actors",
            actions_per_actor=pl.col("actions") / _unless_0(pl.col("actors")),
        )
    )


def _distinct(each: pl.DataFrame, every: Days) -> pl.DataFrame:
    """Return the distinct periods in which each actor acted, with the actor's first day."""
    periods_of = each.select("actor", "first", period=pl.col("day").dt.truncate(every))
    same = (pl.col("actor") == pl.col("actor").shift(1)) & (pl.col("period") == pl.col("period").shift(1))
    return periods_of.filter(~same.fill_null(value=False))


def _hours(acts: _Acts) -> pl.DataFrame:
    actions = pl.Series("actions", np.bincount(acts.slots, minlength=acts.calendar.height), dtype=pl.Int64)
    counted = acts.calendar.with_columns(actions).group_by("hour").agg(pl.col("actions").sum())
    hour = pl.col("hour")
    return (
        pl.DataFrame({"hour": range(7 * 24)}, schema={"hour": pl.Int16})
        .join(counted, on="hour", how="left", maintain_order="left")
        .select(weekday=hour // 24 + 1, hour=hour % 24, actions=pl.col("actions").fill_null(0))
        .with_columns(pl.col("weekday", "hour").cast(pl.Int8), share=pl.col("actions") / _unless_0(pl.col("actions").sum()))
    )


def _retention(each: pl.DataFrame, every: Cohort) -> pl.DataFrame:
    last = pl.col("period").max()
    seen = _distinct(each, every).select("period", cohort=pl.col("first").dt.truncate(every))
    counted = seen.group_by("cohort", "period").agg(actors=pl.len().cast(pl.Int64))
    sizes = counted.filter(pl.col("cohort") == pl.col("period")).select("cohort", size="actors")
    ends = seen.select(last)
    dense = (
        sizes.join(ends, how="cross")
        .with_columns(period=pl.date_ranges("cohort", "period", interval=every))
        .explode("period")
        .with_columns(age=pl.int_range(pl.len(), dtype=pl.Int64).over("cohort"))
    )
    return (
        dense.join(counted, on=["cohort", "period"], how="left")
        .with_columns(pl.col("actors").fill_null(0))
        .sort("cohort", "age")
        .select("cohort", "size", "age", "actors", share=pl.col("actors") / pl.col("size"))
    )


def _summary(days: pl.DataFrame, **counts: int) -> pl.DataFrame:
    peak = days.sort("daily", "day", descending=[True, False]).head(1)
    return days.select(
        *(pl.lit(count, dtype=pl.Int64).alias(name) for name, count in counts.items()),
        first_day=pl.col("day").min(),
        last_day=pl.col("day").max(),
        daily_actors=pl.col("daily").mean(),
        weekly_actors=pl.col("weekly").mean(),
        monthly_actors=pl.col("monthly").mean(),
        peak_day=pl.lit(peak["day"].first(), dtype=pl.Date),
        peak_day_actors=pl.lit(peak["daily"].first(), dtype=pl.Int64),
        stickiness=pl.col("daily").mean() / pl.col("monthly").mean(),
    )


def _unless_0(number: pl.Expr) -> pl.Expr:
    return pl.when(number > 0).then(number)
