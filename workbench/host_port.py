"""A host and a port in one text, as URIs and gRPC write them."""

from __future__ import annotations


def join_host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, with an IPv6 address in brackets (RFC 3986, 3.2.2).

    >>> join_host_port("db.example", 2113), join_host_port("::1", 2113)
    ('db.example:2113', '[::1]:2113')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
