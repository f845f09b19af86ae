"""How fast a projection is rebuilt: measurement by measurement, or where the time goes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench.charts.figure import PALETTES, Chart, finish, plain
from workbench.display.tables import table
from workbench.errors import UsageError
from workbench.performance.result import Measurement, trend

_STAGES = ("read", "decode", "order", "fold", "write")


def performance(found: Measurement | Sequence[Measurement], *, question: str | None = None, caption: str = "") -> Chart:
    """Draw where the time of a rebuild goes; or, of several measurements, how its speed changed.

    Parameters
    ----------
    found
        The result of :func:`workbench.performance.bench`; or several measurements of one projection, from
        :func:`workbench.performance.measurements`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from. By default, the machine.

    Returns
    -------
    Chart
        Of one measurement: the seconds of each stage, for a quarter, half and all of the events. Of several: their speed over time.

    Raises
    ------
    UsageError
        There is no measurement, or there are measurements of several projections.

    Examples
    --------
    ``bench(User, lake, now=...)`` measures for some minutes. Here the result is written down:

    >>> from datetime import UTC, datetime
    >>> from workbench.performance.result import Machine, Rebuild
    >>> rebuilds = (Rebuild("all", "best", "warm", 8_227, 0.4, 2**28, read=0.1, decode=0.1, order=0.1, fold=0.1, write=0.0),)
    >>> found = Measurement(datetime(2026, 4, 1, tzinfo=UTC), "User", 1, 3_999_500, 8_227, 91.4, Machine.this(), rebuilds, ())
    >>> wb.charts.performance(found)
    <Chart: Where does the time of a rebuild of User go?>
    """
    if isinstance(found, Measurement):
        return _stages(found, question=question, caption=caption or f"{found.machine}; lake version {found.lake_version}")
    names = {one.projection for one in found}
    if len(names) != 1:
        raise UsageError(f"A chart shows measurements of one projection, and these are of {', '.join(sorted(names)) or 'none'}.")
    return _trend(found, question=question, caption=caption or f"{found[-1].machine}")


def _stages(found: Measurement, *, question: str | None, caption: str) -> Chart:
    chart = Chart()
    rows = found.rebuilt.filter(pl.col("engine") == "best", pl.col("run") == "warm")
    colours = PALETTES["light"]["series"]
    for name, colour in zip(_STAGES, colours, strict=True):
        chart.add_bar(
            x=rows[name].fill_null(0).to_list(),
            y=[f"{what}<br>{events:,} events" for what, events in rows.select("what", "events").iter_rows()],
            name=name,
            orientation="h",
            marker={"color": colour},
            hovertemplate=f"{name}<br>%{{y}}<br><b>%{{x:.3f}} s</b><extra></extra>",
        )
    chart.update_layout(barmode="stack", legend={"orientation": "h", "traceorder": "normal", "y": 1, "yanchor": "bottom", "x": 0})
    chart.update_xaxes(title={"text": "seconds; reading runs beside the rest"}, rangemode="tozero")
    chart.update_yaxes(autorange="reversed", fixedrange=True, ticklabelstandoff=6)
    numbers = table(found.rebuilt.select("what", "engine", "run", "events", "seconds", *_STAGES))
    asked = question or f"Where does the time of a rebuild of {found.projection} go?"
    return finish(chart, question=asked, caption=caption, numbers=numbers, height=70 * max(rows.height, 2), top=96, bottom=120)


def _trend(found: Sequence[Measurement], *, question: str | None, caption: str) -> Chart:
    frame = trend(found)
    chart = Chart()
    chart.add_scatter(
        x=frame["taken_at"].to_list(),
        y=frame["events_per_second"].to_list(),
        customdata=[[f"{events:,}", plain(str(machine))] for events, machine in frame.select("events", "machine").iter_rows()],
        mode="lines+markers",
        hovertemplate="%{x}<br><b>%{y:,.0f} events/s</b><br>%{customdata[0]} events<br>%{customdata[1]}<extra></extra>",
    )
    chart.update_xaxes(tickangle=0, nticks=6)
    chart.update_yaxes(rangemode="tozero", title={"text": "events a second"}, separatethousands=True)
    asked = question or f"How fast is {found[0].projection} rebuilt?"
    numbers = table(frame.select(pl.col("taken_at"), "events", "seconds", "events_per_second", "peak_bytes"))
    return finish(chart, question=asked, caption=caption, numbers=numbers, height=280)
