"""Random choices: of people, of things to do, and of the time at which a choice is made."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate

from workbench.sample.journal import Command, Request

Choice = Callable[[], Command | None]
"""Chooses a command for existing users and things; None if there are none."""


class Urn:
    """Names to pick from, each with a fixed share: few have a large one (Pareto's law), most a small one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: list[str] = []
        self._balls: list[str] = []

    def add(self, name: str, *, balls: int = 0) -> None:
        """Put a name in, so many times or as chance has it."""
        self._names.append(name)
        self._balls.extend([name] * (balls or min(int(self._rng.paretovariate(0.9)), 400)))

    def any(self) -> str:
        """Pick one of all names, each as likely as the other."""
        return self._names[int(self._rng.random() * len(self._names))]

    def pick(self) -> str:
        """Pick a name by its share."""
        return self._balls[int(self._rng.random() * len(self._balls))]


class Habits:
    """Possible actions, each with its weight."""

    def __init__(self, weights: dict[Choice, float], rng: random.Random) -> None:
        self._choices = tuple(weights)
        self._cumulated = tuple(accumulate(weights.values()))
        self._random = rng.random

    def choose(self) -> Command | None:
        return self._choices[bisect(self._cumulated, self._random() * self._cumulated[-1])]()


def chosen_then(choose: Choice) -> Command:
    """Return a command that is chosen only when it is due."""

    def command() -> Request | None:
        chosen = choose()
        return None if chosen is None else chosen()

    return command
