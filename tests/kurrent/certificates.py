"""Certificates of all kinds, for servers and clients of tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in two files."""

    certificate: Path
    key: Path

    def server(self, *, clients: Path | None = None) -> grpc.ServerCredentials:
        """What a gRPC server shows; with ``clients`` it wants certificates that this authority signed."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        roots = None if clients is None else clients.read_bytes()
        return grpc.ssl_server_credentials([pair], roots, require_client_auth=clients is not None)


class Authority:
    """A certificate authority that keeps what it signs in a folder."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        self._folder, self._count, self._prefix = folder, 0, name.lower().replace(" ", "-")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        own = (
            x509.CertificateBuilder(self._name, self._name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=900))
            .not_valid_after(now + timedelta(days=900))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{self._prefix}.pem"
        self.file.write_bytes(own.public_bytes(_PEM))

    def issue(self, *names: str, begins: datetime | None = None, ends: datetime | None = None) -> Issued:
        """Sign a certificate for host names and IP addresses."""
        now = datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(begins or now - timedelta(days=800))
            .not_valid_after(ends or now + timedelta(days=800))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        self._count += 1
        issued = Issued(self._folder / f"{self._prefix}-{self._count}.pem", self._folder / f"{self._prefix}-{self._count}.key")
        issued.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        issued.key.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return issued


def _general(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found
