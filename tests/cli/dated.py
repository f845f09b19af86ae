"""Lines that begin with the time, as those of exports and schedules do where they go to a log."""

from __future__ import annotations

import re

STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ", re.MULTILINE)


def undated(text: str) -> str:
    """Take the times from the heads of the lines."""
    return STAMP.sub("", text)
