"""Lines for people: where they go to a log, each begins with the time."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from workbench.errors import WorkbenchWarning

_dated = ContextVar("dated", default=False)


@contextmanager
def dated_lines() -> Iterator[None]:
    """Have :func:`say` begin each line with the time, in UTC and to the second, unless the standard error is a terminal."""
    before = _dated.set(not sys.stderr.isatty())
    try:
        yield
    finally:
        _dated.reset(before)


def say(text: str, *, error: bool = False) -> None:
    """Print a text, at once; ``error`` says that it is no result, and belongs on the standard error."""
    if _dated.get():
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = "\n".join(f"{now} {line}" for line in text.split("\n"))
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of the workbench as one line, every time; those of libraries stay as they are."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def as_line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, WorkbenchWarning):
                say(f"workbench: {message}", error=True)
            else:
                show(message, category, *where, **more)

        warnings.simplefilter("always", WorkbenchWarning)
        warnings.showwarning = as_line
        yield
