"""A still of a film: one moment of an entity's history as plain HTML, for exported pages, where no widget lives."""

from __future__ import annotations

import polars as pl

from workbench.display import NOTHING, STYLE, card, prose
from workbench.display.tables import Table, TableColumn, table
from workbench.jupyter.film import Film

_EVENTS = 40
"""How many events are listed at most, those around the one that is shown."""


def still(film: Film, *, title: str, place: str, index: int, baseline: int | None, labels: tuple[str, ...]) -> str:
    """Return the moment after event ``index`` as HTML: what it is, the state, and the events around it.

    Parameters
    ----------
    baseline
        The event after which the state was that one compares with; None for the one before.
    labels
        What the histories are called.
    """
    row = film.steps.row(index, named=True)
    values = {
        "Event": f"{index + 1:,} of {len(film):,}",
        "Recorded (UTC)": row["recorded_at"],
        "Type": row["event_type"],
        "Position": str(row["position"]),
    }
    notes = [f"{label}: the entity is not there after this event" for side, label in _absent(film, index, labels)]
    if film.is_forked:
        diverged = film.diverged
        notes.append(
            "the two histories do not differ"
            if diverged is None
            else f"the two histories diverge at event {diverged + 1:,}, position {film.steps['position'][diverged]}"
        )
    shown = card(title, values, place=place, notes=notes)
    state = _state(film, index, baseline, labels)
    events = table(_events(film, index), caption="Events around it", rows=_EVENTS)
    return f"{STYLE}{shown.to_html()}{state.to_html()}{events.to_html()}"


def _absent(film: Film, index: int, labels: tuple[str, ...]) -> list[tuple[int, str]]:
    return [(side, label) for side, label in enumerate(labels) if not film.is_there(index + 1, side=side)]


def _state(film: Film, index: int, baseline: int | None, labels: tuple[str, ...]) -> Table:
    now, before = index + 1, index if baseline is None else baseline + 1
    headings = ["Field", labels[0], "Before" if baseline is None else f"At event {baseline + 1:,}", "Changed"]
    rows = [
        [one.name, _shown(one.text(now)), _shown(one.text(before)), "● changed" if one.differs(now, before) else ""] for one in film.fields
    ]
    for side, label in enumerate(labels[1:], 1):
        headings += [label, "Differs"]
        for row, one in zip(rows, film.fields, strict=True):
            row += [_shown(one.text(now, side=side)), "≠ differs" if one.differs(now, now, other_side=side) else ""]
    # The texts of a film are fit to be shown as they are: a frame's would be made so once more.
    return Table(tuple(TableColumn(prose(heading)) for heading in headings), tuple(map(tuple, rows)), "State after this event")


def _shown(text: str | None) -> str:
    return NOTHING if text is None else text


def _events(film: Film, index: int) -> pl.DataFrame:
    first = max(0, min(index - _EVENTS // 2, len(film) - _EVENTS))
    rows = film.steps.slice(first, _EVENTS)
    numbers = pl.int_range(first, first + rows.height, eager=True)
    return pl.DataFrame(
        {
            "event": (numbers + 1).cast(pl.String)
            + pl.select(pl.when(numbers == index).then(pl.lit(" ◀ shown")).otherwise(pl.lit("")))["literal"],
            "recorded_at": rows["recorded_at"],
            "type": rows["event_type"],
            "outcome": rows["outcome"],
            "changed": rows["changed_fields"].list.join(", "),
            "position": rows["position"],
        }
    ).with_columns(pl.when(pl.col("changed") == "").then(None).otherwise("changed").alias("changed"))
