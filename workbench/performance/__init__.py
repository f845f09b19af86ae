"""How long replays take on one's own data: measured, kept in the lake, and forecast."""

from workbench.performance.measurement import Advice, Measurement
from workbench.performance.measuring import bench, measurements, trend

__all__ = ["Advice", "Measurement", "bench", "measurements", "trend"]
