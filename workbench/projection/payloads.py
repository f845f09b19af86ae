"""Payloads, decoded: of duplicate keys in an object the first counts, and numbers keep their text where a decimal needs it.

Fast decoders take the last of duplicate keys. They are used where that cannot matter: no key that a plan reads stands twice in the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from workbench.projection.values import Number, integer_or_double


class _Absent:
    """The value of a place that is not there; it equals nothing else and is not null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


def decoder(keys: Iterable[str], *, whole: bool, decimals: bool) -> Callable[[str | None], Any]:
    """Return a function from JSON text to its value; of no text, ``ABSENT``.

    Parameters
    ----------
    keys
        Every key that will be looked up, at any depth.
    whole
        Whether values are taken that may hold objects, so that other keys matter as well.
    decimals
        Whether numbers with a fraction or an exponent become ``Number``.
    """
    exact = json.JSONDecoder(
        object_pairs_hook=_first_of_each, parse_float=Number if decimals else float, parse_int=integer_or_double
    ).decode
    names = sorted(set(keys))
    if whole or any(
        json.dumps(name, ensure_ascii=False) != f'"{name}"' or "/" in name for name in names
    ):  # keys that text may hold in an escaped form
        return lambda text: ABSENT if text is None else exact(text)
    fast = msgspec.json.Decoder(float_hook=Number if decimals else None).decode
    quoted = [f'"{name}"' for name in names]

    def decode(text: str | None) -> Any:
        if text is None:
            return ABSENT
        if "\\u" not in text:  # with it, a key may be written in another form
            for name in quoted:
                if text.count(name) > 1:
                    break
            else:
                try:
                    return fast(text)
                except msgspec.DecodeError:  # a number beyond the doubles
                    pass
        return exact(text)

    return decode


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))
