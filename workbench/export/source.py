"""What an export needs of a connection to an event store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from workbench.events import Checkpoint
from workbench.kurrent import Batch, EventPosition, NodeState, PointReader, ReadFilter


class Source(Protocol):
    """What an export needs of a connection; :func:`workbench.kurrent.connect` returns one."""

    @property
    def address(self) -> str: ...
    @property
    def points(self) -> PointReader: ...
    @property
    def accepts_timestamps(self) -> bool: ...
    @property
    def leader_address(self) -> str | None: ...

    def start(self) -> EventPosition | None: ...
    def end(self) -> EventPosition | None: ...
    def last_kept(self, end: EventPosition, *, filter: ReadFilter) -> EventPosition | None: ...  # noqa: A002
    def read_batches(
        self,
        *,
        after: Checkpoint | None = None,
        upto: EventPosition,
        filter: ReadFilter | None = None,  # noqa: A002
    ) -> Iterator[Batch]: ...
    def check_node(self) -> NodeState: ...
    def leader_end(self) -> EventPosition | None: ...
    def reconnect(self) -> None: ...
