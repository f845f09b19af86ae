"""Compares two sides of a diff: which entities differ, in which fields, and at which event they first differ.

Frames come in and go out; ``diff`` finds the sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from workbench.errors import UsageError
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.resolve import Subject
from workbench.fold.vectorised import Side
from workbench.projection.plan import Plan

POINT = ("key", "_position", "_prepare_position")
OWN = (*POINT, "_event_id", "_event_type", "_at", "_there")
DIVERGED = ("key", "diverged_position", "diverged_event_id", "diverged_event_type", "diverged_at")
_EVENT = {"_position": "diverged_position", "_event_id": "diverged_event_id", "_event_type": "diverged_event_type", "_at": "diverged_at"}
PLACE = ("position", "prepare_position")


@dataclass(frozen=True, slots=True)
class DiffSide:
    """How entities came to be on one side: their fields after every event that changed or ended them.

    ``steps`` has one row for each, in the order of keys and of the log: ``OWN``, and the fields as the struct ``_fields``, null where the
    entity ended and ``_there`` is false. ``types`` are those of the fields.
    """

    steps: pl.DataFrame
    types: dict[str, pl.DataType]

    def upto(self, position: int | None) -> DiffSide:
        return self if position is None else replace(self, steps=self.steps.filter(pl.col("_position") <= position))

    def end(self) -> pl.DataFrame:
        """Return the entities that are there in the end."""
        return self.steps.group_by("key", maintain_order=True).last().filter("_there")


def compared(a: DiffSide, b: DiffSide, subject_a: Subject, subject_b: Subject) -> tuple[str, ...]:
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


def beside(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
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


def differing(frame: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows whose two sides are not the same."""
    return frame.filter(pl.any_horizontal(pl.col("_there_a") != pl.col("_there_b"), *(_differs(frame, name) for name in fields)))


def diverged(a: DiffSide, b: DiffSide, fields: tuple[str, ...], keys: pl.DataFrame) -> pl.DataFrame:
    """Return for each of these keys the first event after which the two sides are not the same."""
    steps_a = a.steps.join(keys, on="key", how="semi", maintain_order="left").with_row_index("_row_a")
    steps_b = b.steps.join(keys, on="key", how="semi", maintain_order="left").with_row_index("_row_b")
    # Every event of either side, and the last step of each side at it.
    events = (
        pl.concat([steps_a.drop("_fields", "_there"), steps_b.drop("_fields", "_there")], how="diagonal")
        .sort(POINT, maintain_order=True)
        .with_columns(pl.col("_row_a", "_row_b").forward_fill().over("key"))
        .unique(POINT, keep="last", maintain_order=True)
        .join(steps_a.select("_row_a", _a="_fields", _there_a="_there"), on="_row_a", how="left", maintain_order="left")
        .join(steps_b.select("_row_b", _b="_fields", _there_b="_there"), on="_row_b", how="left", maintain_order="left")
        .with_columns(pl.col("_there_a", "_there_b").fill_null(value=False))
    )
    diverged = differing(events, fields).unique("key", keep="first", maintain_order=True)
    return diverged.select("key", **{name: pl.col(own) for own, name in _EVENT.items()})


def shown(differing: pl.DataFrame, diverged: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    both = pl.col("_there_a") & pl.col("_there_b")
    named = [pl.when(both & _differs(differing, name)).then(pl.lit(name)) for name in fields]
    return differing.select(
        "key",
        pl.when(both).then(pl.lit("changed")).when(pl.col("_there_b")).then(pl.lit("added")).otherwise(pl.lit("removed")).alias("change"),
        (pl.concat_list(named) if named else pl.lit([], dtype=pl.List(pl.String))).list.drop_nulls().alias("changed_fields"),
        pl.col("_a").alias("before"),
        pl.col("_b").alias("after"),
    ).join(diverged, on="key", how="left", maintain_order="left")


def first_touched(plan: Plan, a: Side, b: Side, fields: Sequence[str]) -> pl.DataFrame:
    """Return for entities that diverge at the first applied event that edits touch that event, as ``DIVERGED`` has it but for its id.

    What two histories of an entity share does the same to equal states. So they can only diverge at an event that edits touch, and the
    first one that is applied on either side mostly tells: if the states after it differ, it is the event. Entities whose states do not
    differ there are left out, and have to be compared version by version.

    Parameters
    ----------
    a, b
        What was recorded, and a what-if of it.

    Returns
    -------
    polars.DataFrame
        ``key``, ``position``, ``prepare_position``, ``diverged_at``, ``diverged_event_type``.
    """
    unknown = pl.concat([a.unknown, b.unknown])
    sides = [
        side.marks.select("key", pl.struct(PLACE).alias(f"at_{name}"), pl.exclude("key", *PLACE).name.suffix(f"_{name}"))
        for side, name in ((a, "a"), (b, "b"))
    ]
    found = sides[0].join(sides[1], on="key", how="full", coalesce=True).filter(~pl.col("key").is_in(unknown.implode()))
    (position_a, prepare_a), (position_b, prepare_b) = ([pl.col(f"at_{name}").struct.field(one) for one in PLACE] for name in "ab")
    earlier = (position_a < position_b) | ((position_a == position_b) & (prepare_a < prepare_b))
    same = (position_a == position_b) & (prepare_a == prepare_b)
    # Where only one side applies the event, the other still is what both were before it.
    by_a = (earlier | pl.col("at_b").is_null()).fill_null(value=False)
    by_b = ~by_a & ~same.fill_null(value=False)
    found = found.with_columns(
        _there_a=pl.when(by_b).then("there_before_b").otherwise("there_after_a"),
        _there_b=pl.when(by_a).then("there_before_a").otherwise("there_after_b"),
        _a=pl.when(by_b).then("before_b").otherwise("after_a"),
        _b=pl.when(by_a).then("before_a").otherwise("after_b"),
        _by_a=by_a,
    )
    differs = pl.any_horizontal(
        pl.col("_there_a") != pl.col("_there_b"),
        *(pl.col("_a").struct.field(one).ne_missing(pl.col("_b").struct.field(one)) for one in fields),
    )

    def of_side(column: str) -> pl.Expr:
        return pl.when("_by_a").then(f"{column}_a").otherwise(f"{column}_b")

    types = pl.Series([handled.type for handled in plan.types], dtype=pl.String)
    return (
        found.filter(differs)
        .select("key", of_side("at").struct.unnest(), diverged_at=of_side("recorded_at"), code=of_side("code"))
        .with_columns(diverged_event_type=pl.col("code").map_batches(types.gather, return_dtype=pl.String))
        .drop("code")
    )
