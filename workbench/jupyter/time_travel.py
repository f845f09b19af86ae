"""``travel``: one entity's history, to be moved through in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import UsageError
from workbench.fold.event_by_event.function_fold import Fold
from workbench.fold.event_by_event.plan_fold import OnError
from workbench.fold.resolve import Source
from workbench.jupyter.film import Film
from workbench.replay.steps import steps
from workbench.timeline import Bound, Timeline, ensure_timelines

if TYPE_CHECKING:
    from workbench.jupyter.widget import Travel


def travel(
    projection: Source,
    timeline: Timeline,
    *,
    key: str,
    against: Timeline | None = None,
    at: Bound | None = None,
    baseline: Bound | None = None,
    errors: OnError = "raise",
) -> Travel:
    """Return a widget that moves through the history of one entity.

    It shows all events of the entity, its state after the chosen one, and what that event changed. With a baseline it shows what differs
    from that moment; with another history, both side by side. All states go to the browser once, so that moving needs no kernel; payloads
    are fetched when an event is unfolded. A page exported from the notebook shows the present moment as a table.

    Keys: the arrows for one event, Page Up and Page Down for ten, Home and End, space to play and to stop, B to pin a baseline.

    Parameters
    ----------
    projection
        A class that extends `Projection`, a `Fold`, or the name of a category, as in `state`.
    timeline
        The history to fold. ``timeline.after(...)`` bounds the events that are shown, not the fold.
    key
        The entity.
    against
        Another history to show beside this one, such as a what-if.
    at
        The moment to begin with: the entity's last event at or before this time or position. By default, its last event.
    baseline
        The moment to compare with, likewise. By default, each event is compared with the one before.
    errors
        ``"raise"`` stops at the first value that does not fit its field. ``"collect"`` shows such an event as failed.

    Returns
    -------
    Travel
        An anywidget. ``timeline`` is the history up to the moment that is shown, for the next question. ``steps`` are the rows of `steps`,
        and ``payloads(index)`` returns what an event holds.

    Raises
    ------
    UsageError
        The entity has no event, or none by the moment; or the timeline selects a part of the events, which would change the state.
    ValueDoesNotFit
        A value does not fit its field.

    Examples
    --------
    >>> from workbench.sample.projections import User
    >>> shown = wb.travel(User, wb.open("data/demo").timeline, key="4", at="2026-02-01")
    >>> shown.timeline
    <Timeline of data/demo: up to position 774500, without system events>
    """
    ensure_timelines(timeline)
    from workbench.jupyter.widget import Travel  # noqa: PLC0415  # heavy

    rows = steps(projection, timeline, key=key, against=against, errors=errors)
    if not rows.height:
        raise UsageError(f"There are no events of {key!r} in this timeline ({timeline}): wb.state() names the keys that there are.")

    def index(moment: Bound | None) -> int | None:
        if moment is None:
            return None
        position = timeline.upto(moment).position
        count = 0 if position is None else int((rows["position"] <= position).sum())
        if not count:
            raise UsageError(f"Nothing had happened to {key!r} by {moment}: its first event is at position {rows['position'][0]}.")
        return count - 1

    shown = index(at)
    return Travel(
        Film.of(rows),
        name=_name(projection),
        key=key,
        timeline=timeline,
        against=against,
        index=rows.height - 1 if shown is None else shown,
        baseline=index(baseline),
    )


def _name(projection: Source) -> str:
    if isinstance(projection, str):
        return projection
    return projection.name if isinstance(projection, Fold) else projection.__name__
