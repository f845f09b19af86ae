"""Clients of a running store."""

from collections.abc import Iterator

import grpc
import pytest
from esdbclient import EventStoreDBClient
from esdbclient.protos.Grpc import streams_pb2_grpc

from workbench.embedded import EmbeddedStore


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[EventStoreDBClient]:
    client = EventStoreDBClient(store.uri)
    yield client
    client.close()


@pytest.fixture
def channel(store: EmbeddedStore) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(store.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> streams_pb2_grpc.StreamsStub:
    return streams_pb2_grpc.StreamsStub(channel)
