"""Converts columns of JSON text to values of a field's kind.

In a column of JSON text, an absent value is null and a null value is the text ``null``. A value that these functions cannot convert
exactly is marked as in doubt; the event-by-event engine then converts it, so that both engines agree on every value.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.projection.payloads import decoder
from workbench.projection.plan import Kind
from workbench.projection.values import Misfit, fitting, instant_of

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]

DECODE = decoder((), whole=True, decimals=True)
"""Converts JSON text to its exact value."""

_WHOLE_DOUBLES = 2.0**53
_DIGITS = 15
_SHORT = 16
"""A number of this many characters has at most fifteen digits, or is a whole number."""
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column of values that were converted to a kind.

    ``values`` holds int64 (integers, booleans, instants in microseconds, decimals times ten to their scale), doubles, or a series of text.
    It is undefined where a value is absent, null or in doubt.
    """

    values: Numbers | pl.Series
    null: Mask
    doubt: Mask


_ESCAPED = r'["\\\x00-\x1f]'
"""Characters that a JSON string must escape."""


def mask(series: pl.Series) -> Mask:
    """Return a column of booleans as an array; null counts as false."""
    return (series.fill_null(value=False) if series.null_count() else series).to_numpy()


def absent(texts: pl.Series) -> Mask:
    """Return a mask of the absent values."""
    return texts.is_null().to_numpy() if texts.null_count() else np.zeros(len(texts), dtype=np.bool_)


def unquoted(texts: pl.Series, *, escapes: bool = True) -> pl.Series:
    """Return the texts of JSON strings; the result for other values is undefined.

    ``escapes`` says whether the strings may contain escapes.
    """
    bare = texts.str.strip_chars('"')
    escaped = np.flatnonzero(mask(texts.str.contains("\\", literal=True))) if escapes else np.zeros(0, dtype=np.int64)
    if not len(escaped):
        return bare
    found = [json.loads(text) if text[0] == '"' else text for text in texts.gather(escaped)]
    return bare.scatter(escaped, pl.Series(found, dtype=pl.String))


def quoted(texts: pl.Series) -> pl.Series:
    """Return plain texts as JSON strings."""
    plain = '"' + texts + '"'
    escaped = np.flatnonzero(mask(texts.str.contains(_ESCAPED)))
    if not len(escaped):
        return plain
    return plain.scatter(escaped, mapped(texts.gather(escaped), lambda text: json.dumps(text, ensure_ascii=False)))


def mapped(texts: pl.Series, function: Callable[[str], str | None]) -> pl.Series:
    """Apply a function to each distinct text once; null stays null."""
    known = texts.drop_nulls().unique()
    becomes = pl.Series([function(text) for text in known], dtype=pl.String)
    return texts.replace_strict(known, becomes, default=None, return_dtype=pl.String) if len(known) else texts


def fitted(texts: pl.Series, kind: Kind, *, recorded: bool) -> Fitted:
    """Convert JSON text to a kind other than a set or a list.

    ``recorded`` says that the texts come from an extraction, which has marked the numbers that lost digits.
    """
    values, fits = _FITTING[kind.name](texts, kind, recorded)
    if fits.all() and kind.name != "json":  # for JSON, null is an ordinary value
        none = np.zeros(len(texts), dtype=np.bool_)
        return Fitted(values, none, none)
    null = mask(texts == "null")
    return Fitted(values, null, ~fits & ~null & ~absent(texts))


def integers(texts: pl.Series) -> tuple[npt.NDArray[np.int64], Mask]:
    """Return int64 integers, and a mask of the texts that are such integers."""
    numbers = texts.cast(pl.Int64, strict=False)
    return (numbers.fill_null(0) if numbers.null_count() else numbers).to_numpy(), ~absent(numbers)


def doubles(texts: pl.Series) -> tuple[npt.NDArray[np.float64], Mask]:
    """Return the nearest doubles of numbers, including infinity, and a mask of the texts that are numbers."""
    numbers = texts.cast(pl.Float64, strict=False)
    return (numbers.fill_null(0.0) if numbers.null_count() else numbers).to_numpy(), ~absent(numbers)


def instants(texts: pl.Series) -> tuple[npt.NDArray[np.int64], Mask]:
    """Return instants in microseconds since 1970, and a mask of the JSON strings that are instants."""
    plain = unquoted(texts)
    values = np.zeros(len(texts), dtype=np.int64)
    fits = np.zeros(len(texts), dtype=np.bool_)
    lengths = plain.str.len_bytes().fill_null(0).to_numpy()
    strings = mask(texts.str.starts_with('"'))
    rest = strings.copy()
    # 2026-03-01T09:00:00Z, and with three or six digits of a second
    for length in (20, 24, 27):
        chosen = np.flatnonzero(strings & (lengths == length))
        if len(chosen):
            found, sure = _utc(plain.gather(chosen), length)
            values[chosen[sure]], fits[chosen[sure]] = found[sure], True
            rest[chosen[sure]] = False
    for index in np.flatnonzero(rest):
        instant = instant_of(plain[int(index)])
        if instant is not None:
            values[index], fits[index] = instant, True
    return values, fits


_PATTERN = "0000-00-00T00:00:00.000000Z"


def _utc(texts: pl.Series, length: int) -> tuple[npt.NDArray[np.int64], Mask]:
    """Parse UTC times of one length; also return a mask of the texts that have this form."""
    raw = np.frombuffer(b"".join(texts.cast(pl.Binary).to_list()), dtype=np.uint8).reshape(-1, length)
    pattern = (_PATTERN[: length - 1] + "Z").encode() if length > 20 else b"0000-00-00T00:00:00Z"
    digits = np.array([byte == ord("0") for byte in pattern])
    sure = (raw[:, ~digits] == np.frombuffer(pattern, dtype=np.uint8)[~digits]).all(axis=1)
    numbers = raw.astype(np.int64) - ord("0")
    sure &= ((numbers[:, digits] >= 0) & (numbers[:, digits] <= 9)).all(axis=1)

    def read(start: int, stop: int) -> npt.NDArray[np.int64]:
        total = np.zeros(len(raw), dtype=np.int64)
        for column in range(start, stop):
            total = total * 10 + numbers[:, column]
        return total

    year, month, day, hour, minute, second = read(0, 4), read(5, 7), read(8, 10), read(11, 13), read(14, 16), read(17, 19)
    # Days after the 28th and invalid times are left in doubt.
    sure &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 28) | (
        sure & (year >= 1) & (month >= 1) & (month <= 12) & (day <= 30) & (day >= 1) & (month != 2)
    )
    sure &= (hour <= 23) & (minute <= 59) & (second <= 59)
    months = np.where(sure, (year - 1970) * 12 + month - 1, 0)
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    fraction = read(20, length - 1) * 10 ** (6 - (length - 21)) if length > 20 else 0
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction, sure


def _text(texts: pl.Series, _: Kind, __: bool) -> tuple[pl.Series, Mask]:  # noqa: FBT001  # one of a table
    return texts, mask(texts.str.starts_with('"'))


def _integer(texts: pl.Series, _: Kind, __: bool) -> tuple[Numbers, Mask]:  # noqa: FBT001
    values, fits = integers(texts)
    rest = np.flatnonzero(~fits)
    if len(rest):  # 1.0 and 1e3 are whole
        numbers, are = doubles(texts.gather(rest))
        whole = are & (np.abs(numbers) <= _WHOLE_DOUBLES) & (np.floor(numbers) == numbers)
        values, fits = values.copy(), fits.copy()
        values[rest[whole]], fits[rest[whole]] = numbers[whole].astype(np.int64), True
    return values, fits


def _float(texts: pl.Series, _: Kind, __: bool) -> tuple[Numbers, Mask]:  # noqa: FBT001
    values, fits = doubles(texts)
    return values + 0.0, fits & np.isfinite(values)  # -0.0 becomes 0.0


def _boolean(texts: pl.Series, _: Kind, __: bool) -> tuple[Numbers, Mask]:  # noqa: FBT001
    true = mask(texts == "true")
    return true.astype(np.int64), true | mask(texts == "false")


def _instant(texts: pl.Series, _: Kind, __: bool) -> tuple[Numbers, Mask]:  # noqa: FBT001
    return instants(texts)


def _decimal(texts: pl.Series, kind: Kind, recorded: bool) -> tuple[Numbers, Mask]:  # noqa: FBT001
    """Scale decimals to whole numbers.

    A number of fifteen digits survives the conversion to a double and back. If a whole number below 2**53, divided by a power of ten (both
    exact), gives the same double, it is the number in the text.
    """
    most = min(10**kind.precision, _INT64) - 1
    values = np.zeros(len(texts), dtype=np.int64)
    fits = np.zeros(len(texts), dtype=np.bool_)
    numbers, are = doubles(texts)
    if not recorded:
        are &= mask(texts.str.len_bytes() <= _SHORT) & ~mask(texts.str.contains("[eE]"))
    rest = np.flatnonzero(are)
    for places in range(min(kind.scale, _DIGITS) + 1):
        if not len(rest):
            break
        units = np.rint(numbers[rest] * 10.0**places)
        exact = (np.abs(units) < _WHOLE_DOUBLES) & (units / 10.0**places == numbers[rest])
        wider = 10 ** (kind.scale - places)
        found, whole = rest[exact], units[exact].astype(np.int64)
        inside = np.abs(whole) <= most // wider
        fits[found[inside]] = True
        if wider < _INT64:  # otherwise only zero fits
            values[found[inside]] = whole[inside] * wider
        rest = rest[~exact]
    factor = 10**kind.scale
    if len(rest) and factor < _INT64:
        whole, are = integers(texts.gather(rest))
        inside = are & (whole <= most // factor) & (whole >= -(most // factor))
        values[rest[inside]], fits[rest[inside]] = whole[inside] * factor, True
    return values, fits


def _json(texts: pl.Series, kind: Kind, _: bool) -> tuple[pl.Series, Mask]:  # noqa: FBT001
    fit = fitting(kind)

    def canonical(text: str) -> str | None:
        try:
            return str(fit(DECODE(text)))
        except (Misfit, RecursionError):
            return None

    values = mapped(texts, canonical)
    return values, mask(values.is_not_null())


_FITTING: dict[str, Callable[[pl.Series, Kind, bool], tuple[Numbers | pl.Series, Mask]]] = {
    "text": _text,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "instant": _instant,
    "decimal": _decimal,
    "json": _json,
}
