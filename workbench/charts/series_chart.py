"""Measures over time: one small chart for each, over one axis of time."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.charts.figure import Chart, finish, plain
from workbench.display.tables import table
from workbench.errors import UsageError
from workbench.zones import clock

_HEIGHT, _ALONE, _GAP = 130, 240, 46
"""Pixels of one chart among several, of one alone, and above each."""
_MOST = 12
_ROWS = 200


def series(frame: pl.DataFrame, *, question: str | None = None, caption: str = "") -> Chart:
    """Draw a line for each numeric measure of a series.

    Parameters
    ----------
    frame
        The result of :func:`workbench.series`. Measures that are not numbers are only in the table.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when, such as ``str(timeline)``.

    Returns
    -------
    Chart
        One line for each measure, each on a scale of its own.

    Raises
    ------
    UsageError
        The frame is not one of ``series``, or it has no numeric measure or more than twelve.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> now = wb.open("data/demo").timeline
    >>> wb.charts.series(wb.series(User, now, users=pl.len(), every="1w"), question="How many users are there?")
    <Chart: How many users are there?>
    """
    if frame.columns[:2] != ["at", "position"] or not isinstance(frame.schema["at"], pl.Datetime):
        raise UsageError(f"A series has the columns 'at' and 'position' and its measures behind them, not {frame.columns}.")
    names = [name for name in frame.columns[2:] if frame.schema[name].is_numeric()]
    if not 1 <= len(names) <= _MOST:
        raise UsageError(f"{len(names)} of the measures are numbers, and between 1 and {_MOST} can be drawn: select the columns.")
    zone = getattr(frame.schema["at"], "time_zone", None) or "UTC"
    # Plotly knows no time zones: it is given what the clocks showed.
    shown_at = clock(frame["at"]).dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    tall = _ALONE if len(names) == 1 else _HEIGHT
    whole = len(names) * (tall + _GAP)
    chart = Chart()
    notes: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        top = 1 - (number * (tall + _GAP) + _GAP) / whole  # under its name
        axis = "" if number == 0 else str(number + 1)
        chart.add_scatter(
            x=shown_at,
            y=frame[name].cast(pl.Float64).to_list(),
            mode="lines+markers" if frame.height <= 40 else "lines",
            line={"width": 2},
            marker={"size": 5},
            yaxis=f"y{axis}",
            hovertemplate=f"<b>%{{y:,}}</b> {plain(name)}<extra></extra>",
            connectgaps=False,
        )
        own = {"domain": [max(top - tall / whole, 0), top], "rangemode": "tozero", "nticks": 4, "tickformat": "~s", "fixedrange": True}
        chart.update_layout({f"yaxis{axis}": own})
        notes.append(
            {
                "text": plain(name),
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": top,
                "yref": "paper",
                "yanchor": "bottom",
                "yshift": 6,
                "showarrow": False,
                "font": {"size": 13},
            }
        )
    chart.update_layout(annotations=notes, showlegend=False, hovermode="x", hoversubplots="axis")
    last = "y" if len(names) == 1 else f"y{len(names)}"
    chart.update_xaxes(type="date", anchor=last, title={"text": plain(zone)}, fixedrange=True, hoverformat="%a %-d %b %Y, %H:%M")
    shown = frame.drop("position") if frame.height <= _ROWS else frame.drop("position").tail(_ROWS)
    numbers = table(shown, rows=_ROWS)
    what = f"How did {names[0]} go over time?" if len(names) == 1 else "How did the measures go over time?"
    return finish(chart, question=question or what, caption=caption, numbers=numbers, height=whole, top=48, bottom=100)
