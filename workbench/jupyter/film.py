"""The history of one entity as a film: what a viewer needs to show any moment of it at once, in one compact piece.

Most fields stay as they are at most events. So of each field only its changes are kept: before which events it took which value, the
values as numbers into a list of the texts that a person reads. Whether two moments differ in a field is told by the numbers, which are
exact, and never by the texts, which may be shortened.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import polars as pl

from workbench.display import distinct_labels
from workbench.zones import texts as zoned_texts

LONGEST_VALUE = 400
"""How many letters of a value are shown; a longer one is shortened in its middle."""
_ALIGNED = 8
_UNDATED = -(2**63)
"""What the viewer takes for the time of an event whose stamp is no instant."""
_SIDES = ("", "against_")


@dataclass(frozen=True, slots=True)
class Track:
    """What a field was at every moment.

    Attributes
    ----------
    moments
        When it took a value, ascending; the first is 0. Moment 0 lies before the first event, moment ``i + 1`` after event ``i``.
    codes
        Which value it took; -1 is null.
    """

    moments: np.ndarray[Any, np.dtype[np.uint32]]
    codes: np.ndarray[Any, np.dtype[np.int32]]

    def place(self, moment: int) -> int:
        """Return the index of the change that made the field what it is at a moment."""
        return bisect_right(self.moments, moment) - 1

    def at(self, moment: int) -> int:
        """Return the code of the field's value at a moment."""
        return int(self.codes[self.place(moment)])


@dataclass(frozen=True, slots=True)
class FilmField:
    """A field of the entity: the texts of its values, and a track for each history."""

    name: str
    texts: tuple[str, ...]
    tracks: tuple[Track, ...]

    def text(self, moment: int, *, side: int = 0) -> str | None:
        """Return what is shown of the field at a moment; None for null."""
        code = self.tracks[side].at(moment)
        return None if code < 0 else self.texts[code]

    def differs(self, moment: int, other: int, *, side: int = 0, other_side: int = 0) -> bool:
        """Whether the field has different values at two moments, of one history or of two."""
        return self.tracks[side].at(moment) != self.tracks[other_side].at(other)


@dataclass(frozen=True, slots=True)
class Film:
    """One entity's history, and that of a fork beside it.

    Attributes
    ----------
    steps
        The events, as ``wb.steps`` gives them.
    there
        For each history a track: 1 while the entity is there, else 0.
    """

    steps: pl.DataFrame = field(repr=False)
    fields: tuple[FilmField, ...] = field(repr=False)
    there: tuple[Track, ...] = field(repr=False)

    @classmethod
    def of(cls, steps: pl.DataFrame) -> Film:
        """Make a film of the steps of one entity, of which there is one at least."""
        sides = [side for side in _SIDES if f"{side}after" in steps.columns]
        states = [_moments(steps, side) for side in sides]
        # The struct of a projection without fields holds a field that is named like the key, and is always null.
        names = dict.fromkeys(name for state in states for name in _fields(state) if name != "key")
        there = [pl.DataFrame({"there": state.is_not_null().cast(pl.Int32)}) for state in states]
        return cls(
            steps,
            tuple(_field(name, states) for name in names),
            tuple(_track(frame["there"], frame["there"]) for frame in there),
        )

    def __len__(self) -> int:
        return self.steps.height

    @property
    def is_forked(self) -> bool:
        """Whether a fork stands beside the history."""
        return len(self.there) > 1

    @property
    def diverged(self) -> int | None:
        """The first event after which the two histories differ; None if they do not."""
        if not self.is_forked:
            return None
        found = self.steps["differs"].arg_true()
        return int(found[0]) if len(found) else None

    def is_there(self, moment: int, *, side: int = 0) -> bool:
        """Whether the entity is there at a moment."""
        return self.there[side].at(moment) == 1

    def pack(self, **said: Any) -> bytes:
        """Return the film as one piece for the viewer: a header in JSON with what is ``said`` too, and behind it the columns of numbers.

        The first four bytes are the header's length (little endian); then come the header, padded to a multiple of eight, and the columns,
        each beginning at a multiple of eight, all little endian. In the header a column stands as ``[kind, offset, count]``.
        """
        reel = _Reel()
        steps = self.steps
        ids = b"".join(steps["event_id"].str.replace_all("-", "", literal=True).str.decode("hex").to_list())
        prefixes = _SIDES[: len(self.there)]
        header = {
            **said,
            "count": len(self),
            "diverged": self.diverged,
            "position": reel.put(steps["position"].to_numpy()),
            "recorded": reel.put(steps["recorded_at"].to_physical().fill_null(_UNDATED).to_numpy()),
            "revision": reel.put(steps["revision"].fill_null(-1).to_numpy()),
            "ids": reel.put(np.frombuffer(ids, np.uint8)),
            "stream": reel.names(steps["stream"]),
            "type": reel.names(steps["event_type"]),
            "differs": reel.put(steps["differs"].to_numpy().astype(np.uint8)) if self.is_forked else None,
            "sides": [
                {
                    "type": reel.names(steps["event_type"] if prefix == "" else steps["against_event_type"]),
                    "outcome": reel.names(steps[f"{prefix}outcome"]),
                    "why": reel.names(steps[f"{prefix}why"]),
                    "origin": reel.names(steps[f"{prefix}origin"]) if f"{prefix}origin" in steps.columns else None,
                    "there": reel.track(self.there[index]),
                }
                for index, prefix in enumerate(prefixes)
            ],
            "fields": [
                {"name": one.name, "texts": one.texts, "tracks": [reel.track(track) for track in one.tracks]} for one in self.fields
            ],
        }
        return reel.wound(header)


class _Reel:
    """Columns of numbers, one behind the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._offset = 0

    def put(self, values: np.ndarray[Any, Any]) -> list[Any]:
        """Add a column, and return what the header says of it."""
        raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        said = [f"{values.dtype.kind}{values.dtype.itemsize}", self._offset, len(values)]
        padded = raw + b"\0" * (-len(raw) % _ALIGNED)
        self._parts.append(padded)
        self._offset += len(padded)
        return said

    def track(self, track: Track) -> dict[str, Any]:
        return {"moments": self.put(track.moments), "codes": self.put(track.codes)}

    def names(self, values: pl.Series) -> dict[str, Any]:
        """Add a column of few different names, as numbers; -1 where there is none."""
        codes, names = _coded([values])
        labels = distinct_labels(names, LONGEST_VALUE)
        return {"texts": [labels[name] for name in names], "codes": self.put(codes[0])}

    def wound(self, header: dict[str, Any]) -> bytes:
        text = orjson.dumps(header)
        text += b" " * (-(len(text) + 4) % _ALIGNED)
        return b"".join([len(text).to_bytes(4, "little"), text, *self._parts])


def _moments(steps: pl.DataFrame, side: str) -> pl.Series:
    """Return the states of a history: before the first event, and after each."""
    return pl.concat([steps[f"{side}before"].head(1).rename("state"), steps[f"{side}after"].rename("state")])


def _fields(states: pl.Series) -> list[str]:
    return [one.name for one in states.dtype.fields] if isinstance(states.dtype, pl.Struct) else []


def _field(name: str, states: Sequence[pl.Series]) -> FilmField:
    changes = []
    for state in states:
        if name in _fields(state):
            values = state.struct.field(name)
            changed = pl.DataFrame({"value": values}).select(pl.col("value").ne_missing(pl.col("value").shift(1)))["value"]
            moments = pl.concat([pl.Series([0], dtype=pl.UInt32), changed[1:].arg_true().cast(pl.UInt32) + 1])
            changes.append((moments, _texts(values.gather(moments))))
        else:
            changes.append((pl.Series([0], dtype=pl.UInt32), pl.Series([None], dtype=pl.String)))
    codes, texts = _coded([values for _, values in changes])
    labels = distinct_labels(texts, LONGEST_VALUE)
    tracks = tuple(Track(moments.to_numpy(), code) for (moments, _), code in zip(changes, codes, strict=True))
    return FilmField(name, tuple(labels[text] for text in texts), tracks)


def _track(values: pl.Series, codes: pl.Series) -> Track:
    changed = pl.concat([pl.Series([True]), values[1:] != values[:-1]]).arg_true()
    return Track(changed.cast(pl.UInt32).to_numpy(), codes.gather(changed).to_numpy())


def _coded(columns: Sequence[pl.Series]) -> tuple[list[np.ndarray[Any, np.dtype[np.int32]]], list[str]]:
    """Number the texts of some columns: return the numbers of each, -1 for null, and the texts by number."""
    texts = pl.concat([column.drop_nulls().rename("text") for column in columns]).unique(maintain_order=True)
    numbers = pl.DataFrame({"text": texts, "number": pl.int_range(len(texts), dtype=pl.Int32, eager=True)})
    coded = [
        pl.DataFrame({"text": column}).join(numbers, on="text", how="left", maintain_order="left")["number"].fill_null(-1).to_numpy()
        for column in columns
    ]
    return coded, texts.to_list()


def _texts(values: pl.Series) -> pl.Series:
    """Return values as texts; those of different values differ."""
    if values.dtype == pl.Boolean:
        return pl.select(pl.when(values).then(pl.lit("true")).when(~values).then(pl.lit("false")))["literal"]
    if isinstance(values.dtype, pl.Datetime):
        return zoned_texts(values, "%Y-%m-%d %H:%M:%S%.f")
    if values.dtype.is_nested() or values.dtype == pl.Object:
        return pl.Series([None if value is None else _json(value) for value in values.to_list()], dtype=pl.String)
    return values.cast(pl.String)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
