"""Answers the calls of KurrentDB's protocol on an embedded store, each as a real server does.

Requests come in as gRPC reads them; messages, or refusals with the server's status, text and trailers, go out.
Each module holds one kind of call or one part that several calls share.
What a call may do is in `access` and `accounts`; what it is refused with is in `failures`.
Begin reading with `services`, which registers the calls.
"""
