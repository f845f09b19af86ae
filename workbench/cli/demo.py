"""``workbench demo``: shows the whole workbench, from an empty store to a first report."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import options
from workbench.events import format_time

if TYPE_CHECKING:
    from workbench.kurrent import Connection
    from workbench.lake import Lake
    from workbench.timeline import Timeline


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench demo")
    def demo(
        directory: Annotated[
            Path, typer.Option("--dir", metavar="DIR", help="The directory for the store, the lake and the report.")
        ] = Path("data"),
        events: Annotated[int, typer.Option("--events", metavar="N", min=1, help="How many events the sample system writes.")] = 40_000,
        # No environment variable sets this: the demo writes to the store, so it must be named explicitly.
        source: Annotated[
            str | None,
            typer.Option("--source", metavar="URI", help="Fill this KurrentDB, which must be empty, instead of an embedded store."),
        ] = None,
    ) -> None:
        """Fill an embedded store with the sample system's history, export it, look at it, and write a first report.

        If you run it again, it continues: it neither writes the sample twice nor copies an event twice.
        """
        from workbench.analysis import distribution
        from workbench.cli.info import print_info
        from workbench.cli.output import print_table
        from workbench.lake import open_lake
        from workbench.reports import run_report
        from workbench.reports.notebook_files import shipped_notebooks

        began = time.perf_counter()
        lake, report = make_lake(directory, events=events, source=source), directory / "report.html"
        recorded = open_lake(lake)
        moments = moments_of(recorded)
        say(4, "What is in it")
        print_info(recorded.info())
        print()
        print_table(distribution(recorded.timeline).head(12).select("type", "count", "share", "first_recorded_at", "last_recorded_at"))
        say(5, f"State at any time: users {moments.past_is}, one user's history, and what {moments.later_is} changed")
        print_states(moments)
        say(6, "A first report")
        run_report("event_types", lake=str(lake), out=report)
        print(f"{report}: open it in a browser; it needs no network.")
        say(7, "Workflows: registrations that run through three services, and those of them that are stuck")
        print_workflows(recorded)
        say(8, "What if: the same history, had some of it not happened")
        print_what_if(recorded)
        print(f"\nDone in {time.perf_counter() - began:.0f} s. Next:\n")
        command, at = invoked(), moments.example
        lines = [
            f"distribution --lake {lake} --by category --every 1w",
            f'sql "select stream, count(*) from events group by 1 order by 2 desc limit 10" --lake {lake} --at {at}',
            f"state --projection workbench.sample.projections:User --lake {lake} --at {at} --fields name,city,logins,paid",
            f"history --projection user --lake {lake} --key 1 --fields email",
            f'first "logins > 100" --projection workbench.sample.projections:User --lake {lake} --fields name,logins',
            f"whatif no-deletions no-failed-steps --lake {lake} --at {at}     # what if: two scenarios side by side",
            f"steps --projection workbench.sample.projections:User --lake {lake} --key 1 --scenario no-deletions --rows 10",
            f"infer room --lake {lake}     # draft a projection of your own",
            f"report run workflows --lake {lake} --at {at} --out {directory / f'until-{at}.html'}     # each notebook is a report",
        ]
        if source is None:
            lines.append(f"db start --data {directory / 'store'}     # serve the store, for a client or an export of your own")
        for line in lines:
            print(f"  {command} {line}")
        print(f"\nNotebooks, each of which is also a report: {', '.join(shipped_notebooks())}.")
        print(f"To open them in JupyterLab: {command} lab --lake {lake}")


def make_lake(directory: Path, *, events: int = 40_000, source: str | None = None) -> Path:
    """Fill a store with the sample's history, copy it into a lake, and return the lake's directory. Continues an earlier run.

    Parameters
    ----------
    source
        The address of an empty store; None creates an embedded one in the directory.

    Raises
    ------
    SourceError
        The store at ``source`` has events but there is no lake yet; or it is empty but the lake is a copy of another store.
    """
    from workbench.kurrent import connect

    lake = directory / "demo"
    directory.mkdir(parents=True, exist_ok=True)
    if source is None:
        _fill_embedded(directory, lake, events=events)
    else:
        with connect(source) as connection:
            _fill(connection, lake, events=events)
            _copy(connection, lake)
    return lake


_SAMPLE = "Ninety days of the sample system: auth, chat and community services, and a registration saga"


def _fill(source: Connection, lake: Path, *, events: int) -> None:
    """Load the sample into the given store, unless an earlier demo already did and copied it."""
    from workbench.cli.store_commands import load_sample
    from workbench.errors import SourceError
    from workbench.sample.load import stream_of_users

    say(1, f"The event store at {source.address}")
    say(2, _SAMPLE)
    if not lake.exists():
        load_sample(source, events=events, days=90, seed=1)
    elif stream_of_users(source) is None:
        raise SourceError(
            f"{source.address} is empty, and {lake} is the copy of another store: remove that, or name another directory with --dir."
        )
    else:
        print(f"The store has its history already, and {lake} is its copy.")


def _copy(source: Connection, lake: Path) -> None:
    from workbench.cli.export import print_summary, print_wait
    from workbench.cli.output import progress
    from workbench.export import export_log

    say(3, f"The log, copied into the lake {lake}")
    with progress("export") as shown:
        print_summary(export_log(source, lake, progress=shown, waiting=print_wait), json=False)


def _fill_embedded(directory: Path, lake: Path, *, events: int) -> None:
    from workbench.cli.store_commands import load_sample
    from workbench.embedded import NOTICE, EmbeddedStore
    from workbench.kurrent import connect

    stored = directory / "store"
    say(1, f"An embedded event store. {NOTICE}")
    say(2, _SAMPLE)
    if stored.exists():
        print(f"The store in {stored} has its history already; remove {stored} and {lake} for another.")
    else:
        # Fill the store in another directory and then move it, so that an interrupted demo leaves no partial history.
        filling = stored.with_name(".store.part")
        shutil.rmtree(filling, ignore_errors=True)
        with EmbeddedStore(filling) as store, connect(store.uri) as source:
            load_sample(source, events=events, days=90, seed=1)
        filling.rename(stored)
    with EmbeddedStore(stored) as store, connect(store.uri) as source:
        _copy(source, lake)


@dataclass(frozen=True, slots=True)
class Moments:
    """Two moments of a history for the demo's questions.

    Attributes
    ----------
    past_is, later_is
        Descriptions of the first moment and of the time between the two.
    at
        The first moment in the form of ``--at``.
    example
        A moment for the commands that the demo prints at the end.
    """

    past: Timeline
    later: Timeline
    past_is: str
    later_is: str
    at: str
    example: str


def moments_of(lake: Lake) -> Moments:
    """Choose the moments by time, or by position if the store gave all events the time of one load."""
    now, info = lake.timeline, lake.info()
    assert info.first_recorded_at is not None
    assert info.last_recorded_at is not None
    month_ago = (info.last_recorded_at - timedelta(days=30)).replace(hour=0, minute=0, second=0, microsecond=0)
    if month_ago > info.first_recorded_at:
        day = (now.upto(month_ago), now.upto(month_ago + timedelta(days=1)))
        return Moments(*day, "a month before the end", "the next day", at=format_time(month_ago), example="2026-03-01")
    positions = now.events().select("position").collect()["position"]
    first = positions.len() * 2 // 3
    then, later = positions[first], positions[min(first + 1000, positions.len() - 1)]
    at = str(then)
    return Moments(now.upto(position=then), now.upto(position=later), "two thirds into the log", "the next thousand events", at, at)


def print_states(moments: Moments) -> None:
    """Print the answers to questions about the state of the sample's users."""
    import polars as pl

    from workbench.cli.output import print_table
    from workbench.cli.state import readable
    from workbench.replay.diff import diff
    from workbench.replay.history import history
    from workbench.replay.state import state
    from workbench.sample.projections import User

    past = moments.past
    users = state(User, past)
    if users.is_empty():
        print(f"There were no users yet at {moments.at}.")
        return
    print(f"{users.height:,} users at {moments.at}, and the busiest of them:\n")
    busiest = users.sort("logins", "key", descending=[True, False]).head(5)
    print_table(busiest.select("key", "name", "city", "roles", "logins", "paid", "last_login"))
    key = busiest["key"][0]
    print(f"\nHow user {key} came to be that, lately:\n")
    versions = history(User, past, key=key).tail(5)
    print_table(versions.select("event_type", "city", "roles", "logins", "paid", "valid_from_position", "valid_from"))
    print(f"\nWhat {moments.later_is} changed, each with the event that began it:\n")
    changed = diff(User, past, moments.later)
    shown = readable(changed.sort("diverged_position").head(5))
    print_table(shown.select("key", "change", pl.col("what").str.slice(0, 80), "diverged_event_type", "diverged_position"))


def print_workflows(lake: Lake) -> None:
    """Print the outcomes of the registrations, and the last steps of those that are stuck, or running if none is stuck yet."""
    import polars as pl

    from workbench.analysis.workflows import Workflow, workflows
    from workbench.cli.output import print_table

    registration = Workflow(
        start="registration.started",
        done="registration.completed",
        compensated="registration.compensated",
        failed="registration.failed",
        stuck_after="1h",
    )
    found = workflows(registration, lake.timeline)
    print(f"{found}\n")
    stuck = found.traces.filter(pl.col("outcome") == "stuck")
    waiting = (found.traces.filter(pl.col("outcome") == "running") if stuck.is_empty() else stuck).sort(
        "last_at", "correlation_id", descending=[True, False]
    )
    print_table(waiting.head(5).select("correlation_id", "started_at", "events", "last_type"))


def print_what_if(lake: Lake) -> None:
    """Print the effect of one of the shipped scenarios."""
    from workbench.cli.whatif_output import print_effect
    from workbench.scenarios import Scenario, find_scenario, whatif

    file = find_scenario("no-failed-steps")
    print(f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file} asks:\n")
    print_effect(whatif(Scenario.load(file), lake.timeline))


def invoked() -> str:
    """Return this command as a shell can run it: its name if it is on the path, else its file."""
    script = Path(sys.argv[0])
    found = shutil.which("workbench")
    if script.name != "workbench" or (found and Path(found).resolve() == script.resolve()):
        return "workbench"
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


def say(step: int, what: str) -> None:
    """Print the headline of a step."""
    print(f"\n{step}. {what}", flush=True)
