"""What a scenario comes to: how many entities differ, and in which fields."""

from __future__ import annotations

import polars as pl

from workbench.charts.figure import LABEL, Chart, finish, plain
from workbench.display.tables import distinct_labels, one_line, shorten, table
from workbench.scenarios import WhatIf

_ROW = 40
_MOST_FIELDS = 6
_CHANGES = ("added", "removed", "changed")


def whatif(found: WhatIf, *, question: str | None = None, caption: str = "") -> Chart:
    """Draw how many entities of each projection a scenario adds, removes and changes, and in which fields.

    Parameters
    ----------
    found
        The result of :func:`workbench.whatif`.
    question
        The title: what the chart answers. By default, the scenario's own question.
    caption
        Where the numbers come from and until when. By default, the fork in words.

    Returns
    -------
    Chart
        Bars of entities. Of each projection, the six fields that changed in most entities are drawn; the table of numbers has all, and the
        measures.

    Examples
    --------
    >>> scenario = wb.Scenario.load("no-deletions")
    >>> wb.charts.whatif(wb.whatif(scenario, wb.open("data/demo").timeline))
    <Chart: How many users would there be, and what would they have paid, had nobody been deleted since February?>
    """
    rows: list[tuple[str, str, int, bool]] = []
    for one in found.consequences:
        name = shorten(one_line(one.projection.rpartition(":")[2]), LABEL)
        rows += [(name, f"{name}  ·  {change}", one.count(change), True) for change in _CHANGES]
        fields = list(one.changed_fields.items())[:_MOST_FIELDS]
        labels = distinct_labels([field for field, _ in fields], LABEL)
        rows += [(name, f"in {labels[field]}", count, False) for field, count in fields]
    chart, notes = Chart(), []
    # The colours are the template's own two first, which follow the reader's scheme; what stands above the bars says the same.
    for is_entity in (True, False):
        mine = [place for place, row in enumerate(rows) if row[3] is is_entity]
        chart.add_bar(
            x=[rows[place][2] for place in mine],
            y=mine,
            orientation="h",
            width=0.34,
            customdata=[plain(rows[place][1] if is_entity else f"{rows[place][0]}, changed {rows[place][1]}") for place in mine],
            hovertemplate="%{customdata}<br><b>%{x:,} entities</b><extra></extra>",
        )
    for place, (_, what, count, is_entity) in enumerate(rows):
        above = {"y": place, "yref": "y", "xref": "paper", "yshift": 16, "showarrow": False}
        notes.append({**above, "text": plain(what), "x": 0, "xanchor": "left", "xshift": 0 if is_entity else 16})
        notes.append({**above, "text": f"{count:,}", "x": 1, "xanchor": "right"})
    chart.update_layout(annotations=notes, barmode="overlay", showlegend=False)
    chart.update_xaxes(visible=False, fixedrange=True, range=[0, max(1, *(row[2] for row in rows))] if rows else [0, 1])
    chart.update_yaxes(visible=False, fixedrange=True, range=[max(len(rows), 1) - 0.5, -0.9])
    numbers = found.summary.drop("scenario").with_columns(pl.col("projection").replace("", "all events"))
    return finish(
        chart,
        question=question or found.scenario.question or f"What does {found.scenario.name!r} change?",
        caption=caption or str(found.fork),
        numbers=table(numbers.select("what", "projection", "before", "after")),
        height=_ROW * max(len(rows), 2),
        bottom=40,
    )
