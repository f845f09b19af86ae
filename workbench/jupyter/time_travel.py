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
    """Return a widget that moves through the history of one entity: event by event, played, by keyboard, or straight to a moment.

    It shows all events of the entity, its state after the one that is chosen, and what that event changed; with a baseline what is
    otherwise than it was then, and with a fork both histories side by side. All of it goes to the browser once, so that every move is
    answered there; only what an event says is fetched, when it is unfolded. In a page that was exported from the notebook stands the
    moment that was shown, as a table.

    Keys: the arrows for one event, Page Up and Page Down for ten, Home and End, space to play and to stop, B to pin a baseline.

    Parameters
    ----------
    projection, timeline, key, against, errors
        As in ``wb.steps``, whose rows are the events.
    at
        The moment to begin with: the last event of the entity at or before a time or a position. The last one of all if it is not given.
    baseline
        The moment to compare with, likewise; without it, each event is compared with the one before.

    Returns
    -------
    Travel
        An anywidget. ``.timeline`` is the history up to the moment that is shown, for the next question; ``.steps`` are the rows, and
        ``.payloads(index)`` says what an event holds.

    Raises
    ------
    UsageError
        There is no event of the entity, or none by then; or as ``steps`` does.
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
