"""Prints lines for people: escapes control characters, and begins each line with the time if the output goes to a log."""

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
    """Make :func:`say` begin each line with the time in UTC, to the second, unless standard error is a terminal."""
    before = _dated.set(not sys.stderr.isatty())
    try:
        yield
    finally:
        _dated.reset(before)


def say(what: object, *, error: bool = False) -> None:
    """Print something as text and flush; with ``error``, on standard error, for text that is not a result.

    Names and values in it may come from events, so control characters other than line breaks are escaped.
    """
    text = printable(str(what), keep="\n")
    if _dated.get():
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = "\n".join(f"{now} {line}" for line in text.split("\n"))
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape the control characters of a text as Python does, so that none from a payload reaches the terminal.

    >>> print(printable("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def whole_output() -> Iterator[None]:
    """End the program with one sentence if standard output fails: the disk is full, or the encoding lacks a character."""
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
    # The rest of the buffer would fail again when the program ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if said is not None:
        say(f"workbench: {said}. What was printed is not whole.", error=True)
    raise SystemExit(1)


def _is_broken(stream: TextIO) -> bool:
    """Whether a stream cannot be written any more. Finds out by writing; a buffer that cannot be written is dropped."""
    try:
        os.write(stream.fileno(), b"\n")
    except OSError:
        return True
    return False


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of the workbench as one line, every time; warnings of libraries are unchanged."""
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
