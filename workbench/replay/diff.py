"""``diff``: which entities differ between two timelines, in what, and at which event they diverge.

``choose`` says how the two sides are found: by reading no more than what can differ. ``divergence`` compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import polars as pl

from workbench.errors import UsageError
from workbench.fold import vectorised
from workbench.fold.entity_scope import EntityScope, keyed_by_stream, only_streams
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError, keyed
from workbench.fold.resolve import Source, Subject, folded_from_the_start, subject_of
from workbench.materialised.key_index import streams_about
from workbench.projection.plan import Plan
from workbench.replay.divergence import DIVERGED, OWN, PLACE, POINT, DiffSide, beside, compared, differing, diverged, first_touched, shown
from workbench.replay.versions import versions
from workbench.timeline import Timeline

_FEW_STREAMS = 100
"""So many streams are looked up by themselves; where edits touch more, everything is folded."""

_FEW_KEYS = 10
"""The same for entities whose keys stand in events."""

_FEW_SEARCHED = 2
"""The same where it takes a look at all events to find those about each of them."""

Answer = TypeVar("Answer")


class Case(Enum):
    """How the two sides of a diff are found, the cheapest first."""

    FEW_STREAMS = "Edits touch few streams, which are the entities: these are folded on each side."
    FEW_KEYS = "Edits touch events about few entities, whose keys stand in the events: these are folded on each side."
    WHOLE_FORK = "A what-if of what was recorded touches many streams, which are the entities: one pass folds both sides."
    TWO_MOMENTS = "The timelines are two moments of one history: the later one is folded, and holds the earlier."
    SEPARATE = "Nothing is known that the two sides share: each is folded by itself."


@dataclass(frozen=True, slots=True)
class ChosenCase:
    """A case, the two timelines as far as they have to be read, and of ``FEW_KEYS`` the entities."""

    case: Case
    a: Timeline
    b: Timeline
    keys: tuple[str, ...] = ()


def diff(
    projection: Source,
    a: Timeline,
    b: Timeline | None = None,
    *,
    other: Source | None = None,
    key: str | None = None,
    errors: OnError = "raise",
) -> pl.DataFrame:
    """Return the entities whose fields differ between two timelines.

    If two timelines differ only in their edits, only entities that the edits touch are folded, as long as these are few.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    a
        The history on the ``before`` side.
    b
        The history on the ``after`` side, such as a later moment or a what-if. May be left out with ``other``: then both projections fold
        ``a``.
    other
        The projection for ``b``, if it is another one. Only fields that both have are compared.
    key
        Only this entity.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` leaves such events out.

    Returns
    -------
    polars.DataFrame
        One row for each entity that differs, sorted by ``key``:

        - ``key``; ``change``: ``added`` (only in ``b``), ``removed`` (only in ``a``) or ``changed``; ``changed_fields``, empty unless
          ``changed``.
        - ``before`` and ``after``: the fields in ``a`` and in ``b`` as structs, null where the entity does not exist.
        - ``diverged_position``, ``diverged_event_id``, ``diverged_event_type`` and ``diverged_at``: the earliest event in log order after
          which the entity differs. Of two moments of one history, that is the first event between them that changed the entity; of a
          what-if, the event that an edit put there, or the recorded one that it took away.

    Raises
    ------
    UsageError
        There is no second history and no ``other``; the two projections have no field in common, or a common field of different types; or
        a timeline selects a part of the events, which would change the states.
    ValueDoesNotFit
        A value does not fit its field, or a stream's name has no key.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> fork = now.drop(stream="user-3", type="user.updated")
    >>> wb.diff(User, now, fork).select("key", "change", "changed_fields", "diverged_position")
    shape: (1, 4)
    ┌─────┬─────────┬────────────────────┬───────────────────┐
    │ key ┆ change  ┆ changed_fields     ┆ diverged_position │
    │ --- ┆ ---     ┆ ---                ┆ ---               │
    │ str ┆ str     ┆ list[str]          ┆ i64               │
    ╞═════╪═════════╪════════════════════╪═══════════════════╡
    │ 3   ┆ changed ┆ ["email", "phone"] ┆ 122400            │
    └─────┴─────────┴────────────────────┴───────────────────┘
    """
    if b is None:
        if other is None:
            raise UsageError("diff() compares two histories, or two projections of one: give a second timeline, or other=.")
        b = a
    subject_a = subject_of(projection, *((a, b) if other is None else (a,)))
    subject_b = subject_a if other is None else subject_of(other, b)
    whole_a = folded_from_the_start(a, subject_a, question="diff")
    whole_b = folded_from_the_start(b, subject_b, question="diff")
    choice = choose(subject_a, whole_a, whole_b, key=key) if other is None else ChosenCase(Case.SEPARATE, whole_a, whole_b)
    match choice.case:
        case Case.WHOLE_FORK:
            assert not isinstance(subject_a, Fold)
            return _whole_fork(subject_a, choice, errors=errors)
        case Case.FEW_KEYS:
            side_a, side_b = (_of_keys(subject_a, one, choice.keys, errors=errors) for one in (choice.a, choice.b))
        case Case.TWO_MOMENTS:
            side_a, side_b = _two_moments(subject_a, choice, key=key, errors=errors)
        case Case.FEW_STREAMS | Case.SEPARATE:
            side_a = _side(subject_a, choice.a, key=key, errors=errors)
            side_b = _side(subject_b, choice.b, key=key, errors=errors)
    fields = compared(side_a, side_b, subject_a, subject_b)
    found = differing(beside(side_a.end(), side_b.end()), fields)
    return shown(found, diverged(side_a, side_b, fields, found.select("key")), fields)


def choose(subject: Subject, a: Timeline, b: Timeline, *, key: str | None) -> ChosenCase:
    """Return the first case that holds of two timelines with one subject."""
    by_stream = keyed_by_stream(subject)
    if a.edits != b.edits and replace(a, edits=b.edits) == b:
        few = _few_streams(subject, a, b) if by_stream else _few_keys(subject, a, b) if key is None else None
        if few is not None:
            return few
        if by_stream and key is None and _is_whole_fork(subject, a, b):
            return ChosenCase(Case.WHOLE_FORK, a, b)
    if not a.edits and _without_end(a) == _without_end(b):
        return ChosenCase(Case.TWO_MOMENTS, a, b)
    return ChosenCase(Case.SEPARATE, a, b)


def _few_streams(subject: Subject, a: Timeline, b: Timeline) -> ChosenCase | None:
    """Return the streams that edits touch, if these are few."""
    streams: set[str] = set()
    for side in (a, b):
        rows = side.log.touched(side)
        if rows is None:
            return None
        streams.update(rows.filter(pl.col("category").is_in(subject.categories))["stream"])
    if len(streams) > _FEW_STREAMS:
        return None
    if not streams:
        return _nothing(a)
    return ChosenCase(Case.FEW_STREAMS, only_streams(a, streams), only_streams(b, streams))


def _few_keys(subject: Subject, a: Timeline, b: Timeline) -> ChosenCase | None:
    """Return the entities that edits touch, if these are few, and the streams that have events about them, where those are few."""
    if isinstance(subject, Fold) or subject.python_only or any(one.key is None for handled in subject.types for one in handled.branches):
        return None
    keys: set[str] = set()
    streams: set[str] = set()
    for side in (a, b):
        rows = side.log.touched(side)
        if rows is None:
            return None
        # An event whose key cannot be told has no effect: it fails, if the fold comes to it.
        found = pl.concat(keyed(subject, [rows]))
        streams.update(found["stream"])
        keys.update(found["key"])
        keys.discard("")
        if len(keys) > _FEW_KEYS:
            return None
    if not keys:
        return _nothing(a)
    asked = tuple(sorted(keys))
    recorded = streams_about(subject, replace(a, edits=()), asked, searches=len(asked) <= _FEW_SEARCHED)
    if recorded is not None and len(streams | recorded) <= _FEW_STREAMS:
        return ChosenCase(Case.FEW_KEYS, only_streams(a, streams | recorded), only_streams(b, streams | recorded), asked)
    return ChosenCase(Case.FEW_KEYS, a, b, asked) if len(asked) <= _FEW_SEARCHED else None


def _nothing(timeline: Timeline) -> ChosenCase:
    """Return the case of edits that touch nothing: nothing differs, and nothing has to be read."""
    empty = replace(timeline, cutoff=None, upto_position=-1, edits=())
    return ChosenCase(Case.TWO_MOMENTS, empty, empty)


def _is_whole_fork(subject: Subject, a: Timeline, b: Timeline) -> bool:
    """Tell whether one pass of the vectorised engine can fold what was recorded, ``a``, and a what-if of it."""
    if isinstance(subject, Fold) or a.edits or b.visible_only or any(selection.streams for selection in b.selections):
        return False
    return len(subject.categories) == 1 and vectorised.supports(subject)


def _without_end(timeline: Timeline) -> Timeline:
    return replace(timeline, cutoff=None, upto_position=None)


def _of_keys(subject: Subject, timeline: Timeline, keys: tuple[str, ...], *, errors: OnError) -> DiffSide:
    sides = [_side(subject, timeline, key=key, errors=errors) for key in keys]
    return DiffSide(pl.concat([side.steps for side in sides]), sides[0].types)


def _two_moments(subject: Subject, choice: ChosenCase, *, key: str | None, errors: OnError) -> tuple[DiffSide, DiffSide]:
    a, b = choice.a, choice.b
    longer = max(a, b, key=lambda one: one.upto_position if one.upto_position is not None else float("inf"))
    side = _side(subject, longer, key=key, errors=errors)
    return side.upto(a.upto_position), side.upto(b.upto_position)


def _whole_fork(plan: Plan, choice: ChosenCase, *, errors: OnError) -> pl.DataFrame:
    """Compare two states, and the versions of only those entities of which one pass over both does not tell where they diverge."""
    fork, fields = choice.b, tuple(field.name for field in plan.fields)
    a, b = vectorised.beside(plan, fork, errors=errors)
    ends = (side.state.select("key", pl.struct(fields or ("key",)).alias("_fields")) for side in (a, b))
    found = differing(beside(*ends), fields)
    at = first_touched(plan, a, b, fields).join(found, on="key", how="semi")
    named = fork.log.named(fork, at.select(PLACE))
    known = at.join(named, on=PLACE, how="left").rename({"position": "diverged_position", "event_id": "diverged_event_id"}).select(DIVERGED)
    left = found.select("key").join(known, on="key", how="anti")
    if left.height:
        side_a, side_b = _both(lambda one: _side(plan, one, keys=left["key"], errors=errors), choice.a, fork)
        known = pl.concat([known, diverged(side_a, side_b, fields, left).select(DIVERGED)])
    return shown(found, known, fields)


def _both(ask: Callable[[Timeline], Answer], a: Timeline, b: Timeline) -> tuple[Answer, Answer]:
    """Ask of two timelines at once: where the one has work for one processor only, the other takes the rest."""
    with ThreadPoolExecutor(1, thread_name_prefix="side") as beside:
        other = beside.submit(ask, b)
        return ask(a), other.result()


def _side(subject: Subject, timeline: Timeline, *, key: str | None = None, keys: pl.Series | None = None, errors: OnError) -> DiffSide:
    """Fold one side: all entities, the one with a key, or those with some keys."""
    found = versions(subject, timeline, key=key, keys=keys, errors=errors)
    rows, event_columns = found.rows, found.event_columns
    steps = rows.select(
        "key",
        pl.col("valid_from_position").alias("_position"),
        pl.col(event_columns["prepare_position"]).alias("_prepare_position"),
        pl.col(event_columns["event_id"]).alias("_event_id"),
        pl.col("event_type").alias("_event_type"),
        pl.col("valid_from").alias("_at"),
        pl.lit(value=True).alias("_there"),
        pl.struct(found.fields or ("key",)).alias("_fields"),
    )
    # The next version of the same life begins with the event that ends this one; all else is the end of the life.
    goes_on = (pl.col("event_count") > 1).shift(-1).over("key").fill_null(value=False)
    ended = rows.filter(pl.col("valid_to_position").is_not_null() & ~goes_on).select(
        "key",
        "valid_from_position",
        pl.col(event_columns["prepare_position"]).alias("_version_prepare"),
        _position="valid_to_position",
        _at="valid_to",
    )
    if ended.height:
        # First: an event that ends an entity and begins it anew leaves it there.
        about = EntityScope.of(subject, timeline, key=key, index=streams_about).timeline
        steps = pl.concat([_endings(ended, subject, about), steps], how="diagonal")
    return DiffSide(steps.sort(POINT, maintain_order=True), {name: rows.schema[name] for name in found.fields})


def _endings(ended: pl.DataFrame, subject: Subject, timeline: Timeline) -> pl.DataFrame:
    """Return the events that ended entities, as steps, given the positions at which they did."""
    events = (
        timeline.categories(*subject.categories)
        .events()
        .filter(pl.col("position").is_in(ended["_position"].unique().implode()))
        .select(
            pl.col("stream").str.slice(pl.col("category").str.len_chars() + 1).alias("_id"),
            _position="position",
            _at="recorded_at",
            _prepare_position="prepare_position",
            _event_id="event_id",
            _event_type="type",
        )
        .collect()
    )
    if not isinstance(subject, Fold):
        ending = [
            handled.type for handled in subject.types if any(handler.deletes for branch in handled.branches for handler in branch.handlers)
        ]
        events = events.filter(pl.col("_event_type").is_in(ending))
    left, right = (["key", "_position", "_at"], ["_id", "_position", "_at"]) if keyed_by_stream(subject) else (["_position", "_at"],) * 2
    later = (pl.col("_position") > pl.col("valid_from_position")) | (pl.col("_prepare_position") > pl.col("_version_prepare"))
    # Only an explicit transaction has several events at one position; the first of them that could have ended the entity is taken.
    found = (
        ended.join(events, left_on=left, right_on=right, how="left", maintain_order="left_right")
        .filter(later)
        .unique(["key", "valid_from_position", "_version_prepare"], keep="first", maintain_order=True)
    )
    return found.with_columns(pl.lit(value=False).alias("_there")).select(*OWN)
