"""``workbench materialise``: keep the history of a projection in the lake, see what is kept, and remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import options
from workbench.cli.state import Errors, user_code
from workbench.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from workbench.materialised.histories import Materialised

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
        output: options.Output,
    ) -> None:
        """Keep the history of a projection, or a snapshot of a fold, in the lake, so that questions about it need no replay.

        It is used by itself from then on, and brought up to date when much has been exported since. Run it again to do so at once. Where a
        projection has its key in the events of a large lake, an index of keys is made too, which exports bring up to date.
        """
        from workbench.fold.loading import load_projection
        from workbench.lake import open_lake
        from workbench.materialised import histories as kept

        if listed and remove:
            raise UsageError("--list says what is kept and --remove removes it: give one of them.")
        opened = open_lake(lake)
        source = None if projection is None else load_projection(projection)
        if listed or remove:
            found = kept.list_materialised(opened, source)
            for one in found if remove else ():
                one.remove()
        elif source is None:
            raise UsageError("There is nothing named to materialise: give --projection, or --list to see what is kept.")
        else:
            timeline = opened.timeline if at is None else opened.timeline.upto(at)
            with user_code():
                found = [kept.materialise(source, timeline, errors=errors)]
        output.show(_table(found))


def _table(found: list[Materialised]) -> pl.DataFrame:
    import polars as pl

    columns = {
        "projection": pl.Series([one.name for one in found], dtype=pl.String),
        "kind": pl.Series([one.kind for one in found], dtype=pl.String),
        "position": pl.Series([one.positions[-1] for one in found], dtype=pl.Int64),
        "moments": pl.Series([len(one.positions) for one in found], dtype=pl.Int64),
        "rows": pl.Series([one.rows for one in found], dtype=pl.Int64),
        "bytes": pl.Series([one.bytes for one in found], dtype=pl.Int64),
        "made_at": pl.Series([one.made_at for one in found], dtype=pl.Datetime("us", "UTC")),
    }
    return pl.DataFrame(columns)
