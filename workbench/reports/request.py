"""What the runner asks of a run's own process, and what that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["done", "cell failed", "cell timed out", "kernel died", "failed"]


@dataclass(frozen=True, slots=True)
class Request:
    """One run: which notebook, with which parameters, where its page goes, and what stands at the foot of the page."""

    notebook: str
    parameters: Mapping[str, Any]
    cell_timeout: int
    page: str
    origin: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``cell`` counts the notebook's code cells from 1; ``reason`` names the error."""

    ending: Ending
    cell: int | None = None
    reason: str = ""
