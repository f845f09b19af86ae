"""``diff``: which entities differ between two timelines, in what, and at which event they part."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import polars as pl

from workbench.errors import UsageError
from workbench.fold import vectorised
from workbench.fold.entity_scope import EntityScope, keyed_by_stream, only_streams
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source, Subject, folded_from_the_start, subject_of
from workbench.materialised.key_index import streams_about
from workbench.projection.evaluation import keying
from workbench.projection.payloads import ABSENT, decoder
from workbench.projection.plan import Plan
from workbench.projection.rows import ROW, rows_of
from workbench.projection.values import Misfit
from workbench.replay.divergence import DIVERGED, among, both, first_divergence
from workbench.replay.versions import versions
from workbench.timeline import Timeline

_POINT = ("key", "_position", "_prepare_position")
_EVENT = {"_position": "diverged_position", "_event_id": "diverged_event_id", "_event_type": "diverged_event_type", "_at": "diverged_at"}
_OWN = (*_POINT, "_event_id", "_event_type", "_at", "_there")


_FEW = 100
"""So many streams are looked up by themselves; where edits touch more, everything is folded."""

_FEW_KEYS = 10
"""The same for entities whose keys stand in events."""

_FEW_SEARCHED = 2
"""The same where it takes a look at all events to find those about each of them."""


@dataclass(frozen=True, slots=True)
class _Side:
    """How entities came to be on one side: their fields after every event that changed or ended them.

    ``steps`` has one row for each, in the order of keys and of the log: ``_OWN``, and the fields as the struct ``_fields``, null where the
    entity ended and ``_there`` is false. ``types`` are those of the fields.
    """

    steps: pl.DataFrame
    types: dict[str, pl.DataType]

    def upto(self, position: int | None) -> _Side:
        return self if position is None else replace(self, steps=self.steps.filter(pl.col("_position") <= position))

    def end(self) -> pl.DataFrame:
        """Return the entities that are there in the end."""
        return self.steps.group_by("key", maintain_order=True).last().filter("_there")


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
    if other is None and keyed_by_stream(subject_a):
        whole_a, whole_b = _narrowed(subject_a, whole_a, whole_b)
    touched = _touched_keys(subject_a, whole_a, whole_b) if other is None and key is None else None
    if touched is not None:
        keys, narrowed_a, narrowed_b = touched
        side_a, side_b = (_side_of(subject_a, timeline, keys, errors=errors) for timeline in (narrowed_a, narrowed_b))
    elif other is None and key is None and not isinstance(subject_a, Fold) and _parts_early(subject_a, whole_a, whole_b):
        return _wide(subject_a, whole_a, whole_b, errors=errors)
    elif other is None and not whole_a.edits and _without_end(whole_a) == _without_end(whole_b):
        # Two moments of one history: the later one holds the earlier.
        longer = max(whole_a, whole_b, key=lambda one: one.upto_position if one.upto_position is not None else float("inf"))
        side = _side(subject_a, longer, key=key, errors=errors)
        side_a, side_b = side.upto(whole_a.upto_position), side.upto(whole_b.upto_position)
    else:
        side_a = _side(subject_a, whole_a, key=key, errors=errors)
        side_b = _side(subject_b, whole_b, key=key, errors=errors)
    fields = _compared(side_a, side_b, subject_a, subject_b)
    differing = _differing(_beside(side_a.end(), side_b.end()), fields)
    return _shown(differing, _diverged(side_a, side_b, fields, differing.select("key")), fields)


def _without_end(timeline: Timeline) -> Timeline:
    return replace(timeline, cutoff=None, upto_position=None)


def _narrowed(subject: Subject, a: Timeline, b: Timeline) -> tuple[Timeline, Timeline]:
    """Look only at the streams that edits touch, where they are all that two timelines differ in, and few."""
    if a.edits == b.edits or replace(a, edits=b.edits) != b:
        return a, b
    touched = [side.log.touched(side) for side in (a, b)]
    streams: set[str] = set()
    for rows in touched:
        if rows is None:
            return a, b
        streams.update(rows.filter(pl.col("category").is_in(subject.categories))["stream"])
    if len(streams) > _FEW:
        return a, b
    if not streams:
        # Nothing differs, and nothing has to be read to know it.
        return replace(a, cutoff=None, upto_position=-1, edits=()), replace(b, cutoff=None, upto_position=-1, edits=())
    return only_streams(a, streams), only_streams(b, streams)


def _touched_keys(subject: Subject, a: Timeline, b: Timeline) -> tuple[list[str], Timeline, Timeline] | None:
    """Return the keys of the entities that edits touch, where keys stand in the events, and they are few and all that could differ.

    The timelines come back narrowed to the streams that have events about them, where those are few.
    """
    if isinstance(subject, Fold) or keyed_by_stream(subject) or subject.python_only:
        return None
    if a.edits == b.edits or replace(a, edits=b.edits) != b:
        return None
    keys: set[str] = set()
    streams: set[str] = set()
    finds = {
        handled.type: [keying(branch.key) for branch in handled.branches]
        for handled in subject.types
        if all(branch.key is not None for branch in handled.branches)
    }
    decode = decoder((), whole=True, decimals=False)
    for side in (a, b):
        rows = side.log.touched(side)
        if rows is None or len(finds) < len(subject.types):
            return None
        ours = rows.filter(pl.col("category").is_in(subject.categories), pl.col("type").is_in(list(finds)))
        streams.update(ours["stream"])
        for row in rows_of(ours):
            data, metadata = (ABSENT if row[ROW.index(root)] is None else decode(row[ROW.index(root)]) for root in ("data", "metadata"))
            for find in finds[row[ROW.index("type")]]:
                with suppress(Misfit):  # the fold says so, if it comes to that event
                    if key := find(row, data, metadata):
                        keys.add(key)
        if len(keys) > _FEW_KEYS:
            return None
    plain = replace(a, edits=())
    recorded = streams_about(subject, plain, sorted(keys), searches=len(keys) <= _FEW_SEARCHED) if keys else None
    if recorded is None or len(streams | recorded) > _FEW:
        return (sorted(keys), a, b) if len(keys) <= _FEW_SEARCHED else None
    return sorted(keys), only_streams(a, streams | recorded), only_streams(b, streams | recorded)


def _side_of(subject: Subject, timeline: Timeline, keys: list[str], *, errors: OnError) -> _Side:
    if not keys:
        return _side(subject, replace(timeline, cutoff=None, upto_position=-1, edits=()), key=None, errors=errors)
    sides = [_side(subject, timeline, key=key, errors=errors) for key in keys]
    return _Side(pl.concat([side.steps for side in sides]), sides[0].types)


def _parts_early(plan: Plan, a: Timeline, b: Timeline) -> bool:
    """Whether two timelines are what was recorded and a what-if of it that touches much, by streams that are entities."""
    forked = not a.edits and b.edits and replace(b, edits=()) == a and not b.visible_only
    return bool(forked) and keyed_by_stream(plan) and len(plan.categories) == 1 and vectorised.supports(plan) and not _named_streams(b)


def _named_streams(timeline: Timeline) -> bool:
    return any(selection.streams for selection in timeline.selections)


def _wide(plan: Plan, a: Timeline, b: Timeline, *, errors: OnError) -> pl.DataFrame:
    """Compare two states, and fold again only those entities of which these passes do not tell where they diverge."""
    fields = tuple(field.name for field in plan.fields)
    states, diverged = first_divergence(plan, b, fields=fields, errors=errors)
    ends = (state.select("key", pl.struct(fields or ("key",)).alias("_fields")) for state in states)
    differing = _differing(_beside(*ends), fields)
    diverged = diverged.join(differing, on="key", how="semi")
    left = differing.select("key").join(diverged, on="key", how="anti")
    if left.height:
        streams = f"{plan.categories[0]}-" + left["key"]
        side_a, side_b = both(lambda one: _side(plan, among(one, streams), key=None, errors=errors), a, b)
        diverged = pl.concat([diverged, _diverged(side_a, side_b, fields, left).select(DIVERGED)])
    return _shown(differing, diverged, fields)


def _side(subject: Subject, timeline: Timeline, *, key: str | None, errors: OnError) -> _Side:
    found = versions(subject, timeline, key=key, errors=errors)
    rows, witness = found.rows, found.witness
    steps = rows.select(
        "key",
        pl.col("valid_from_position").alias("_position"),
        pl.col(witness["prepare_position"]).alias("_prepare_position"),
        pl.col(witness["event_id"]).alias("_event_id"),
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
        pl.col(witness["prepare_position"]).alias("_version_prepare"),
        _position="valid_to_position",
        _at="valid_to",
    )
    if ended.height:
        # First: an event that ends an entity and begins it anew leaves it there.
        about = EntityScope.of(subject, timeline, key=key, index=streams_about).timeline
        steps = pl.concat([_endings(ended, subject, about), steps], how="diagonal")
    return _Side(steps.sort(_POINT, maintain_order=True), {name: rows.schema[name] for name in found.fields})


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
    return found.with_columns(pl.lit(value=False).alias("_there")).select(*_OWN)


def _compared(a: _Side, b: _Side, subject_a: Subject, subject_b: Subject) -> tuple[str, ...]:
    """Return the fields to be compared."""
    if isinstance(subject_a, Fold) or isinstance(subject_b, Fold):
        # A fold's fields are those of the states that there are.
        return tuple(dict.fromkeys((*a.types, *b.types)))
    common = tuple(name for name in a.types if name in b.types)
    if not common and (a.types or b.types):
        has = [f"{name} has {', '.join(side.types) or 'none'}" for name, side in ((subject_a.name, a), (subject_b.name, b))]
        raise UsageError(f"The two projections have no field in common to compare: {' and '.join(has)}.")
    for name in common:
        one, two = a.types[name], b.types[name]
        if one != two and not (one.is_numeric() and two.is_numeric()):
            raise UsageError(f"{name} is {one} in {subject_a.name} and {two} in {subject_b.name}: only fields of one type can be compared.")
    return common


def _beside(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Put the entities of both sides side by side."""
    sides = [
        side.select("key", pl.col("_fields").alias(name), pl.lit(value=True).alias(f"_there{name}"))
        for side, name in ((a, "_a"), (b, "_b"))
    ]
    beside = sides[0].join(sides[1], on="key", how="full", coalesce=True)
    return beside.with_columns(pl.col("_there_a", "_there_b").fill_null(value=False)).sort("key")


def _field(frame: pl.DataFrame, side: str, name: str) -> pl.Expr:
    dtype = frame.schema[side]
    has = isinstance(dtype, pl.Struct) and any(field.name == name for field in dtype.fields)
    return pl.col(side).struct.field(name) if has else pl.lit(None)


def _differs(frame: pl.DataFrame, name: str) -> pl.Expr:
    return _field(frame, "_a", name).ne_missing(_field(frame, "_b", name))


def _differing(frame: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows whose two sides are not the same."""
    return frame.filter(pl.any_horizontal(pl.col("_there_a") != pl.col("_there_b"), *(_differs(frame, name) for name in fields)))


def _diverged(a: _Side, b: _Side, fields: tuple[str, ...], keys: pl.DataFrame) -> pl.DataFrame:
    """Return for each of these keys the first event after which the two sides are not the same."""
    steps_a = a.steps.join(keys, on="key", how="semi", maintain_order="left").with_row_index("_row_a")
    steps_b = b.steps.join(keys, on="key", how="semi", maintain_order="left").with_row_index("_row_b")
    # Every event of either side, and the last step of each side at it.
    events = (
        pl.concat([steps_a.drop("_fields", "_there"), steps_b.drop("_fields", "_there")], how="diagonal")
        .sort(_POINT, maintain_order=True)
        .with_columns(pl.col("_row_a", "_row_b").forward_fill().over("key"))
        .unique(_POINT, keep="last", maintain_order=True)
        .join(steps_a.select("_row_a", _a="_fields", _there_a="_there"), on="_row_a", how="left", maintain_order="left")
        .join(steps_b.select("_row_b", _b="_fields", _there_b="_there"), on="_row_b", how="left", maintain_order="left")
        .with_columns(pl.col("_there_a", "_there_b").fill_null(value=False))
    )
    diverged = _differing(events, fields).unique("key", keep="first", maintain_order=True)
    return diverged.select("key", **{name: pl.col(own) for own, name in _EVENT.items()})


def _shown(differing: pl.DataFrame, diverged: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    both = pl.col("_there_a") & pl.col("_there_b")
    named = [pl.when(both & _differs(differing, name)).then(pl.lit(name)) for name in fields]
    return differing.select(
        "key",
        pl.when(both).then(pl.lit("changed")).when(pl.col("_there_b")).then(pl.lit("added")).otherwise(pl.lit("removed")).alias("change"),
        (pl.concat_list(named) if named else pl.lit([], dtype=pl.List(pl.String))).list.drop_nulls().alias("changed_fields"),
        pl.col("_a").alias("before"),
        pl.col("_b").alias("after"),
    ).join(diverged, on="key", how="left", maintain_order="left")
