"""``workbench state``, ``history``, ``diff``, ``first``, ``lineage`` and ``infer``: what events have become."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.look import at_cutoff

if TYPE_CHECKING:
    import polars as pl

    from workbench.replay.questions import Rebuilt
    from workbench.timeline import Timeline

Projection = Annotated[
    str,
    typer.Option(
        "--projection",
        metavar="FILE.py:CLASS",
        help="How events become state: FILE.py:CLASS, MODULE:CLASS, or the name of a category, whose payloads are then merged.",
    ),
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only this entity.")]
Errors = Annotated[
    Literal["raise", "collect"], typer.Option("--errors", help="Stop at a value that does not fit, or leave its event out and go on.")
]
Streams = Annotated[
    list[str] | None, typer.Option("--stream", metavar="PATTERN", help="Only these streams; user-1* takes all that begin so.")
]
After = Annotated[
    str | None, typer.Option("--after", metavar="TIME-or-POSITION", help="Only rows of events after this; they change no state.")
]
Fields = Annotated[str | None, typer.Option("--fields", metavar="NAME,…", help="Only these columns, besides the key.")]
Rows = Annotated[int, typer.Option("--rows", metavar="N", help="Print at most so many rows in a table.")]

_USER = "--projection workbench.sample.projections:User --lake data/demo"


def register(app: typer.Typer) -> None:
    @options.command(app, example=f"workbench state {_USER} --at 2026-03-01")
    def state(
        *,
        projection: Projection,
        lake: options.Lake,
        at: options.At = None,
        stale: options.Stale = False,
        key: Key = None,
        revision: Annotated[
            int | None, typer.Option("--revision", metavar="N", help="With --key: only its stream's events up to this one.")
        ] = None,
        stream: Streams = None,
        errors: Errors = "raise",
        fields: Fields = None,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Rows = 40,
    ) -> None:
        """Rebuild the state of every entity as it was at a time: one row for each that was there."""
        from workbench.cli.output import show
        from workbench.replay.loading import load_projection
        from workbench.replay.questions import rebuild

        timeline = _timeline(lake, at, stale=stale, streams=stream)
        with _user_code():
            rebuilt = rebuild(load_projection(projection), timeline, key=key, revision=revision, errors=errors)
        show(_only(rebuilt.state, fields), json=json, csv=csv, out=out, rows=rows)
        _say(_account(rebuilt))
        _say_where(timeline, key=key, found=rebuilt.state.height)

    @options.command(app, example=f"workbench history {_USER} --key 1")
    def history(
        *,
        projection: Projection,
        lake: options.Lake,
        at: options.At = None,
        stale: options.Stale = False,
        key: Key = None,
        after: After = None,
        stream: Streams = None,
        errors: Errors = "raise",
        fields: Fields = None,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Rows = 40,
    ) -> None:
        """Show every version of an entity, or of all: its state after each event, and from when to when it was that."""
        from workbench.cli.output import show
        from workbench.replay.loading import load_projection
        from workbench.replay.questions import history as ask

        timeline = _timeline(lake, at, stale=stale, streams=stream, after=after)
        with _user_code():
            found = ask(load_projection(projection), timeline, key=key, errors=errors)
        show(_only(found, fields, ["event_type", "valid_from_position", "valid_from"]), json=json, csv=csv, out=out, rows=rows)
        _say_where(timeline, key=key, found=found.height)

    @options.command(app, example=f"workbench diff {_USER} --from 2026-03-01 --at 2026-03-02")
    def diff(
        *,
        projection: Projection,
        lake: options.Lake,
        from_: Annotated[str, typer.Option("--from", metavar="TIME-or-POSITION", help="The moment that is compared with --at.")],
        at: options.At = None,
        stale: options.Stale = False,
        key: Key = None,
        stream: Streams = None,
        errors: Errors = "raise",
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Rows = 40,
    ) -> None:
        """Say which entities differ between two moments, in what, and at which event they part."""
        from workbench.cli.output import show
        from workbench.replay.diff import diff as ask
        from workbench.replay.loading import load_projection

        before = _timeline(lake, from_, stale=stale, streams=stream)
        after = _timeline(lake, at, stale=stale, streams=stream)
        with _user_code():
            found = ask(load_projection(projection), before, after, key=key, errors=errors)
        is_table = not (json or csv or out)
        show(readable(found) if is_table else found, json=json, csv=csv, out=out, rows=rows)
        _say(f"{found.height:,} differ between {before} and {after}")

    @options.command(app, example=f'workbench first "logins > 100" {_USER}')
    def first(
        rule: Annotated[str, typer.Argument(metavar="RULE", help="A condition on the fields, in SQL: \"logins > 100 and city = 'Köln'\".")],
        *,
        projection: Projection,
        lake: options.Lake,
        at: options.At = None,
        stale: options.Stale = False,
        key: Key = None,
        after: After = None,
        stream: Streams = None,
        errors: Errors = "raise",
        fields: Fields = None,
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Rows = 40,
    ) -> None:
        """Find, for each entity, the first event after which a rule holds; the first row is the first over all."""
        from workbench.cli.output import show
        from workbench.replay.loading import load_projection
        from workbench.replay.questions import first as ask

        timeline = _timeline(lake, at, stale=stale, streams=stream, after=after)
        condition = _rule(rule)
        with _user_code():
            found = ask(load_projection(projection), timeline, condition, key=key, errors=errors)
        show(_only(found, fields, ["position", "recorded_at", "event_type", "event_id"]), json=json, csv=csv, out=out, rows=rows)
        _say_where(timeline)

    @options.command(app, example=f"workbench lineage {_USER} --key 1 --field roles")
    def lineage(
        *,
        projection: Projection,
        lake: options.Lake,
        key: Annotated[str, typer.Option("--key", metavar="KEY", help="The entity.")],
        field: Annotated[str, typer.Option("--field", metavar="NAME", help="The field whose value is asked about.")],
        at: options.At = None,
        stale: options.Stale = False,
        after: After = None,
        errors: Errors = "raise",
        json: options.Json = False,
        csv: options.Csv = False,
        out: options.Out = None,
        rows: Rows = 40,
    ) -> None:
        """Name the events that gave a field of an entity its value."""
        from workbench.cli.output import show
        from workbench.replay.lineage import lineage as ask
        from workbench.replay.loading import load_projection

        timeline = _timeline(lake, at, stale=stale, after=after)
        with _user_code():
            found = ask(load_projection(projection), timeline, key=key, field=field, errors=errors)
        show(found, json=json, csv=csv, out=out, rows=rows)
        _say_where(timeline, key=key, found=found.height)

    @options.command(app, example="workbench infer user --lake data/demo > user.py")
    def infer(
        category: Annotated[str, typer.Argument(metavar="CATEGORY", help="A category of the lake.")],
        *,
        lake: options.Lake,
    ) -> None:
        """Draft a projection from what a lake holds of a category: fields, types, and what creates and deletes."""
        from workbench.lake import open_lake
        from workbench.replay.infer import infer as draft

        print(draft(category, open_lake(lake).timeline), end="")


def _timeline(lake: str, at: str | None, *, stale: bool, streams: list[str] | None = None, after: str | None = None) -> Timeline:
    from workbench.lake import open_lake

    timeline = at_cutoff(open_lake(lake), at, stale=stale)
    if streams:
        timeline = timeline.streams(*streams)
    return timeline if after is None else timeline.after(after, stale=stale)


@contextmanager
def _user_code() -> Iterator[None]:
    """Say in one sentence at which event a function of the user's raised an error."""
    from workbench.errors import ReplayError, WorkbenchError

    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        notes = getattr(error, "__notes__", ())
        if not notes:
            raise
        raise ReplayError(
            f"The projection's function raised {type(error).__name__}: {error}; {notes[-1]}. Mend it, or leave such events out by "
            "--errors collect."
        ) from error


def _rule(text: str) -> pl.Expr:
    import polars as pl

    from workbench.errors import UsageError

    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{text!r} is no rule: {str(error).partition(chr(10))[0]}; write a condition like logins > 100.") from None


def _only(frame: pl.DataFrame, fields: str | None, besides: list[str] | None = None) -> pl.DataFrame:
    """Choose columns of a result."""
    from workbench.errors import UsageError

    if fields is None:
        return frame
    names = [name.strip() for name in fields.split(",") if name.strip()]
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise UsageError(f"There is no {unknown[0]!r} to show with --fields; there are {', '.join(frame.columns)}.")
    return frame.select(list(dict.fromkeys(["key", *names, *(besides or [])])))


def readable(diff: pl.DataFrame) -> pl.DataFrame:
    """Write what changed of each entity as one text, for a table."""
    import polars as pl

    said = [
        "; ".join(f"{name}: {_value(before[name])} → {_value(after[name])}" for name in names)
        for names, before, after in diff.select("changed_fields", "before", "after").iter_rows()
    ]
    return diff.select(
        "key", "change", pl.Series("what", said, dtype=pl.String), "parted_position", "parted_at", "parted_event_type", "parted_event_id"
    )


def _value(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    from datetime import datetime

    from workbench.events import format_time

    return format_time(value) if isinstance(value, datetime) else str(value)


def _account(rebuilt: Rebuilt) -> str:
    """Say what became of the events."""
    counts = rebuilt.counts
    entities, events = rebuilt.state.height, counts.applied
    parts = [f"{entities:,} {'entity' if entities == 1 else 'entities'} from {events:,} event{'s' if events != 1 else ''}"]
    parts += [
        f"{count:,} {what}"
        for count, what in (
            (counts.unmatched, "that no condition fits"),
            (counts.orphans, "on entities that were not there"),
            (counts.keyless, "without a key"),
            (counts.failed, "left out, since a value does not fit"),
        )
        if count
    ]
    if counts.unhandled:
        named = ", ".join(f"{name} {count:,}" for name, count in counts.unhandled.items())
        parts.append(f"{sum(counts.unhandled.values()):,} of types that no handler takes ({named})")
    if rebuilt.failures.height:
        one = rebuilt.failures.row(0, named=True)
        parts.append(f"the first left out is event {one['revision']} of {one['stream']} ({one['field']} = {one['value']}: {one['reason']})")
    return "; ".join(parts)


def _say_where(timeline: Timeline, *, key: str | None = None, found: int = 1) -> None:
    """Name the position that a result is of."""
    if key is not None and not found:
        _say(f"nothing is known of {key!r}: {timeline}")
    else:
        late = f"; {timeline.late:,} events in it carry a later stamp" if timeline.late else ""
        _say(f"{timeline}{late}")


def _say(what: str) -> None:
    print(what, file=sys.stderr)
