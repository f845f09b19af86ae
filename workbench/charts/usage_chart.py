"""How a store is used: its rates, and how long its streams are."""

from __future__ import annotations

from workbench.analysis.store_usage import StoreReport
from workbench.charts.figure import PERIODS, Chart, finish, period_name, period_ticks, plain
from workbench.display.tables import table
from workbench.zones import moments


def rates(report: StoreReport, *, question: str | None = None, caption: str | None = None) -> Chart:
    """Draw how many events and how many new streams each period had.

    Parameters
    ----------
    report
        The result of :func:`workbench.store_usage`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline in words.

    Returns
    -------
    Chart
        Bars of events above, bars of new streams below. The first and the last period may be incomplete.

    Examples
    --------
    >>> wb.charts.rates(wb.store_usage(wb.open("data/demo").timeline))
    <Chart: How busy is the store?>
    """
    period, frame = PERIODS[report.every], report.rates
    starts = moments(frame["period"])
    named = [period_name(start, period) for start in starts]
    chart = Chart()
    for place, (name, column) in enumerate((("events", "events"), ("new streams", "new_streams"))):
        chart.add_bar(x=named, y=frame[column].to_list(), name=name, hovertemplate="%{y:,}", yaxis=f"y{place + 1 if place else ''}")
    chart.update_layout(
        showlegend=False,
        bargap=0.12 if len(starts) <= 60 else 0,
        hovermode="x unified",
        yaxis={"domain": [0.42, 1]},
        yaxis2={"domain": [0, 0.3], "anchor": "x", "showline": False},
    )
    chart.update_xaxes(type="category", title={"text": f"by {period.name}, {plain(report.tz)}"}, fixedrange=True, anchor="y2")
    chart.update_xaxes(tickmode="array", unifiedhovertitle={"text": "%{x}"}, **period_ticks(starts, named, period))
    chart.update_yaxes(tickformat=",", rangemode="tozero", fixedrange=True)
    for axis, name in (("yaxis", "events"), ("yaxis2", "new streams")):
        chart.layout[axis].title.text = f"{name} per {period.name}"
    whole = f"The first and the last {period.name} may be incomplete."
    return finish(
        chart,
        question=question or "How busy is the store?",
        caption=f"{report.timeline if caption is None else caption}. {whole}",
        numbers=table(frame.drop("every"), rows=1000),
        height=440,
        top=56,
        bottom=112,
    )


def stream_lengths(report: StoreReport, *, question: str | None = None, caption: str | None = None) -> Chart:
    """Draw how many streams are how long.

    Parameters
    ----------
    report
        The result of :func:`workbench.store_usage`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline in words.

    Returns
    -------
    Chart
        A histogram of the numbers of events in streams, in bins that double.

    Examples
    --------
    >>> wb.charts.stream_lengths(wb.store_usage(wb.open("data/demo").timeline))
    <Chart: How long are the streams?>
    """
    frame = report.histogram
    named = [f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in frame.select("from_events", "upto_events").iter_rows()]
    chart = Chart()
    chart.add_bar(
        x=frame["streams"].to_list(),
        y=named,
        orientation="h",
        text=[f"{count:,}" for count in frame["streams"]],
        textposition="outside",
        cliponaxis=False,
        customdata=frame["events"].to_list(),
        hovertemplate="%{y} events<br><b>%{x:,} streams</b><br>%{customdata:,} events in them<extra></extra>",
    )
    chart.update_layout(showlegend=False, bargap=0.25)
    chart.update_xaxes(visible=False, fixedrange=True, range=[0, 1.15 * max(frame["streams"].to_list(), default=1)])
    chart.update_yaxes(
        type="category", fixedrange=True, autorange="reversed", showgrid=False, ticklabelstandoff=6, title={"text": "events in a stream"}
    )
    return finish(
        chart,
        question=question or "How long are the streams?",
        caption=report.timeline if caption is None else caption,
        numbers=table(frame),
        height=26 * max(len(named), 3),
        top=56,
        bottom=48,
    )
