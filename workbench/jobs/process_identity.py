"""Names a process so that another process can tell for sure whether it is gone."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # it brings no types


@dataclass(frozen=True, slots=True)
class Process:
    """A process of some machine.

    Attributes
    ----------
    machine
        The host, its boot and its namespace of process ids: only where all three are the same does an id name the same process.
    started
        When it began, in seconds since the epoch as the system counts them: ids are used again.
    """

    machine: str
    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return a process of this machine, or None if there is none of that id."""
        try:
            return cls(_machine(), pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        return cls(_machine(), os.getpid(), psutil.Process().create_time())

    @property
    def is_gone(self) -> bool | None:
        """Whether it has ended; None if that cannot be told from here."""
        if self.machine != _machine():
            return None
        try:
            found = psutil.Process(self.pid)
            return bool(found.create_time() != self.started or found.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    def as_json(self) -> dict[str, Any]:
        """Return its fields as JSON values."""
        return asdict(self)


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # it names no file
    except OSError:  # not Linux: there are no namespaces either
        boot, namespace = f"{psutil.boot_time():.0f}", ""
    return f"{socket.gethostname()} {boot} {namespace}".strip()
