"""TLS: the trusted authorities, the client's certificate, and explanations of failed handshakes."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from workbench.errors import InvalidAddress
from workbench.events import format_time
from workbench.kurrent.address import Host
from workbench.kurrent.connection_options import Options

_PROBE_SECONDS: Final = 3.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # and empty SETTINGS: a server answers
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE")


@dataclass(frozen=True, slots=True)
class Trust:
    """The authorities that may have signed a server's certificate, and the client's own certificate and key.

    Attributes
    ----------
    ca_file
        The file of the authorities, or None for those of gRPC and of the system.
    """

    ca_file: str | None
    user_cert_file: str | None
    user_key_file: str | None
    _authorities: bytes | None = field(repr=False)
    _certificate: bytes | None = field(repr=False)
    _key: bytes | None = field(repr=False)

    @classmethod
    def load(cls, options: Options) -> Trust:
        """Read the files that the options name, and check their contents.

        Raises
        ------
        InvalidAddress
            A file cannot be read, holds no certificate or no key, or certificate and key do not belong together.
        """
        authorities = _read("tlsCaFile", options.tls_ca_file)
        if authorities is not None:
            authorities = _certificates("tlsCaFile", options.tls_ca_file, authorities)
        certificate, key = _read("userCertFile", options.user_cert_file), _read("userKeyFile", options.user_key_file)
        if certificate is not None:
            certificate = _certificates("userCertFile", options.user_cert_file, certificate)
        trust = cls(options.tls_ca_file, options.user_cert_file, options.user_key_file, authorities, certificate, key)
        try:
            trust._identify(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise InvalidAddress(
                f"The key in {options.user_key_file} (userKeyFile) cannot be used with the certificate in {options.user_cert_file} "
                f"(userCertFile): {reason}. It must be the key of that certificate, in PEM and without a password."
            ) from error
        return trust

    def credentials(self) -> grpc.ChannelCredentials:
        """Return credentials for gRPC."""
        return grpc.ssl_channel_credentials(self._authorities, self._key, self._certificate)

    def context(self) -> ssl.SSLContext:
        """Return a context for Python's ``ssl``: for HTTP/2, with the same trusted authorities as gRPC."""
        context = ssl.create_default_context(cadata=self._authorities.decode() if self._authorities else None)
        if not self._authorities:
            # gRPC has its own list of authorities, and both transports must trust the same ones.
            with as_file(files("grpc._cython") / "_credentials" / "roots.pem") as roots:
                context.load_verify_locations(cafile=roots)
        # Accept what gRPC accepts, on every version of Python: an intermediate authority without its root, and certificates that lack
        # extensions required by RFC 5280, such as the authority key identifier. Python 3.13 began to refuse these.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._identify(context)
        context.set_alpn_protocols(["h2"])
        return context

    def problem(self, host: Host) -> str | None:
        """Say why TLS to a server fails, and what to do; None if TLS is not the cause.

        This makes handshakes of its own and sends nothing but the client's certificate. It reads the server's certificate without
        verifying it.
        """
        try:
            anyone = _handshake(host, _trusting_anyone())
        except ssl.SSLError as error:
            return _no_handshake(error, has_certificate=self._certificate is not None)
        except OSError:
            return None
        try:
            _handshake(host, self.context())
        except ssl.SSLCertVerificationError as error:
            return self._untrusted(host, anyone.certificate, error)
        except OSError:
            pass  # the server's certificate is not the cause
        if anyone.protocol != "h2":
            return (
                "the server speaks TLS but does not offer HTTP/2 in it (no ALPN), which gRPC needs. Check that this is the port of a "
                "KurrentDB; a proxy that terminates TLS must offer h2"
            )
        return self._refused_client(host)

    def _untrusted(self, host: Host, certificate: x509.Certificate | None, error: ssl.SSLCertVerificationError) -> str:
        now = datetime.now(UTC)
        if certificate is None:
            return f"the server's certificate is not trusted ({error.verify_message})"
        if certificate.not_valid_after_utc < now:
            return (
                f"the server's certificate expired at {format_time(certificate.not_valid_after_utc)}. Renew it on the server; check this "
                "machine's clock too"
            )
        if certificate.not_valid_before_utc > now:
            return (
                f"the server's certificate is valid only from {format_time(certificate.not_valid_before_utc)} on. Check this machine's "
                "clock and the server's"
            )
        names = _names(certificate)
        if not _is_for(host, certificate):
            held = ", ".join(names) if names else "no name at all"
            return (
                f"the server's certificate is not for {host.name}; it holds {held}. Dial the server by one of these names, or give it a "
                "certificate for this one"
            )
        issuer = certificate.issuer.rfc4514_string()
        if self.ca_file is None:
            return f"the server's certificate is not trusted: it is signed by {issuer}. Name that authority with tlsCaFile=/path/to/ca.crt"
        return (
            f"the server's certificate is not trusted: it is signed by {issuer}, and no authority in {self.ca_file} (tlsCaFile) confirms "
            f"it ({error.verify_message}). Name the file of the authority that signed it"
        )

    def _refused_client(self, host: Host) -> str | None:
        """Say whether the server refused the client's certificate or asked for one; None if neither."""
        try:
            own = _trusting_anyone()
            self._identify(own)
            _handshake(host, own, speak=True)
        except OSError as error:
            if isinstance(error, TimeoutError):
                return None
            if self._certificate is not None:
                return _NO_TRUST_IN_CLIENT.format(file=self.user_cert_file)
            if "CERTIFICATE_REQUIRED" in (getattr(error, "reason", None) or ""):
                return _ASKS_FOR_CERTIFICATE
            return f"the server ended the connection right after the TLS handshake. Perhaps {_ASKS_FOR_CERTIFICATE}"
        return None

    def _identify(self, context: ssl.SSLContext) -> None:
        if self.user_cert_file is not None:
            # Without a password callback, OpenSSL would prompt on the terminal.
            context.load_cert_chain(self.user_cert_file, self.user_key_file, password=_no_password)


_ASKS_FOR_CERTIFICATE: Final = "the server wants a client certificate. Name one with userCertFile= and its key with userKeyFile="
_NO_TRUST_IN_CLIENT: Final = (
    "the server does not accept the client's certificate in {file} (userCertFile). It must be signed by an authority that the server "
    "trusts, be valid today, and allow client authentication"
)


@dataclass(frozen=True, slots=True)
class _Handshake:
    certificate: x509.Certificate | None
    protocol: str | None


def _handshake(host: Host, context: ssl.SSLContext, *, speak: bool = False) -> _Handshake:
    """Make a TLS handshake; with ``speak`` also wait for the server's first bytes, as it checks the client's certificate only then.

    Raises
    ------
    OSError
        The connection failed; ``ssl.SSLError`` if TLS is the cause.
    """
    with (
        socket.create_connection((host.name, host.port), timeout=_PROBE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host.name.partition("%")[0]) as secured,
    ):
        if speak:
            secured.sendall(_PREFACE)
            if not secured.recv(1):
                raise ConnectionResetError("the server closed the connection")
        found = secured.getpeercert(binary_form=True)
        return _Handshake(x509.load_der_x509_certificate(found) if found else None, secured.selected_alpn_protocol())


def speaks_tls(host: Host) -> bool:
    """Whether a server answers a TLS handshake, with any certificate."""
    try:
        _handshake(host, _trusting_anyone())
    except OSError:
        return False
    return True


def _trusting_anyone() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _no_handshake(error: ssl.SSLError, *, has_certificate: bool) -> str:
    reason = error.reason or ""
    if any(sign in reason for sign in _NOT_TLS):
        return "the server does not speak TLS on that port. Add ?tls=false to the address"
    if "HANDSHAKE_FAILURE" in reason and not has_certificate:
        return f"the TLS handshake failed. Perhaps {_ASKS_FOR_CERTIFICATE}"
    return f"the TLS handshake failed ({reason or error}). Check that this is the port of a KurrentDB, and tls= in the address"


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the names in a certificate; clients check its alternative names only."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [f"{name.value!s} (as its common name only, which clients ignore)" for name in common]
    addresses = [str(address) for address in extension.get_values_for_type(x509.IPAddress)]
    return [*extension.get_values_for_type(x509.DNSName), *addresses]


def _is_for(host: Host, certificate: x509.Certificate) -> bool:
    """Whether a certificate is for a host; a wildcard matches one label (RFC 6125)."""
    names = [name.lower() for name in _names(certificate)]
    try:
        return str(ipaddress.ip_address(host.name.partition("%")[0])) in names
    except ValueError:
        name = host.name.lower()
        return name in names or f"*.{name.partition('.')[2]}" in names


def _read(option: str, file: str | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be one"
        raise InvalidAddress(f"The file {file} that the address names as {option} cannot be read: {reason}.") from error


def _certificates(option: str, file: str | None, content: bytes) -> bytes:
    """Return only the certificates of a file, so that both transports read the same."""
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise InvalidAddress(
            f"The file {file} that the address names as {option} holds no certificate; it must be a PEM file, with "
            "-----BEGIN CERTIFICATE----- in it."
        ) from error
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in found)


def _no_password() -> str:
    raise ValueError("the key is encrypted")
