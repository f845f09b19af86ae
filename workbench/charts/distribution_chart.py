"""How many events of each type, category or stream there are, in all or over time."""

from __future__ import annotations

import polars as pl

from workbench.charts.figure import HOVER, LABEL, NO_PERIOD, OTHER, PERIODS, SERIES, Chart, finish, period_name, period_ticks, plain
from workbench.display.tables import Table, TableColumn, distinct_labels, percent, table
from workbench.errors import UsageError
from workbench.zones import moments


def distribution(frame: pl.DataFrame, *, question: str | None = None, caption: str = "", top: int | None = None) -> Chart:
    """Draw what :func:`workbench.distribution` counted.

    Parameters
    ----------
    frame
        The result of ``distribution``, in all or over time.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when, such as ``str(timeline)``.
    top
        How many types, categories or streams have a bar or colour of their own; the rest are counted together as "other". By default 15,
        at most 50; over time by default and at most 5.

    Returns
    -------
    Chart
        In all: horizontal bars, the most frequent first, each with its count and share. Over time: one stacked bar for each period, the
        most frequent at the bottom. An hour that a clock shows twice has two bars, told apart by their offsets from UTC.

    Raises
    ------
    UsageError
        The frame is not one of ``distribution``, or ``top`` is out of range.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> wb.charts.distribution(wb.distribution(now), caption=str(now), top=10)
    <Chart: Which event types make up the history?>
    """
    by = next((name for name in ("type", "category", "stream") if name in frame.columns), None)
    if by is None or "count" not in frame.columns:
        raise UsageError(f"A distribution has a column 'type', 'category' or 'stream' and a column 'count', not {frame.columns}.")
    over_time = "period" in frame.columns
    if over_time and ("every" not in frame.columns or frame["every"].n_unique() > 1 or not set(frame["every"]) <= PERIODS.keys()):
        raise UsageError(
            "A distribution over time has a column 'every', the same in all rows: keep it, and draw one distribution at a time."
        )
    most = SERIES if over_time else 50
    top = top if top is not None else (SERIES if over_time else 15)
    if not 1 <= top <= most:
        raise UsageError(f"top={top} is out of range: between 1 and {most} {_plural(by)} can be told apart here.")
    if over_time:
        return _over_time(frame, by=by, question=question, caption=caption, top=top)
    return _in_all(frame, by=by, question=question, caption=caption, top=top)


def _in_all(frame: pl.DataFrame, *, by: str, question: str | None, caption: str, top: int) -> Chart:
    question = question or f"Which {_plural(by)} make up the history?"
    frame = frame.filter(pl.col("count") > 0)  # without those that hold links only
    kept, rest = frame.head(top), frame.slice(top)
    rows = kept[by].to_list()
    labels, whole = distinct_labels(rows, LABEL), distinct_labels(rows, HOVER)
    names = [(labels[name], whole[name]) for name in rows]
    counts = kept["count"].to_list()
    if rest.height:
        names.append((_rest_name(rest.height, by),) * 2)
        counts.append(int(rest["count"].sum()))
    total = sum(counts)
    chart = Chart()
    for first, last, marker in ((0, kept.height, {}), (kept.height, len(names), {"color": OTHER})):
        chart.add_bar(
            x=counts[first:last],
            y=list(range(first, last)),
            customdata=[plain(name) for _, name in names[first:last]],
            marker=marker,
            orientation="h",
            width=0.34,
            hovertemplate="%{customdata}<br><b>%{x:,} events</b><extra></extra>",
        )
    # Names stand above their bars and numbers at the right edge: nothing is cut off, however long the name or narrow the page.
    notes = []
    for row, ((name, _), count) in enumerate(zip(names, counts, strict=True)):
        above = {"y": row, "yref": "y", "xref": "paper", "yshift": 16, "showarrow": False}
        notes.append({**above, "text": plain(name), "x": 0, "xanchor": "left"})
        notes.append({**above, "text": f"{count:,}  ·  {percent(count / total)}", "x": 1, "xanchor": "right"})
    chart.update_layout(annotations=notes, barmode="overlay", showlegend=False)
    chart.update_xaxes(visible=False, fixedrange=True, range=[0, max(counts, default=1)])
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(names) - 0.5, -0.9])
    numbers = table(frame.select(by, "count", "share"), bars="share")
    return finish(chart, question=question, caption=caption, numbers=numbers, height=40 * max(len(names), 2), top=56, bottom=40)


def _over_time(frame: pl.DataFrame, *, by: str, question: str | None, caption: str, top: int) -> Chart:
    question = question or f"How do the {_plural(by)} grow over time?"
    # Rows of each period come in the order of the totals. Plotly knows no time zones, and would stack the two hours of one name:
    # it is given the periods' names, one for each instant.
    order = frame[by].unique(maintain_order=True).to_list()
    starts = moments(frame["period"].unique(maintain_order=True))
    period = PERIODS[frame["every"][0]] if frame.height else NO_PERIOD
    named = [period_name(start, period) for start in starts]
    shown = order[:top]
    rest = [_rest_name(len(order) - top, by)] if len(order) > top else []
    place = pl.col(by).replace_strict(shown, range(len(shown)), default=len(shown), return_dtype=pl.Int64)
    counts = frame.group_by("period", place.alias("place"), maintain_order=True).agg(pl.col("count").sum())
    chart = Chart()
    values = [counts.filter(pl.col("place") == place)["count"].to_list() for place in range(len(shown) + len(rest))]
    for label, heights in zip([*distinct_labels(shown, LABEL).values(), *rest], values, strict=True):
        chart.add_bar(
            x=named,
            y=heights,
            name=plain(label),
            marker={"color": OTHER} if len(chart.data) == top else {},
            hovertemplate="%{y:,}",
        )
    numbers = Table(
        (
            TableColumn(period.name.capitalize()),
            *(TableColumn(label, numeric=True) for label in [*distinct_labels(shown, HOVER).values(), *rest, "All"]),
        ),
        tuple((name, *(f"{count:,}" for count in [*row, sum(row)])) for name, row in zip(named, zip(*values, strict=True), strict=True)),
    )
    chart.update_layout(
        barmode="stack",
        showlegend=True,
        bargap=0.12 if len(starts) <= 60 else 0,
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "xref": "paper", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    zone = getattr(frame.schema["period"], "time_zone", None) or "UTC"
    chart.update_xaxes(type="category", title={"text": f"by {period.name}, {plain(zone)}"}, fixedrange=True)
    # Without a template of its own, the title of a box under the pointer would be the short text of the axis where there is one.
    chart.update_xaxes(tickmode="array", unifiedhovertitle={"text": "%{x}"}, **period_ticks(starts, named, period))
    chart.update_yaxes(title={"text": f"events per {period.name}"}, tickformat=",", rangemode="tozero", fixedrange=True)
    whole = f"The first and the last {period.name} may be incomplete."
    caption = f"{caption}. {whole}" if caption else whole
    return finish(chart, question=question, caption=caption, numbers=numbers, height=400, top=112, bottom=112)


def _plural(by: str) -> str:
    return {"type": "event types", "category": "categories", "stream": "streams"}[by]


def _rest_name(number: int, by: str) -> str:
    return f"other ({number:,} {_plural(by) if number > 1 else by})"
