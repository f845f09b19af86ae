"""Checks that the operating system is supported: the workbench needs POSIX file locks."""

from __future__ import annotations

from importlib.util import find_spec

from workbench.errors import WorkbenchError


def ensure_supported() -> None:
    """Raise a WorkbenchError where Python has no ``fcntl``, as on Windows."""
    if find_spec("fcntl") is None:
        raise WorkbenchError(
            "The workbench runs on Linux and macOS only, because it needs their file locks: on Windows, install and run it inside WSL2."
        )
