"""Nodes of a cluster that answer gossip and reads of ``$all`` as they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from esdbclient.protos.Grpc import gossip_pb2, shared_pb2, streams_pb2

_STATES = gossip_pb2.MemberInfo.VNodeState
EVENT_ID = "11111111-1111-4111-8111-111111111111"


def member(address: str, state: str, *, is_alive: bool = True) -> gossip_pb2.MemberInfo:
    """A line of a cluster's gossip."""
    host, _, port = address.rpartition(":")
    end_point = gossip_pb2.EndPoint(address=host, port=int(port))
    return gossip_pb2.MemberInfo(state=_STATES.Value(state), is_alive=is_alive, http_end_point=end_point)


class FakeNode:
    """One node: ``members`` is its gossip, ``end`` the position of its only event, ``refusal`` what reads are answered with."""

    def __init__(self) -> None:
        self.members: list[gossip_pb2.MemberInfo] = []
        self.address = ""
        self.end = 100
        self.is_leader = True
        self.refusal: tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]] | None = None
        self.calls: list[tuple[str, str]] = []  # which call, and whether it required the leader
        self.server: grpc.Server | None = None

    def gossip(self, _: Any, context: Any) -> gossip_pb2.ClusterInfo:
        self._note("gossip", context)
        return gossip_pb2.ClusterInfo(members=self.members)

    def read(self, _: Any, context: Any) -> Iterator[streams_pb2.ReadResp]:
        required = self._note("read", context)
        if self.refusal is not None:
            code, details, trailers = self.refusal
            context.set_trailing_metadata(trailers)
            context.abort(code, details)
        if required == "true" and not self.is_leader:
            context.set_trailing_metadata((("leader-endpoint-host", "elsewhere"), ("leader-endpoint-port", "2113")))
            context.abort(grpc.StatusCode.NOT_FOUND, "Leader info available")
        recorded = streams_pb2.ReadResp.ReadEvent.RecordedEvent(
            id=shared_pb2.UUID(string=EVENT_ID),
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"a-1"),
            prepare_position=self.end,
            commit_position=self.end,
            metadata={"type": "t", "created": "17000000000000000", "content-type": "application/json"},
            data=b"{}",
        )
        yield streams_pb2.ReadResp(event=streams_pb2.ReadResp.ReadEvent(event=recorded, commit_position=self.end))

    def count(self, call: str) -> int:
        return sum(1 for name, _ in self.calls if name == call)

    def stop(self) -> None:
        assert self.server is not None
        self.server.stop(None).wait()

    def _note(self, call: str, context: Any) -> str:
        required = str(dict(context.invocation_metadata()).get("requires-leader", ""))
        self.calls.append((call, required))
        return required


@contextmanager
def nodes(count: int, *, host: str = "127.0.0.1", tls: grpc.ServerCredentials | None = None) -> Iterator[list[FakeNode]]:
    """Serve so many nodes on loopback; at first nobody knows of anybody."""
    found: list[FakeNode] = []
    with ThreadPoolExecutor(4 * count) as pool:
        try:
            for _ in range(count):
                node = FakeNode()
                node.server = grpc.server(pool)
                node.server.add_generic_rpc_handlers(
                    [
                        grpc.method_handlers_generic_handler(
                            "event_store.client.gossip.Gossip",
                            {
                                "Read": grpc.unary_unary_rpc_method_handler(
                                    node.gossip, shared_pb2.Empty.FromString, gossip_pb2.ClusterInfo.SerializeToString
                                )
                            },
                        ),
                        grpc.method_handlers_generic_handler(
                            "event_store.client.streams.Streams",
                            {
                                "Read": grpc.unary_stream_rpc_method_handler(
                                    node.read, streams_pb2.ReadReq.FromString, streams_pb2.ReadResp.SerializeToString
                                )
                            },
                        ),
                    ]
                )
                where, add = f"{host}:0", node.server
                port = add.add_insecure_port(where) if tls is None else add.add_secure_port(where, tls)
                node.address = f"{host}:{port}"
                node.server.start()
                found.append(node)
            yield found
        finally:
            for node in found:
                node.stop()


@contextmanager
def cluster(*states: str) -> Iterator[list[FakeNode]]:
    """Serve a node for each state, each of which names all."""
    with nodes(len(states)) as found:
        members = [member(node.address, state) for node, state in zip(found, states, strict=True)]
        for node, state in zip(found, states, strict=True):
            node.members, node.is_leader = list(members), state == "Leader"
        yield found
