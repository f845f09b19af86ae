"""A small projection and its lake, for what is shown of one entity."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.lakes import START, Recorded, write_lake
from workbench.lake import open_lake
from workbench.projection import Projection, event, on
from workbench.timeline import Timeline

HOSTILE = "</table><script>alert(1)</script>"


class Thing(Projection, category="thing"):
    """Something with a name that grows, ends, and may begin anew."""

    name: str | None
    size: int = 0
    tags: set[str]

    handlers = (
        on("thing.begun").create("name"),
        on("thing.grown").add(size=1),
        on("thing.named").set("name"),
        on("thing.tagged").include(tags=event.data["tag"]),
        on("thing.ended").delete(),
    )


EVENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("begun", {"name": "one"}),
    ("grown", {}),
    ("noticed", {}),
    ("named", {"name": HOSTILE}),
    ("tagged", {"tag": "a"}),
    ("ended", {}),
    ("grown", {}),
    ("begun", {"name": None}),
    ("named", {"name": "one"}),
)


def things(folder: Path) -> Timeline:
    """Write the history of thing 1, an hour from event to event, and return it."""
    recorded = [
        Recorded(f"thing.{name}", START + timedelta(hours=number), "thing-1", json.dumps(data))
        for number, (name, data) in enumerate(EVENTS)
    ]
    return open_lake(write_lake(folder / "lake", recorded)).timeline
