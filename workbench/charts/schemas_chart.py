"""Which fields the payloads of an event type have over time."""

from __future__ import annotations

import polars as pl

from workbench.analysis.schemas import Schemas
from workbench.charts.figure import HOVER, LABEL, NO_PERIOD, PALETTES, PERIODS, Chart, finish, period_name, period_ticks, plain
from workbench.display.tables import distinct_labels, percent, table
from workbench.errors import UsageError
from workbench.zones import clock, moments

_MOST = 40


def schemas(
    found: Schemas,
    *,
    type: str | None = None,  # noqa: A002  # the field's own word
    question: str | None = None,
    caption: str = "",
    top: int = 25,
) -> Chart:
    """Draw how many of an event type's payloads have each field, period by period.

    Parameters
    ----------
    found
        The result of :func:`workbench.schemas` with ``every``.
    type
        The event type. Needed if ``found`` has several.
    question
        The title: what the chart answers.
    caption
        Where the numbers come from and until when, such as ``str(timeline)``.
    top
        How many fields are drawn, at most 40: those that differ most from one period to another. The table of numbers has all.

    Returns
    -------
    Chart
        A heat map of the share of payloads that have a field, by field and period.

    Raises
    ------
    UsageError
        ``found`` is not over time, it has no such type, or ``top`` is out of range.

    Examples
    --------
    >>> found = wb.schemas(wb.open("data/demo").timeline.types("user.*"), every="1mo")
    >>> wb.charts.schemas(found, type="user.created")
    <Chart: Which fields do the payloads of user.created have?>
    """
    if found.over_time is None:
        raise UsageError("A chart of schemas shows them over time: ask for schemas(timeline, every='auto').")
    if not 1 <= top <= _MOST:
        raise UsageError(f"top={top} is out of range: between 1 and {_MOST} fields can be told apart here.")
    types = found.over_time["type"].unique().sort().to_list()
    chosen = type if type is not None or len(types) != 1 else types[0]
    if types and chosen not in types:
        known = f"{', '.join(types[:10])}{', ...' if len(types) > 10 else ''}"
        raise UsageError(f"{'Say which type is drawn' if chosen is None else f'There is no type {chosen!r}'}: type= is one of {known}.")
    ours = found.over_time.filter(pl.col("type") == (chosen or "")).with_columns(
        share=pl.when(pl.col("events") > 0).then(pl.col("present") / pl.col("events"))
    )
    spread = ours.group_by("field", maintain_order=True).agg((pl.col("share").max() - pl.col("share").min()).alias("spread"))
    changing = spread.with_row_index().sort("spread", "index", descending=[True, False], nulls_last=True).head(top).sort("index")
    fields = changing["field"].to_list()
    drawn = ours.filter(pl.col("field").is_in(fields))
    periods = drawn["period"].dt.convert_time_zone("UTC").unique(maintain_order=True).to_list()
    starts = moments(drawn["period"].unique(maintain_order=True))
    period = PERIODS.get(str(drawn["every"][0]), NO_PERIOD) if drawn.height else NO_PERIOD
    named = [period_name(start, period) for start in starts]
    drawn = drawn.with_columns(pl.col("period").dt.convert_time_zone("UTC"))
    shares = {(field, start): share for start, field, share in drawn.select("period", "field", "share").iter_rows()}
    counts = {
        (field, start): (present, events)
        for start, field, present, events in drawn.select("period", "field", "present", "events").iter_rows()
    }
    labels, whole = distinct_labels(fields, LABEL), distinct_labels(fields, HOVER)
    said = [[_said(*counts.get((field, start), (0, 0))) for start in periods] for field in fields]
    light = PALETTES["light"]["series"][0]
    chart = Chart()
    chart.add_heatmap(
        z=[[shares.get((field, start)) for start in periods] for field in fields],
        x=[plain(name) for name in named],
        y=list(range(len(fields))),
        customdata=[[[plain(whole[field]), text] for text in row] for field, row in zip(fields, said, strict=True)],
        zmin=0,
        zmax=1,
        # By its strength alone, so that it reads on any ground and in print.
        colorscale=[[0, _faint(light, 0.04)], [1, light]],
        # Beside long names a scale would leave no room on a phone; the caption says what it would.
        showscale=False,
        xgap=1,
        ygap=2,
        hoverongaps=False,
        hovertemplate="%{customdata[0]}<br>%{x}<br><b>%{customdata[1]}</b><extra></extra>",
    )
    ticks = period_ticks(starts, [plain(name) for name in named], period) if starts else {}
    chart.update_xaxes(type="category", fixedrange=True, **ticks)
    chart.update_yaxes(
        autorange="reversed",
        fixedrange=True,
        showgrid=False,
        ticklabelstandoff=6,
        tickvals=list(range(len(fields))),
        ticktext=[plain(labels[field]) for field in fields],
    )
    numbers = table(ours.select("field", clock(ours["period"]), "events", "present", "nulls", "share"))
    asked = question or (f"Which fields do the payloads of {chosen} have?" if chosen else "Which fields do payloads have?")
    scale = "The stronger the colour, the more of the type's events have the field."
    caption = f"{caption}. {scale}" if caption else scale
    return finish(chart, question=asked, caption=caption, numbers=numbers, height=26 * max(len(fields), 4))


def _said(present: int, events: int) -> str:
    return f"{present:,} of {events:,} events, {percent(present / events)}" if events else "no events"


def _faint(colour: str, strength: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"
