"""Where in a lake what is kept of a projection or fold stands, whether it may be kept, and what of it still holds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_columns import with_event_columns
from workbench.fold.resolve import Subject
from workbench.fold.results import FAILURES_SCHEMA, Counts, FoldResult
from workbench.materialised.stored_file import FilePart, Manifest, Moment, StoredFiles, moment_at
from workbench.projection.fingerprint import fingerprint
from workbench.timeline import RecordedLog, Timeline

KEPT_VERSION = 2
"""Raised whenever the engines give something else for the same plan, or other things of it are kept: what is older is not read then."""

WORTH_KEEPING = 100_000
"""New events of the log from which on a question brings what is kept up to date; fewer are folded again each time, which is quicker."""

_MOMENTS: dict[tuple[str, str, int, int], Moment | None] = {}
"""What versions of lakes hold up to a position. They never change, and each takes a query."""


@dataclass(frozen=True, slots=True)
class KeptState:
    """What is kept gives for the end of a timeline; ``counts`` and ``failures`` are None where only a replay could tell."""

    state: pl.DataFrame
    counts: Counts | None
    failures: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class FoldPoint:
    """Where what is kept of a subject stands, if anything is; ``key`` is None if nothing may be."""

    snapshot: RecordedLog
    stored: StoredFiles
    key: str | None

    @classmethod
    def of(cls, subject: Subject, timeline: Timeline, *, traced: bool = False) -> FoldPoint | None:
        """Return the place for a subject; None for a timeline of which nothing can be kept.

        Parameters
        ----------
        traced
            Whether a plan has its event_columns already: see ``workbench.fold.event_columns``.
        """
        if not is_plain(timeline):
            return None
        plan = subject if isinstance(subject, Fold) or traced else with_event_columns(subject)[0]
        return cls.named(plan.fingerprint() if isinstance(plan, Fold) else fingerprint(plan), timeline.log)

    @classmethod
    def named(cls, meaning: str | None, snapshot: RecordedLog) -> FoldPoint | None:
        """Return the place for what has a meaning, which is None if it cannot be told; None for a lake in which nothing can be kept."""
        stored = StoredFiles.of(snapshot)
        if stored is None:
            return None
        if meaning is None:
            return cls(snapshot, stored, None)
        text = "\n".join([str(KEPT_VERSION), snapshot.rule, meaning])
        return cls(snapshot, stored, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def find(self) -> Manifest | None:
        """Return what is kept, with the moments that this lake's log still holds."""
        manifest = None if self.key is None else self.stored.find(self.key)
        if manifest is None:
            return None
        moments = tuple(moment for moment in manifest.moments if self._holds(moment))
        return replace(manifest, moments=moments) if moments else None

    def moment(self, timeline: Timeline, *, before: Moment | None, result: FoldResult, parts: Sequence[FilePart]) -> Moment:
        """Return the moment at which a timeline ends, whose cut is not empty; the events that were left out are written into a file.

        Parameters
        ----------
        before
            The moment from which the replay went on that gave ``result``.
        """
        assert self.key is not None
        assert timeline.position is not None
        moment = self.moment_at(timeline.position)
        assert moment is not None
        first, file = (None, None) if before is None else (before.first_failure, before.failures)
        counts = result.counts if before is None else counted(before) + result.counts
        if result.failures.height:
            failures = result.failures if before is None else pl.concat([self.failures(before), result.failures])
            content = io.BytesIO()
            failures.write_ipc(content)
            first, file = int(failures["position"][0]), self.stored.write_bytes(self.key, content.getvalue(), rows=failures.height)
        named = {name: getattr(counts, name) for name in ("applied", "unmatched", "orphans", "keyless", "failed")}
        return replace(moment, parts=tuple(parts), first_failure=first, failures=file, counts=named, unhandled=dict(counts.unhandled))

    def failures(self, moment: Moment, *, upto: int | None = None) -> pl.DataFrame:
        """Return the events that were left out up to a moment, or to a position before it.

        Raises
        ------
        Unusable
            The file that has them is missing or damaged.
        """
        assert self.key is not None
        if moment.failures is None:
            return pl.DataFrame(schema=FAILURES_SCHEMA)
        found = pl.read_ipc(io.BytesIO(self.stored.read_bytes(self.key, moment.failures)))
        return found if upto is None else found.filter(pl.col("position") <= upto)

    def answer(self, moment: Moment, result: FoldResult | None, *, state: pl.DataFrame, end: int, key: str | None) -> KeptState:
        """Return a state with what can be told of the events that led to it.

        Parameters
        ----------
        result
            What was folded from the moment to the end, if anything was.
        end
            The position at the end, which may lie before the moment.

        Raises
        ------
        Unusable
            As ``failures`` does.
        """
        since = FoldResult(state, None, Counts(), pl.DataFrame(schema=FAILURES_SCHEMA)) if result is None else result
        counts = counted(moment) + since.counts if key is None and end >= moment.position else None
        if moment.first_failure is None or end < moment.first_failure:
            return KeptState(state, counts, since.failures)
        failures = None if key is not None else pl.concat([self.failures(moment, upto=end), since.failures])
        return KeptState(state, counts, failures)

    def is_far_behind(self, moment: Moment) -> bool:
        """Whether so many events of the log came after a moment that it should be brought up to date."""
        return sum(file.rows for file in self.snapshot.files) - moment.events >= WORTH_KEEPING

    def moment_at(self, position: int) -> Moment | None:
        """Return up to which event the log goes at a position, and nothing else of a moment; None before the first event."""
        asked = (self.snapshot.path, self.snapshot.table, self.snapshot.version, position)
        if asked not in _MOMENTS:
            _MOMENTS[asked] = moment_at(self.snapshot, position)
        return _MOMENTS[asked]

    def _holds(self, moment: Moment) -> bool:
        last = self.snapshot.last_position()
        if last is not None and moment.position > last:
            return True  # this reader opened the lake before; the table's id says that it is the same
        found = self.moment_at(moment.position)
        # An event that was added at the very position, of a transaction that an export had parted, shows in their number.
        return found is not None and (found.position, found.event_id, found.events) == (moment.position, moment.event_id, moment.events)


def is_plain(timeline: Timeline) -> bool:
    """Whether a timeline is all that was recorded up to some position, and nothing else."""
    return replace(timeline, cutoff=None, upto_position=None) == Timeline(log=timeline.log)


def may_be_kept(timeline: Timeline) -> bool:
    """Whether anything at all is kept in a timeline's lake, which costs less to tell than what is meant."""
    stored = StoredFiles.of(timeline.log)
    return stored is not None and stored.root.is_dir()


def counted(moment: Moment) -> Counts:
    """Return what became of the events up to a moment."""
    return Counts(**moment.counts, unhandled=moment.unhandled)
