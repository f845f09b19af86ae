"""Segmented scans: running sums and extremes in segments of an array, bit for bit equal to a sequential loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.fold.vectorised.json_columns import Mask, Numbers

_LONG = 64
"""Segments up to this length are scanned in parallel, longer ones one by one."""


def running(ufunc: np.ufunc, values: Numbers, first: Mask) -> Numbers:
    """Return the running result of an operation within each segment.

    Sums of whole numbers wrap around: the caller ensures that none leaves int64.
    """
    if not len(values):
        return values
    starts = np.flatnonzero(first)
    if ufunc is np.add and values.dtype == np.int64:
        sums = np.cumsum(values)
        lengths = np.diff(np.append(starts, len(values)))
        totals: Numbers = sums - np.repeat(sums[starts] - values[starts], lengths)
        return totals
    result = values.copy()
    lengths = np.diff(np.append(starts, len(values)))
    for start, length in zip(starts[lengths > _LONG], lengths[lengths > _LONG], strict=True):
        ufunc.accumulate(values[start : start + length], out=result[start : start + length])
    short = lengths <= _LONG
    starts, lengths = starts[short], lengths[short]
    step = 1
    while len(starts := starts[keep := lengths > step]):
        lengths = lengths[keep]
        at = starts + step
        result[at] = ufunc(result[at - 1], values[at])
        step += 1
    return result


def last_before(marks: Mask) -> npt.NDArray[np.int64]:
    """Return for each element the index of the last marked element at or before it, or -1."""
    at = np.flatnonzero(marks)
    return np.repeat(np.append(-1, at), np.diff(at, prepend=0, append=len(marks)))
