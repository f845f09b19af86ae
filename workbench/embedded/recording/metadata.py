"""The metadata of a stream: the fields that a server understands, and the events that they hide."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.embedded.recording.records import MAX_REVISION
from workbench.lenient_json import read_value

_SECONDS = (2**63 - 1) // 10_000_000
"""The longest time in seconds that the server can hold, in ticks of 100 ns."""

_DEEPEST = 64
"""The deepest nesting of arrays and objects (the limit of Newtonsoft.Json, which the server uses)."""

_WHOLE = ("$maxCount", "$maxAge", "$tb", "$cacheControl")
_ROLES = {"$r", "$w", "$d", "$mr", "$mw"}


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What the metadata of a stream hides from its readers."""

    truncate_before: int = 0
    max_count: int | None = None
    max_age: int | None = None
    """In ticks of 100 ns."""

    @property
    def deleted(self) -> bool:
        return self.truncate_before == MAX_REVISION

    @classmethod
    def parse(cls, data: bytes, *, is_json: bool = True) -> ReadLimits:
        """Read the metadata of a stream as the server does (KurrentDB, ``StreamMetadata.TryFromJsonBytes``).

        Where one of the fields that the server knows is of another type than it must be, ``null`` included, or does not fit into 64
        bits, or the text is no JSON object, all of it is as if it was not there. A number that is in range but means nothing, such
        as a ``$maxCount`` of 0 or a negative ``$tb``, is left out alone.
        """
        values = read_object(data) if is_json else None
        if values is None or not _understood(values):
            return cls()
        count, age, before = (_positive(values.get(name)) for name in ("$maxCount", "$maxAge", "$tb"))
        return cls(truncate_before=before or 0, max_count=count, max_age=None if age is None else age * 10_000_000)


def read_object(data: bytes) -> dict[str, object] | None:
    """Return the JSON object that metadata begins with; None if there is none, or it nests too deeply to be read.

    The server stops reading where the object ends, and replaces bytes that are not UTF-8.
    """
    try:
        values = read_value(data.decode("utf-8-sig", errors="replace"), deepest=_DEEPEST)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _understood(values: dict[str, object]) -> bool:
    whole = (values[name] for name in _WHOLE if name in values)
    return (
        all(isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 for value in whole)
        and all(abs(value) <= _SECONDS for name in ("$maxAge", "$cacheControl") if isinstance(value := values.get(name), int))
        and isinstance(values.get("$tmp", False), bool)
        and _is_acl(values.get("$acl", {}))
    )


def _is_acl(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _ROLES
        and all(isinstance(role, str) for roles in value.values() for role in (roles if isinstance(roles, list) else [roles]))
    )


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
