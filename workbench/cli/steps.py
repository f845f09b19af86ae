"""``workbench steps``: shows the effect of each event on one entity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.look import say_where
from workbench.cli.state import After, Question, changes, user_code

if TYPE_CHECKING:
    import polars as pl


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench steps --projection workbench.sample.projections:User --lake data/demo --key 1")
    def steps(
        *,
        asked: Question,
        key: Annotated[str, typer.Option("--key", metavar="KEY", help="The entity.")],
        after: After = None,
        output: options.Output,
    ) -> None:
        """Show what each event of an entity did to it, also events without effect; with --scenario, side by side with the what-if."""
        from workbench.replay.steps import steps as ask

        opened = asked.open()
        timeline, fork = asked.recorded(opened), None if asked.scenario is None else asked.timeline(opened)
        if after is not None:
            timeline = timeline.after(after, stale=asked.stale)
        with user_code():
            found = ask(asked.source(), timeline, key=key, against=fork, errors=asked.errors)
        output.show(readable(found) if output.is_table else found)
        say_where(timeline if fork is None else fork, key=key, found=found.height)


def readable(steps: pl.DataFrame) -> pl.DataFrame:
    """Write what each event did as one text, for a table; of two histories beside each other."""
    import polars as pl

    event = ["position", "recorded_at", "event_type", "revision"]
    if "side" not in steps.columns:
        return steps.select(*event, _said(steps).alias("what"), "microseconds", *(["origin"] if "origin" in steps.columns else []))
    mark = pl.when("diverged").then(pl.lit("← here they diverge")).when("differs").then(pl.lit("differs")).otherwise(pl.lit(""))
    recorded, forked = _said(steps), _said(steps, prefix="against_")
    same = (forked == recorded) & (forked.str.len_chars() > len("unchanged"))
    return steps.select(
        *event, recorded.alias("recorded"), pl.when(same).then(pl.lit("the same")).otherwise(forked).alias("what if"), mark.alias("differs")
    )


def _said(steps: pl.DataFrame, *, prefix: str = "") -> pl.Series:
    import polars as pl

    columns = [f"{prefix}{name}" for name in ("outcome", "changed_fields", "before", "after", "why")]
    return pl.Series([_words(*row) for row in steps.select(columns).iter_rows()], dtype=pl.String)


def _words(outcome: str, names: list[str], before: dict[str, Any] | None, after: dict[str, Any] | None, why: str | None) -> str:
    if outcome == "not there":
        return "—"
    changed = "" if after is None else changes(names, before, after)
    return " ".join(part for part in (outcome, changed, f"({why})" if why else "") if part)
