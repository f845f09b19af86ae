"""The output of ``workbench info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from workbench.cli.lines import printable
from workbench.cli.output import console, size
from workbench.events import format_time

if TYPE_CHECKING:
    from workbench.lake import LakeInfo


def print_info(info: LakeInfo, *, json: bool = False) -> None:
    """Print the contents of a lake, as lines for people or as JSON for programs."""
    if json:
        import dataclasses

        import orjson

        print(orjson.dumps(dataclasses.asdict(info), option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2).decode())
        return
    lines = {
        "lake": f"{info.path}, version {info.version}",
        "copied from": info.store.address,
        "selection": str(info.selection),
        "events": f"{info.user_events:,} of users" + (f", of {info.events:,} in all" if info.events > info.user_events else ""),
        "streams": f"{info.streams:,} in {info.categories:,} categories",
        "event types": f"{info.types:,}",
    }
    if info.notes:
        lines["notes"] = ". ".join(info.notes) + "."
    if info.first_recorded_at is not None and info.last_recorded_at is not None:
        lines["recorded"] = f"{format_time(info.first_recorded_at)} to {format_time(info.last_recorded_at)}"
        lines["positions"] = f"{info.first_position} to {info.last_position}"
    lines["complete until"] = format_time(info.complete_until) if info.complete_until else "nothing yet: no event was copied"
    lines["on disk"] = f"{size(info.bytes)} in {info.files:,} files" + (
        f", {info.unclustered_runs:,} not yet clustered" if info.unclustered_runs else ""
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(name, printable(value))
    console().print(table)
