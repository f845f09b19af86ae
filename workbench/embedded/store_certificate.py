"""The certificate authority of a store, and the certificate of its server."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from trustme import CA

from workbench.errors import EmbeddedStoreError

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
    authority = CA(path_length=0, organization_name="workbench", organization_unit_name="embedded store")
    try:
        server = authority.issue_cert(
            *dict.fromkeys(("localhost", "127.0.0.1", "::1", host)),
            organization_name="workbench",
            organization_unit_name="embedded store",
            not_before=now - timedelta(hours=1),  # for clients whose clock is a little behind
            not_after=now + _VALID,
        )
    except UnicodeError as error:
        raise EmbeddedStoreError(f"A certificate cannot name the host {host!r} ({error}): use another name, or its IP address.") from error
    return authority.cert_pem.bytes(), server.cert_chain_pems[0].bytes(), server.private_key_pem.bytes()
