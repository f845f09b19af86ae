"""How the options of an address become the settings of a plain HTTP/2 connection."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import hpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from workbench.kurrent.address import Address
from workbench.kurrent.transport.channels import Channels
from workbench.kurrent.transport.http2 import Endpoint


def endpoint_of(options: str, port: int = 2113) -> Endpoint:
    address = Address.parse(f"esdb://127.0.0.1:{port}?{options}")
    return Channels(address).http2(address.hosts[0], requires_leader=False)


@pytest.mark.parametrize(
    ("options", "silence", "ping"),
    [
        ("tls=false", 20.0, 5.0),
        ("tls=false&keepAliveInterval=30000&keepAliveTimeout=2500", 32.5, 5.0),
        ("tls=false&keepAliveInterval=2000&keepAliveTimeout=1000", 3.0, 2.0),
        ("tls=false&keepAliveInterval=-1", None, 5.0),
        ("tls=false&keepAliveTimeout=-1", None, 5.0),
    ],
)
def test_both_keep_alive_options_count(options: str, silence: float | None, ping: float) -> None:
    endpoint = endpoint_of(options)
    assert (endpoint.silence_seconds, endpoint.ping_seconds) == (silence, ping)


def test_a_file_of_authorities_may_hold_the_intermediate_one_alone(tmp_path: Path, tls_server: tuple[int, Path]) -> None:
    port, authority = tls_server
    assert list(endpoint_of(f"tls=true&tlsCaFile={authority}", port).call("/m", b"").chunks(events=1, size=1)) == []


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server that answers one empty call; its certificate is signed by an intermediate authority, whose file is given."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "intermediate", "leaf")}
    certificates = {
        name: _certificate(name, keys[name], issuer, keys[issuer])
        for name, issuer in (("root", "root"), ("intermediate", "root"), ("leaf", "intermediate"))
    }
    authority, chain, key = tmp_path / "authority.crt", tmp_path / "chain.crt", tmp_path / "leaf.key"
    authority.write_bytes(certificates["intermediate"])
    chain.write_bytes(certificates["leaf"] + certificates["intermediate"])
    key.write_bytes(keys["leaf"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["h2"])
    block = hpack.Encoder().encode([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")])

    def run() -> None:
        plain, _ = listener.accept()
        plain.settimeout(30)
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                connection.sendall(len(block).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + block)
                while connection.recv(4096):
                    pass
        except OSError:
            pass  # the client did not trust us, and its test fails

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1], authority
        thread.join(30)


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=name != "leaf",
        crl_sign=name != "leaf",
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name != "leaf", path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)
