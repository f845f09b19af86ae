"""Measures how long replays take on a user's own data.

A lake and a projection come in; measurements go out, and with them forecasts and advice on snapshots.
Every measurement runs in a separate process, so that one does not warm the caches of the next.
Measurements are stored in the lake, so that a trend over months can be shown.
Begin reading with `run`.
"""

from workbench.performance.result import Advice, Measurement
from workbench.performance.run import bench, measurements, trend

__all__ = ["Advice", "Measurement", "bench", "measurements", "trend"]
