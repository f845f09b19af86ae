"""``%%events`` and ``%events``: SQL over a history, in a notebook. Loaded by ``%load_ext workbench``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from workbench.errors import QueryError, UsageError, WorkbenchError

if TYPE_CHECKING:
    import polars as pl
    from IPython.core.interactiveshell import InteractiveShell

    from workbench.timeline import Timeline

_OPTION = re.compile(r"\s*(--?[A-Za-z][\w-]*)(?:=|\s+|$)")
_VALUE = re.compile(r"""(?:"[^"]*"|'[^']*'|\S)+""")
_LAKE = "WORKBENCH_LAKE"
_DATA_FRAME = "polars.dataframe.frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What stands before the query; each field names its option."""

    out: str | None = field(default=None, metadata={"options": ("-o", "--out")})
    timeline: str | None = field(default=None, metadata={"options": ("-t", "--timeline")})
    lake: str | None = field(default=None, metadata={"options": ("-l", "--lake")})
    at: str | None = field(default=None, metadata={"options": ("--at",)})
    scenario: str | None = field(default=None, metadata={"options": ("--scenario",)})


def _parsed(line: str) -> tuple[_Options, str]:
    """Part the options at the beginning of a line from what follows them, which is taken as it stands."""
    known = {option: one.name for one in fields(_Options) for option in one.metadata["options"]}
    given: dict[str, str] = {}
    rest = line
    while found := _OPTION.match(rest):
        name = known.get(found[1])
        if name is None:
            raise UsageError(f"%events has no option {found[1]}; it has {', '.join(known)}.")
        value = _VALUE.match(rest, found.end())
        if value is None:
            raise UsageError(f"%events: {found[1]} needs a value.")
        try:
            given[name] = "".join(shlex.split(value[0]))
        except ValueError as error:
            raise UsageError(f"%events: the value of {found[1]} cannot be read: {error}.") from error
        rest = rest[value.end() :]
    return _Options(**given), rest.strip()


@magics_class
class EventMagics(Magics):
    """The magics. They remember the lake that was named last, and keep it open."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._lake: tuple[str, Timeline] | None = None
        self._answers: WeakValueDictionary[int, pl.DataFrame] = WeakValueDictionary()
        """The frames that were given, by identity: they show themselves as tables for people, and all others as Polars shows them."""

    @no_var_expand
    @line_cell_magic
    def events(self, line: str, cell: str | None = None) -> pl.DataFrame | Timeline:
        """Run SQL, as DuckDB has it, over the view ``events`` of a history; the result is a Polars frame.

        ::

            %%events -o busiest --lake data/demo --at 2026-03-01
            select stream, count(*) as events from events group by 1 order by 2 desc limit 10

            %events select count(*) from events

            frame = %events -t fork select type, count(*) as events from events group by 1

        Options stand before the query.

        -o NAME
            Keep the frame under this name.
        -t NAME
            Ask the timeline, or the lake, of this name in the notebook.
        --lake DIR
            Ask this lake, as it is now, and from then on whenever none is named. Without it the lake of the variable
            WORKBENCH_LAKE, or data/demo.
        --at TIME-or-POSITION
            As it was then.
        --scenario FILE
            What if: with the edits of this scenario.

        Without a query it returns the timeline that would be asked.
        """
        try:
            return self._asked(line, cell)
        except WorkbenchError as error:
            # Raised, so that a run of the notebook stops here; IPython shows what this returns in place of a traceback.
            sentence = f"{type(error).__name__}: {error}"
            vars(error)["_render_traceback_"] = lambda: [sentence]
            raise

    def _asked(self, line: str, cell: str | None) -> pl.DataFrame | Timeline:
        options, rest = _parsed(line)
        if cell is not None and rest:
            raise UsageError(f"%%events takes options on its first line, and the query below it: {rest!r} is none.")
        query = rest if cell is None else cell.strip()
        if options.out is not None and not options.out.isidentifier():
            raise UsageError(f"-o {options.out} is no name that Python could have.")
        timeline = self._history(options)
        if not query:
            if cell is not None:
                raise UsageError("%%events has no query: write SQL over the view events below it.")
            return timeline
        frame = _run(timeline, query)
        if options.out is not None:
            self._user()[options.out] = frame
        self._answers[id(frame)] = frame
        return frame

    def _history(self, options: _Options) -> Timeline:
        if options.timeline is not None:
            if options.lake is not None:
                raise UsageError("-t names a timeline, which has its lake: leave --lake out.")
            timeline = self._named(options.timeline)
        else:
            timeline = self._of_lake(options.lake)
        if options.scenario is not None:
            from workbench.scenarios import Scenario  # noqa: PLC0415  # brings Polars along

            timeline = Scenario.load(options.scenario).on(timeline)
        return timeline if options.at is None else timeline.upto(options.at)

    def _named(self, name: str) -> Timeline:
        from workbench.lake import Lake  # noqa: PLC0415  # brings DuckDB along
        from workbench.timeline import Timeline  # noqa: PLC0415

        value = self._user().get(name)
        if isinstance(value, Lake):
            return value.timeline
        if isinstance(value, Timeline):
            return value
        if name in self._user():
            raise UsageError(f"-t {name} is a {type(value).__name__} and no timeline.")
        known = sorted(one for one, held in self._user().items() if isinstance(held, Timeline | Lake) and not one.startswith("_"))
        raise UsageError(f"There is no timeline {name} in this notebook; there is {', '.join(known) or 'none yet'}.")

    def _of_lake(self, path: str | None) -> Timeline:
        from workbench.lake import open_lake  # noqa: PLC0415  # brings DuckDB along

        if path is None and self._lake is not None:
            return self._lake[1]
        path = path or os.environ.get(_LAKE) or "data/demo"
        # Opened anew whenever it is named: that is how one asks for what was exported meanwhile.
        self._lake = (path, open_lake(path).timeline)
        return self._lake[1]

    def _user(self) -> dict[str, Any]:
        assert self.shell is not None
        namespace: dict[str, Any] = self.shell.user_ns
        return namespace

    def show_as(self, frame: pl.DataFrame, ours: Callable[[Any], str], theirs: Callable[[pl.DataFrame], str]) -> str:
        """Return an answer of ours as a table, and every other frame as it shows itself."""
        from workbench.display.tables import table  # noqa: PLC0415  # brings Polars along

        return ours(table(frame)) if self._answers.get(id(frame)) is frame else theirs(frame)


def _run(timeline: Timeline, query: str) -> pl.DataFrame:
    from polars.exceptions import PolarsError  # noqa: PLC0415  # only what a query needs, when it is asked

    # The lake knows what DuckDB's errors mean, also those that come when the rows are read.
    with timeline.log.queries.translated(timeline.log.files, sql=query):
        relation = timeline.sql(query)
        try:
            return relation.pl()
        except PolarsError as error:
            raise QueryError(f"A column of the result has a type that no frame can hold: {error}. Cast it, as in x::varchar.") from error


def load(shell: InteractiveShell) -> None:
    """Give a shell the magics, and let it show what they return as tables."""
    magics = EventMagics(shell)
    shell.register_magics(magics)
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type_by_name(
        _DATA_FRAME, "DataFrame", lambda frame: magics.show_as(frame, lambda table: table._repr_html_(), lambda frame: frame._repr_html_())
    )


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("events", None)
    shell.display_formatter.formatters["text/html"].pop(f"{_DATA_FRAME}.DataFrame", None)
