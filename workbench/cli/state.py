"""``workbench state``, ``history``, ``diff``, ``first``, ``lineage`` and ``infer``: questions about the state of entities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli import options
from workbench.cli.lines import say
from workbench.cli.look import say_where

if TYPE_CHECKING:
    import polars as pl

    from workbench.fold.resolve import Source
    from workbench.replay.rebuild import Rebuilt
    from workbench.timeline import Timeline

Errors = Annotated[
    Literal["raise", "collect"], typer.Option("--errors", help="Stop at a value that does not fit, or leave its event out and go on.")
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only this entity.")]
Streams = Annotated[
    list[str] | None, typer.Option("--stream", metavar="PATTERN", help="Only these streams; user-1* takes all that begin so.")
]
After = Annotated[
    str | None, typer.Option("--after", metavar="TIME-or-POSITION", help="Only rows of events after this; they change no state.")
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="CONDITION", help="Only rows for which this holds, in SQL: \"logins > 100 and city = 'Köln'\"."),
]
Fields = Annotated[str | None, typer.Option("--fields", metavar="NAME,…", help="Only these columns, besides the key.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(options.History):
    """The options of all questions about states."""

    projection: Annotated[
        str,
        typer.Option(
            "--projection",
            metavar="FILE.py:CLASS",
            help="How events become state: FILE.py:CLASS, MODULE:CLASS, or the name of a category, whose payloads are then merged.",
        ),
    ]
    errors: Errors = "raise"

    def source(self) -> Source:
        """Load the projection."""
        from workbench.fold.loading import load_projection

        return load_projection(self.projection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected(Question):
    """The options of a question about some entities."""

    key: Key = None
    stream: Streams = None

    def chosen(self, *, after: str | None = None) -> Timeline:
        """Return the history of the streams."""
        timeline = self.timeline()
        if self.stream:
            timeline = timeline.streams(*self.stream)
        return timeline if after is None else timeline.after(after, stale=self.stale)


_DIFFERENT = 3
"""The exit status of a diff that finds something, where it is asked to say so."""
_USER = "--projection workbench.sample.projections:User --lake data/demo"


def register(app: typer.Typer) -> None:
    @options.command(app, example=f"workbench state {_USER} --at 2026-03-01")
    def state(
        *,
        asked: Selected,
        revision: Annotated[
            int | None, typer.Option("--revision", metavar="N", help="With --key: only its stream's events up to this one.")
        ] = None,
        where: Where = None,
        fields: Fields = None,
        output: options.Output,
    ) -> None:
        """Rebuild the state of every entity as of a time: one row for each entity that existed then."""
        from workbench.replay.rebuild import rebuild

        timeline = asked.chosen()
        with user_code():
            source = asked.source()
            rebuilt = rebuild(source, timeline, key=asked.key, revision=revision, errors=asked.errors)
        output.show(_only(_fitting(where, rebuilt.state, source, timeline, what="state"), fields))
        _say(_account(rebuilt))
        say_where(timeline, key=asked.key, found=rebuilt.state.height)

    @options.command(app, example=f"workbench history {_USER} --key 1")
    def history(*, asked: Selected, after: After = None, where: Where = None, fields: Fields = None, output: options.Output) -> None:
        """Show every version of one entity, or of all: its state after each event, and how long that state lasted."""
        from workbench.replay.history import history as ask
        from workbench.replay.history_export import write_history

        timeline = asked.chosen(after=after)
        if asked.key is None and where is None and output.out is not None and output.out.suffix == ".parquet":
            with user_code():
                rows = write_history(asked.source(), timeline, output.out, fields=_names(fields), errors=asked.errors)
            say(f"{output.out}: {rows:,} rows", error=True)
            say_where(timeline, found=rows)
            return
        with user_code():
            source = asked.source()
            found = ask(source, timeline, key=asked.key, errors=asked.errors)
        fitting = _fitting(where, found, source, timeline, what="version")
        output.show(_only(fitting, fields, ["event_type", "valid_from_position", "valid_from"]))
        say_where(timeline, key=asked.key, found=found.height)

    @options.command(app, example=f"workbench diff {_USER} --from 2026-03-01 --at 2026-03-02")
    def diff(
        *,
        from_: Annotated[
            str | None,
            typer.Option(
                "--from",
                metavar="TIME-or-POSITION",
                help="The moment that is compared with --at. Without it: what was recorded is compared with --scenario, or two "
                "projections by --other.",
            ),
        ] = None,
        asked: Selected,
        other: Annotated[
            str | None,
            typer.Option(
                "--other", metavar="FILE.py:CLASS", help="Another projection, for the second history: what other rules make of it."
            ),
        ] = None,
        fail: Annotated[
            bool, typer.Option("--fail-on-difference", help="End with status 3 if anything differs, as a gate before a release does.")
        ] = False,
        output: options.Output,
    ) -> None:
        """Compare two histories or two projections: which entities differ, in what, and at which event they diverge.

        The exit status is 0, 1 (it failed), 2 (wrong use), and with --fail-on-difference 3 if anything differs.
        """
        from workbench.errors import UsageError
        from workbench.fold.loading import load_projection
        from workbench.replay.diff import diff as ask

        if from_ is None and other is None and asked.scenario is None:
            raise UsageError("diff compares two histories: give --from, --scenario, or --other for two projections of one history.")
        after = asked.chosen()
        recorded = after if other is not None else replace(after, edits=())
        before = recorded if from_ is None else replace(asked, at=from_).chosen()
        with user_code():
            source, another = asked.source(), None if other is None else load_projection(other)
            found = ask(source, before, after, other=another, key=asked.key, errors=asked.errors)
        output.show(readable(found) if output.is_table else found)
        many = f"{found.height:,} {'differs' if found.height == 1 else 'differ'}"
        if another is None:
            _say(f"{many} between {before} and {after}")
        else:
            where = str(before) + (f" and {after}" if after != before else "")
            _say(f"{many} between {asked.projection} and {other}: {where}{_uncompared(found)}")
        if fail and found.height:
            raise typer.Exit(_DIFFERENT)

    @options.command(app, example=f'workbench first "logins > 100" {_USER}')
    def first(
        where: Annotated[
            str, typer.Argument(metavar="WHERE", help="A condition on the fields, in SQL: \"logins > 100 and city = 'Köln'\".")
        ],
        *,
        asked: Selected,
        after: After = None,
        fields: Fields = None,
        output: options.Output,
    ) -> None:
        """Find the first event of each entity after which a condition holds, the earliest of all first."""
        from workbench.replay.first import first as ask

        timeline = asked.chosen(after=after)
        with user_code():
            found = ask(asked.source(), timeline, where, key=asked.key, errors=asked.errors)
        output.show(_only(found, fields, ["position", "recorded_at", "event_type", "event_id"]))
        say_where(timeline)

    @options.command(app, example=f"workbench lineage {_USER} --key 1 --field roles")
    def lineage(
        *,
        asked: Question,
        key: Annotated[str, typer.Option("--key", metavar="KEY", help="The entity.")],
        field: Annotated[str, typer.Option("--field", metavar="NAME", help="The field whose value is asked about.")],
        after: After = None,
        output: options.Output,
    ) -> None:
        """Find the events that gave a field of an entity its value."""
        from workbench.replay.lineage import lineage as ask

        timeline = asked.timeline()
        if after is not None:
            timeline = timeline.after(after, stale=asked.stale)
        with user_code():
            found = ask(asked.source(), timeline, key=key, field=field, errors=asked.errors)
        output.show(found)
        say_where(timeline, key=key, found=found.height)

    @options.command(app, example="workbench infer user --lake data/demo > user.py")
    def infer(
        category: Annotated[str, typer.Argument(metavar="CATEGORY", help="A category of the lake.")],
        *,
        lake: options.Lake,
    ) -> None:
        """Draft a projection of a category from its events: fields, types, and which events create and delete."""
        from workbench.lake import open_lake
        from workbench.payloads.infer import infer as draft

        print(draft(category, open_lake(lake).timeline), end="")


@contextmanager
def user_code() -> Iterator[None]:
    """Report an error in a user's function in one sentence that names the event."""
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


def _fitting(where: str | None, rows: pl.DataFrame, source: Source, timeline: Timeline, *, what: str) -> pl.DataFrame:
    """Return the rows that --where selects, and say how many they are."""
    from workbench.fold.resolve import subject_of
    from workbench.replay.state_conditions import rows_where

    if where is None:
        return rows
    fitting = rows_where(where, rows, subject_of(source, timeline), what=what)
    _say(f"{fitting.height:,} of {rows.height:,} {what}s fulfil {where}")
    return fitting


def _names(fields: str | None) -> list[str] | None:
    return None if fields is None else [name.strip() for name in fields.split(",") if name.strip()]


def _only(frame: pl.DataFrame, fields: str | None, besides: list[str] | None = None) -> pl.DataFrame:
    """Choose columns of a result."""
    from workbench.errors import UsageError

    if fields is None:
        return frame
    names = _names(fields) or []
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise UsageError(f"There is no {unknown[0]!r} to show with --fields; there are {', '.join(frame.columns)}.")
    return frame.select(list(dict.fromkeys(["key", *names, *(besides or [])])))


def readable(diff: pl.DataFrame) -> pl.DataFrame:
    """Format the changes of each entity as one text, for a table."""
    import polars as pl

    said = [changes(*row) for row in diff.select("changed_fields", "before", "after").iter_rows()]
    return diff.select(
        "key",
        "change",
        pl.Series("what", said, dtype=pl.String),
        "diverged_position",
        "diverged_at",
        "diverged_event_type",
        "diverged_event_id",
    )


def _uncompared(diff: pl.DataFrame) -> str:
    """Name the fields that only one of two projections has."""
    import polars as pl

    before, after = (
        {field.name for field in dtype.fields} if isinstance(dtype := diff.schema[side], pl.Struct) else set()
        for side in ("before", "after")
    )
    alone = [
        f"{name} (only in the {which})"
        for names, which in ((before - after, "first"), (after - before, "second"))
        for name in sorted(names)
    ]
    return f"; not compared: {', '.join(alone)}" if alone else ""


def changes(names: list[str], before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    """Format the changes of some fields as one text; a new entity is shown by its values alone."""
    now = {} if after is None else after
    if before is None:
        return "; ".join(f"{name}: {_value(now.get(name))}" for name in names)
    return "; ".join(f"{name}: {_value(before.get(name))} → {_value(now.get(name))}" for name in names)


def _value(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    from datetime import datetime

    from workbench.events import format_time

    return format_time(value) if isinstance(value, datetime) else str(value)


def _account(rebuilt: Rebuilt) -> str:
    """Describe the outcomes of the events, unless computing them would need another fold."""
    height = rebuilt.state.height
    entities = f"{height:,} {'entity' if height == 1 else 'entities'}"
    if not rebuilt.is_counted:
        return f"{entities}, from what is materialised"
    counts = rebuilt.counts
    parts = [f"{entities} from {counts.applied:,} event{'s' if counts.applied != 1 else ''}"]
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


def _say(what: str) -> None:
    say(what, error=True)
