"""``diff``: which entities differ between two timelines, in what, and at which event they part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from workbench.errors import UsageError
from workbench.replay.fold import OnError
from workbench.replay.function import Fold
from workbench.replay.subject import Source, Subject, folded_from_the_start, keyed_by_stream, subject_of
from workbench.replay.versions import versions
from workbench.timeline import Timeline

_POINT = ("key", "_position", "_prepare_position")
_EVENT = {"_position": "parted_position", "_event_id": "parted_event_id", "_event_type": "parted_event_type", "_at": "parted_at"}
_OWN = (*_POINT, "_event_id", "_event_type", "_at", "_there")


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
    projection: Source, a: Timeline, b: Timeline, *, other: Source | None = None, key: str | None = None, errors: OnError = "raise"
) -> pl.DataFrame:
    """Return the entities that differ between two timelines: one row for each, sorted by key.

    Fields are compared, and not which events led to them.

    Parameters
    ----------
    other
        The projection for ``b``, if it is another one; the fields that both have are compared then.
    key
        Only this entity.

    Returns
    -------
    polars.DataFrame
        ``key``; ``change``: ``added`` (only in ``b``), ``removed`` (only in ``a``) or ``changed``; ``changed_fields``, empty unless
        ``changed``; ``before`` and ``after``, structs of the fields in ``a`` and in ``b``, null where the entity is not there; and the
        earliest event in log order after which the entity is not the same in both: ``parted_position``, ``parted_event_id``,
        ``parted_event_type``, ``parted_at``. Of two moments of one history that is the first event between them that changed it.

    Raises
    ------
    UsageError, ValueDoesNotFit
        As ``rebuild`` does; or the two projections have no field in common, or one of different types.
    """
    subject_a = subject_of(projection, a)
    subject_b = subject_a if other is None else subject_of(other, b)
    whole_a = folded_from_the_start(a, subject_a, question="diff")
    whole_b = folded_from_the_start(b, subject_b, question="diff")
    if other is None and _without_end(whole_a) == _without_end(whole_b):
        # Two moments of one history: the later one holds the earlier.
        longer = max(whole_a, whole_b, key=lambda one: one.last if one.last is not None else float("inf"))
        side = _side(subject_a, longer, key=key, errors=errors)
        side_a, side_b = side.upto(whole_a.last), side.upto(whole_b.last)
    else:
        side_a = _side(subject_a, whole_a, key=key, errors=errors)
        side_b = _side(subject_b, whole_b, key=key, errors=errors)
    fields = _compared(side_a, side_b, subject_a, subject_b)
    differing = _differing(_beside(side_a.end(), side_b.end()), fields)
    return _shown(differing, _parted(side_a, side_b, fields, differing.select("key")), fields)


def _without_end(timeline: Timeline) -> Timeline:
    return replace(timeline, cutoff=None, last=None)


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
        steps = pl.concat([_endings(ended, subject, timeline), steps], how="diagonal")
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


def _parted(a: _Side, b: _Side, fields: tuple[str, ...], keys: pl.DataFrame) -> pl.DataFrame:
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
    parted = _differing(events, fields).unique("key", keep="first", maintain_order=True)
    return parted.select("key", **{name: pl.col(own) for own, name in _EVENT.items()})


def _shown(differing: pl.DataFrame, parted: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    both = pl.col("_there_a") & pl.col("_there_b")
    named = [pl.when(both & _differs(differing, name)).then(pl.lit(name)) for name in fields]
    return differing.select(
        "key",
        pl.when(both).then(pl.lit("changed")).when(pl.col("_there_b")).then(pl.lit("added")).otherwise(pl.lit("removed")).alias("change"),
        (pl.concat_list(named) if named else pl.lit([], dtype=pl.List(pl.String))).list.drop_nulls().alias("changed_fields"),
        pl.col("_a").alias("before"),
        pl.col("_b").alias("after"),
    ).join(parted, on="key", how="left", maintain_order="left")
