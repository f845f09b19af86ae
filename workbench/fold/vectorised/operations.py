"""Runs the operations on one field for all entities in a chunk, and returns the field's value after each operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workbench.fold.vectorised import json_columns
from workbench.fold.vectorised.column_expressions import Scope
from workbench.fold.vectorised.field_columns import SMALL, CodedColumn, Entities, FieldColumn, NumberColumn, NumbersHeld, TextColumn
from workbench.fold.vectorised.json_columns import DECODE, Fitted, Mask, Numbers, fitted, unquoted
from workbench.fold.vectorised.segmented_scans import running
from workbench.fold.vectorised.set_operations import Deed, done
from workbench.projection import plan as ir
from workbench.projection.plan import Kind
from workbench.projection.values import Misfit, fitting, fitting_elements

Steps = npt.NDArray[np.int64]

_SET, _ADD, _MAX, _MIN = 0, 1, 2, 4
_BITS: dict[str, int] = {"set": _SET, "add": _ADD, "subtract": _ADD, "max": _MAX, "min": _MIN}
_UFUNCS: dict[int, np.ufunc] = {_ADD: np.add, _MAX: np.maximum, _MIN: np.minimum}
_INT64 = 2**63
_FEW_ELEMENTS = 16
"""Up to this many distinct set elements are processed one element at a time over all steps; more would need too many passes."""
_SAFE = 2.0**62
"""If the sum of absolute values, computed in doubles, is below this, no partial sum leaves int64."""


@dataclass(frozen=True, slots=True)
class Use:
    """One operation of a handler, and the running steps of that handler, ascending."""

    operation: ir.Operation
    rank: int
    """The operation's index in its handler."""
    steps: Steps
    scope: Scope


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value of a field after each operation, in the order of the steps.

    ``doubtful`` are steps whose values may not fit. Values after them in the same life are undefined.
    """

    steps: Steps
    held: Any
    doubtful: Steps
    quoted: bool = False
    """Whether texts are still JSON strings."""
    escapes: bool = False
    """Whether texts may contain escapes."""

    def plain(self) -> Outcome:
        """Return the outcome with its texts unquoted."""
        return Outcome(self.steps, unquoted(self.held, escapes=self.escapes), self.doubtful) if self.quoted else self


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The operands of several operations: ``values`` are concatenated; the rest is in the order of the steps, sorted by ``order``."""

    steps: Steps
    bits: npt.NDArray[np.int64]
    values: list[Any]
    order: npt.NDArray[np.int64]
    null: Mask
    doubtful: Steps


Base = Callable[[Steps], Any]
"""Returns the field's value before the first step of lives, which are given by number."""


def outcome(column: FieldColumn[Any], uses: Sequence[Use], *, lives: npt.NDArray[np.int64], base: Base) -> Outcome:
    """Run the operations on one field.

    Parameters
    ----------
    uses
        At least one.
    lives
        The life of each running step.
    """
    match column:
        case NumberColumn():
            return _number_outcome(column, uses, lives, base)
        case TextColumn():
            return _text_outcome(column, uses, lives, base)
    assert isinstance(column, CodedColumn)
    deeds: list[Deed] = []
    gathered = _gathered(uses, [_deeds(use, column, deeds) for use in uses])
    which = np.concatenate(gathered.values)[gathered.order]
    of_life = lives[gathered.steps]
    held = _replayed(column, deeds, which, _changes(of_life), base(of_life))
    return Outcome(gathered.steps, held, gathered.doubtful)


def _number_outcome(column: NumberColumn, uses: Sequence[Use], lives: npt.NDArray[np.int64], base: Base) -> Outcome:
    gathered = _gathered(uses, [_numbers(use, column) for use in uses])
    values = np.concatenate(gathered.values)[gathered.order]
    of_life = lives[gathered.steps]
    held, null, doubt = scanned(gathered.bits, values, gathered.null, _changes(of_life), base(of_life))
    kind = column.field.kind
    if kind.name == "decimal" and kind.precision < 19:
        doubt |= np.abs(held) >= 10**kind.precision
    return Outcome(gathered.steps, (held, null), np.concatenate([gathered.doubtful, gathered.steps[doubt]]))


def _text_outcome(column: TextColumn, uses: Sequence[Use], lives: npt.NDArray[np.int64], base: Base) -> Outcome:
    own = column.field.kind.name == "text" and all(_is_own_text(use.operation.value) for use in uses)
    gathered = _gathered(uses, [_own_texts(use) if own else _texts(use, column.field.kind) for use in uses])
    values = pl.concat(gathered.values, rechunk=True)
    if not _rising(gathered.order):
        values = values.gather(gathered.order)
    if gathered.null.any():
        values = pl.repeat(None, len(values), dtype=pl.String, eager=True).zip_with(pl.Series(gathered.null), values)
    if not gathered.bits.any():
        escapes = any(use.scope.escapes(use.operation.value) for use in uses)
        return Outcome(gathered.steps, values, gathered.doubtful, quoted=column.field.kind.name == "text" and not own, escapes=escapes)
    # Compare texts by their ranks in the order of code points.
    of_life = lives[gathered.steps]
    before = base(of_life)
    whole = pl.concat([values if own else unquoted(values), before])
    names = whole.drop_nulls().unique().sort()
    ranks = whole.rank("dense").fill_null(1).to_numpy().astype(np.int64) - 1
    ranked_base = (ranks[len(values) :], before.is_null().to_numpy())
    held, null, _ = scanned(gathered.bits, ranks[: len(values)], gathered.null, _changes(of_life), ranked_base)
    return Outcome(gathered.steps, names.gather(pl.Series(pa.array(held, mask=null))), gathered.doubtful)


def scanned(verbs: npt.NDArray[np.int64], values: Numbers, null: Mask, begins: Mask, base: NumbersHeld) -> tuple[Numbers, Mask, Mask]:
    """Return a number after each operation, whether it is null, and whether it is in doubt.

    ``verbs`` are bits; differences are sums of negated values. ``begins`` marks the first operation of each life, and ``base`` is the value
    before it. Each ``set`` begins a new segment.
    """
    doubt = np.zeros(len(values), dtype=np.bool_)
    sets = verbs == _SET
    if sets.all():
        return values, null, doubt
    results = values.copy()
    first = begins | sets
    starts = np.flatnonzero(first)
    bits = np.bitwise_or.reduceat(verbs, starts)
    lengths = np.diff(np.append(starts, len(values)))
    of_row = np.repeat(bits, lengths)
    least, greatest = (-np.inf, np.inf) if values.dtype == np.float64 else (-_INT64, _INT64 - 1)
    before, before_null = base
    head = first & ~sets
    with np.errstate(over="ignore", invalid="ignore"):
        for bit, nothing in ((_ADD, 0), (_MAX, least), (_MIN, greatest)):
            here = of_row == bit
            if not here.any():
                continue
            ufunc = _UFUNCS[bit]
            operands = np.where(null & here, nothing, values)
            heads = np.flatnonzero(head & here)
            operands[heads] = ufunc(np.where(before_null[heads], nothing, before[heads]), operands[heads])
            if here.all():
                results = running(ufunc, operands, first)
            else:
                results[here] = running(ufunc, operands[here], first[here])
            if bit == _ADD and values.dtype == np.int64:
                sizes = np.abs(values.astype(np.float64)) + np.where(head, np.abs(before.astype(np.float64)), 0.0)
                doubt |= here & np.repeat(np.add.reduceat(sizes, starts) >= _SAFE, lengths)
    for number in np.flatnonzero(np.isin(bits, (_SET, _ADD, _MAX, _MIN), invert=True)).tolist():
        start = int(starts[number])
        segment_ = slice(start, start + int(lengths[number]))
        held = None if sets[start] or before_null[start] else before[start].item()
        found = _one_by_one(verbs[segment_], values[segment_], null[segment_], held)
        doubt[segment_] = found is None
        results[segment_] = values[segment_] if found is None else found
    if values.dtype == np.float64:
        doubt |= ~np.isfinite(results)
    return results, null & sets, doubt


def _one_by_one(verbs: npt.NDArray[np.int64], values: Numbers, null: Mask, before: Any) -> list[Any] | None:
    """Scan a segment that has both sums and extremes; return None if a value leaves int64."""
    results = []
    held = before
    for verb, value, is_null in zip(verbs.tolist(), values.tolist(), null.tolist(), strict=True):
        if verb == _SET:
            held = None if is_null else value
        elif verb == _ADD:
            held = (held or 0) + value
        else:
            held = value if held is None else (max if verb == _MAX else min)(held, value)
        if isinstance(held, int) and not -_INT64 <= held < _INT64:
            return None
        results.append(0 if held is None else held)
    return results


def _replayed(column: CodedColumn, deeds: Sequence[Deed], which: npt.NDArray[np.int64], begins: Mask, base: Entities) -> Entities:
    """Return the code of a set or list after each operation; repeated operations on equal values are computed once."""
    if column.field.kind.name == "set":
        elements = {element for verb, _, operand in deeds if verb != "set" and operand is not None for element in operand}
        if len(elements) <= _FEW_ELEMENTS and _are_small(column, deeds, base[begins]):
            return _side_by_side(column, deeds, which, begins, base, elements=sorted(elements))
    known: dict[int, int] = {}
    count = len(deeds)
    results = []
    held = -1
    for first, before, deed in zip(begins.tolist(), base.tolist(), which.tolist(), strict=True):
        if first:
            held = before
        step = held * count + deed
        after = known.get(step)
        if after is None:
            after = known[step] = column.after(held, deeds[deed])
        held = after
        results.append(held)
    return np.array(results, dtype=np.int64)


def _are_small(column: CodedColumn, deeds: Sequence[Deed], starts: Entities) -> bool:
    """Whether the initial sets, and those assigned by ``set``, have few elements."""
    given = (len(operand) for verb, _, operand in deeds if verb == "set" and operand is not None)
    return max(given, default=0) <= SMALL and all(len(column.held(code)) <= SMALL for code in np.unique(starts).tolist())


def _side_by_side(
    column: CodedColumn, deeds: Sequence[Deed], which: npt.NDArray[np.int64], begins: Mask, base: Entities, *, elements: list[Any]
) -> Entities:
    """Compute the codes of sets that gain and lose few distinct elements: an element's last operation decides whether it is in the set.

    Each combination of an initial set and the elements added and removed since is computed once.
    """
    if not len(which):
        return which
    sets = np.array([verb == "set" for verb, _, _ in deeds])[which]
    codes = np.array([column.code(done(deed, (), kind="set")) if deed[0] == "set" else 0 for deed in deeds], dtype=np.int64)
    starts = np.flatnonzero(begins | sets)
    lengths = np.diff(np.append(starts, len(which)))
    states = np.repeat(np.where(sets, codes[which], base)[starts] + 1, lengths)
    for element in elements:
        # 0: unchanged since the start; 1: removed; 2: added.
        change = np.array([_change(deed, element) for deed in deeds], dtype=np.int64)[which]
        changes = np.flatnonzero((change > 0) | begins | sets)
        states = states * 3 + np.repeat(change[changes], np.diff(np.append(changes, len(which))))
    room = 3 ** len(elements)
    different = np.unique(states)
    held = []
    for state, changed in zip(*(part.tolist() for part in np.divmod(different, room)), strict=True):
        now = set() if state == 0 else set(column.tuples[state - 1])
        for place, element in enumerate(reversed(elements)):
            what = changed // 3**place % 3
            if what:
                (set.add if what == 2 else set.discard)(now, element)
        held.append(column.code(tuple(sorted(now))))
    results = np.array(held, dtype=np.int64)[np.searchsorted(different, states)]
    results[sets & (codes[which] < 0)] = -1
    return results


def _change(deed: Deed, element: Any) -> int:
    verb, _, operand = deed
    return 0 if verb == "set" or operand is None or element not in operand else 2 if verb == "include" else 1


def _gathered(uses: Sequence[Use], operands: Sequence[tuple[Any, Mask, Mask, Mask]]) -> _Gathered:
    """Combine the operands of several operations: values, and masks of absent, null and doubtful ones."""
    steps, ranks, bits, nulls, values, doubtful = [], [], [], [], [], []
    for use, (value, absent, null, doubt) in zip(uses, operands, strict=True):
        doubtful.append(use.steps[doubt])
        keep = ~absent & ~doubt
        if use.operation.verb != "set":
            keep &= ~null
        if keep.all():
            steps.append(use.steps)
            nulls.append(null)
            values.append(value)
        else:
            chosen = np.flatnonzero(keep)
            steps.append(use.steps[chosen])
            nulls.append(null[chosen])
            values.append(value.gather(chosen) if isinstance(value, pl.Series) else value[chosen])
        count = len(steps[-1])
        ranks.append(np.full(count, use.rank, dtype=np.int64))
        bits.append(np.full(count, _BITS.get(use.operation.verb, 0), dtype=np.int64))
    all_steps, all_ranks = np.concatenate(steps), np.concatenate(ranks)
    keys = all_steps * (int(all_ranks.max(initial=0)) + 1) + all_ranks
    order = np.arange(len(keys)) if len(uses) == 1 else np.argsort(keys)
    return _Gathered(
        all_steps[order],
        np.concatenate(bits)[order],
        values,
        order,
        np.concatenate(nulls)[order],
        np.concatenate(doubtful),
    )


def _numbers(use: Use, column: NumberColumn) -> tuple[Any, Mask, Mask, Mask]:
    value, count = use.operation.value, len(use.steps)
    nothing = np.zeros(count, dtype=np.bool_)
    if isinstance(value, ir.Constant):
        found, null = column.of_constant(value.value, count)
        fit, absent = Fitted(found, null, nothing), nothing
    elif isinstance(value, ir.Column) and ir.COLUMNS[value.name] == column.field.kind.name:
        own = use.scope.column(value.name)
        fit, absent = Fitted(own.fill_null(0).to_numpy(), nothing, nothing), json_columns.absent(own)
    else:
        series = use.scope.texts(value)
        fit, absent = fitted(series, column.field.kind, recorded=isinstance(value, ir.Path)), json_columns.absent(series)
    values, doubt = fit.values, fit.doubt
    assert isinstance(values, np.ndarray)
    if use.operation.verb == "subtract":
        if values.dtype == np.int64:
            doubt = doubt | (values == -_INT64)  # its negative does not fit into int64
        values = np.negative(values)
    return values, absent, fit.null, doubt


def _is_own_text(value: ir.Value) -> bool:
    return isinstance(value, ir.Column) and ir.COLUMNS[value.name] == "text"


def _own_texts(use: Use) -> tuple[Any, Mask, Mask, Mask]:
    """Return texts from columns of the events, which are not JSON."""
    assert isinstance(use.operation.value, ir.Column)
    found = use.scope.column(use.operation.value.name)
    nothing = np.zeros(len(found), dtype=np.bool_)
    return found, json_columns.absent(found), nothing, nothing


def _texts(use: Use, kind: Kind) -> tuple[Any, Mask, Mask, Mask]:
    value, count = use.operation.value, len(use.steps)
    nothing = np.zeros(count, dtype=np.bool_)
    if isinstance(value, ir.Constant):
        constant = value.value
        if kind.name == "text" and constant is not None:
            constant = json.dumps(constant, ensure_ascii=False)
        return pl.repeat(constant, count, dtype=pl.String, eager=True), nothing, np.full(count, constant is None), nothing
    series = use.scope.texts(value)
    fit = fitted(series, kind, recorded=isinstance(value, ir.Path))
    assert isinstance(fit.values, pl.Series)
    return fit.values, json_columns.absent(series), fit.null, fit.doubt


def _deeds(use: Use, column: CodedColumn, deeds: list[Deed]) -> tuple[Any, Mask, Mask, Mask]:
    """Return an operation on each event as an index into ``deeds``, and append new operations to ``deeds``."""
    operation, kind, count = use.operation, column.field.kind, len(use.steps)
    value = operation.value
    nothing = np.zeros(count, dtype=np.bool_)
    null_deed = len(deeds)
    deeds.append((operation.verb, operation.keep, None))
    if isinstance(value, ir.Constant):
        deeds.append((operation.verb, operation.keep, value.value))
        return np.full(count, len(deeds) - 1), nothing, np.full(count, value.value is None), nothing
    if isinstance(value, ir.Column) and ir.COLUMNS[value.name] == "instant":
        own = use.scope.column(value.name)
        none = own.is_null().to_numpy()
        moments, at = np.unique(own.fill_null(0).to_numpy(), return_inverse=True)
        base = len(deeds)
        deeds.extend((operation.verb, operation.keep, (moment,)) for moment in moments.tolist())
        return np.where(none, null_deed, at + base), none, nothing, nothing
    series = use.scope.texts(value)
    fit = fitting(kind) if operation.verb == "set" else fitting_elements(kind)
    known = series.drop_nulls().unique()
    codes = []
    for text in known:
        if text == "null":
            codes.append(null_deed)
            continue
        try:
            operand = tuple(fit(DECODE(text)))
        except (Misfit, RecursionError):
            codes.append(-1)
            continue
        codes.append(len(deeds))
        deeds.append((operation.verb, operation.keep, operand))
    absent = json_columns.absent(series)
    found = series.replace_strict(known, codes, default=None, return_dtype=pl.Int64) if len(known) else series.cast(pl.Int64)
    indices = found.fill_null(null_deed).to_numpy()
    return indices, absent, (indices == null_deed) & ~absent, indices < 0


def _rising(order: npt.NDArray[np.int64]) -> bool:
    return bool(len(order) == 0 or (order[0] == 0 and (np.diff(order) == 1).all()))


def _changes(lives: npt.NDArray[np.int64]) -> Mask:
    """Return a mask of the steps at which a new life begins."""
    begins = np.ones(len(lives), dtype=np.bool_)
    np.not_equal(lives[1:], lives[:-1], out=begins[1:])
    return begins
