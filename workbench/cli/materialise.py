"""``workbench materialise``: keep the history of a projection in the lake, see what is kept, and remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import options
from workbench.cli.look import at_cutoff
from workbench.cli.state import Errors
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.replay.materialised import Materialised

Projection = Annotated[
    str | None, typer.Option("--projection", metavar="FILE.py:CLASS", help="As of state; for --list and --remove, all without it.")
]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench materialise --projection workbench.sample.projections:User --lake data/demo")
    def materialise(
        *,
        projection: Projection = None,
        lake: options.Lake,
        at: options.At = None,
        errors: Errors = "raise",
        listed: Annotated[bool, typer.Option("--list", help="Only say what is kept.")] = False,
        remove: Annotated[bool, typer.Option("--remove", help="Remove what is kept.")] = False,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
    ) -> None:
        """Keep the history of a projection, or a snapshot of a fold, in the lake, so that questions about it need no replay.

        It is used by itself from then on, and brought up to date when much has been exported since. Run it again to do so at once.
        """
        from workbench.lake import open_lake
        from workbench.replay import materialised as kept
        from workbench.replay.loading import load_projection

        if listed and remove:
            raise UsageError("--list says what is kept and --remove removes it: give one of them.")
        opened = open_lake(lake)
        source = None if projection is None else load_projection(projection)
        if listed or remove:
            found = kept.materialised(opened, source)
            for one in found if remove else ():
                one.remove()
        elif source is None:
            raise UsageError("There is nothing named to materialise: give --projection, or --list to see what is kept.")
        else:
            found = [kept.materialise(source, at_cutoff(opened, at, stale=False), errors=errors)]
        _show(found, json=json, csv=csv, out=out)


def _show(found: list[Materialised], *, json: bool, csv: bool, out: options.Out) -> None:
    import polars as pl

    from workbench.cli.output import show

    rows = [
        {
            "projection": one.name,
            "kind": one.kind,
            "position": one.positions[-1],
            "moments": len(one.positions),
            "rows": one.rows,
            "bytes": one.bytes,
            "made_at": one.made_at,
        }
        for one in found
    ]
    show(
        pl.DataFrame(rows, schema=None if rows else ["projection", "kind", "position", "moments", "rows", "bytes", "made_at"]),
        json=json,
        csv=csv,
        out=out,
        rows=100,
    )
