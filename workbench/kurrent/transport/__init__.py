"""Carries the bytes between the workbench and a node of KurrentDB.

Addresses, options and certificates come in; open channels and the messages of calls go out.
`http2` carries a bulk read over its own connection; `duplex` drives a bidirectional call; both detect a stalled peer.
`tls` loads the trusted authorities and explains failed handshakes.
Begin reading with `channels`.
"""
