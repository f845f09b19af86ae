"""``workbench materialise``: stores the history of a projection in the lake, lists what is stored, and removes it."""

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
    str | None, typer.Option("--projection", metavar="FILE.py:CLASS", help="As for state; --list and --remove take all by default.")
]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench materialise --projection workbench.sample.projections:User --lake data/demo")
    def materialise(
        *,
        projection: Projection = None,
        lake: options.Lake,
        at: options.At = None,
        errors: Errors = "raise",
        listed: Annotated[bool, typer.Option("--list", help="Only list what is stored.")] = False,
        remove: Annotated[bool, typer.Option("--remove", help="Remove what is stored.")] = False,
        output: options.Output,
    ) -> None:
        """Store the history of a projection, or a snapshot of a fold, in the lake, so that questions about it need no replay.

        Questions then use it automatically, and update it when many events have been exported since. Run the command again to update it at
        once. If a projection has its key in the events of a large lake, an index of keys is made too, which exports keep up to date.
        """
        from workbench.fold.loading import load_projection
        from workbench.lake import open_lake
        from workbench.materialised import histories as kept

        if listed and remove:
            raise UsageError("--list shows what is stored and --remove removes it: give one of them.")
        opened = open_lake(lake)
        source = None if projection is None else load_projection(projection)
        if listed or remove:
            found = kept.list_materialised(opened, source)
            for one in found if remove else ():
                one.remove()
        elif source is None:
            raise UsageError("Nothing to materialise: give --projection, or --list to show what is stored.")
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
