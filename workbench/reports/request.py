"""What the runner asks of a run's own process, and what that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["succeeded", "cell failed", "cell timed out", "too much output", "kernel died", "timed out", "out of memory", "failed"]


@dataclass(frozen=True, slots=True)
class Request:
    """One run: which notebook, with which parameters, where its page goes, and what stands at the foot of the page.

    Attributes
    ----------
    executed
        Where the executed notebook goes, as far as it came, however the run ends; None to keep none.
    code
        Whether the page shows the notebook's code, too.
    aside
        The file or directory of the run's own in which these are written; the process removes it if its runner is gone.
    """

    notebook: str
    parameters: Mapping[str, Any]
    cell_timeout: int
    max_output: int
    page: str
    origin: tuple[tuple[str, str], ...]
    executed: str | None = None
    code: bool = False
    aside: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``cell`` counts the notebook's code cells from 1; ``reason`` names the error."""

    ending: Ending
    cell: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take.

    Attributes
    ----------
    cell_timeout, timeout
        How many seconds one cell, and the run as a whole.
    memory
        How many bytes all its processes may hold together.
    output
        How many bytes all its cells may put out together, as text and as charts.
    """

    cell_timeout: int = 600
    timeout: float = 1800
    memory: int | None = None
    output: int = 50_000_000
