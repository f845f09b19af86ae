"""The request to a notebook's process, its answer, and the limits of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["succeeded", "cell failed", "cell timed out", "too much output", "kernel died", "timed out", "out of memory", "failed"]


@dataclass(frozen=True, slots=True)
class NotebookRequest:
    """Which notebook to run, with which parameters, where its page goes, and what the foot of the page says.

    Attributes
    ----------
    executed
        Where the executed notebook goes, as far as it came, however the run ends; None to keep none.
    code
        Whether the page shows the notebook's code too.
    stage
        The run's own directory, in which these files lie. The process removes it if its parent is gone.
    """

    notebook: str
    parameters: Mapping[str, Any]
    cell_timeout: int
    max_output: int
    stage: str
    page: str
    origin: tuple[tuple[str, str], ...]
    executed: str | None = None
    code: bool = False


@dataclass(frozen=True, slots=True)
class NotebookOutcome:
    """How a run ended. ``cell`` counts the notebook's code cells from 1; ``reason`` names the error."""

    ending: Ending
    cell: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a run.

    Attributes
    ----------
    cell_timeout, timeout
        How many seconds one cell, and the whole run, may take.
    memory
        How many bytes all its processes may hold together.
    output
        How many bytes all its cells may put out together, as text and as charts.
    """

    cell_timeout: int = 600
    timeout: float = 1800
    memory: int | None = None
    output: int = 50_000_000
