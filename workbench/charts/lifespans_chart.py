"""When event types came, and when they were last seen."""

from __future__ import annotations

import polars as pl

from workbench.charts.figure import HOVER, LABEL, PALETTES, PERIODS, Chart, finish, plain
from workbench.display.tables import distinct_labels, table
from workbench.errors import UsageError
from workbench.zones import clock

_MOST = 60


def lifespans(frame: pl.DataFrame, *, question: str | None = None, caption: str = "", top: int = 40) -> Chart:
    """Draw when event types came and when they were last seen.

    Parameters
    ----------
    frame
        The result of :func:`workbench.lifespans`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when, such as ``str(timeline)``.
    top
        How many types have a bar, at most 60: first those that are new or have vanished, then the most frequent. The table of numbers has
        all. Types whose events are all undated have no bar.

    Returns
    -------
    Chart
        A bar from the first event of each type to its last, the newest type at the top.

    Raises
    ------
    UsageError
        The frame is not one of ``lifespans``, or ``top`` is out of range.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.charts.lifespans(wb.lifespans(now), caption=str(now))
    <Chart: Which event types came and went?>
    """
    by = next((name for name in ("type", "category", "stream") if name in frame.columns), None)
    if by is None or not {"is_new", "is_vanished", "first_recorded_at", "last_recorded_at", "count"} <= set(frame.columns):
        raise UsageError(f"Lifespans have a column 'type', 'category' or 'stream' and a column 'is_vanished', not {frame.columns}.")
    if not 1 <= top <= _MOST:
        raise UsageError(f"top={top} is out of range: between 1 and {_MOST} bars can be told apart here.")
    odd = pl.col("is_new") | pl.col("is_vanished")
    shown = (
        frame.drop_nulls("first_recorded_at")
        .sort(odd, "count", by, descending=[True, True, False])
        .head(top)
        .sort("first_recorded_at", by, descending=[True, False])
    )
    names = shown[by].to_list()
    labels, whole = distinct_labels(names, LABEL), distinct_labels(names, HOVER)
    zone = getattr(frame.schema["first_period"], "time_zone", None) or "UTC"
    ends = ("first_recorded_at", "last_recorded_at")
    wall = shown.select(clock(shown[name].dt.convert_time_zone(zone)) for name in ends).rows()
    chart, notes = Chart(), []
    for name, new, gone, colour in (
        ("always there", False, False, PALETTES["light"]["series"][0]),
        ("new", True, False, PALETTES["light"]["series"][3]),
        ("vanished", False, True, PALETTES["light"]["series"][1]),
        ("came and went", True, True, PALETTES["light"]["series"][4]),
    ):
        rows = [row for row, flags in enumerate(shown.select("is_new", "is_vanished").iter_rows()) if flags == (new, gone)]
        if rows:
            chart.add_bar(
                base=[wall[row][0].isoformat() for row in rows],
                x=[(wall[row][1] - wall[row][0]).total_seconds() * 1000 for row in rows],
                y=rows,
                name=name,
                marker={"color": colour},
                orientation="h",
                width=0.34,
                customdata=[
                    [plain(whole[names[row]]), f"{wall[row][0]:%-d %b %Y, %H:%M}", f"{wall[row][1]:%-d %b %Y, %H:%M}", shown["count"][row]]
                    for row in rows
                ],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]} to %{customdata[2]}<br>%{customdata[3]:,} events<extra></extra>",
            )
    for row, (name, count) in enumerate(shown.select(by, "count").iter_rows()):
        above = {"y": row, "yref": "y", "xref": "paper", "yshift": 16, "showarrow": False}
        notes.append({**above, "text": plain(labels[name]), "x": 0, "xanchor": "left"})
        notes.append({**above, "text": f"{count:,}", "x": 1, "xanchor": "right"})
    chart.update_layout(
        annotations=notes,
        barmode="overlay",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 1, "yanchor": "bottom", "traceorder": "normal"},
    )
    chart.update_xaxes(type="date", fixedrange=True, title={"text": plain(zone)})
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(names) - 0.5, -0.9])
    length = PERIODS[frame["every"][0]].name if frame.height else "period"
    said = f"New and vanished are told by the {length}; rare types that are late or silent by chance are not."
    return finish(
        chart,
        question=question or "Which event types came and went?",
        caption=f"{caption}. {said}" if caption else said,
        numbers=table(frame.select(by, "first_recorded_at", "last_recorded_at", "is_new", "is_vanished", "count")),
        height=40 * max(len(names), 2),
        top=84,
        bottom=100,
    )
