"""Nothing that gRPC raises leaves the boundary under its own name."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from workbench.errors import (
    AccessDenied,
    InvalidPosition,
    ReadInterrupted,
    SourceError,
    SourceUnavailable,
    StreamDeleted,
    TlsMismatch,
    WrongExpectedRevision,
)
from workbench.kurrent.errors import CODES, translate_rpc_error

ADDRESS = "esdb://db.example:2113"


class Failed(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    def __init__(self, code: grpc.StatusCode, details: str | None = None, **trailers: str) -> None:
        self._code, self._details = code, details
        self._trailers = tuple((key.replace("_", "-"), value) for key, value in trailers.items())

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self._trailers


def test_every_status_of_grpc_that_is_a_failure_has_its_sentence() -> None:
    assert set(grpc.StatusCode) - {grpc.StatusCode.OK} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_status_becomes_an_error_that_names_the_address_and_what_the_server_said(code: grpc.StatusCode) -> None:
    error = translate_rpc_error(Failed(code, "the first line\nthe second"), address=ADDRESS)
    assert isinstance(error, CODES[code][0])
    assert str(error).startswith(f"{ADDRESS}: ")
    assert "the first line" in str(error)
    assert "the second" not in str(error)


@pytest.mark.parametrize(
    ("failure", "kind", "hint"),
    [
        (Failed(grpc.StatusCode.UNAVAILABLE, "Ssl handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER"), TlsMismatch, "tls=false"),
        (Failed(grpc.StatusCode.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED: unable to get issuer"), TlsMismatch, "tlsCaFile"),
        (
            Failed(grpc.StatusCode.NOT_FOUND, "Leader info available", leader_endpoint_host="n2", leader_endpoint_port="2115"),
            SourceUnavailable,
            "n2:2115",
        ),
        (
            Failed(grpc.StatusCode.NOT_FOUND, "Leader info available", leader_endpoint_host="fd00::2", leader_endpoint_port="2115"),
            SourceUnavailable,
            "[fd00::2]:2115",
        ),
        (Failed(grpc.StatusCode.UNKNOWN, "Unexpected ReadAllResult: InvalidPosition"), InvalidPosition, "position"),
        (Failed(grpc.StatusCode.UNKNOWN, "Unexpected ReadAllResult: Error"), InvalidPosition, "position"),
        (Failed(grpc.StatusCode.UNKNOWN, "Unexpected FilteredReadAllResult: Error"), InvalidPosition, "position"),
        (Failed(grpc.StatusCode.UNKNOWN, "Unexpected FilteredReadAllResult: InvalidPosition"), InvalidPosition, "position"),
        (Failed(grpc.StatusCode.UNKNOWN, "Unexpected ReadAllResult: NotModified"), ReadInterrupted, "server"),
        (Failed(grpc.StatusCode.UNKNOWN, "denied", exception="access-denied"), AccessDenied, "$admins"),
        (Failed(grpc.StatusCode.FAILED_PRECONDITION, "Event stream 'a' is deleted."), StreamDeleted, "tombstoned"),
        (Failed(grpc.StatusCode.FAILED_PRECONDITION, "x", exception="wrong-expected-version"), WrongExpectedRevision, "revision"),
    ],
)
def test_a_failure_with_a_known_sign_gets_its_own_sentence(failure: Failed, kind: type[SourceError], hint: str) -> None:
    error = translate_rpc_error(failure, address=ADDRESS)
    assert type(error) is kind
    assert hint in str(error)


def test_a_connection_that_breaks_in_mid_read_is_an_interrupted_read() -> None:
    broken = Failed(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    assert type(translate_rpc_error(broken, address=ADDRESS)) is SourceUnavailable
    assert type(translate_rpc_error(broken, address=ADDRESS, reading=True)) is ReadInterrupted
