"""The output of ``workbench whatif``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from workbench.cli.lines import printable, say
from workbench.cli.output import cell, console, json_text
from workbench.events import format_time

if TYPE_CHECKING:
    import polars as pl

    from workbench.scenarios import Consequence, WhatIf


def as_json(found: WhatIf) -> dict[str, Any]:
    """Return an effect as JSON has it."""
    return {
        "scenario": found.scenario.name,
        "question": found.scenario.question,
        "position": found.timeline.position,
        "events": {"before": found.events_before, "after": found.events_after},
        "edits": [
            {"edit": str(one.edit), "matched": one.matched, "cascaded": one.cascaded, "notes": list(one.notes)} for one in found.effects
        ],
        "projections": [
            {
                "projection": one.projection,
                "entities": {"before": one.entities_before, "after": one.entities_after},
                **{change: one.count(change) for change in ("added", "removed", "changed")},
                "changed_fields": one.changed_fields,
                "diverged": one.diverged,
                "measures": [
                    {"name": each.name, "measure": each.measure, "before": _plain(each.before), "after": _plain(each.after)}
                    for each in one.measures
                ],
            }
            for one in found.consequences
        ],
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it: a sum may be longer than its integers are."""
    return Decimal(value) if isinstance(value, int) and value.bit_length() > 63 else value


def differences(found: Sequence[WhatIf]) -> pl.DataFrame:
    """Return the entities that differ, of all scenarios and projections; structs as JSON text where they are not of one kind."""
    import polars as pl

    frames = [
        one.diff.select(pl.lit(each.scenario.name).alias("scenario"), pl.lit(one.projection).alias("projection"), pl.all())
        for each in found
        for one in each.consequences
    ]
    if len({str(frame.schema) for frame in frames}) > 1:
        frames = [
            frame.with_columns(
                pl.Series(
                    name, [None if value is None else json_text(value, indent=False) for value in frame[name].to_list()], dtype=pl.String
                )
                for name in ("before", "after")
            )
            for frame in frames
        ]
    return pl.concat(frames)


def print_effect(found: WhatIf) -> None:
    """Print the effects of one scenario, one per line."""
    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("scenario", printable(str(found.scenario)))
    for index, one in enumerate(found.effects):
        table.add_row("" if index else "edits", printable(str(one)))
    table.add_row("events", _both(found.events_before, found.events_after))
    for consequence in found.consequences:
        table.add_row("", "")
        _add(table, consequence)
    out.print(table)


def _add(table: Table, one: Consequence) -> None:
    table.add_row("projection", printable(one.projection))
    counts = ", ".join(f"{one.count(change):,} {change}" for change in ("added", "removed", "changed"))
    table.add_row("entities", f"{_both(one.entities_before, one.entities_after)}: {counts}")
    if one.changed_fields:
        table.add_row("fields", printable(", ".join(f"{name} {count:,}" for name, count in one.changed_fields.items())))
    diverged = one.diverged
    if diverged is None:
        table.add_row("diverged", "nowhere: no state differs")
    else:
        at = "" if diverged["diverged_at"] is None else f", {format_time(diverged['diverged_at'])}"
        event = f"{diverged['diverged_event_type']} ({diverged['diverged_event_id']})"
        said = f"at position {diverged['diverged_position']}{at}: {event} of {diverged['key']}"
        table.add_row("diverged", printable(said))
    for each in one.measures:
        table.add_row(printable(each.name), _both(each.before, each.after))


def print_side_by_side(found: Sequence[WhatIf]) -> None:
    """Print the recorded history in one column, and each scenario in another."""
    values: dict[tuple[str, str], dict[str, Any]] = {}
    recorded: dict[tuple[str, str], Any] = {}
    for one in found:
        for projection, what, before, after in one.values():
            values.setdefault((projection, what), {})[one.scenario.name] = after
            recorded.setdefault((projection, what), before)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in ("recorded", *(one.scenario.name for one in found)):
        table.add_column(printable(name), justify="right", overflow="fold")
    heading = ""
    # What only a later scenario has, such as a field that changed, stands with the rest of its projection.
    projections = list(dict.fromkeys(projection for projection, _ in values))
    for projection, what in sorted(values, key=lambda one: projections.index(one[0])):
        if projection != heading:
            table.add_row()
            table.add_row(printable(projection), style="bold")
            heading = projection
        cells = [values[projection, what].get(one.scenario.name) for one in found]
        table.add_row(printable(what), *(cell(what, value) for value in (recorded[projection, what], *cells)))
    console().print(table)
    for one in found:
        for effect in one.effects:
            if effect.notes:
                say(f"{one.scenario.name}: {effect}", error=True)


def _both(before: Any, after: Any) -> str:
    """Write a value before and after, and by how much it changed."""
    if before == after:
        return f"{cell('', before)} as before"
    numbers = not any(isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) for value in (before, after))
    by = f" ({'+' if after > before else ''}{cell('', after - before)})" if numbers else ""
    return f"{cell('', before)} → {cell('', after)}{by}"
