"""What a question is asked of: a projection, a fold, or the bare name of a category; and of which events it may be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from workbench.errors import InvalidProjection, UsageError
from workbench.fold.entity_scope import keyed_by_stream
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.untyped_state import merging_plan
from workbench.projection.declaration import Projection, plan_of
from workbench.projection.plan import Plan
from workbench.server_streams import ensure_not_system
from workbench.timeline import Timeline, ensure_timelines

Source = type[Projection] | Fold | str
"""A projection, a fold, or the name of a category, whose payloads are then merged: see ``merging``."""
Subject = Plan | Fold


def subject_of(source: Source, *timelines: Timeline) -> Subject:
    """Return what is folded, of one history or of several alike.

    Raises
    ------
    InvalidProjection
        It is none of the three, or is about events of the system, which never become state.
    UsageError
        The lake has no category of that name, or something else than a timeline was given.
    """
    ensure_timelines(*timelines)
    given: object = source
    subject: Subject
    if isinstance(given, Fold):
        subject = given
    elif isinstance(given, str):
        ensure_not_system("category", (given,), given)
        return merging_plan(given, *timelines)
    elif isinstance(given, type) and issubclass(given, Projection):
        subject = plan_of(given)
    else:
        raise InvalidProjection(f"{given!r} is no projection: give a class that extends Projection, a Fold, or the name of a category.")
    ensure_not_system("category", subject.categories, subject.name)
    return subject


def folded(timeline: Timeline, subject: Subject, *, question: str) -> Timeline:
    """Return the timeline whose events are folded: from the first event on, without those of the system.

    Raises
    ------
    UsageError
        The timeline leaves events out in a way that would change what the entities are.
    """
    if timeline.follows:
        raise UsageError(
            f"{question}() folds each event once, and links() shows events a second time, in the streams of their links: leave links() out."
        )
    for selection in timeline.selections:
        if selection.types:
            raise UsageError(
                f"{question}() folds every event of an entity, and this timeline looks only at types {', '.join(selection.types)}: "
                "leave types() out; drop(type=...) asks what would be had events not happened."
            )
        named: tuple[tuple[str, Literal["stream", "category"], tuple[str, ...]], ...] = (
            ("streams", "stream", selection.streams),
            ("categories", "category", selection.categories),
        )
        for method, column, names in named:
            if names and not keyed_by_stream(subject):
                raise UsageError(
                    f"{question}() of {subject.name} finds its keys in the events and not in the streams' names, so that looking only at "
                    f"{method} {', '.join(names)} would fold parts of entities: leave {method}() out; key= asks for one entity, and "
                    "drop() what would be had events not happened."
                )
            ensure_not_system(column, names, f"{question}() of {', '.join(names)}")
    return replace(timeline, system=False, after_position=None)


def folded_from_the_start(timeline: Timeline, subject: Subject, *, question: str) -> Timeline:
    """Return the same for a question that has no rows that ``after`` could bound."""
    if timeline.after_position is not None:
        raise UsageError(
            f"{question}() folds from the first event, and this timeline looks only at events after position {timeline.after_position}: "
            "leave after() out; diff() says what changed since, and history() takes after()."
        )
    return folded(timeline, subject, question=question)
