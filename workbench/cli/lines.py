"""Lines for people: no control character in them reaches the terminal, and where they go to a log, each begins with the time."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

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


def say(what: object, *, error: bool = False) -> None:
    """Print something as text, at once; ``error`` says that it is no result, and belongs on the standard error.

    Names and values in it may come from events, so that control characters are written out, save line breaks.
    """
    text = printable(str(what), keep="\n")
    if _dated.get():
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = "\n".join(f"{now} {line}" for line in text.split("\n"))
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def printable(text: str, *, keep: str = "") -> str:
    r"""Write out the control characters of a text, as Python does: one that came from a payload must not reach the terminal.

    >>> print(printable("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def whole_output() -> Iterator[None]:
    """End the program with one sentence where the standard output cannot take it: no room, or no such letter."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except UnicodeEncodeError as error:
        letter, encoding = error.object[error.start], sys.stdout.encoding
        said = f"The standard output has the encoding {encoding}, which has no {letter!a}: set PYTHONUTF8=1, or name a file with --out"
    except BrokenPipeError:
        said = None  # whoever read it has gone
    except OSError as error:
        if not _is_broken(sys.stdout):
            raise
        said = f"The standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
    else:
        return
    # What is still in the buffer would fail once more at the program's end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if said is not None:
        say(f"workbench: {said}. What was printed is not whole.", error=True)
    raise SystemExit(1)


def _is_broken(stream: TextIO) -> bool:
    """Say whether a stream takes no more. Only writing tells: a buffer that could not be written is dropped."""
    try:
        os.write(stream.fileno(), b"\n")
    except OSError:
        return True
    return False


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
