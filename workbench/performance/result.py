"""The result of measuring replays, its storage, and what follows from it: forecasts, and advice on snapshots."""

from __future__ import annotations

import math
import os
import platform
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import polars as pl

from workbench import __version__
from workbench.errors import LakeError
from workbench.lake.files.location import translated

FOLDER = "measurements"
"""Where measurements lie in a lake, beside its events."""
_PACKAGES = ("duckdb", "polars", "pyarrow", "deltalake", "numpy")
_HORIZONS = (0, 30, 90, 365)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a measurement, without the names of host and user."""

    system: str
    processor: str
    processors: int
    memory_bytes: int
    python: str
    packages: dict[str, str]

    @classmethod
    def this(cls) -> Machine:
        """Describe this machine."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
        return cls(
            f"{platform.system()} {platform.machine()}",
            _processor(),
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            pages,
            platform.python_version(),
            {"workbench": __version__} | {name: found for name in _PACKAGES if (found := _version(name))},
        )

    def __str__(self) -> str:
        return f"{self.processor}, {self.processors} processors, {self.memory_bytes / 2**30:.0f} GB, {self.system}, Python {self.python}"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One rebuild: of how much, by which engine, and how long.

    ``cold`` is the first in a fresh process, whose files the system was asked to forget; ``warm`` the second. Of the stages ``read`` runs
    beside the rest. ``peak_bytes`` is that of the process, both runs and Python itself included.
    """

    what: str
    engine: str
    run: str
    events: int
    seconds: float
    peak_bytes: int
    read: float | None = None
    decode: float | None = None
    order: float | None = None
    fold: float | None = None
    write: float | None = None


@dataclass(frozen=True, slots=True)
class QuestionTime:
    """How long a question took: the first time in a process, and again."""

    question: str
    is_materialised: bool
    first: float
    again: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one projection in one lake.

    Attributes
    ----------
    materialise_seconds
        How long it takes to materialise a history, or to write a snapshot of a fold; None where that cannot be kept.
    events_a_day
        Over the last thirty days that the projection's categories have.
    """

    taken_at: datetime
    projection: str
    lake_version: int
    position: int | None
    events: int
    events_a_day: float
    machine: Machine
    rebuilds: tuple[Rebuild, ...]
    answers: tuple[QuestionTime, ...]
    materialise_seconds: float | None = None
    materialised_bytes: int | None = None

    @property
    def rebuilt(self) -> pl.DataFrame:
        """One row for each rebuild, as ``Rebuild`` has it, and ``events_per_second``."""
        frame = pl.DataFrame(list(self.rebuilds), schema=_REBUILDS)
        rate = pl.when(pl.col("seconds") > 0).then(pl.col("events") / pl.col("seconds"))
        return frame.select("what", "engine", "run", "events", "seconds", rate.alias("events_per_second"), *frame.columns[5:])

    @property
    def answered(self) -> pl.DataFrame:
        """One row for each question: ``question``, ``is_materialised``, ``first`` and ``again``, in seconds."""
        schema = {"question": pl.String, "is_materialised": pl.Boolean, "first": pl.Float64, "again": pl.Float64}
        return pl.DataFrame(list(self.answers), schema=schema)

    @property
    def cost(self) -> tuple[float, float]:
        """Seconds that a warm rebuild takes whatever there is to fold, and more for each event: a line through quarter, half and all."""
        points = [(one.events, one.seconds) for one in self.rebuilds if one.what in PARTS and one.engine == "best" and one.run == "warm"]
        return fitted(points)

    @property
    def forecast(self) -> pl.DataFrame:
        """How long a full rebuild will take, at the growth of the last thirty days: ``days`` from now, ``events``, ``seconds``."""
        fixed, each = self.cost
        rows = [(days, round(self.events + days * self.events_a_day)) for days in _HORIZONS]
        told = [(days, events, fixed + each * events) for days, events in rows]
        return pl.DataFrame(told, schema={"days": pl.Int64, "events": pl.Int64, "seconds": pl.Float64}, orient="row")

    def advice(self, *, questions_a_day: float = 24) -> Advice:
        """Say whether it pays to keep what is folded, and how often it should be brought up to date.

        A question costs ``read + each * N / 2`` on the average, where N is how many events come between two times that it is kept; keeping
        it costs ``write`` once every N events. With q questions for each event, the sum ``write / N + q * (read + each * N / 2)`` is least
        at ``N = sqrt(2 * write / (q * each))``. It pays where that is less than ``q * (fixed + each * events)``, the cost of folding all.
        """
        fixed, each = self.cost
        kept = next((one.again for one in self.answers if one.question == "state of all" and one.is_materialised), None)
        rebuilt = fixed + each * self.events
        if self.materialise_seconds is None or kept is None or self.events == 0:
            return Advice(pays=False, rebuild=rebuilt, kept=kept, interval=None, days=None)
        if self.events_a_day <= 0 or each <= 0:
            return Advice(pays=kept < rebuilt, rebuild=rebuilt, kept=kept, interval=None, days=None)
        asked = questions_a_day / self.events_a_day
        interval = math.sqrt(2 * self.materialise_seconds / (asked * each))
        cost = self.materialise_seconds / interval + asked * (kept + each * interval / 2)
        return Advice(
            pays=cost < asked * rebuilt, rebuild=rebuilt, kept=kept, interval=max(1, round(interval)), days=interval / self.events_a_day
        )

    def _repr_html_(self) -> str:
        return "".join(frame._repr_html_() for frame in (self.rebuilt, self.answered, self.forecast))


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether a materialised history or a snapshot pays; ``interval`` is in events, ``days`` as long as these take to come."""

    pays: bool
    rebuild: float
    kept: float | None
    interval: int | None
    days: float | None

    def __str__(self) -> str:
        if self.kept is None:
            return f"A rebuild takes {self.rebuild:.2f} s; nothing of this projection can be kept."
        told = f"A rebuild takes {self.rebuild:.2f} s, and {self.kept:.2f} s from what is kept"
        if not self.pays:
            return f"{told}: keeping it does not pay."
        if self.interval is None:
            return f"{told}: keep it once; the history does not grow."
        return f"{told}: keep it every {self.interval:,} events, which is every {self.days:,.1f} days."


PARTS = ("a quarter", "half", "all")
"""What is rebuilt to see how the time grows with the events."""

_REBUILDS = {
    "what": pl.String,
    "engine": pl.String,
    "run": pl.String,
    "events": pl.Int64,
    "seconds": pl.Float64,
    "peak_bytes": pl.Int64,
    **dict.fromkeys(("read", "decode", "order", "fold", "write"), pl.Float64),
}


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the line of least squares through points, where it begins and how it rises; neither is negative.

    >>> fitted([(1, 3), (2, 5), (4, 9)])
    (1.0, 2.0)
    """
    if not points:
        return 0.0, 0.0
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope <= 0:  # too few events for a trend
        return mean_y, 0.0
    if slope * mean_x > mean_y:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return mean_y - slope * mean_x, slope


def keep(measurement: Measurement, directory: Path) -> Path:
    """Keep a measurement in a lake; written aside and moved."""
    folder = directory / FOLDER
    name = f"{measurement.taken_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    aside = folder / f".{name}.json"
    with translated(str(directory)):
        folder.mkdir(exist_ok=True)
        try:
            aside.write_bytes(msgspec.json.format(msgspec.json.encode(measurement)) + b"\n")
            return aside.replace(folder / f"{name}.json")
        finally:
            aside.unlink(missing_ok=True)


def kept(directory: Path) -> list[Measurement]:
    """Return the measurements that are kept in a lake, the oldest first.

    Raises
    ------
    LakeError
        A file is not a measurement.
    """
    found = []
    for file in sorted((directory / FOLDER).glob("*.json")) if (directory / FOLDER).is_dir() else ():
        if file.name.startswith("."):
            continue
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=Measurement))
        except (OSError, msgspec.DecodeError) as error:
            raise LakeError(f"{file} is not a readable measurement ({error}): remove it.") from error
    return sorted(found, key=lambda one: one.taken_at)


def trend(measurements: Sequence[Measurement]) -> pl.DataFrame:
    """Return how measurements changed: one row each, the oldest first, with the warm rebuild of all by the best engine."""
    rows = []
    for one in measurements:
        [all_of_it] = [run for run in one.rebuilds if (run.what, run.engine, run.run) == ("all", "best", "warm")]
        rate = all_of_it.events / all_of_it.seconds if all_of_it.seconds else None
        rows.append(
            (
                one.taken_at,
                one.projection,
                one.events,
                all_of_it.seconds,
                rate,
                all_of_it.peak_bytes,
                str(one.machine),
                one.machine.packages,
            )
        )
    schema = {
        "taken_at": pl.Datetime("us", "UTC"),
        "projection": pl.String(),
        "events": pl.Int64(),
        "seconds": pl.Float64(),
        "events_per_second": pl.Float64(),
        "peak_bytes": pl.Int64(),
        "machine": pl.String(),
        "workbench": pl.String(),
    }
    return pl.DataFrame([(*row[:-1], row[-1].get("workbench")) for row in rows], schema=schema, orient="row")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
