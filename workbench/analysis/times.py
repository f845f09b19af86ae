"""Computes rates, bursts, periods and steps back of the clock from the times of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.analysis.periods import Every, Extent, Periods
from workbench.timeline import Timeline

TICK = 10
"""Ticks in a microsecond."""
_SECOND = 1_000_000 * TICK
_MINUTE = 60 * _SECOND
_UTC = pl.Datetime("us", "UTC")
_SPAN = pl.Duration("us")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of all dated events in ticks: in log order with their positions, and sorted."""

    positions: NDArray[np.int64]
    ticks: NDArray[np.int64]
    ordered: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        backwards = self.ticks.size > 1 and bool((self.ticks[1:] < self.ticks[:-1]).any())
        object.__setattr__(self, "ordered", np.sort(self.ticks) if backwards else self.ticks)

    @classmethod
    def of(cls, timeline: Timeline) -> Times:
        dated = "SELECT position, prepare_position, recorded_ticks FROM events WHERE recorded_at IS NOT NULL"
        rows = timeline.sql(dated).pl().sort("position", "prepare_position")
        return cls(rows["position"].to_numpy(), rows["recorded_ticks"].to_numpy())

    @property
    def extent(self) -> Extent:
        if not self.ordered.size:
            return Extent(None, None)
        return Extent.between(int(self.ordered[0]) // TICK, int(self.ordered[-1]) // TICK)

    def summary(self) -> dict[str, Any]:
        """Return the key figures of the rates."""
        if not self.ordered.size:
            return {}
        extent, span = self.extent, int(self.ordered[-1] - self.ordered[0])
        second, minute = _peak(self.ordered, _SECOND), _peak(self.ordered, _MINUTE)
        return {
            "first_recorded_at": extent.first,
            "last_recorded_at": extent.last,
            "events_per_second": self.ordered.size / span * _SECOND if span else None,
            "peak_second": second[0],
            "peak_second_events": second[1],
            "peak_minute": minute[0],
            "peak_minute_events": minute[1],
            "burstiness": _burstiness(self.ordered),
            "fano_factor": _fano(self.ordered),
        }

    def clock(self) -> dict[str, Any]:
        """Return the number of the clock's steps back, and the largest one."""
        steps = np.diff(self.ticks)
        back = steps[steps < 0]
        return {"steps_back": back.size, "largest_step_back": timedelta(microseconds=-int(back.min()) // TICK) if back.size else None}

    def steps_back(self, most: int) -> pl.DataFrame:
        """Return the greatest steps back."""
        steps = np.diff(self.ticks)
        places = np.flatnonzero(steps < 0)
        places = places[np.argsort(steps[places], kind="stable")][:most]
        return pl.DataFrame(
            {
                "position": self.positions[places + 1],
                "recorded_at": _instants(self.ticks[places + 1]),
                "step": pl.Series(-steps[places] // TICK).cast(_SPAN),
            }
        )


def _runs(ordered: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the windows of a length in ticks that have events: their numbers, first indices in ``ordered``, and event counts."""
    windows = ordered // length
    begins = np.concatenate([[0], np.flatnonzero(np.diff(windows)) + 1]) if ordered.size else np.zeros(0, dtype=np.int64)
    return windows[begins], begins, np.diff(np.append(begins, ordered.size))


def _peak(ordered: NDArray[np.int64], length: int) -> tuple[datetime, int]:
    windows, _, counts = _runs(ordered, length)
    most = int(counts.argmax())
    return _EPOCH + timedelta(microseconds=int(windows[most]) * length // TICK), int(counts[most])


def _burstiness(ordered: NDArray[np.int64]) -> float | None:
    if ordered.size < 3 or ordered[0] == ordered[-1]:
        return None
    gaps = np.diff(ordered)
    mean, deviation = float(gaps.mean()), float(gaps.std())
    return (deviation - mean) / (deviation + mean)


def _fano(ordered: NDArray[np.int64]) -> float | None:
    windows, _, counts = _runs(ordered, _MINUTE)
    length = int(windows[-1] - windows[0]) + 1
    if length < 2 or ordered.size < 3:
        return None
    mean = ordered.size / length
    return float((counts.astype(np.float64) ** 2).sum() / length - mean**2) / mean


def _instants(ticks: NDArray[np.int64]) -> pl.Series:
    return pl.Series(ticks // TICK, dtype=pl.Int64).cast(_UTC)


def edges_of(extent: Extent, every: Every, tz: str) -> NDArray[np.int64]:
    """Return the ticks at which the periods of an extent begin, then the tick at which the last one ends."""
    return Periods.of(extent, every, tz).edges * TICK


def rates(times: Times, edges: NDArray[np.int64], streams: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Count by period."""

    def counted(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.diff(np.searchsorted(ordered, edges))

    def at(frame: pl.DataFrame, name: str) -> NDArray[np.int64]:
        return np.sort(frame[name].drop_nulls().to_physical().to_numpy()) * TICK

    events, created = counted(times.ordered), counted(at(streams, "first_recorded_at"))
    _, begins, counts = _runs(times.ordered, _SECOND)
    # Periods begin at whole seconds, so no second is in two periods. For a period without events, `reduceat` reads the next one.
    peaks = np.maximum.reduceat(counts, np.searchsorted(begins, np.searchsorted(times.ordered, edges[:-1]))) if edges.size else events
    return pl.DataFrame(
        {
            "period": _instants(edges[:-1]),
            "events": events,
            "events_per_second": events / (np.diff(edges) / _SECOND),
            "peak_second_events": np.where(events > 0, peaks, 0),
            "new_streams": created,
            "streams": created.cumsum(),
            "snapshots": counted(at(taken, "recorded_at")),
        }
    )
