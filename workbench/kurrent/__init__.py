"""Talks to KurrentDB: connects, reads the log, and appends events.

An address comes in; Arrow record batches in ``EVENT_SCHEMA``, positions and answers to appends go out.
This is the only room that uses gRPC and the messages of the protocol, and ``errors`` is the only module that translates their errors.
``reader`` reads in bulk, ``point_reads`` reads single events, ``bulk_writer`` appends; ``cluster`` chooses the node.
``transport`` carries the bytes, and ``wire`` decodes events column by column.
Begin reading with ``connection``, then ``reader``.
"""

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
