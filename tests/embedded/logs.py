"""Logs over each kind of storage."""

from collections.abc import Callable
from pathlib import Path

from workbench.embedded.recording import records
from workbench.embedded.recording.clock import Clock
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.storage import MemoryStorage, SqliteStorage


def open_log(folder: Path | None, *, now: Callable[[], int] | None = None) -> tuple[Log, Callable[[], None]]:
    """Open a log, in memory if there is no folder, and return what closes it too."""
    storage: MemoryStorage | SqliteStorage
    if folder is None:
        storage = MemoryStorage()
    else:
        storage = SqliteStorage(folder)
        storage.open()
    log = Log(storage, now=now or Clock())
    log.load()
    return log, storage.close


def visible(log: Log, stream: str) -> list[int] | None:
    """The revisions that a reader of a stream sees."""
    numbers = log.readable(stream, head=log.published)
    return None if numbers is None else [log.revisions[number] for number in numbers]


def everything(log: Log) -> list[tuple[object, ...]]:
    """All that was recorded, without the random ids."""
    found: list[tuple[object, ...]] = []
    for record in log.all_records():
        payload = records.decode(record.frame)
        found.append((record.commit, record.prepare, record.stream, record.revision, record.type, record.created, payload.data))
    return found
