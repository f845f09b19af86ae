"""Workflows: what they came to, what follows what, and one trace on the line of time."""

from __future__ import annotations

from datetime import timedelta
from math import cos, pi, sin
from typing import Any

import polars as pl

from workbench.analysis.traces import Trace
from workbench.analysis.workflows import Workflows
from workbench.charts.figure import HOVER, LABEL, OTHER, PALETTES, SERIES, Chart, finish, plain
from workbench.display import spelled
from workbench.display.tables import distinct_labels, percent, shorten, table
from workbench.errors import UsageError

_ONWARD, _BACKWARD = PALETTES["light"]["series"][:2]
"""Of arcs, which are many and yet of two colours: these stand out on dark ground too."""
_ROW = 40
_MOST_EVENTS = 100
_MOST_TYPES = 30
_CURVE = 24
"""Points of an arc, which looks round."""
_BACK = 1.22


def workflows(found: Workflows, *, question: str | None = None, caption: str = "") -> Chart:
    """Draw how many traces of a workflow have each outcome, their share, and the time within which half of them ended.

    Parameters
    ----------
    found
        The result of :func:`workbench.workflows`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline in words.

    Returns
    -------
    Chart
        A bar for each outcome.

    Examples
    --------
    >>> registration = wb.Workflow(start="registration.started", done="registration.completed", failed="registration.failed")
    >>> wb.charts.workflows(wb.workflows(registration, wb.open("data/demo").timeline))
    <Chart: What became of the workflows?>
    """
    rows = found.outcomes.select("outcome", "traces", "share", "took_p50").rows()
    chart = Chart()
    notes: list[dict[str, Any]] = []
    for row, (outcome, traces, share, took) in enumerate(rows):
        marker = {"color": OTHER} if outcome == "running" else {}
        chart.add_bar(x=[traces], y=[row], orientation="h", width=0.34, marker=marker, hovertemplate="%{x:,}<extra></extra>")
        half = "" if took is None else f"  ·  half within {spelled(took)}"
        said = f"{traces:,}" if share is None else f"{traces:,}  ·  {percent(share)}{half}"
        notes += [_above(row, outcome, side="left"), _above(row, said, side="right")]
    chart.update_layout(annotations=notes, barmode="overlay", showlegend=False)
    chart.update_xaxes(visible=False, fixedrange=True, range=[0, max(1, *(traces for _, traces, _, _ in rows))])
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(rows) - 0.5, -0.9])
    question = question or "What became of the workflows?"
    numbers = table(found.outcomes, bars="share")
    return finish(chart, question=question, caption=caption or str(found.timeline), numbers=numbers, height=_ROW * len(rows), bottom=40)


def process_map(found: Workflows, *, question: str | None = None, caption: str = "") -> Chart:
    """Draw which event types follow which in the traces of a workflow.

    Types stand from top to bottom in the order in which they mostly come. An arc joins each type to one that directly follows it; the
    wider it is, the more often that happens. Arcs upwards have another colour and are dotted. A type that follows itself has a ring.

    Parameters
    ----------
    found
        The result of :func:`workbench.workflows`.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline in words.

    Returns
    -------
    Chart
        The map. The numbers of an arc show at the pointer, and all are in the table.

    Raises
    ------
    UsageError
        There are more than 30 types: select those that matter by ``timeline.types()``.

    Examples
    --------
    >>> registration = wb.Workflow(start="registration.started", done="registration.completed", failed="registration.failed")
    >>> wb.charts.process_map(wb.workflows(registration, wb.open("data/demo").timeline))
    <Chart: What follows what?>
    """
    types = found.steps["type"].to_list()
    if len(types) > _MOST_TYPES:
        raise UsageError(
            f"{len(types)} event types are too many for a map: look at fewer than {_MOST_TYPES + 1}, as timeline.types() does."
        )
    labels, place = distinct_labels(types, LABEL), {name: row for row, name in enumerate(types)}
    most = max(found.process["count"].to_list(), default=1)
    chart = Chart()
    for one, other, count, took in found.process.select("from_type", "to_type", "count", "took_p50").sort("count").iter_rows():
        start, end = place[one], place[other]
        forward = end > start
        across, down = _arc(start, end)
        said = f"{plain(labels[one])} → {plain(labels[other])}<br><b>{count:,} times</b>, half within {spelled(took)}<extra></extra>"
        chart.add_scatter(
            x=across,
            y=down,
            mode="lines",
            line={
                "width": 1 + 7 * (count / most) ** 0.5,
                "color": _ONWARD if forward else _BACKWARD,
                "dash": "solid" if forward else "dot",
            },
            opacity=0.85,
            hovertemplate=said,
        )
    chart.add_scatter(
        x=[0] * len(types),
        y=list(range(len(types))),
        mode="markers",
        marker={"size": 9, "color": PALETTES["light"]["quiet"]},
        customdata=[plain(distinct_labels(types, HOVER)[name]) for name in types],
        hovertemplate="%{customdata}<extra></extra>",
    )
    events = found.steps["events"].to_list()
    notes = [
        {"text": f"{plain(labels[name])}<br><span style='opacity:.7'>{events[row]:,}</span>", "x": 0, "y": row, "xshift": -10}
        | {"xanchor": "right", "align": "right", "showarrow": False}
        for row, name in enumerate(types)
    ]
    chart.update_layout(annotations=notes, showlegend=False, hovermode="closest")
    reach = max((abs(place[one] - place[other]) for one, other in found.process.select("from_type", "to_type").iter_rows()), default=1)
    width = _across(max(reach, 1))
    chart.update_xaxes(visible=False, fixedrange=True, range=[-2.1 * width, 1.25 * width])
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(types) - 0.4, -0.6])
    numbers = table(found.process)
    question = question or "What follows what?"
    height = max(38 * len(types), 120)
    return finish(chart, question=question, caption=caption or str(found.timeline), numbers=numbers, height=height, bottom=48)


def trace(found: Trace, *, question: str | None = None, caption: str = "") -> Chart:
    """Draw the events of a trace over time, each below its cause.

    Parameters
    ----------
    found
        The result of :func:`workbench.trace`. Of more than a hundred events, the first hundred are drawn.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when. By default, the timeline in words.

    Returns
    -------
    Chart
        A row for each event, with a bar from the time of its cause to its own. Colours tell the five most frequent categories of streams
        apart. An undated event stands at the time of the event before it in the log, and its label names no time.

    Examples
    --------
    >>> found = wb.trace(wb.open("data/demo").timeline, "c45af724-b3fa-416e-ac31-1940a8abf26a")
    >>> wb.charts.trace(found)
    <Chart: What caused what in c45af7…bf26a?>
    """
    rows = found.events.head(_MOST_EVENTS)
    category = rows["stream"].str.split("-").list.first()
    often = category.value_counts(sort=True, name="count").sort("count", "stream", descending=[True, False])["stream"].to_list()
    place = ("position", "prepare_position")
    since = pl.col("since_start").fill_null(strategy="forward").fill_null(timedelta())
    passed = dict(zip(rows.sort(place).select(place).rows(), rows.sort(place).select(since).to_series(), strict=True))
    seconds = [passed[one].total_seconds() for one in rows.select(place).rows()]
    begun = [seconds[row] if parent is None else seconds[parent] for row, parent in enumerate(rows["parent"])]
    first, last = min(seconds), max(seconds)
    span = max(last - first, 1e-6)
    chart = Chart()
    for name in [*often[:SERIES], *(["other"] if len(often) > SERIES else [])]:
        mine = [row for row, one in enumerate(category) if (one if one in often[:SERIES] else "other") == name]
        about = [[plain(rows["type"][row]), plain(rows["stream"][row]), _since(rows, row)] for row in mine]
        # From the cause to the event, and a gap: one line for all of them has one colour, which is the ground's own.
        chart.add_scatter(
            x=[at for row in mine for at in (begun[row], seconds[row], None)],
            y=[at for row in mine for at in (row, row, None)],
            mode="lines+markers",
            name=plain(name),
            line={"width": 5} if name in often[:SERIES] else {"width": 5, "color": OTHER},
            marker={"size": [0, 11, 0] * len(mine), "opacity": 1},
            customdata=[said for one in about for said in (one, one, None)],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )
    labels = distinct_labels(rows["type"].to_list(), LABEL)
    notes = [
        note
        for row, (event_type, depth, since) in enumerate(rows.select("type", "depth", "since_start").iter_rows())
        for note in (
            _above(row, labels[event_type], side="left") | {"xshift": 10 * min(depth, 12)},
            _above(row, "no time" if since is None else f"+{spelled(since)}", side="right"),
        )
    ]
    chart.update_layout(
        annotations=notes,
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 1.0, "yanchor": "bottom"},
        showlegend=True,
    )
    chart.update_xaxes(range=[first - 0.02 * span, last + 0.02 * span], fixedrange=True, title={"text": "seconds since the first event"})
    chart.update_yaxes(visible=False, fixedrange=True, range=[rows.height - 0.5, -0.9])
    columns = ("type", "stream", "revision", "recorded_at", "since_cause", "note")
    numbers = table(found.events.select(columns))
    rest = "" if found.events.height <= _MOST_EVENTS else f"; the first {_MOST_EVENTS} of {found.events.height:,} events"
    return finish(
        chart,
        question=question or f"What caused what in {shorten(found.correlation_id, 12)}?",
        caption=(caption or str(found.timeline)) + rest,
        numbers=numbers,
        height=_ROW * (max(rows.height, 2) + 1),  # and one for the axis
        top=96,
        bottom=96,
    )


def _since(rows: pl.DataFrame, row: int) -> str:
    since = rows["since_cause"][row]
    if since is None:
        return "begins here" if rows["parent"][row] is None else "at a time that is not known"
    return f"{spelled(since)} after its cause"


def _above(row: int, text: str, *, side: str) -> dict[str, Any]:
    """Return a text above a row, at one of its ends: nothing is cut off, however long the name or narrow the page."""
    at = {"x": 0 if side == "left" else 1, "xref": "paper", "xanchor": side, "y": row, "yref": "y", "yshift": 16}
    return {"text": plain(text), "showarrow": False, **at}


def _across(rows: float) -> float:
    """Return how far an arc over so many rows goes to the side: less and less far than a half circle."""
    return float(abs(rows) ** 0.7) * 0.5


def _arc(start: int, end: int) -> tuple[list[float], list[float]]:
    """Return the points of an arc beside a column of rows from one to another; a ring for one and the same.

    One that goes back up reaches farther, so that it does not lie on the one that goes down.
    """
    if start == end:
        turns = [2 * pi * step / _CURVE for step in range(_CURVE + 1)]
        return [0.18 - 0.18 * cos(turn) for turn in turns], [start + 0.22 * sin(turn) for turn in turns]
    turns = [pi * step / _CURVE for step in range(_CURVE + 1)]
    middle, half = (start + end) / 2, (end - start) / 2
    side = _across(end - start) * (1 if end > start else _BACK)
    return [side * sin(turn) for turn in turns], [middle - half * cos(turn) for turn in turns]
