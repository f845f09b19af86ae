"""Carries the bytes between the workbench and a node of KurrentDB.

Addresses, options and certificates come in; open channels, and the messages of one call after the other, go out.
`http2` reads much over a connection of its own; `duplex` drives a call that sends and receives; both tell a stalled peer from an idle one.
`tls` decides whom to trust and says why a handshake failed.
Begin reading with `channels`.
"""
