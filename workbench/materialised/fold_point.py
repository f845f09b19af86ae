"""Finds a projection's materialised data and checks that it is still valid."""

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
"""Increase this when the engines' results or the stored format change. Older data is then ignored."""

WORTH_KEEPING = 100_000
"""A question updates materialised data if at least this many events are new. Below that, folding them again is faster."""

_MOMENTS: dict[tuple[str, str, int, int], Moment | None] = {}
"""The moments of positions in versions of lakes. A moment never changes, and finding one takes a query."""


@dataclass(frozen=True, slots=True)
class KeptState:
    """A state read from materialised data. ``counts`` and ``failures`` are None if only a replay could tell."""

    state: pl.DataFrame
    counts: Counts | None
    failures: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class FoldPoint:
    """The place of a subject's materialised data. ``key`` is None if the subject cannot be materialised."""

    snapshot: RecordedLog
    stored: StoredFiles
    key: str | None

    @classmethod
    def of(cls, subject: Subject, timeline: Timeline, *, traced: bool = False) -> FoldPoint | None:
        """Return the place for a subject; None for a timeline that cannot be materialised.

        Parameters
        ----------
        traced
            Whether the plan already has event columns: see ``workbench.fold.event_columns``.
        """
        if not is_plain(timeline):
            return None
        plan = subject if isinstance(subject, Fold) or traced else with_event_columns(subject)[0]
        return cls.named(plan.fingerprint() if isinstance(plan, Fold) else fingerprint(plan), timeline.log)

    @classmethod
    def named(cls, meaning: str | None, snapshot: RecordedLog) -> FoldPoint | None:
        """Return the place for a fingerprint, which is None if there is none; None for a lake that cannot hold materialised data."""
        stored = StoredFiles.of(snapshot)
        if stored is None:
            return None
        if meaning is None:
            return cls(snapshot, stored, None)
        text = "\n".join([str(KEPT_VERSION), snapshot.rule, meaning])
        return cls(snapshot, stored, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def find(self) -> Manifest | None:
        """Return the manifest, with the moments that are still part of this lake's log; None without one."""
        manifest = None if self.key is None else self.stored.find(self.key)
        if manifest is None:
            return None
        moments = tuple(moment for moment in manifest.moments if self._holds(moment))
        return replace(manifest, moments=moments) if moments else None

    def moment(self, timeline: Timeline, *, before: Moment | None, result: FoldResult, parts: Sequence[FilePart]) -> Moment:
        """Return the moment at the end of a timeline that has events. Writes the failed events into a file.

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
        """Return the failed events up to a moment, or up to a position before it.

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
        """Return a state with the counts and failures that are known.

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
        """Whether enough events came after a moment to make an update worthwhile."""
        return sum(file.rows for file in self.snapshot.files) - moment.events >= WORTH_KEEPING

    def moment_at(self, position: int) -> Moment | None:
        """Return a moment that knows only its last event; None before the first event."""
        asked = (self.snapshot.path, self.snapshot.table, self.snapshot.version, position)
        if asked not in _MOMENTS:
            _MOMENTS[asked] = moment_at(self.snapshot, position)
        return _MOMENTS[asked]

    def _holds(self, moment: Moment) -> bool:
        last = self.snapshot.last_position()
        if last is not None and moment.position > last:
            return True  # this process has read the lake at this moment before, and the table's id is the same
        found = self.moment_at(moment.position)
        # If an export split a transaction, later events at the same position change the count.
        return found is not None and (found.position, found.event_id, found.events) == (moment.position, moment.event_id, moment.events)


def is_plain(timeline: Timeline) -> bool:
    """Whether a timeline is the recorded log up to some position, unfiltered and unedited."""
    return replace(timeline, cutoff=None, upto_position=None) == Timeline(log=timeline.log)


def may_be_kept(timeline: Timeline) -> bool:
    """Whether the lake may hold materialised data. Cheaper than finding it."""
    stored = StoredFiles.of(timeline.log)
    return stored is not None and stored.root.is_dir()


def counted(moment: Moment) -> Counts:
    """Return what became of the events up to a moment."""
    return Counts(**moment.counts, unhandled=moment.unhandled)
