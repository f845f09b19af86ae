"""What a user is told when the way to a server fails: each sentence by the thing itself, on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509

from tests.kurrent.certificates import Authority, Issued
from tests.kurrent.nodes import nodes
from tests.stores import Account, Store
from workbench.errors import AccessDenied, InvalidAddress, SourceUnavailable, TlsMismatch
from workbench.kurrent import connect
from workbench.kurrent.address import Host
from workbench.kurrent.connection import Transport
from workbench.kurrent.transport.tls import _is_for

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture(params=["http2", "grpc"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def reach(address: str, *options: str, ca: Path | None = None, transport: Transport = "http2") -> None:
    trusted = () if ca is None else (f"tlsCaFile={quote(str(ca))}",)
    with connect(f"esdb://ann:s3cret@{address}?{'&'.join((*trusted, *options))}", transport=transport) as source:
        assert source.end() is not None


def test_a_certificate_for_the_dialled_address_is_taken(authority: Authority, transport: Transport) -> None:
    with nodes(1, tls=authority.issue("127.0.0.1").server()) as found:
        reach(found[0].address, ca=authority.file, transport=transport)


def test_a_certificate_for_another_name_is_told_with_the_names_that_it_holds(authority: Authority, transport: Transport) -> None:
    with (
        nodes(1, tls=authority.issue("node1.example", "*.db.example", "10.0.0.7").server()) as found,
        pytest.raises(TlsMismatch, match=r"is not for 127\.0\.0\.1; it holds node1\.example, \*\.db\.example, 10\.0\.0\.7\. Dial"),
    ):
        reach(found[0].address, ca=authority.file, transport=transport)


def test_a_certificate_with_a_common_name_only_is_told_to_be_for_no_name(authority: Authority) -> None:
    with (
        nodes(1, tls=authority.issue().server()) as found,
        pytest.raises(TlsMismatch, match=r"it holds node \(as its common name only, which clients ignore\)"),
    ):
        reach(found[0].address, ca=authority.file)


def test_an_expired_certificate_is_told_with_the_time(authority: Authority, transport: Transport) -> None:
    with nodes(1, tls=authority.issue("127.0.0.1", ends=AT).server()) as found:
        with pytest.raises(TlsMismatch, match="certificate expired at 2026-03-01T09:00:00Z"):
            reach(found[0].address, ca=authority.file, transport=transport)
        with pytest.raises(TlsMismatch, match="certificate expired at 2026-03-01T09:00:00Z"):
            reach(found[0].address, transport=transport)  # whoever signed it


def test_a_certificate_that_is_not_valid_yet_is_told_with_the_time(authority: Authority) -> None:
    begins = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    with (
        nodes(1, tls=authority.issue("127.0.0.1", begins=begins).server()) as found,
        pytest.raises(TlsMismatch, match=f"valid only from {begins:%Y-%m-%dT%H:%M:%SZ} on"),
    ):
        reach(found[0].address, ca=authority.file)


def test_a_certificate_of_an_authority_that_is_not_trusted_names_who_signed_it(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other Authority")
    with nodes(1, tls=authority.issue("127.0.0.1").server()) as found:
        with pytest.raises(TlsMismatch, match=r"not trusted: it is signed by CN=Test Authority\. Name that authority with tlsCaFile="):
            reach(found[0].address)
        with pytest.raises(TlsMismatch, match=r"no authority in .*other-authority\.pem \(tlsCaFile\) confirms it"):
            reach(found[0].address, ca=other.file)


def test_a_certificate_for_the_dialled_name_that_nobody_vouches_for_is_not_told_to_be_for_another(authority: Authority) -> None:
    with nodes(1, tls=authority.issue("LOCALHOST").server()) as found, pytest.raises(TlsMismatch, match="not trusted: it is signed by"):
        reach(f"localhost:{found[0].address.rpartition(':')[2]}")


@pytest.mark.parametrize(("name", "fits"), [("n1.db.example", True), ("a.n1.db.example", False), ("db.example", False), ("10.0.0.7", True)])
def test_a_wildcard_in_a_certificate_stands_for_one_label(authority: Authority, name: str, fits: bool) -> None:
    issued = x509.load_pem_x509_certificate(authority.issue("*.db.example", "10.0.0.7").certificate.read_bytes())
    assert _is_for(Host(name, 2113), issued) is fits


@contextmanager
def tls_server(issued: Issued, *, alpn: list[str]) -> Iterator[str]:
    """A server that makes TLS handshakes, offers these protocols in them, and then says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    if alpn:
        context.set_alpn_protocols(alpn)
    open_sockets: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            open_sockets.append(plain)
            try:
                open_sockets.append(context.wrap_socket(plain, server_side=True))
            except OSError:
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for one in open_sockets:
                one.close()


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]])
def test_tls_without_http2_in_it_is_told(authority: Authority, transport: Transport, alpn: list[str]) -> None:
    with (
        tls_server(authority.issue("127.0.0.1"), alpn=alpn) as address,
        pytest.raises(TlsMismatch, match=r"does not offer HTTP/2 in it \(no ALPN\)"),
    ):
        reach(address, ca=authority.file, transport=transport)


def test_a_certificate_of_the_client_that_the_server_does_not_trust_is_told(
    authority: Authority, tmp_path: Path, transport: Transport
) -> None:
    other = Authority(tmp_path, "Other Authority").issue("client")
    mine = authority.issue("client")
    with nodes(1, tls=authority.issue("127.0.0.1").server(clients=authority.file)) as found:
        with pytest.raises(TlsMismatch, match=r"does not accept the client's certificate in .*other-authority-1\.pem \(userCertFile\)"):
            reach(
                found[0].address,
                f"userCertFile={other.certificate}",
                f"userKeyFile={other.key}",
                ca=authority.file,
                transport=transport,
            )
        with pytest.raises(TlsMismatch, match=r"wants a client certificate\. Name one with userCertFile="):
            reach(found[0].address, ca=authority.file, transport=transport)
        reach(found[0].address, f"userCertFile={mine.certificate}", f"userKeyFile={mine.key}", ca=authority.file, transport=transport)


def test_files_that_hold_no_certificate_or_no_key_are_refused_by_the_options_name(
    authority: Authority, tmp_path: Path, transport: Transport
) -> None:
    empty, mine, other = tmp_path / "empty.pem", authority.issue("client"), authority.issue("other")
    empty.write_text("nothing\n")

    def refused(sentence: str, *options: str) -> None:
        with pytest.raises(InvalidAddress, match=sentence):
            reach("127.0.0.1:1", *options, transport=transport)

    refused(r"empty\.pem that the address names as tlsCaFile holds no certificate", f"tlsCaFile={empty}")
    refused(r"\.key that the address names as tlsCaFile holds no certificate", f"tlsCaFile={mine.key}")
    refused(r"tlsCaFile cannot be read: No such file", f"tlsCaFile={tmp_path / 'gone.pem'}")
    refused(r"tlsCaFile cannot be read: Is a directory", f"tlsCaFile={tmp_path}")
    refused(r"tlsCaFile cannot be read: its name cannot be one", "tlsCaFile=a%00b")
    refused(r"userCertFile holds no certificate", f"userCertFile={empty}", f"userKeyFile={mine.key}")
    refused(r"userKeyFile cannot be read", f"userCertFile={mine.certificate}", f"userKeyFile={tmp_path / 'gone.key'}")
    for key in (other.key, empty, mine.certificate):
        refused(r"\(userKeyFile\) cannot be used with the certificate", f"userCertFile={mine.certificate}", f"userKeyFile={key}")


def test_an_authoritys_file_may_hold_remarks(authority: Authority, transport: Transport) -> None:
    authority.file.write_bytes("# Prüfstelle für Tests\n".encode() + authority.file.read_bytes())
    with nodes(1, tls=authority.issue("127.0.0.1").server()) as found:
        reach(found[0].address, ca=authority.file, transport=transport)


def test_tls_asked_of_a_server_without_it_and_the_other_way_round(authority: Authority, transport: Transport) -> None:
    with nodes(1) as found, pytest.raises(TlsMismatch, match=r"does not speak TLS on that port\. Add \?tls=false"):
        reach(found[0].address, ca=authority.file, transport=transport)
    with (
        nodes(1, tls=authority.issue("127.0.0.1").server()) as found,
        pytest.raises(TlsMismatch, match="the server speaks TLS, and"),
    ):
        reach(found[0].address, "tls=false", transport=transport)


@pytest.mark.parametrize("preference", ["leader", "follower"])
@pytest.mark.parametrize("scheme", ["esdb", "esdb+discover"])
def test_tls_is_looked_into_however_the_node_is_found(authority: Authority, scheme: str, preference: str) -> None:
    with nodes(1, tls=authority.issue("elsewhere").server()) as found, pytest.raises(TlsMismatch, match="it holds elsewhere"):
        connect(f"{scheme}://{found[0].address}?tlsCaFile={authority.file}&nodePreference={preference}")


def test_where_nothing_listens_tls_is_not_blamed(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceUnavailable, match="nothing answers there"):
        reach(f"127.0.0.1:{port}", ca=authority.file)


@pytest.fixture
def guarded(new_store: Callable[..., Store]) -> Store:
    return new_store(tls=True, username="ops", password="s3cret", users={"analyst": Account("pass")})


@pytest.mark.needs("fresh server", "tls", "users")
def test_without_a_login_it_is_told_that_none_was_sent_and_how_to_send_one(guarded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KURRENTDB_USERNAME", "KURRENTDB_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    variables = r"Give them in the address, or as KURRENTDB_USERNAME and KURRENTDB_PASSWORD"
    with pytest.raises(AccessDenied, match=rf"none was sent: there is no user and no password\. {variables}"):
        connect(guarded.uri_for(None))
    with pytest.raises(AccessDenied, match=rf"none was sent: there is a user without a password\. {variables}"):
        connect(guarded.uri_for(None), username="ops")


@pytest.mark.needs("fresh server", "tls", "users")
def test_a_user_who_may_not_and_a_wrong_password_are_told_apart(guarded: Store) -> None:
    with pytest.raises(AccessDenied, match=r"this user lacks the right. To read the whole log \(\$all\)"):
        connect(guarded.uri_for("analyst"))
    with pytest.raises(AccessDenied, match="user or password was refused"):
        connect(guarded.uri, password="wrong")
