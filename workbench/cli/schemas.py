"""``workbench schemas``: lists the fields of payloads, their changes, and what would break a projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.look import say_where
from workbench.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from workbench.timeline import Timeline

Table = Literal["fields", "changes", "payloads", "over_time"]
# As in `workbench.analysis`, which would bring Polars to every start of the command.
Every = Literal["1h", "1d", "1w", "1mo", "1q", "1y", "auto"]


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench schemas --lake data/demo --types 'user.*' --version metadata.schemaVersion")
    def schemas(
        *,
        history: options.History,
        table: Annotated[Table, typer.Option("--table", help="Which table to show.")] = "fields",
        types: Annotated[
            list[str] | None, typer.Option("--types", metavar="TYPE", help="Only these event types; * stands for any run of characters.")
        ] = None,
        version: Annotated[
            str | None, typer.Option("--version", metavar="PLACE", help="Where an event says its version: metadata.schemaVersion.")
        ] = None,
        every: Annotated[Every, typer.Option("--every", help="How long the periods of over_time are; auto chooses.")] = "auto",
        tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone in which periods begin.")] = "UTC",
        projection: Annotated[
            str | None,
            typer.Option("--breaks", metavar="FILE.py:CLASS", help="Say instead what is missing, or does not fit, where it reads."),
        ] = None,
        output: options.Output,
    ) -> None:
        """List the fields of payloads, their kinds, how often they are missing, and when that changed."""
        output.check()
        opened = history.open()
        timeline = history.timeline(opened)
        chosen = timeline.types(*types) if types else timeline
        with opened.reading():
            if projection is not None:
                if types or version or table != "fields":
                    raise UsageError("--breaks looks at all that the projection reads, and goes without --types, --version and --table.")
                frame = _broken(projection, timeline)
            else:
                from workbench.analysis.schemas import schemas as ask
                from workbench.projection import event_path

                place = None if version is None else event_path(version)
                found = ask(chosen, version=place, every=every if table == "over_time" else None, tz=tz)
                frame = getattr(found, table)
        output.show(_readable(frame) if output.is_table else frame)
        say_where(chosen)


def _broken(name: str, timeline: Timeline) -> pl.DataFrame:
    from workbench.analysis.breaks import breaks
    from workbench.cli.state import user_code
    from workbench.fold.loading import load_projection
    from workbench.projection import Projection

    found = load_projection(name)
    if not (isinstance(found, type) and issubclass(found, Projection)):
        raise UsageError(f"--breaks {name} declares no places: give a class that extends Projection.")
    with user_code():
        return breaks(found, timeline)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Fit a table to a terminal: kinds in words, shares per cent, instants to the second, one way of saying when."""
    import polars as pl
    import polars.selectors as cs

    shares = [pl.col(name).mul(100).round(1).alias(name.replace("_share", " %")) for name in frame.columns if name.endswith("_share")]
    both = [name for name in ("first_position", "last_position") if name in frame.columns]
    words = cs.by_dtype(pl.List(pl.String)).list.join(", ")
    return frame.with_columns(words, cs.datetime().dt.truncate("1s"), *shares).drop(cs.ends_with("_share"), *both)
