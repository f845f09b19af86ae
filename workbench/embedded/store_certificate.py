"""A certificate authority of a store's own, and the certificate that its server shows."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA = "ca.pem"
_CERTIFICATE = "server.pem"
_KEY = "server.key"
_VALID = timedelta(days=365)
_LEAST_LEFT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a server shows, and the file by which clients know it."""

    ca_file: Path
    certificate: bytes
    key: bytes


def credentials(folder: Path, *, host: str) -> Credentials:
    """Return the credentials kept in a folder; make them if there are none, or they end soon, or are of another host.

    They are valid for localhost, 127.0.0.1, ::1 and the host. The authority's own key is forgotten as soon as it has signed.
    """
    files = [folder / name for name in (_CA, _CERTIFICATE, _KEY)]
    if not (all(file.exists() for file in files) and _still_good(files[1].read_bytes(), host)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file, content in zip(files, _make(host), strict=True):
            # The key is nobody else's to read, from its first byte on.
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(content)
    return Credentials(files[0], files[1].read_bytes(), files[2].read_bytes())


def _still_good(certificate: bytes, host: str) -> bool:
    found = x509.load_pem_x509_certificate(certificate)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.not_valid_after_utc - datetime.now(UTC) > _LEAST_LEFT and _general_name(host) in names


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _make(host: str) -> tuple[bytes, bytes, bytes]:
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workbench embedded store CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = dict.fromkeys(_general_name(name) for name in ("localhost", "127.0.0.1", "::1", host))
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workbench embedded store")])
    server = (
        _builder(server_name, ca_name, key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        ca.public_bytes(pem),
        server.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # for clients whose clock is a little behind
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
