"""Who acts, when, and who comes back."""

from __future__ import annotations

import polars as pl

from workbench.analysis.activity import Activity
from workbench.charts.figure import PERIODS, Chart, finish, period_name
from workbench.display.tables import table

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_COHORTS = 26


def active_users(found: Activity, *, question: str | None = None, caption: str | None = None) -> Chart:
    """Draw how many actors were active on each day, and in the 7 and the 30 days that end with it.

    Parameters
    ----------
    found
        The result of :func:`workbench.activity`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline and the actor in words.

    Returns
    -------
    Chart
        Three lines over the days of ``found.days``, in the time zone of ``found``.

    Examples
    --------
    >>> found = wb.activity(wb.open("data/demo").timeline, actor=wb.event.metadata["userId"])
    >>> wb.charts.active_users(found)
    <Chart: How many are active in a day, a week, a month?>
    """
    frame = found.days
    days = [day.isoformat() for day in frame["day"]]
    chart = Chart()
    for column, name, dash in (("monthly", "30 days", "solid"), ("weekly", "7 days", "dash"), ("daily", "the day", "dot")):
        chart.add_scatter(
            x=days, y=frame[column].to_list(), name=name, mode="lines", line={"width": 2, "dash": dash}, hovertemplate="%{y:,}"
        )
    chart.update_layout(
        showlegend=True,
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    chart.update_xaxes(type="date", fixedrange=True, title={"text": f"by day, {found.tz}"}, hoverformat="%a %-d %b %Y")
    chart.update_yaxes(title={"text": "active actors"}, tickformat=",", rangemode="tozero", fixedrange=True)
    return finish(
        chart,
        question=question or "How many are active in a day, a week, a month?",
        caption=_caption(found, caption),
        numbers=table(frame, rows=1000),
        height=400,
        top=84,
        bottom=112,
    )


def hours(found: Activity, *, question: str | None = None, caption: str | None = None) -> Chart:
    """Draw in which hours of which weekdays actors act.

    Parameters
    ----------
    found
        The result of :func:`workbench.activity`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline and the actor in words.

    Returns
    -------
    Chart
        A heat map of actions by weekday and hour of the wall clock, in the time zone of ``found``.

    Examples
    --------
    >>> found = wb.activity(wb.open("data/demo").timeline, actor=wb.event.metadata["userId"])
    >>> wb.charts.hours(found)
    <Chart: When in the week do they act?>
    """
    grid = found.hours["actions"].to_numpy().reshape(7, 24).tolist()
    numbers = found.hours.pivot("weekday", index="hour", values="actions").rename(
        {str(place + 1): day for place, day in enumerate(_WEEKDAYS)}
    )
    chart = Chart()
    chart.add_heatmap(
        z=grid,
        x=[f"{hour:02}" for hour in range(24)],
        y=list(_WEEKDAYS),
        zmin=0,
        zmax=max(1, *found.hours["actions"]),  # without it Plotly begins its scale at the least value, whatever zmin says
        xgap=1,
        ygap=1,
        colorbar={"tickformat": ","},
        hovertemplate="%{y} %{x}:00<br><b>%{z:,} actions</b><extra></extra>",
    )
    chart.update_xaxes(type="category", fixedrange=True, showline=False, title={"text": f"hour, {found.tz}"}, tickmode="linear", dtick=3)
    chart.update_yaxes(type="category", fixedrange=True, autorange="reversed", showgrid=False)
    return finish(
        chart,
        question=question or "When in the week do they act?",
        caption=_caption(found, caption),
        numbers=table(numbers.with_columns(pl.format("{}:00", pl.col("hour").cast(pl.String).str.zfill(2)).alias("hour"))),
        height=260,
        top=56,
        bottom=100,
    )


def retention(found: Activity, *, question: str | None = None, caption: str | None = None) -> Chart:
    """Draw which share of each cohort came back, for the newest 26 cohorts.

    Parameters
    ----------
    found
        The result of :func:`workbench.activity`, whose ``cohorts`` are shown.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline and the actor in words.

    Returns
    -------
    Chart
        A heat map of the share of each cohort, in per cent, by the periods since its actors were first seen.

    Examples
    --------
    >>> found = wb.activity(wb.open("data/demo").timeline, actor=wb.event.metadata["userId"], cohorts="1w")
    >>> wb.charts.retention(found)
    <Chart: Who comes back?>
    """
    period = PERIODS[found.cohorts]
    cohorts = found.retention["cohort"].unique(maintain_order=True).to_list()[-_COHORTS:]
    frame = found.retention.filter(pl.col("cohort").is_in(cohorts))
    ages = sorted(frame["age"].unique())
    grid = frame.pivot("age", index="cohort", values="share").select(map(str, ages)).rows() if ages else []
    sizes = frame.filter(age=0)["size"].to_list()
    named = [period_name(cohort, period) for cohort in cohorts]
    chart = Chart()
    chart.add_heatmap(
        z=[[None if share is None else 100 * share for share in row] for row in grid],
        x=list(map(str, ages)),
        y=named,
        xgap=1,
        ygap=1,
        zmin=0,
        zmax=100,
        customdata=[[size] * len(ages) for size in sizes],
        texttemplate="%{z:.0f}" if len(ages) <= 17 else None,
        showscale=len(ages) > 17,
        colorbar={"ticksuffix": " %"},
        hoverongaps=False,
        hovertemplate=f"%{{y}}, %{{customdata:,}} actors<br>{period.name} %{{x}}: <b>%{{z:.1f}} %</b><extra></extra>",
    )
    chart.update_xaxes(type="category", fixedrange=True, showline=False, title={"text": f"{period.name}s since they were first seen"})
    labels = [f"{cohort:%-d %b %Y} · {size:,}" for cohort, size in zip(cohorts, sizes, strict=True)]
    chart.update_yaxes(type="category", fixedrange=True, autorange="reversed", showgrid=False, ticklabelstandoff=6)
    chart.update_yaxes(tickmode="array", tickvals=named, ticktext=labels)
    said = _caption(found, caption)
    return finish(
        chart,
        question=question or "Who comes back?",
        caption=f"{said}. Per cent of each cohort; the last {period.name} may be incomplete.",
        numbers=table(found.retention, rows=1000),
        height=26 * max(len(cohorts), 4),
        top=56,
        bottom=100,
    )


def _caption(found: Activity, caption: str | None) -> str:
    return f"{found.timeline}. Actors by {found.actor}" if caption is None else caption
