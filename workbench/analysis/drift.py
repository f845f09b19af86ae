"""How much the mix of events differs between two histories, and what makes the difference."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from workbench.analysis.distribution import By, check_by
from workbench.timeline import Timeline, ensure_timelines

_FATE = pl.Enum(["new", "vanished", "grown", "shrunk", "same"])


@dataclass(frozen=True, slots=True)
class Drift:
    """The result of :func:`drift`.

    Attributes
    ----------
    by
        What was counted: type, category or stream.
    before, after
        The two histories, in words.
    divergence
        The Jensen-Shannon divergence of the two mixes in bits: 0 if they are the same, 1 if they have no type in common, None if one of
        the histories is empty.
    terms
        One row for each type, the one that explains most first; see :func:`drift`.
    """

    by: By
    before: str
    after: str
    divergence: float | None
    terms: pl.DataFrame

    def __str__(self) -> str:
        if self.divergence is None:
            return "One of the two histories is empty: there is no mix to compare."
        return f"{self.divergence:.4f} bits of divergence, of 1 at most"


def drift(before: Timeline, after: Timeline, *, by: By = "type") -> Drift:
    """Compare the mix of events of two timelines, and return which types explain the difference.

    Any two can be compared: two periods of one history (``now.upto(t)`` and ``now.after(t)``), a recorded history and a what-if, or two
    lakes. Only shares count, not the numbers of events.

    The measure is the Jensen-Shannon divergence with equal weights (Lin, "Divergence measures based on the Shannon entropy", IEEE
    Transactions on Information Theory 37, 1991): with the shares ``p`` and ``q`` of a type and ``m = (p + q) / 2``, it is the sum over
    the types of ``p/2 log2(p/m) + q/2 log2(q/m)``. Each term is at least 0, so that it is the type's contribution.

    Parameters
    ----------
    before, after
        The reference, and the history to compare with it.
    by
        What is counted: event types, categories or streams.

    Returns
    -------
    Drift
        Its frame ``terms`` is sorted by contribution, the greatest first, then by name:

        ========================================  =======  ==================================================================
        type *or* category *or* stream            String
        before, after                             Int64    events
        before_share, after_share                 Float64  of the events on that side; null where that has none
        change                                    Float64  of the share: ``after_share - before_share``
        contribution                              Float64  to the divergence, in bits; they add up to it
        drift_share                               Float64  of the divergence, 0 to 1; null where that is 0
        fate                                      Enum     ``new`` or ``vanished`` (only on one side), ``grown``, ``shrunk``, ``same``
        ========================================  =======  ==================================================================

    Raises
    ------
    UsageError
        ``by`` is unknown.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.drift(now.upto("2026-02-01"), now.after("2026-02-01")).terms.select("type", "before", "after", "fate").head(3)
    shape: (3, 4)
    ┌──────────────────┬────────┬───────┬────────┐
    │ type             ┆ before ┆ after ┆ fate   │
    │ ---              ┆ ---    ┆ ---   ┆ ---    │
    │ str              ┆ i64    ┆ i64   ┆ enum   │
    ╞══════════════════╪════════╪═══════╪════════╡
    │ UserLoggedIn     ┆ 305    ┆ 86    ┆ shrunk │
    │ UserAdded        ┆ 62     ┆ 10    ┆ shrunk │
    │ chat.room_opened ┆ 0      ┆ 153   ┆ new    │
    └──────────────────┴────────┴───────┴────────┘
    """
    ensure_timelines(before, after)
    check_by(by)
    counted = [
        timeline.sql(f"SELECT {by}, count(*) AS {side} FROM events GROUP BY {by}").pl()
        for side, timeline in (("before", before), ("after", after))
    ]
    p, q = pl.col("before_share"), pl.col("after_share")
    terms = (
        counted[0]
        .join(counted[1], on=by, how="full", coalesce=True)
        .with_columns(pl.col("before", "after").fill_null(0))
        .with_columns(
            (pl.col(side) / _unless_0(pl.col(side).sum())).alias(f"{side}_share") for side in ("before", "after")
        )
        .with_columns(change=q - p, contribution=(_half(p, q) + _half(q, p)).clip(0))
        .with_columns(
            drift_share=pl.col("contribution") / _unless_0(pl.col("contribution").sum()),
            fate=pl.when(before=0).then(pl.lit("new"))
            .when(after=0).then(pl.lit("vanished"))
            .when(pl.col("change") > 0).then(pl.lit("grown"))
            .when(pl.col("change") < 0).then(pl.lit("shrunk"))
            .otherwise(pl.lit("same")).cast(_FATE),
        )
        .sort("contribution", by, descending=[True, False])
    )  # fmt: skip
    both = terms["before"].sum() > 0 and terms["after"].sum() > 0
    return Drift(
        by=by,
        before=str(before),
        after=str(after),
        divergence=float(terms["contribution"].sum()) if both else None,
        terms=terms,
    )


def _half(share: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Return one side's part of a contribution: ``0 log 0`` is 0."""
    return pl.when(share == 0).then(0.0).otherwise(share / 2 * (2 * share / (share + other)).log(2))


def _unless_0(total: pl.Expr) -> pl.Expr:
    return pl.when(total > 0).then(total)
