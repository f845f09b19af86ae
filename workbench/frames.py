"""What a user gives as a table, as a Polars frame."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.errors import UsageError


def as_frame(given: Any, *, name: str) -> pl.DataFrame:
    """Return a frame of rows: of a frame, lazy or not, a result of SQL, an Arrow table, or anything that Polars makes a frame of.

    Raises
    ------
    UsageError
        Polars makes no frame of it. The message calls it ``name``.
    """
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    try:
        if given is None:  # of which Polars makes an empty frame
            raise TypeError("None has no rows.")
        return pl.DataFrame(given)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{name} is no table: give a data frame, not {type(given).__name__}.") from error
