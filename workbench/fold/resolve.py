"""Turns a caller's projection, fold or category name into what is folded, and checks that the timeline can be folded."""

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
"""A projection, a fold, or the name of a category whose payloads are merged, see ``untyped_state``."""
Subject = Plan | Fold


def subject_of(source: Source, *timelines: Timeline) -> Subject:
    """Return the plan or fold that a source means on all of these timelines.

    Raises
    ------
    InvalidProjection
        The source is none of the three, or names a category of system events, which never become state.
    UsageError
        The lake has no category of that name, or an argument is not a timeline.
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
        raise InvalidProjection(f"{given!r} is not a projection: pass a class that extends Projection, a Fold, or the name of a category.")
    ensure_not_system("category", subject.categories, subject.name)
    return subject


def folded(timeline: Timeline, subject: Subject, *, question: str) -> Timeline:
    """Return the timeline to fold: from the first event, without system events.

    Raises
    ------
    UsageError
        The timeline leaves out events in a way that would change the states.
    """
    if timeline.follows:
        raise UsageError(f"{question}() folds each event once, but links() repeats events in the streams of their links: remove links().")
    for selection in timeline.selections:
        if selection.types:
            raise UsageError(
                f"{question}() folds every event of an entity, but this timeline selects only the types {', '.join(selection.types)}: "
                "remove types(); to fold a history without some events, use drop(type=...)."
            )
        named: tuple[tuple[str, Literal["stream", "category"], tuple[str, ...]], ...] = (
            ("streams", "stream", selection.streams),
            ("categories", "category", selection.categories),
        )
        for method, column, names in named:
            if names and not keyed_by_stream(subject):
                raise UsageError(
                    f"{question}() of {subject.name} finds keys in the events and not in stream names, so selecting only "
                    f"{method} {', '.join(names)} would fold parts of entities: remove {method}(); use key= for one entity, and "
                    "drop() to fold a history without some events."
                )
            ensure_not_system(column, names, f"{question}() of {', '.join(names)}")
    return replace(timeline, system=False, after_position=None)


def folded_from_the_start(timeline: Timeline, subject: Subject, *, question: str) -> Timeline:
    """Return the timeline to fold for a question whose result ``after`` cannot bound."""
    if timeline.after_position is not None:
        raise UsageError(
            f"{question}() folds from the first event, but this timeline begins after position {timeline.after_position}: "
            "remove after(); to see what changed since, use diff(), or history() with after()."
        )
    return folded(timeline, subject, question=question)
