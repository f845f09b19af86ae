"""Access lists: the rights on a stream, from its metadata or from the defaults of the store."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal, TypeAlias

from workbench.embedded.recording.log import Log
from workbench.embedded.recording.metadata import read_object

Right: TypeAlias = Literal["$r", "$w", "$d", "$mr", "$mw"]

READ: Right = "$r"
WRITE: Right = "$w"
DELETE: Right = "$d"

ADMINS = "$admins"
EVERYBODY = "$all"

_SETTINGS = "$settings"
_OF_METADATA: Mapping[Right, Right] = {READ: "$mr", WRITE: "$mw", DELETE: "$mw"}


def may(roles: Set[str], right: Right, stream: str, log: Log) -> bool:
    """Whether somebody with these roles may read, write, or delete a stream, or read ``$all``.

    ``$admins`` may do everything. For all others the ``$acl`` in the metadata of the stream counts. For a right that it does not
    name, the last event of ``$settings`` (``update-default-acl``) counts, and without that everybody may do everything with the
    streams of users, and nobody anything with those of the system. The metadata of a stream goes by the rights of that stream.
    """
    if ADMINS in roles:
        return True
    if stream.startswith("$$"):
        stream, right = stream[2:], _OF_METADATA[right]
    for acl in (_acl_of(stream, log), _default_acl(stream, log)):
        allowed = acl.get(right)
        if allowed is not None:
            return not roles.isdisjoint(allowed)
    return not stream.startswith("$")


def _acl_of(stream: str, log: Log) -> Mapping[str, Set[str]]:
    metadata = log.newest("$$" + stream)
    return {} if metadata is None else _parsed(read_object(metadata[1]) or {}, "$acl")


def _default_acl(stream: str, log: Log) -> Mapping[str, Set[str]]:
    settings = log.newest(_SETTINGS)
    if settings is None or settings[0] != "update-default-acl":
        return {}
    return _parsed(read_object(settings[1]) or {}, "$systemStreamAcl" if stream.startswith("$") else "$userStreamAcl")


def _parsed(values: Mapping[str, object], name: str) -> Mapping[str, Set[str]]:
    """Return who has which right; a list that is written as one text names one role."""
    acl = values.get(name)
    if not isinstance(acl, dict):
        return {}
    return {
        right: {role for role in (roles if isinstance(roles, list) else [roles]) if isinstance(role, str)} for right, roles in acl.items()
    }
