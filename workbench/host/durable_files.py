"""Writes files atomically: staging, fsync, rename, and locks between processes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_HELD = ".held"


def take_lock(file: Path, *, busy: Exception | None = None) -> FileLock:
    """Take the lock of a file, which is created if needed and not removed. It is released with the object, or when the process ends.

    Parameters
    ----------
    busy
        Raised if another process holds the lock; if None, wait.
    """
    lock = FileLock(file, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if busy is None else 0)
    except Timeout as error:
        raise busy or error from None
    return lock


@contextmanager
def locked(file: Path, *, busy: Exception | None = None) -> Iterator[None]:
    """Hold the lock of a file for the block; see `take_lock`."""
    lock = take_lock(file, busy=busy)
    try:
        yield
    finally:
        lock.release()


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(staged: Path, target: Path) -> None:
    """Replace a file atomically by a staged one on the same file system: after a power failure it is the old one or the new one."""
    sync(staged)
    staged.replace(target)
    sync(target.parent)


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Yield a path to write to; rename it to the target if the block succeeds, else remove it."""
    part = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(6)}.part")
    try:
        yield part
        put_in_place(part, target)
    finally:
        part.unlink(missing_ok=True)


def take_folder(folder: Path, *, busy: Exception | None = None) -> FileLock:
    """Take an empty directory that only one process at a time may use; see `take_lock`."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            lock = take_lock(folder / _HELD, busy=busy)
            if folder.is_dir():  # the process that had it did not remove it meanwhile
                break
    for left in folder.iterdir():  # by a process that was killed
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != _HELD:
            left.unlink()
    return lock


def take_new_folder(parent: Path, pattern: str) -> tuple[Path, FileLock]:
    """Make a directory for this process; first remove those of killed processes.

    Parameters
    ----------
    pattern
        The name, with a ``*`` that is replaced by random text.
    """
    for left in parent.glob(pattern):
        with suppress(OSError, Timeout), locked(left / _HELD, busy=Timeout(str(left))):
            shutil.rmtree(left)
    folder = parent / pattern.replace("*", secrets.token_hex(8))
    return folder, take_folder(folder)


@contextmanager
def staged_alone(folder: Path, *, busy: Exception | None = None) -> Iterator[Path]:
    """Use a directory in the block, as `take_folder` does, and then remove it."""
    lock = take_folder(folder, busy=busy)
    try:
        yield folder
    finally:
        remove_folder(folder, lock)


@contextmanager
def staged(parent: Path, pattern: str) -> Iterator[Path]:
    """Make a directory for the block, as `take_new_folder` does, and then remove it."""
    folder, lock = take_new_folder(parent, pattern)
    try:
        yield folder
    finally:
        remove_folder(folder, lock)


def remove_folder(folder: Path, lock: FileLock) -> None:
    """Remove a directory of this process, and release its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
