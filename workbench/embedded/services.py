"""Gossip, server features and persistent subscriptions, as far as a single node has them; and how all services are registered."""

from __future__ import annotations

import grpc
from esdbclient.protos.Grpc import gossip_pb2, persistent_pb2, shared_pb2, streams_pb2
from google.protobuf.message import Message

from workbench.embedded.batches import BatchAppender
from workbench.embedded.cluster import cluster_info
from workbench.embedded.failures import Failure
from workbench.embedded.node import Context, Node
from workbench.embedded.reading import Reader
from workbench.embedded.records import field
from workbench.embedded.writing import Writer

SERVER_VERSION = "24.10.0"
"""The version that the store reports: its wire messages are of that server's line."""

TIMESTAMPS = ("workbench.embedded", "timestamps")
"""Service and method under which a store that accepts the writer's timestamps says so in its server features."""

_STREAMS = "event_store.client.streams.Streams"
_GOSSIP = "event_store.client.gossip.Gossip"
_PERSISTENT = "event_store.client.persistent_subscriptions.PersistentSubscriptions"
_FEATURES = "event_store.client.server_features.ServerFeatures"
_SUPPORTED = (
    (_STREAMS, "Read", ("position", "events")),
    (_STREAMS, "Append", ()),
    (_STREAMS, "BatchAppend", ("deadline_duration",)),
    (_STREAMS, "Delete", ()),
    (_STREAMS, "Tombstone", ()),
    (_GOSSIP, "Read", ()),
    (_PERSISTENT, "List", ()),
    (_FEATURES, "GetSupportedMethods", ()),
)


class Directory:
    """Tells clients what this node is."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def gossip(self, _: shared_pb2.Empty, __: Context) -> gossip_pb2.ClusterInfo:
        """Name the members of the cluster: this node alone as its leader, unless the faults say otherwise.

        The address is the one the store was started with. gRPC for Python does not show a server which authority the client
        dialled.
        """
        return cluster_info(self._node.members, now=self._node.now())

    async def supported_methods(self, _: shared_pb2.Empty, __: Context) -> bytes:
        """List the methods that there are, in lower case as the server does."""
        methods = [(service.lower(), method.lower(), features) for service, method, features in _SUPPORTED]
        if self._node.accept_timestamps:
            methods.append((*TIMESTAMPS, ()))
        return b"".join(field(0x0A, _method(*method)) for method in methods) + field(0x12, SERVER_VERSION.encode())

    async def persistent_subscriptions(self, _: persistent_pb2.ListReq, context: Context) -> persistent_pb2.ListResp:
        """List none."""
        try:
            self._node.accounts.check(context.invocation_metadata() or (), "$all")
        except Failure as failure:
            await failure.abort(context)
        return persistent_pb2.ListResp()


def _method(service: str, method: str, features: tuple[str, ...]) -> bytes:
    """A SupportedMethod of ``serverfeatures.proto``, for which esdbclient ships no messages."""
    listed = b"".join(field(0x1A, feature.encode()) for feature in features)
    return field(0x0A, method.encode()) + field(0x12, service.encode()) + listed


def handlers(node: Node) -> list[grpc.GenericRpcHandler]:
    """Return the handlers of all services; every other method of the protocol answers UNIMPLEMENTED."""
    reader, writer, batches, directory = Reader(node), Writer(node), BatchAppender(node), Directory(node)
    streams = {
        "Read": grpc.unary_stream_rpc_method_handler(reader.read, streams_pb2.ReadReq.FromString),
        "Append": grpc.stream_unary_rpc_method_handler(writer.append, streams_pb2.AppendReq.FromString, _serialize),
        "BatchAppend": grpc.stream_stream_rpc_method_handler(batches.batch_append, streams_pb2.BatchAppendReq.FromString, _serialize),
        "Delete": grpc.unary_unary_rpc_method_handler(writer.delete, streams_pb2.DeleteReq.FromString, _serialize),
        "Tombstone": grpc.unary_unary_rpc_method_handler(writer.tombstone, streams_pb2.TombstoneReq.FromString, _serialize),
    }
    empty = shared_pb2.Empty.FromString
    services = {
        _STREAMS: streams,
        _GOSSIP: {"Read": grpc.unary_unary_rpc_method_handler(directory.gossip, empty, _serialize)},
        _FEATURES: {"GetSupportedMethods": grpc.unary_unary_rpc_method_handler(directory.supported_methods, empty)},
        _PERSISTENT: {
            "List": grpc.unary_unary_rpc_method_handler(directory.persistent_subscriptions, persistent_pb2.ListReq.FromString, _serialize)
        },
    }
    return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]


def _serialize(message: Message) -> bytes:
    return bytes(message.SerializeToString())
