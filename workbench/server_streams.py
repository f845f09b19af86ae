"""Which streams a KurrentDB server writes for itself, and how to tell them from the streams of its users.

A user may write to a stream whose name begins with ``$``, so the dollar sign alone tells nothing. What tells is the list of names that
servers are known to use: links of the system projections (``$ce-order``), statistics, accounts, the state of projections. The stream
``$$x`` holds the metadata of ``x`` and belongs to whoever ``x`` belongs to.

The list stands here once. Each engine gets it as a regular expression that it understands; a property test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from workbench.errors import InvalidProjection

Column = Literal["stream", "category", "type"]
"""The columns of names that a pattern can be for."""

PREFIXES = (
    # Up to KurrentDB 25.0.
    "$ce-",
    "$et-",
    "$bc-",
    "$category-",
    "$stream_",
    "$projections-",
    "$persistentsubscription-",
    "$stats-",
    "$user-",
    "$mem-",
    # Newer versions.
    "$auto-scavenge",
    "$connectors",
    "$registry",
    "$authorization-",
    "$idx-",
)
"""What the names of streams that a server writes begin with."""

NAMES = (
    # Up to KurrentDB 25.0.
    "$et",
    "$streams",
    "$settings",
    "$users",
    "$scavenges",
    "$persistentSubscriptionConfig",
    "$all",
    # Newer versions.
    "$policies",
    "$all-indexes",
)
"""Whole names of streams that a server writes."""

LINK_PREFIXES = ("$ce-", "$category-")
"""What stands before a category's name in the streams of links that the system projections make of it."""


def _expression(end: str) -> str:
    """Return the expression for the beginning of a name, given how an engine writes the end of a text."""
    begins = "|".join(re.escape(prefix[1:]) for prefix in PREFIXES)
    whole = "|".join(re.escape(name[1:]) for name in NAMES)
    return rf"(?:\$\$)?\$(?:{begins}|(?:{whole}){end})"


_END, _NO_MORE = r"\z", r"(?![\s\S])"

EXPRESSION = rf"\A{_expression(_END)}"
"""A regular expression that finds the names of servers' streams: for RE2 (DuckDB, Arrow) and Rust (Polars)."""

NOT_EXPRESSION = f"(?!{_expression(_NO_MORE)})"
"""A lookahead that fails at the beginning of the name of a server's stream: for .NET (the server) and Python.

In .NET ``$`` also fits before a last newline, and Python has no ``\\z``: a negative lookahead for any character is the end in both.
"""

_PYTHON = re.compile(NOT_EXPRESSION)


def is_server_stream(name: str) -> bool:
    """Tell whether a server writes a stream for itself.

    >>> [is_server_stream(name) for name in ("$ce-order", "$$$ce-order", "$streams", "$svc-catch-all", "$$order-1", "order-1")]
    [True, True, True, False, False, False]
    """
    return _PYTHON.match(name) is None


def is_user_event(stream: str, type_: str) -> bool:
    """Tell whether an event is one that a user recorded, and no link, metadata or tombstone.

    >>> is_user_event("$svc-catch-all", "MailSent"), is_user_event("$$order-1", "$metadata"), is_user_event("order-1", "$streamDeleted")
    (True, False, False)
    """
    return not (type_.startswith("$") or stream.startswith("$$") or is_server_stream(stream))


def only_server_streams(pattern: str, *, column: Literal["stream", "category"]) -> bool:
    """Tell whether a pattern, in which ``*`` stands for any run of characters, can fit nothing but streams that a server writes.

    >>> only_server_streams("$ce-*", column="stream"), only_server_streams("$*", column="stream")
    (True, False)
    """
    owner = pattern.removeprefix("$$") if pattern.startswith("$$$") else pattern
    if column == "category":
        return is_server_stream(owner) or is_server_stream(f"{owner}-")
    known, star, _ = owner.partition("*")
    return known.startswith(PREFIXES) if star else is_server_stream(owner)


def only_others(pattern: str, *, column: Column) -> bool:
    """Tell whether a pattern can fit nothing that a user recorded: see ``is_user_event``.

    >>> only_others("$ce-*", column="stream"), only_others("$$*", column="stream"), only_others("$svc-*", column="stream")
    (True, True, False)
    """
    if column == "type":
        return pattern.startswith("$")
    return pattern.startswith("$$") or only_server_streams(pattern, column=column)


def linked_category(name: str) -> str | None:
    """Return the category of whose events a stream holds the server's links; None of any other stream.

    >>> linked_category("$ce-order"), linked_category("$category-order"), linked_category("order")
    ('order', 'order', None)
    """
    return next((name.removeprefix(prefix) for prefix in LINK_PREFIXES if name.startswith(prefix)), None) or None


_WHAT = {
    "$ce": "links to the events of each category, in a stream $ce-CATEGORY",
    "$et": "links to the events of each type, in a stream $et-TYPE",
    "$bc": "links to the events with the same correlation id, in a stream $bc-ID",
    "$category": "names of the streams of each category, in a stream $category-CATEGORY",
    "$streams": "names of all streams",
    "$stats": "its own statistics",
    "$projections": "the definitions and the state of its projections",
    "$persistentsubscription": "the checkpoints and the parked messages of persistent subscriptions",
    "$users": "its accounts",
    "$user": "its accounts",
    "$settings": "the rights that hold by default",
    "$scavenges": "a record of its scavenges",
}


def what_is_kept(name: str) -> str:
    """Say what stands under the name of a system stream, or of a category of them.

    >>> what_is_kept("$stats"), what_is_kept("$$order")
    ('the server keeps its own statistics there', 'the metadata of the streams of order stands there')
    >>> what_is_kept("$ce-order")
    'the server keeps links to the events of category order there; name that category'
    """
    linked = linked_category(name)
    if linked is not None:
        return f"the server keeps links to the events of category {linked} there; name that category"
    if name.startswith("$$") and not name.startswith("$$$"):
        return f"the metadata of the streams of {name.removeprefix('$$')} stands there"
    known = _WHAT.get(name) or _WHAT.get(name.partition("-")[0]) or "events of its own"
    advice = "; name a category of yours, like CATEGORY" if name.partition("-")[0] in ("$ce", "$category") else ""
    return f"the server keeps {known} there{advice}"


def ensure_not_system(column: Literal["stream", "category"], names: Sequence[str], what: str) -> None:
    """Refuse names that fit nothing but events of the system.

    Raises
    ------
    InvalidProjection
        One does; the message says what stands there.
    """
    for name in names:
        if only_others(name, column=column):
            raise InvalidProjection(
                f"{what} is about {name}, but events of the system never become state: {what_is_kept(name)}. sql() and events() of "
                "timeline.with_system(), and workbench sql --system, show them."
            )
