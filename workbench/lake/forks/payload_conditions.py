"""Evaluates the condition of an edit, event by event, with the functions that projections use."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.projection import plan
from workbench.projection.evaluation import asking, columns, places
from workbench.projection.payloads import ABSENT, decoder
from workbench.projection.rows import ROW, rows_of


def read_by(condition: plan.Condition) -> set[str]:
    """Return the columns of events that a condition reads."""
    return {path.root for path in places(condition)} | columns(condition)


def holding(rows: pl.DataFrame, condition: plan.Condition) -> pl.Series:
    """Return for which events a condition is true."""
    paths = list(places(condition))
    decode = {
        root: decoder(
            [step for path in ours for step in path.steps if isinstance(step, str)],
            whole=any(not path.steps for path in ours),
            decimals=False,
        )
        for root in ("data", "metadata")
        if (ours := [path for path in paths if path.root == root])
    }
    ask = asking(condition)
    data, metadata = ROW.index("data"), ROW.index("metadata")

    def holds(row: tuple[Any, ...]) -> bool:
        values = (
            decode["data"](row[data]) if "data" in decode else ABSENT,
            decode["metadata"](row[metadata]) if "metadata" in decode else ABSENT,
        )
        return ask(row, *values) is True

    return pl.Series("holds", [holds(row) for row in rows_of(rows, needed=read_by(condition))], dtype=pl.Boolean)
