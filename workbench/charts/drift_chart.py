"""What makes the mix of two histories differ."""

from __future__ import annotations

import polars as pl

from workbench.analysis.drift import Drift
from workbench.charts.figure import HOVER, LABEL, PALETTES, Chart, finish, plain
from workbench.display.tables import distinct_labels, percent, table
from workbench.errors import UsageError

_MOST = 50


def drift(found: Drift, *, question: str | None = None, caption: str | None = None, top: int = 15) -> Chart:
    """Draw by how much the share of each type fell or grew, the one that explains most of the difference on top.

    Parameters
    ----------
    found
        The result of :func:`workbench.drift`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the two histories in words.
    top
        How many types have a bar, at most 50. The table of numbers has all.

    Returns
    -------
    Chart
        Bars to the left for types that shrank, to the right for those that grew, in points of per cent.

    Raises
    ------
    UsageError
        ``top`` is out of range.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.charts.drift(wb.drift(now.upto("2026-02-01"), now.after("2026-02-01")))
    <Chart: Which event types make the difference?>
    """
    if not 1 <= top <= _MOST:
        raise UsageError(f"top={top} is out of range: between 1 and {_MOST} bars can be told apart here.")
    by, shown = found.by, found.terms.filter(pl.col("change") != 0).head(top)
    names = shown[by].to_list()
    labels, whole = distinct_labels(names, LABEL), distinct_labels(names, HOVER)
    chart, notes = Chart(), []
    # Both colours stand in every palette at these places, and a sign before each number says the same.
    for sign, colour in ((1, 0), (-1, 1)):
        rows = [place for place, change in enumerate(shown["change"]) if change * sign > 0]
        chart.add_bar(
            x=[100 * shown["change"][row] for row in rows],
            y=rows,
            customdata=[
                [plain(whole[names[row]]), percent(shown["before_share"][row]), percent(shown["after_share"][row])] for row in rows
            ],
            name="grew" if sign > 0 else "shrank",
            marker={"color": PALETTES["light"]["series"][colour]},
            orientation="h",
            width=0.34,
            hovertemplate="%{customdata[0]}<br>from %{customdata[1]} to %{customdata[2]}<extra></extra>",
        )
    for row, (name, change, share, fate) in enumerate(shown.select(by, "change", "drift_share", "fate").iter_rows()):
        word = f"{fate}  ·  " if fate in ("new", "vanished") else ""
        above = {"y": row, "yref": "y", "xref": "paper", "yshift": 16, "showarrow": False}
        notes.append({**above, "text": plain(labels[name]), "x": 0, "xanchor": "left"})
        notes.append({**above, "text": f"{word}{100 * change:+.2f} points  ·  {100 * share:.0f} % of it", "x": 1, "xanchor": "right"})
    reach = 100 * max((abs(change) for change in shown["change"]), default=1)
    chart.update_layout(annotations=notes, barmode="overlay", showlegend=False)
    chart.update_xaxes(visible=False, fixedrange=True, range=[-reach, reach])
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(names) - 0.5, -0.9])
    chart.add_vline(x=0, line={"width": 1, "color": PALETTES["light"]["rest"]})
    said = f"{found}. Before: {found.before}. After: {found.after}." if caption is None else caption
    return finish(
        chart,
        question=question or "Which event types make the difference?",
        caption=said,
        numbers=table(found.terms.select(by, "before", "after", "before_share", "after_share", "contribution", "fate")),
        height=40 * max(len(names), 2),
        top=56,
        bottom=40,
    )
