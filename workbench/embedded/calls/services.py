"""Gossip, server features and persistent subscriptions, as far as a single node has them; and the registration of all services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import grpc
from google.protobuf.message import Message

from workbench.embedded.calls.access import READ
from workbench.embedded.calls.batches import BatchAppender
from workbench.embedded.calls.failures import Failure, unimplemented
from workbench.embedded.calls.read_requests import ReadHandler
from workbench.embedded.calls.requests import only_request
from workbench.embedded.calls.writing import AppendWorker
from workbench.embedded.membership import cluster_info
from workbench.embedded.node import Context, EmbeddedNode
from workbench.embedded.recording.records import field
from workbench.protocol import gossip_pb2, persistent_pb2, shared_pb2

SERVER_VERSION = "25.0.1"
"""The version that the store models, and reports."""

TIMESTAMPS = ("workbench.embedded", "timestamps")
"""Service and method under which a store that accepts the writer's timestamps says so in its server features."""

_STREAMS = "event_store.client.streams.Streams"
_GOSSIP = "event_store.client.gossip.Gossip"
_PERSISTENT = "event_store.client.persistent_subscriptions.PersistentSubscriptions"
_FEATURES = "event_store.client.server_features.ServerFeatures"
_LISTED: Mapping[str, Sequence[str]] = {
    "event_store.client.redaction.Redaction": ("GetEventPositions", "SwitchChunks"),
    _PERSISTENT: ("Create", "Update", "Delete", "Read", "GetInfo", "ReplayParked", "List", "RestartSubsystem"),
    "event_store.client.users.Users": (*("Create", "Update", "Delete", "Disable", "Enable", "Details", "ChangePassword", "ResetPassword"),),
    _STREAMS: ("Read", "Append", "Delete", "Tombstone", "BatchAppend"),
    "event_store.client.operations.Operations": (
        *("StartScavenge", "StopScavenge", "Shutdown", "MergeIndexes", "ResignNode", "SetNodePriority"),
        "RestartPersistentSubscriptions",
    ),
    "event_store.client.projections.Projections": (
        *("Create", "Update", "Delete", "Statistics", "Disable", "Enable", "Reset", "State", "Result", "RestartSubsystem"),
    ),
    _GOSSIP: ("Read",),
    "event_store.client.monitoring.Monitoring": ("Stats",),
    _FEATURES: ("GetSupportedMethods",),
}
"""What a server lists with its projections running.

Most of it answers UNIMPLEMENTED here. It is listed nevertheless, because clients take what is not listed for something that they
have to ask over HTTP.
"""


class Directory:
    """Tells clients what this node is."""

    def __init__(self, node: EmbeddedNode) -> None:
        self._node = node

    async def gossip(self, requests: AsyncIterator[bytes], context: Context) -> gossip_pb2.ClusterInfo:
        """Name the members of the cluster: this node alone as its leader, unless the faults say otherwise.

        The address is the one the store was started with. gRPC for Python does not show a server which authority the client
        dialled.
        """
        await _only(requests, shared_pb2.Empty, context)
        return cluster_info(self._node.members, now=self._node.now())

    async def supported_methods(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """List the methods of a server, in lower case as it does."""
        await _only(requests, shared_pb2.Empty, context)
        methods = [
            (service.lower(), method.lower(), _features(service, method)) for service, listed in _LISTED.items() for method in listed
        ]
        if self._node.accept_timestamps:
            methods.append((*TIMESTAMPS, ()))
        return b"".join(field(0x0A, _method(*method)) for method in methods) + field(0x12, SERVER_VERSION.encode())

    async def persistent_subscriptions(self, requests: AsyncIterator[bytes], context: Context) -> persistent_pb2.ListResp:
        """List none."""
        await _only(requests, persistent_pb2.ListReq, context)
        try:
            self._node.admit(context, "$all", READ)
        except Failure as failure:
            await failure.abort(context)
        return persistent_pb2.ListResp()


def _features(service: str, method: str) -> tuple[str, ...]:
    if service == _PERSISTENT:
        return ("stream", "all")
    if service == _STREAMS:
        return {"Read": ("position", "events"), "BatchAppend": ("deadline_duration",)}.get(method, ())
    return ("track_emitted_streams",) if service.endswith("Projections") and method == "Create" else ()


def _method(service: str, method: str, features: tuple[str, ...]) -> bytes:
    """A SupportedMethod of ``serverfeatures.proto``, for which esdbclient ships no messages."""
    listed = b"".join(field(0x1A, feature.encode()) for feature in features)
    return field(0x0A, method.encode()) + field(0x12, service.encode()) + listed


def handlers(node: EmbeddedNode) -> list[grpc.GenericRpcHandler]:
    """Return the handler of all services."""
    return [_Services(node)]


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the handler of a call.

    A login that is wrong is refused before anything else. All requests are taken as bytes and as a stream, so that the handlers
    themselves see what cannot be decoded, and the end of the request.
    """

    def __init__(self, node: EmbeddedNode) -> None:
        reader, writer, batches, directory = ReadHandler(node), AppendWorker(node), BatchAppender(node), Directory(node)
        one, many = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        self._accounts = node.accounts
        self._methods = {
            f"/{_STREAMS}/Read": many(reader.read),
            f"/{_STREAMS}/Append": one(writer.append, None, _serialize),
            f"/{_STREAMS}/BatchAppend": many(batches.batch_append, None, _serialize),
            f"/{_STREAMS}/Delete": one(writer.delete, None, _serialize),
            f"/{_STREAMS}/Tombstone": one(writer.tombstone, None, _serialize),
            f"/{_GOSSIP}/Read": one(directory.gossip, None, _serialize),
            f"/{_FEATURES}/GetSupportedMethods": one(directory.supported_methods),
            f"/{_PERSISTENT}/List": one(directory.persistent_subscriptions, None, _serialize),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        try:
            self._accounts.roles(handler_call_details.invocation_metadata)
        except Failure as failure:
            return _refusal(failure)
        handler = self._methods.get(handler_call_details.method)
        if handler is not None:
            return handler
        service = handler_call_details.method.rpartition("/")[0].removeprefix("/")
        return _refusal(unimplemented("Method" if service in _LISTED else "Service"))


def _refusal(failure: Failure) -> grpc.RpcMethodHandler:
    async def refuse(_: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        await context.abort(failure.code, failure.details, failure.trailers)
        yield b""  # never sent: it makes this a generator, which the handler of a call with many answers must be

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _only(requests: AsyncIterator[bytes], kind: type[Message], context: Context) -> None:
    try:
        await only_request(requests, kind)
    except Failure as failure:
        await failure.abort(context)


def _serialize(message: Message) -> bytes:
    return bytes(message.SerializeToString())
