"""Tells the streams that a KurrentDB server writes for itself from the streams of its users.

A user may write to a stream whose name begins with ``$``, so the dollar sign is not enough. This module lists the names that servers are
known to use: links of the system projections (``$ce-order``), statistics, accounts, the state of projections. The stream ``$$x`` holds
the metadata of ``x``; it is the server's own stream if ``x`` is.

Each engine gets the list as a regular expression in its own syntax; a property test keeps them equivalent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from workbench.errors import InvalidProjection

Column = Literal["stream", "category", "type"]
"""The columns to which a pattern can apply."""

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
"""Prefixes of the names of a server's own streams."""

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
"""Full names of a server's own streams."""

LINK_PREFIXES = ("$ce-", "$category-")
"""Prefixes, before a category's name, of the streams of links that the system projections write."""


def _expression(end: str) -> str:
    """Return the expression for the beginning of a name; ``end`` is the engine's syntax for the end of a text."""
    begins = "|".join(re.escape(prefix[1:]) for prefix in PREFIXES)
    whole = "|".join(re.escape(name[1:]) for name in NAMES)
    return rf"(?:\$\$)?\$(?:{begins}|(?:{whole}){end})"


_END, _NO_MORE = r"\z", r"(?![\s\S])"

EXPRESSION = rf"\A{_expression(_END)}"
"""A regular expression that matches the names of a server's own streams: for RE2 (DuckDB, Arrow) and Rust (Polars)."""

NOT_EXPRESSION = f"(?!{_expression(_NO_MORE)})"
"""A lookahead that fails at the beginning of the name of a server's own stream: for .NET (the server) and Python.

In .NET ``$`` also matches before a last newline, and Python has no ``\\z``: a negative lookahead for any character is the end in both.
"""

_PYTHON = re.compile(NOT_EXPRESSION)


def is_server_stream(name: str) -> bool:
    """Whether a server writes a stream for itself.

    >>> [is_server_stream(name) for name in ("$ce-order", "$$$ce-order", "$streams", "$svc-catch-all", "$$order-1", "order-1")]
    [True, True, True, False, False, False]
    """
    return _PYTHON.match(name) is None


def is_user_event(stream: str, type_: str) -> bool:
    """Whether a user recorded an event, and it is not a link, metadata or a tombstone.

    >>> is_user_event("$svc-catch-all", "MailSent"), is_user_event("$$order-1", "$metadata"), is_user_event("order-1", "$streamDeleted")
    (True, False, False)
    """
    return not (type_.startswith("$") or stream.startswith("$$") or is_server_stream(stream))


def only_server_streams(pattern: str, *, column: Literal["stream", "category"]) -> bool:
    """Whether a pattern, in which ``*`` matches any run of characters, can match only the server's own streams.

    >>> only_server_streams("$ce-*", column="stream"), only_server_streams("$*", column="stream")
    (True, False)
    """
    owner = pattern.removeprefix("$$") if pattern.startswith("$$$") else pattern
    if column == "category":
        return is_server_stream(owner) or is_server_stream(f"{owner}-")
    known, star, _ = owner.partition("*")
    return known.startswith(PREFIXES) if star else is_server_stream(owner)


def only_others(pattern: str, *, column: Column) -> bool:
    """Whether a pattern can match no event that a user recorded: see ``is_user_event``.

    >>> only_others("$ce-*", column="stream"), only_others("$$*", column="stream"), only_others("$svc-*", column="stream")
    (True, True, False)
    """
    if column == "type":
        return pattern.startswith("$")
    return pattern.startswith("$$") or only_server_streams(pattern, column=column)


def linked_category(name: str) -> str | None:
    """Return the category to whose events the links in a server's stream lead; None for any other stream.

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
    "$settings": "the default access rights",
    "$scavenges": "a record of its scavenges",
}


def what_is_kept(name: str) -> str:
    """Describe the contents of a system stream, or of a category of system streams.

    >>> what_is_kept("$stats"), what_is_kept("$$order")
    ('the server keeps its own statistics there', 'it holds the metadata of the streams of order')
    >>> what_is_kept("$ce-order")
    'the server keeps links to the events of category order there; name that category'
    """
    linked = linked_category(name)
    if linked is not None:
        return f"the server keeps links to the events of category {linked} there; name that category"
    if name.startswith("$$") and not name.startswith("$$$"):
        return f"it holds the metadata of the streams of {name.removeprefix('$$')}"
    known = _WHAT.get(name) or _WHAT.get(name.partition("-")[0]) or "events of its own"
    advice = "; name a category of yours, like CATEGORY" if name.partition("-")[0] in ("$ce", "$category") else ""
    return f"the server keeps {known} there{advice}"


def ensure_not_system(column: Literal["stream", "category"], names: Sequence[str], what: str) -> None:
    """Refuse names that match only system events.

    Raises
    ------
    InvalidProjection
        A name does; the message describes the contents of that stream.
    """
    for name in names:
        if only_others(name, column=column):
            raise InvalidProjection(
                f"{what} names {name}, but system events never become state: {what_is_kept(name)}. sql() and events() of "
                "timeline.with_system(), and workbench sql --system, show them."
            )
