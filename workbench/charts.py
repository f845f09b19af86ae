"""A data frame in, a Plotly figure out: charts that state their question, cutoff and source.

Charts are made for print and for colour-blind readers, read well on light and on dark ground, and carry the numbers that they
show as a table, which a report puts beside them. Names that come from the data are escaped: Plotly reads markup in every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from workbench.errors import UsageError
from workbench.tables import Column, Table, distinct_labels, offset_where_ambiguous, percent, prose, table

PLOTLY_CONFIG: Mapping[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "responsive": True,
    # Plotly 7 draws a button that uploads the chart, with its data, to a third party.
    "showSendToCloud": False,
    "plotlyServerURL": "",
}
"""How charts behave, everywhere. Nothing in a chart leaves the reader's machine."""

CAPTION = "caption"
"""The name of the annotation that holds a chart's caption: a report sets it as text instead."""

_MIMETYPE = "application/vnd.plotly.v1+json"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_OTHER = "#9aa1ab"
_SERIES = 5
"""As many hues as stay apart for every kind of colour vision, beside the grey of the rest (tests/charts)."""

PALETTES: Mapping[Literal["light", "dark"], Mapping[str, Any]] = {
    "light": {
        "ground": "#ffffff",
        "ink": "#1d232b",
        "quiet": "#59616d",
        "line": "#dfe3e8",
        "series": ("#1c63b0", "#cf6f1c", "#6d1a4a", "#12796a", "#e06c93"),
        "rest": _OTHER,
    },
    "dark": {
        "ground": "#14171c",
        "ink": "#e6e9ee",
        "quiet": "#a7afba",
        "line": "#313842",
        "series": ("#4d94e0", "#e5853a", "#a4548f", "#5fe3c2", "#f7efa0"),
        "rest": _OTHER,
    },
}
"""The colours of charts and reports on light and on dark ground."""

_LABEL = 30
"""How many letters of a name are shown: as many as fit on a phone beside a number or a colour."""
_HOVER = 80
"""How many letters of a name are shown where the pointer is, and over a column of numbers."""


@dataclass(frozen=True, slots=True)
class _Period:
    """How a period is called and written: in full, and under an axis, where a second line stands if it changed. Of many periods
    every ``steps``-th has a label."""

    name: str
    full: str
    short: tuple[str, str]
    steps: tuple[int, ...]


_TICKS = 7
_PERIODS: Mapping[str, _Period] = {
    "1h": _Period("hour", "%-d %b %Y, %H:%M", ("%H:%M", "%-d %b"), (1, 2, 3, 6, 12, 24)),
    "1d": _Period("day", "%a %-d %b %Y", ("%-d %b", "%Y"), (1, 2, 7, 14, 28)),
    "1w": _Period("week", "week of %-d %b %Y", ("%-d %b", "%Y"), (1, 2, 4, 8, 13, 26, 52)),
    "1mo": _Period("month", "%B %Y", ("%b", "%Y"), (1, 3, 6, 12)),
}
_NO_PERIOD = _Period("period", "%-d %b %Y, %H:%M", ("%-d %b", "%Y"), (1,))
"""Of a distribution over time that has no rows, and so does not say how long its periods would be."""


# Plotly has no types of its own, and so nothing to check a subclass against.
class Chart(go.Figure):  # type: ignore[misc]
    """A Plotly figure that shows itself without a way to the network, and that knows its title, caption and numbers."""

    # Plotly's own ways of display load nbformat (most of a second) or Plotly's script from the network.
    _ipython_display_ = None
    _repr_html_ = None

    def _repr_mimebundle_(self, *_args: Any, **_options: Any) -> dict[str, Any]:
        figure = self.to_plotly_json()
        return {_MIMETYPE: {**figure, "config": dict(PLOTLY_CONFIG)}, "text/plain": f"<Chart: {self.question}>"}

    def __repr__(self) -> str:
        return f"<Chart: {self.question}>"

    @property
    def question(self) -> str:
        """The question that the chart answers: its title."""
        return str(self.layout.meta["question"])

    @property
    def caption(self) -> str:
        """Where the numbers come from, and until when."""
        return str(self.layout.meta["caption"])

    @property
    def numbers(self) -> Table:
        """The numbers that the chart shows."""
        return Table.from_json(self.layout.meta["numbers"])

    def show(self, *args: Any, **options: Any) -> None:
        """Show the chart as Plotly does."""
        super().show(*args, **{**options, "config": {**options.get("config", {}), **PLOTLY_CONFIG}})

    def write_html(self, *args: Any, **options: Any) -> None:
        """Write the chart as a page of its own."""
        super().write_html(*args, **{**options, "config": {**(options.get("config") or {}), **PLOTLY_CONFIG}})

    def to_html(self, *args: Any, **options: Any) -> str:
        """Return the chart as a page of its own."""
        return str(super().to_html(*args, **{**options, "config": {**(options.get("config") or {}), **PLOTLY_CONFIG}}))


def template(ground: Literal["light", "dark"]) -> dict[str, Any]:
    """Return the Plotly template of all charts for light or dark ground, as plain JSON values."""
    colours = PALETTES[ground]
    axis = {
        "gridcolor": colours["line"],
        "linecolor": colours["line"],
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "tickfont": {"color": colours["quiet"], "size": 12},
        "title": {"font": {"color": colours["quiet"], "size": 12}, "standoff": 8},
    }
    return {
        "layout": {
            "font": {"family": _FONT, "size": 13, "color": colours["ink"]},
            "paper_bgcolor": colours["ground"],
            "plot_bgcolor": colours["ground"],
            "colorway": [*colours["series"], colours["rest"]],
            "title": {"x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 8, "t": 14}, "font": {"size": 17}},
            "xaxis": {**axis, "showgrid": False, "showline": True},
            "yaxis": {**axis, "showline": False},
            "legend": {"font": {"size": 12}, "bgcolor": "rgba(0,0,0,0)"},
            "hoverlabel": {
                "align": "left",
                "bgcolor": colours["ground"],
                "bordercolor": colours["quiet"],
                "font": {"family": _FONT, "size": 12, "color": colours["ink"]},
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": colours["quiet"], "activecolor": colours["ink"]},
            "separators": ".,",
        },
        "data": {"bar": [{"type": "bar", "marker": {"line": {"width": 0}}}]},
    }


def distribution_chart(frame: pl.DataFrame, *, question: str | None = None, caption: str = "", top: int | None = None) -> Chart:
    """Draw what :func:`workbench.distribution` counted.

    Parameters
    ----------
    frame
        In all: horizontal bars, the most frequent first, each with its count and share. With the columns ``period`` and
        ``every``: one stacked bar for each period, the most frequent type at the bottom. Where a clock is put back, the hour
        that it shows twice has two bars, told apart by their offsets from UTC.
    question
        The title. It should be what the chart answers.
    caption
        Where the numbers come from and until when, such as ``str(timeline)``.
    top
        How many types, categories or streams have their own bar or colour; the rest are counted together as "other". At most,
        and by default, 5 over time; by default 15 in all.

    Raises
    ------
    UsageError
        The frame is not one of ``distribution``, or ``top`` is out of range.
    """
    by = next((name for name in ("type", "category", "stream") if name in frame.columns), None)
    if by is None or "count" not in frame.columns:
        raise UsageError(f"A distribution has a column 'type', 'category' or 'stream' and a column 'count', not {frame.columns}.")
    over_time = "period" in frame.columns
    if over_time and ("every" not in frame.columns or frame["every"].n_unique() > 1 or not set(frame["every"]) <= _PERIODS.keys()):
        raise UsageError(
            "A distribution over time has a column 'every', the same in all rows: keep it, and draw one distribution at a time."
        )
    most = _SERIES if over_time else 50
    top = top if top is not None else (_SERIES if over_time else 15)
    if not 1 <= top <= most:
        raise UsageError(f"top={top} is out of range: between 1 and {most} {_plural(by)} can be told apart here.")
    if over_time:
        return _over_time(frame, by=by, question=question, caption=caption, top=top)
    return _in_all(frame, by=by, question=question, caption=caption, top=top)


def _in_all(frame: pl.DataFrame, *, by: str, question: str | None, caption: str, top: int) -> Chart:
    question = question or f"Which {_plural(by)} make up the history?"
    kept, rest = frame.head(top), frame.slice(top)
    rows = kept[by].to_list()
    labels, whole = distinct_labels(rows, _LABEL), distinct_labels(rows, _HOVER)
    names = [(labels[name], whole[name]) for name in rows]
    counts = kept["count"].to_list()
    if rest.height:
        names.append((_rest_name(rest.height, by),) * 2)
        counts.append(int(rest["count"].sum()))
    total = sum(counts)
    chart = Chart()
    for first, last, marker in ((0, kept.height, {}), (kept.height, len(names), {"color": _OTHER})):
        chart.add_bar(
            x=counts[first:last],
            y=list(range(first, last)),
            customdata=[_plain(name) for _, name in names[first:last]],
            marker=marker,
            orientation="h",
            width=0.34,
            hovertemplate="%{customdata}<br><b>%{x:,} events</b><extra></extra>",
        )
    # Names stand above their bars and numbers at the right edge: nothing is cut off, however long the name or narrow the page.
    notes = []
    for row, ((name, _), count) in enumerate(zip(names, counts, strict=True)):
        above = {"y": row, "yref": "y", "xref": "paper", "yshift": 16, "showarrow": False}
        notes.append({**above, "text": _plain(name), "x": 0, "xanchor": "left"})
        notes.append({**above, "text": f"{count:,}  ·  {percent(count / total)}", "x": 1, "xanchor": "right"})
    chart.update_layout(annotations=notes, barmode="overlay", showlegend=False)
    chart.update_xaxes(visible=False, fixedrange=True, range=[0, max(counts, default=1)])
    chart.update_yaxes(visible=False, fixedrange=True, range=[len(names) - 0.5, -0.9])
    numbers = table(frame.select(by, "count", "share"), bars="share")
    return _finish(chart, question=question, caption=caption, numbers=numbers, height=40 * max(len(names), 2), top=56, bottom=40)


def _over_time(frame: pl.DataFrame, *, by: str, question: str | None, caption: str, top: int) -> Chart:
    question = question or f"How do the {_plural(by)} grow over time?"
    # Rows of each period come in the order of the totals. Plotly knows no time zones, and would stack the two hours of one name:
    # it is given the periods' names, one for each instant.
    order = frame[by].unique(maintain_order=True).to_list()
    starts = frame["period"].unique(maintain_order=True).to_list()
    period = _PERIODS[frame["every"][0]] if frame.height else _NO_PERIOD
    named = [f"{start.strftime(period.full)} {_offset(start, period)}".rstrip() for start in starts]
    shown = order[:top]
    rest = [_rest_name(len(order) - top, by)] if len(order) > top else []
    place = pl.col(by).replace_strict(shown, range(len(shown)), default=len(shown), return_dtype=pl.Int64)
    counts = frame.group_by("period", place.alias("place"), maintain_order=True).agg(pl.col("count").sum())
    chart = Chart()
    values = [counts.filter(pl.col("place") == place)["count"].to_list() for place in range(len(shown) + len(rest))]
    for label, heights in zip([*distinct_labels(shown, _LABEL).values(), *rest], values, strict=True):
        chart.add_bar(
            x=named,
            y=heights,
            name=_plain(label),
            marker={"color": _OTHER} if len(chart.data) == top else {},
            hovertemplate="%{y:,}",
        )
    numbers = Table(
        (
            Column(period.name.capitalize()),
            *(Column(label, numeric=True) for label in [*distinct_labels(shown, _HOVER).values(), *rest, "All"]),
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
    chart.update_xaxes(type="category", title={"text": f"by {period.name}, {_plain(zone)}"}, fixedrange=True)
    # Without a template of its own, the title of a box under the pointer would be the short text of the axis where there is one.
    chart.update_xaxes(tickmode="array", unifiedhovertitle={"text": "%{x}"}, **_ticks(starts, named, period))
    chart.update_yaxes(title={"text": f"events per {period.name}"}, tickformat=",", rangemode="tozero", fixedrange=True)
    whole = f"The first and the last {period.name} may be incomplete."
    caption = f"{caption}. {whole}" if caption else whole
    return _finish(chart, question=question, caption=caption, numbers=numbers, height=400, top=112, bottom=112)


def _finish(chart: Chart, *, question: str, caption: str, numbers: Table, height: int, top: int, bottom: int) -> Chart:
    question, caption = prose(question), prose(caption)
    # Room for a legend of three lines under the title, and for a caption under an axis; a report sets both as text instead.
    chart.update_layout(
        template=template("light"),
        title={"text": _plain(question), "y": 1, "yref": "container", "yanchor": "top"},
        height=height + top + bottom,
        margin={"l": 8, "r": 8, "t": top, "b": bottom},
        meta={"question": question, "caption": caption, "numbers": numbers.to_json()},
    )
    if caption:
        # Its place is measured from the plot in pixels, so that it stays clear of the axis at any height.
        chart.add_annotation(
            name=CAPTION, text=_plain(caption), xref="paper", x=0, xanchor="left", yref="paper", y=0, yanchor="top",
            yshift=20 - bottom, showarrow=False, align="left", font={"size": 11}, opacity=0.75,
        )  # fmt: skip
    return chart


def _offset(start: datetime, period: _Period) -> str:
    return offset_where_ambiguous(start) if "%H" in period.full else ""


def _ticks(starts: list[datetime], named: list[str], period: _Period) -> dict[str, list[str]]:
    """Label so many bars, each right under itself, as have room on a phone."""
    step = next((step for step in period.steps if len(starts) <= _TICKS * step), -(-len(starts) // _TICKS))
    labels: list[str] = []
    above = ""
    for start in starts[::step]:
        first, second = (start.strftime(pattern) for pattern in period.short)
        # "+02" for "+02:00": no wider than the hour above it, so that Plotly need not turn the labels on a phone.
        lines = (first, _offset(start, period).removesuffix(":00"), second if second != above else "")
        labels.append("<br>".join(line for line in lines if line))
        above = second
    return {"tickvals": named[::step], "ticktext": labels}


def _plural(by: str) -> str:
    return {"type": "event types", "category": "categories", "stream": "streams"}[by]


def _rest_name(number: int, by: str) -> str:
    return f"other ({number:,} {_plural(by) if number > 1 else by})"


def _plain(text: str) -> str:
    """Return text as Plotly text: with nothing that reads as markup or as TeX."""
    return escape(text, quote=False).replace("$", "&#36;")
