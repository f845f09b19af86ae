"""The boundary to KurrentDB: the only room that knows gRPC and the messages of the protocol."""

from workbench.kurrent.address import Address
from workbench.kurrent.bulk_writer import ANY, NO_STREAM, STREAM_EXISTS, Appended, BulkWriter, EventToWrite, Expected, Pending, StreamState
from workbench.kurrent.cluster import NodeState
from workbench.kurrent.connection import Connection, Transport, connect
from workbench.kurrent.filter import ReadFilter
from workbench.kurrent.point_reads import PointReader, StreamMetadata
from workbench.kurrent.reader import Batch, EventPosition

__all__ = [
    "ANY",
    "NO_STREAM",
    "STREAM_EXISTS",
    "Address",
    "Appended",
    "Batch",
    "Connection",
    "Expected",
    "EventPosition",
    "EventToWrite",
    "NodeState",
    "Pending",
    "PointReader",
    "ReadFilter",
    "StreamMetadata",
    "StreamState",
    "Transport",
    "BulkWriter",
    "connect",
]
