"""Which events mention an entity, if its key stands in their payloads: found by looking at their text alone."""

from __future__ import annotations

import json

import polars as pl

from workbench.fold.vectorised.extraction_layout import key_roots
from workbench.projection.plan import Plan


def may_be_about(plan: Plan, key: str) -> pl.Expr | None:
    """Return a condition that every event about an entity fits, and few others; None where a key may come from elsewhere.

    The key stands in the payload, as a JSON string or as a whole number, or an escape does that may spell it.
    """
    roots = key_roots(plan)
    if not roots:
        return None
    text = key if key.removeprefix("-").isdecimal() else json.dumps(key, ensure_ascii=False)
    names = [pl.col(root).str.contains(spelt, literal=True) for root in roots for spelt in (text, "\\")]
    return pl.col("type").is_in([handled.type for handled in plan.types]) & pl.any_horizontal(names)
