"""``workbench series``: evaluates measures of states over time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.look import say_where
from workbench.cli.state import After, Question, user_code
from workbench.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

_NAMED = re.compile(r"\s*(?P<name>[^\W\d]\w*)\s*=(?!=)\s*(?P<measure>.*)", re.DOTALL)
# As in `workbench.analysis`, which would bring Polars to every start of the command.
Every = Literal["1h", "1d", "1w", "1mo"]
_EXAMPLE = 'workbench series "count(*)" "sum(paid)" --projection workbench.sample.projections:User --lake data/demo --every 1w'


def register(app: typer.Typer) -> None:
    @options.command(app, example=_EXAMPLE)
    def series(
        measures: Annotated[
            list[str],
            typer.Argument(
                metavar="MEASURE…",
                help="What to measure, in SQL: count(*), count(distinct city), sum(paid), avg(logins) filter (where plan = 'pro'); with a "
                "name: users=count(*).",
            ),
        ],
        *,
        asked: Question,
        every: Annotated[Every, typer.Option("--every", help="The steps: hours, days, weeks or months.")] = "1d",
        tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone in which a step begins.")] = "UTC",
        after: After = None,
        output: options.Output,
    ) -> None:
        """Measure the state of all entities at regular steps of time, in one pass over the history."""
        from workbench.analysis.series import series as ask

        output.check()
        plain, named = _read(measures)
        timeline = asked.timeline()
        if after is not None:
            timeline = timeline.after(after, stale=asked.stale)
        with user_code():
            found = ask(asked.source(), timeline, *plain, every=every, tz=tz, errors=asked.errors, **named)
        output.show(_shown(found) if output.is_table else found)
        say_where(timeline)


def _read(measures: list[str]) -> tuple[list[str], dict[str, str]]:
    """Tell measures that have a name, as in ``users=count(*)``, from those that have none."""
    plain, named = [], {}
    for text in measures:
        found = _NAMED.fullmatch(text)
        if found is None:
            plain.append(text)
        elif found["name"] in named or found["name"] in ("every", "tz", "errors", "projection", "timeline"):
            raise UsageError(f"No measure can be called {found['name']!r} here: choose another name.")
        else:
            named[found["name"]] = found["measure"]
    return plain, named


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Fit a series to a terminal: the last steps count most, and say them to the second."""
    import polars as pl

    return frame.with_columns(pl.col("at").dt.truncate("1s"))
