"""Pipeline files, read strictly: every error names file, line and column, and the words that are known there.

::

    name: nightly
    zone: Europe/Berlin
    schedule: 15 0 * * 1-5
    source: esdb://db.example:2113
    lake: ../data/orders
    jobs:
      copy:
        export: everything
        retry: {times: 3, wait: 5m}
      event-types:
        notebook: event_types
        parameters: {every: 1d}
        as_of: day
        needs: [copy]
        out: ../data/reports/{job}/{date}.html
        retention: {runs: 30}
    metrics:
      actor: metadata.userId

An export takes ``accept_scavenged: true`` where the event at which the last one ended may have been scavenged and nothing else can prove
that the log is the same.

A report takes ``environment: [NAME]``: the variables that its notebook needs, since it is given none that may be secret.

``zone``, ``schedule``, ``source``, ``lake``, ``catch_up``, ``since``, ``limits``, ``retry`` and ``retention`` may stand at the top for all
jobs. Paths are seen from the file; ``$NAME`` at the beginning of a source, a lake or ``out`` is a variable of the environment.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast, get_args
from urllib.parse import urlsplit

import yaml

from workbench.errors import InvalidCondition, UsageError, WorkbenchError
from workbench.events import Selection, parse_time
from workbench.jobs.cron import CronTimes
from workbench.jobs.output_conflicts import overwriting, replaces_itself
from workbench.jobs.pipeline import (
    PLACES,
    AsOf,
    CatchUp,
    Export,
    Format,
    Job,
    Limits,
    Metrics,
    Pipeline,
    Report,
    Retention,
    Retry,
)
from workbench.projection import event_path, plan
from workbench.reports import declared_parameters, find_notebook
from workbench.reports.parameters import check_parameters
from workbench.strict_yaml import Document
from workbench.timeline.edits import span_of
from workbench.zones import check_zone

_SHARED = ("zone", "schedule", "source", "lake", "catch_up", "since", "limits", "retry", "retention")
_TOP = ("name", *_SHARED, "jobs", "metrics")
_EXPORT = ("export", *_SHARED, "needs", "formats", "out", "accept_scavenged")
_REPORT = (
    *("notebook", "parameters", "scenario", "as_of", "environment", "zone", "schedule", "lake", "needs"),
    *("formats", "out", "catch_up", "since", "limits", "retry", "retention"),
)
_FORMATS: dict[type[Export | Report], tuple[Format, ...]] = {Export: ("duckdb",), Report: ("html",)}
_PLAIN_ADDRESS = re.compile(r"(?:esdb|kurrentdb|kurrent|kdb)(?:\+discover)?://[a-z0-9.-]+(?::2113)?(?:\?tls=(?:true|false))?")
"""An address that needs no closer look, which would bring in gRPC: cron asks every minute what is due."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(_SIZES)})")

Read = TypeVar("Read")
Nodes = dict[str, yaml.Node]


def find_pipelines(folder: str | Path = "pipelines") -> list[Path]:
    """Return the pipeline files of a folder: its ``*.yaml``, sorted by name.

    Raises
    ------
    UsageError
        There are none.
    """
    found = sorted(Path(folder).glob("*.yaml"))
    if not found:
        raise UsageError(f"There is no pipeline in {Path(folder)}/: name the files, or run this where {Path(folder)}/*.yaml are.")
    return found


def load_pipeline(file: str | Path) -> Pipeline:
    """Read a pipeline from a YAML file. Opens no lake and no source, and runs no notebook.

    Raises
    ------
    UsageError
        It is no pipeline: the message names file, line and column, and the words that are known there.
    """
    reader = _PipelineReader(Path(file))
    pipeline = reader.read()
    if reader.errors:
        raise reader.errors[0]
    assert pipeline is not None
    return pipeline


def check_pipeline(file: str | Path) -> tuple[Pipeline | None, tuple[UsageError, ...]]:
    """Read a pipeline, and return it with what is wrong in it: of each job and of what stands above them the first error."""
    reader = _PipelineReader(Path(file))
    pipeline = reader.read()
    return (None if reader.errors else pipeline), tuple(reader.errors)


class _PipelineReader:
    """One file, and what was found wrong in it so far."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.errors: list[UsageError] = []
        self._document: Document
        self._name = file.stem

    def read(self) -> Pipeline | None:
        try:
            self._document = document = Document.open(self.file, kind="a pipeline", holds="jobs")
            top = document.words(document.root, "a pipeline", _TOP, needs=("jobs",))
            if "name" in top:
                self._name = self._identifier(top["name"], "name")
            named = document.mapping(top["jobs"], "jobs", "jobs: {copy: {export: everything, schedule: 15 0 * * *}}")
        except UsageError as error:
            self.errors.append(error)
            return None
        shared = {name: node for name, node in top.items() if name in _SHARED}
        jobs: dict[str, Job] = {}
        needs: dict[str, yaml.Node] = {}
        for name, node in named.items():
            with self._collected():
                job, needed = self._job(name, node, shared)
                jobs[name] = job
                if needed is not None:
                    needs[name] = needed
        metrics = Metrics()
        with self._collected():
            metrics = self._metrics(top["metrics"]) if "metrics" in top else metrics
        if self.errors:
            return None
        ordered: list[Job] = []
        with self._collected():
            ordered = self._ordered(jobs, needs)
        self.errors += overwriting(jobs.values())
        return Pipeline(self.file, self._name, tuple(ordered), metrics)

    @contextmanager
    def _collected(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            if str(error) not in map(str, self.errors):  # what is shared is read for every job
                self.errors.append(error)

    @contextmanager
    def _at(self, node: yaml.Node) -> Iterator[None]:
        """Give an error from elsewhere the place in the file that it is about."""
        try:
            yield
        except WorkbenchError as error:
            raise self._document.wrong(node, str(error).rstrip(".")) from error

    def _identifier(self, node: yaml.Node, what: str) -> str:
        name = self._document.text(node, what)
        if not _NAME.fullmatch(name):
            raise self._document.wrong(node, f"{what} is made of letters, digits, '-', '_' and '.', which {name!r} is not")
        return name

    def _job(self, name: str, node: yaml.Node, shared: Nodes) -> tuple[Job, yaml.Node | None]:
        document = self._document
        if not _NAME.fullmatch(name):
            raise document.wrong(node, f"the name of a job is made of letters, digits, '-', '_' and '.', which {name!r} is not")
        what = f"job {name!r}"
        both = (*_EXPORT, *(word for word in _REPORT if word not in _EXPORT))
        own = document.words(node, what, both)
        if ("export" in own) == ("notebook" in own):
            raise document.wrong(node, f"{what} has either export, as in export: everything, or notebook, as in notebook: event_types")
        is_export = "export" in own
        document.words(node, f"{what}, an export," if is_export else f"{what}, a report,", _EXPORT if is_export else _REPORT)
        given = {**shared, **own}
        for word in ("schedule", "lake", *(("source",) if is_export else ())):
            if word not in given:
                raise document.wrong(node, f"{what} needs {word}, its own or one at the top for all jobs")
        work: Export | Report = self._export(given) if is_export else self._report(given)
        zone = self._zone(given["zone"]) if "zone" in given else "UTC"
        with self._at(given["schedule"]):
            times = CronTimes.parse(document.text(given["schedule"], "schedule"), zone=zone)
        formats, out = self._outputs(node, what, own, type(work))
        job = Job(
            name=f"{self._name}/{name}",
            work=work,
            times=times,
            folder=self.file.parent.resolve(),
            catch_up=cast(CatchUp, self._one_of(given, "catch_up", get_args(CatchUp), "latest")),
            since=self._with(given, "since", self._moment),
            limits=self._with(given, "limits", self._limits) or Limits(),
            retry=self._with(given, "retry", self._retry) or Retry(),
            retention=self._with(given, "retention", self._retention) or Retention(),
            formats=formats,
            out=out,
            written=self._document.place(own.get("out", node)),
        )
        if replaces_itself(job):
            raise document.wrong(
                own["out"],
                f"{what} runs more than once a day, and out has {{date}} and no {{time}}, so that a later run replaces an earlier one: "
                "write {time}, or leave {date} away to keep only the last run",
            )
        return job, own.get("needs")

    def _with(self, given: Nodes, word: str, read: Callable[[yaml.Node], Read]) -> Read | None:
        return read(given[word]) if word in given else None

    def _one_of(self, given: Nodes, word: str, known: Sequence[str], default: str) -> str:
        if word not in given:
            return default
        text = self._document.text(given[word], word)
        if text not in known:
            raise self._document.wrong(given[word], f"{word} is {', '.join(known[:-1])} or {known[-1]}, and not {text!r}")
        return text

    def _zone(self, node: yaml.Node) -> str:
        zone = self._document.text(node, "zone")
        with self._at(node):
            check_zone(zone)
        return zone

    def _export(self, given: Nodes) -> Export:
        document, node = self._document, given["export"]
        selection = Selection()
        if isinstance(node, yaml.ScalarNode):
            if document.value(node) != "everything":
                raise document.wrong(
                    node, "export is everything, or what to keep, as in export: {categories: [user, order]} or {system: true}"
                )
        else:
            words = document.words(node, "export", ("streams", "categories", "types", "system"))
            system = "system" in words and self._yes_or_no(words.pop("system"), "system")
            names = {word: self._texts(found, word) for word, found in words.items()}
            selection = Selection.of_fields({**names, "system": system})
        accept_scavenged = "accept_scavenged" in given and self._yes_or_no(given["accept_scavenged"], "accept_scavenged")
        return Export(self._source(given["source"]), self._lake(given["lake"]), selection, accept_scavenged)

    def _source(self, node: yaml.Node) -> str:
        source = self._document.text(node, "source")
        if source.startswith("$") or _PLAIN_ADDRESS.fullmatch(source):
            return source
        from workbench.kurrent.address import PASSWORD_VARIABLE, USERNAME_VARIABLE, Address  # noqa: PLC0415  # brings gRPC

        with self._at(node):
            address = Address.parse(source)
        if address.password is not None or address.username is not None:
            raise self._document.wrong(
                node,
                "an address in a pipeline has neither user nor password: they come from the environment, "
                f"as {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}, or the whole address does, as in source: $WORKBENCH_SOURCE",
            )
        return source

    def _lake(self, node: yaml.Node) -> str:
        lake = self._document.text(node, "lake")
        if "://" in lake and "@" in urlsplit(lake).netloc:
            raise self._document.wrong(
                node, "the URL of a lake holds no credentials here: those of an object store come from the environment"
            )
        return lake

    def _report(self, given: Nodes) -> Report:
        document = self._document
        notebook = self._beside(document.text(given["notebook"], "notebook"))
        with self._at(given["notebook"]):
            path = find_notebook(notebook)
            declared = declared_parameters(path)
        parameters: dict[str, Any] = {}
        if "parameters" in given:
            for name, node in document.mapping(given["parameters"], "parameters", "parameters: {every: 1d}").items():
                value = document.value(node)
                with self._at(node):
                    parameters |= check_parameters(path, declared, {name: float(value) if isinstance(value, Decimal) else value})
        scenario = None
        if "scenario" in given:
            from workbench.scenarios import find_scenario  # noqa: PLC0415  # brings DuckDB

            scenario = self._beside(document.text(given["scenario"], "scenario"))
            with self._at(given["scenario"]):
                find_scenario(scenario)
        as_of = cast(AsOf, self._one_of(given, "as_of", get_args(AsOf), "scheduled"))
        return Report(notebook, self._lake(given["lake"]), parameters, scenario, as_of, self._variables(given))

    def _variables(self, given: Nodes) -> tuple[str, ...]:
        names = self._texts(given["environment"], "environment") if "environment" in given else ()
        for name in names:
            if not _VARIABLE_NAME.fullmatch(name):
                raise self._document.wrong(
                    given["environment"],
                    f"environment names variables, whose values the scheduler's own environment has, and {name!r} is no name of one",
                )
        return names

    def _beside(self, name: str) -> str:
        """Return a file as seen from the pipeline's own; a name that comes along stays one."""
        path = self.file.parent / Path(name).expanduser()
        return str(path.resolve()) if path.is_file() else name

    def _outputs(self, node: yaml.Node, what: str, own: Nodes, kind: type[Export | Report]) -> tuple[tuple[Format, ...], str | None]:
        document = self._document
        known = _FORMATS[kind]
        formats: tuple[Format, ...] = known if kind is Report else ()
        if "formats" in own:
            asked = self._texts(own["formats"], "formats")
            for one in asked:
                if one not in known:
                    raise document.wrong(own["formats"], f"{what} has no format {one!r}; it knows {', '.join(known)}")
            formats = cast("tuple[Format, ...]", tuple(dict.fromkeys(asked)))
        if "out" not in own:
            if formats:
                raise document.wrong(node, f"{what} needs out, where its files go, as in out: ../data/reports/{{job}}/{{date}}.{{format}}")
            return (), None
        out = document.text(own["out"], "out")
        if not formats:
            raise document.wrong(own["out"], f"{what} writes no file: say which one with formats: [{known[0]}], or leave out away")
        try:
            fields = [name for _, name, spec, conversion in string.Formatter().parse(out) if name is not None or spec or conversion]
        except ValueError as error:
            raise document.wrong(own["out"], f"out is no place ({error}): braces hold {', '.join(PLACES)}") from error
        for name in fields:
            if name not in PLACES:
                raise document.wrong(own["out"], f"out has no {{{name}}}; it knows {', '.join(f'{{{one}}}' for one in PLACES)}")
        if not out.endswith((".{format}", f".{formats[0]}")) or (len(formats) > 1 and "format" not in fields):
            raise document.wrong(own["out"], f"out ends in .{{format}}, or in .{formats[0]}")
        return formats, out

    def _texts(self, node: yaml.Node, word: str) -> tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._document.text(one, word) for one in self._document.items(node, word, f"{word}: [a, b]"))
        return (self._document.text(node, word),)

    def _moment(self, node: yaml.Node) -> datetime:
        with self._at(node):
            return parse_time(self._document.text(node, "since"))

    def _span(self, node: yaml.Node, word: str) -> timedelta:
        text = self._document.text(node, word)
        with self._at(node):
            span = span_of(text)
        if span <= timedelta():
            raise self._document.wrong(node, f"{word} is longer than nothing, as in {word}: 30m")
        return span

    def _count(self, node: yaml.Node, word: str, *, least: int) -> int:
        value = self._document.value(node)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._document.wrong(node, f"{word} is a whole number from {least}")
        return value

    def _yes_or_no(self, node: yaml.Node, word: str) -> bool:
        value = self._document.value(node)
        if not isinstance(value, bool):
            raise self._document.wrong(node, f"{word} is true or false")
        return value

    def _limits(self, node: yaml.Node) -> Limits:
        words = self._document.words(node, "limits", ("time", "cell", "memory", "output"))
        spans: dict[str, Any] = {word: self._span(words[word], word) for word in ("time", "cell") if word in words}
        sizes: dict[str, Any] = {word: self._size(words[word], word) for word in ("memory", "output") if word in words}
        return replace(Limits(), **spans, **sizes)

    def _size(self, node: yaml.Node, word: str) -> int:
        found = _SIZE.fullmatch(self._document.text(node, word))
        if found is None:
            raise self._document.wrong(node, f"{word} is a size in {', '.join(_SIZES)}, as in {word}: 2 GB")
        return int(Decimal(found[1]) * _SIZES[found[2]])

    def _retry(self, node: yaml.Node) -> Retry:
        words = self._document.words(node, "retry", ("times", "wait", "factor", "longest"), needs=("times",))
        spans: dict[str, Any] = {word: self._span(words[word], word) for word in ("wait", "longest") if word in words}
        retry = replace(Retry(), times=self._count(words["times"], "times", least=0), **spans)
        if "factor" in words:
            factor = self._document.value(words["factor"])
            if isinstance(factor, bool) or not isinstance(factor, int | Decimal) or not 1 <= factor <= 1000:
                raise self._document.wrong(words["factor"], "factor is a number from 1 to 1000")
            retry = replace(retry, factor=float(factor))
        return retry if "longest" in words else replace(retry, longest=max(retry.longest, retry.wait))

    def _retention(self, node: yaml.Node) -> Retention:
        words = self._document.words(node, "retention", ("runs", "age", "history"))
        found = {word: self._span(words[word], word) for word in ("age", "history") if word in words}
        runs = self._count(words["runs"], "runs", least=1) if "runs" in words else None
        return replace(Retention(), runs=runs, **found)

    def _metrics(self, node: yaml.Node) -> Metrics:
        words = self._document.words(node, "metrics", ("actor", "snapshots", "types", "replay"))
        return Metrics(
            actor=self._with(words, "actor", self._actor),
            snapshots=self._texts(words["snapshots"], "snapshots") if "snapshots" in words else (),
            types=self._count(words["types"], "types", least=1) if "types" in words else Metrics().types,
            replay=tuple(map(self._projection, self._texts(words["replay"], "replay"))) if "replay" in words else (),
        )

    def _projection(self, name: str) -> str:
        place, colon, attribute = name.rpartition(":")
        is_file = colon and (place.endswith(".py") or "/" in place)
        return f"{(self.file.parent / place).resolve()}:{attribute}" if is_file else name

    def _actor(self, node: yaml.Node) -> tuple[str | int, ...]:
        try:
            found = event_path(self._document.text(node, "actor")).value
        except InvalidCondition as error:
            raise self._document.wrong_inside(node, error.offset, error.reason) from error
        if not isinstance(found, plan.Path) or not found.steps:
            raise self._document.wrong(node, 'actor is a path into a payload, such as metadata.userId, data.user.id or data."user id"')
        return (found.root, *found.steps)

    def _ordered(self, jobs: dict[str, Job], needs: dict[str, yaml.Node]) -> list[Job]:
        """Return the jobs with what they need, each behind those; what is needed must be there and must not go round in circles."""
        needed: dict[str, tuple[str, ...]] = {}
        for name in jobs:
            needed[name] = self._texts(needs[name], "needs") if name in needs else ()
            for one in needed[name]:
                if one not in jobs:
                    raise self._document.wrong(
                        needs[name], f"job {name!r} needs {one!r}, which is no job here; there are {', '.join(jobs)}"
                    )
        ordered: list[str] = []
        while len(ordered) < len(jobs):
            ready = [name for name in jobs if name not in ordered and set(needed[name]) <= set(ordered)]
            if not ready:
                left = [name for name in jobs if name not in ordered]
                raise self._document.wrong(needs[left[0]], f"jobs need each other in a circle: {', '.join(left)}")
            ordered += ready
        return [replace(jobs[name], needs=tuple(f"{self._name}/{one}" for one in needed[name])) for name in ordered]
