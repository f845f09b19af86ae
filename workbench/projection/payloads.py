"""Decodes payloads. The first of duplicate keys counts, and numbers keep their text where a decimal field needs it.

Fast decoders take the last of duplicate keys. They are used only if no key that the plan reads occurs twice in the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from workbench.projection.values import Number, integer_or_double


class _Absent:
    """The value of an absent path; it equals only itself and is not null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


def decoder(keys: Iterable[str], *, whole: bool, decimals: bool) -> Callable[[str | None], Any]:
    """Return a function that decodes JSON text, and returns ``ABSENT`` for None.

    Parameters
    ----------
    keys
        All keys that will be looked up, at any depth.
    whole
        Whether a value that may contain objects is read, so that all of its keys matter.
    decimals
        Whether numbers with a fraction or an exponent become ``Number``.
    """
    exact = json.JSONDecoder(
        object_pairs_hook=_first_of_each, parse_float=Number if decimals else float, parse_int=integer_or_double
    ).decode
    names = sorted(set(keys))
    if whole or any(
        json.dumps(name, ensure_ascii=False) != f'"{name}"' or "/" in name for name in names
    ):  # keys that the text may contain in an escaped form
        return lambda text: ABSENT if text is None else exact(text)
    fast = msgspec.json.Decoder(float_hook=Number if decimals else None).decode
    quoted = [f'"{name}"' for name in names]

    def decode(text: str | None) -> Any:
        if text is None:
            return ABSENT
        if "\\u" not in text:  # an escape may spell a key differently
            for name in quoted:
                if text.count(name) > 1:
                    break
            else:
                try:
                    return fast(text)
                except msgspec.DecodeError:  # a number outside the range of doubles
                    pass
        return exact(text)

    return decode


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))
