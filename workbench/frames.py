"""Converts tables that users pass in to Polars frames."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.errors import UsageError


def as_frame(given: Any, *, name: str) -> pl.DataFrame:
    """Convert a frame, lazy or not, a result of SQL, an Arrow table, or any input of ``polars.DataFrame``.

    Raises
    ------
    UsageError
        Polars cannot convert it. The message calls it ``name``.
    """
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    try:
        if given is None:  # Polars would make an empty frame of it
            raise TypeError("None has no rows.")
        return pl.DataFrame(given)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{name} must be a table, such as a data frame, got {type(given).__name__}.") from error
