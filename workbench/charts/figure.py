"""What all charts share: their colours, the figure that knows its question, caption and numbers, and the names of periods.

A chart is built of traces and ends with :func:`finish`. Every text of it that comes from the data goes through :func:`plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from textwrap import wrap
from typing import Any, Literal

import plotly.graph_objects as go

from workbench.display.tables import Table, offset_where_ambiguous, prose

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
OTHER = "#9aa1ab"
"""The grey of all that has no colour of its own."""
SERIES = 5
"""As many hues as stay apart for every kind of colour vision, beside the grey of the rest (tests/charts)."""

PALETTES: Mapping[Literal["light", "dark"], Mapping[str, Any]] = {
    "light": {
        "ground": "#ffffff",
        "ink": "#1d232b",
        "quiet": "#59616d",
        "line": "#dfe3e8",
        "sequential": ("#eef3fa", "#7fa9d8", "#1c63b0", "#0b2f5c"),
        "series": ("#1c63b0", "#cf6f1c", "#6d1a4a", "#12796a", "#e06c93"),
        "rest": OTHER,
    },
    "dark": {
        "ground": "#14171c",
        "ink": "#e6e9ee",
        "quiet": "#a7afba",
        "line": "#313842",
        "sequential": ("#1b222c", "#24507f", "#4d94e0", "#cfe4fb"),
        "series": ("#4d94e0", "#e5853a", "#a4548f", "#5fe3c2", "#f7efa0"),
        "rest": OTHER,
    },
}
"""The colours of charts and reports on light and on dark ground."""

LABEL = 30
"""How many letters of a name are shown: as many as fit on a phone beside a number or a colour."""
_CAPTION_LINE, _CAPTION_HEIGHT = 110, 15
"""How many letters a line of a caption has, and how many pixels it takes."""
HOVER = 80
"""How many letters of a name are shown where the pointer is, and over a column of numbers."""


# Plotly has no types of its own, and so nothing to check a subclass against.
class Chart(go.Figure):  # type: ignore[misc]
    """A Plotly figure with a question, a caption and a table of its numbers. It shows itself without access to the network.

    All functions of ``workbench.charts`` return one. It can be changed as any Plotly figure.

    Examples
    --------
    >>> now = wb.open("data/demo").timeline
    >>> chart = wb.charts.distribution(wb.distribution(now), caption=str(now))
    >>> chart.question
    'Which event types make up the history?'
    >>> chart.write_html("types.html")
    """

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
    """Return the Plotly template of all charts, for a light or a dark background.

    Parameters
    ----------
    ground
        ``"light"`` or ``"dark"``.

    Returns
    -------
    dict[str, Any]
        The template as plain JSON values.

    Examples
    --------
    >>> wb.charts.template("dark")["layout"]["paper_bgcolor"]
    '#14171c'
    """
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
        "data": {
            "bar": [{"type": "bar", "marker": {"line": {"width": 0}}}],
            "heatmap": [
                {
                    "type": "heatmap",
                    "colorscale": [[place / 3, colour] for place, colour in enumerate(colours["sequential"])],
                    "colorbar": {"outlinewidth": 0, "thickness": 10, "tickfont": {"color": colours["quiet"]}},
                }
            ],
        },
    }


def finish(chart: Chart, *, question: str, caption: str, numbers: Table, height: int, top: int = 56, bottom: int = 112) -> Chart:
    """Give a chart its look, its title, its caption and the table of its numbers.

    Parameters
    ----------
    height
        Of the plot, in pixels.
    top
        Room above it: 56 for a title, 112 where a legend of up to three lines stands under the title.
    bottom
        Room under it, for the labels and the title of an axis and for the caption.
    """
    question, caption = prose(question), prose(caption)
    lines = wrap(caption, _CAPTION_LINE)
    bottom_edge = 20 - bottom
    bottom += _CAPTION_HEIGHT * max(len(lines) - 1, 0)
    # Set and not updated: Plotly's own template would shine through where this one says nothing.
    chart.layout.template = template("light")
    # Room for a legend of three lines under the title, and for a caption under an axis; a report sets both as text instead.
    chart.update_layout(
        title={"text": plain(question), "y": 1, "yref": "container", "yanchor": "top"},
        height=height + top + bottom,
        margin={"l": 8, "r": 8, "t": top, "b": bottom},
        meta={"question": question, "caption": caption, "numbers": numbers.to_json()},
    )
    if not any(_has_data(trace) for trace in chart.data):
        # Plotly would draw axes from -1 to 6, or the year 2000.
        chart.update_xaxes(visible=False)
        chart.update_yaxes(visible=False)
        chart.add_annotation(
            text="There is nothing to draw.", xref="paper", x=0, xanchor="left", yref="paper", y=1, yanchor="top", showarrow=False
        )
    if caption:
        # Its place is measured from the plot in pixels, so that it stays clear of the axis at any height.
        chart.add_annotation(
            name=CAPTION, text="<br>".join(map(plain, lines)), xref="paper", x=0, xanchor="left", yref="paper", y=0, yanchor="top",
            yshift=bottom_edge, showarrow=False, align="left", font={"size": 11}, opacity=0.75,
        )  # fmt: skip
    return chart


def _has_data(trace: Any) -> bool:
    """Whether a trace has a point or a cell that is no gap."""
    if trace.type == "heatmap":
        return any(cell is not None for row in trace.z if row is not None for cell in row)
    return all(values is not None and any(value is not None for value in values) for values in (trace.x, trace.y))


def plain(text: str) -> str:
    """Return text as Plotly text: with nothing that reads as markup or as TeX."""
    return escape(text, quote=False).replace("$", "&#36;")


@dataclass(frozen=True, slots=True)
class Period:
    """How a period is called and written: in full, and under an axis, where a second line stands if it changed. Of many periods
    every ``steps``-th has a label. In patterns ``%Q`` is the number of a quarter."""

    name: str
    full: str
    short: tuple[str, str]
    steps: tuple[int, ...]


_TICKS = 7
PERIODS: Mapping[str, Period] = {
    "1s": Period("second", "%-d %b %Y, %H:%M:%S", ("%H:%M:%S", "%-d %b"), (1, 2, 5, 10, 15, 30, 60)),
    "1m": Period("minute", "%-d %b %Y, %H:%M", ("%H:%M", "%-d %b"), (1, 2, 5, 10, 15, 30, 60)),
    "15m": Period("quarter of an hour", "%-d %b %Y, %H:%M", ("%H:%M", "%-d %b"), (1, 2, 4, 8, 12, 24, 48, 96)),
    "1h": Period("hour", "%-d %b %Y, %H:%M", ("%H:%M", "%-d %b"), (1, 2, 3, 6, 12, 24)),
    "1d": Period("day", "%a %-d %b %Y", ("%-d %b", "%Y"), (1, 2, 7, 14, 28)),
    "1w": Period("week", "week of %-d %b %Y", ("%-d %b", "%Y"), (1, 2, 4, 8, 13, 26, 52)),
    "1mo": Period("month", "%B %Y", ("%b", "%Y"), (1, 3, 6, 12)),
    "1q": Period("quarter", "quarter %Q of %Y", ("Q%Q", "%Y"), (1, 2, 4, 8)),
    "1y": Period("year", "%Y", ("%Y", ""), (1, 2, 5, 10)),
}
NO_PERIOD = Period("period", "%-d %b %Y, %H:%M", ("%-d %b", "%Y"), (1,))
"""Of a distribution over time that has no rows, and so does not say how long its periods would be."""


def _offset(start: date, period: Period) -> str:
    return offset_where_ambiguous(start) if isinstance(start, datetime) and "%H" in period.full else ""


def period_name(start: date, period: Period) -> str:
    """Return what a period is called in full, with its offset from UTC where a clock shows its hour twice."""
    return f"{_written(start, period.full)} {_offset(start, period)}".rstrip()


def _written(start: date, pattern: str) -> str:
    return start.strftime(pattern.replace("%Q", str((start.month + 2) // 3)))


def period_ticks(starts: Sequence[date], named: Sequence[str], period: Period) -> dict[str, list[str]]:
    """Label so many periods of an axis of their names, each right under itself, as have room on a phone: keywords for an axis."""
    step = next((step for step in period.steps if len(starts) <= _TICKS * step), -(-len(starts) // _TICKS))
    labels: list[str] = []
    above = ""
    for start in starts[::step]:
        first, second = (_written(start, pattern) for pattern in period.short)
        # "+02" for "+02:00": no wider than the hour above it, so that Plotly need not turn the labels on a phone.
        lines = (first, _offset(start, period).removesuffix(":00"), second if second != above else "")
        labels.append("<br>".join(line for line in lines if line))
        above = second
    return {"tickvals": list(named[::step]), "ticktext": labels}
