"""Parses JSON as leniently as Newtonsoft.Json, which KurrentDB uses to read the metadata of streams.

It accepts more than JSON: single quotes, names without quotes, trailing commas, hexadecimal and octal numbers, ``NaN`` and ``Infinity``,
line breaks in texts. It stops after the first value. Newtonsoft accepts comments too, but the server then ignores the metadata.
"""

from __future__ import annotations

import math
import re

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[\w$]+")
_WORD = re.compile(r"-?[A-Za-z0-9_.+-]+")
_FLOAT = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\", "/": "/"}
_WORDS: dict[str, object] = {
    "true": True,
    "false": False,
    "null": None,
    "undefined": None,
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


def read_value(text: str, *, deepest: int) -> object:
    """Parse the value at the start of a text.

    Raises
    ------
    ValueError
        There is no value, or it nests arrays and objects more than ``deepest`` levels deep.
    """
    return _JsonReader(text, deepest).value(0)


class _JsonReader:
    def __init__(self, text: str, deepest: int) -> None:
        self._text = text
        self._deepest = deepest
        self._at = 0

    def value(self, depth: int) -> object:
        character = self._peek()
        if character == "{":
            return self._object(depth + 1)
        if character == "[":
            return self._array(depth + 1)
        if character in ("'", '"'):
            return self._quoted()
        return self._word()

    def _peek(self) -> str:
        """Return the next character that is not white space, without consuming it."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at
        if self._at == len(self._text):
            raise ValueError("the text ends in the middle of a value")
        return self._text[self._at]

    def _object(self, depth: int) -> dict[str, object]:
        self._enter(depth)
        values: dict[str, object] = {}
        while self._peek() != "}":
            name = self._quoted() if self._text[self._at] in "'\"" else self._match(_NAME)
            self._take(":")
            values[name] = self.value(depth)
            if self._peek() != "}":
                self._take(",")
        self._at += 1
        return values

    def _array(self, depth: int) -> list[object]:
        self._enter(depth)
        values: list[object] = []
        while self._peek() != "]":
            if self._text[self._at] == ",":
                values.append(None)  # nothing between two commas
            else:
                values.append(self.value(depth))
                if self._peek() == "]":
                    break
            self._take(",")
        self._at += 1
        return values

    def _enter(self, depth: int) -> None:
        if depth > self._deepest:
            raise ValueError(f"arrays and objects are nested more than {self._deepest} levels deep")
        self._at += 1

    def _take(self, character: str) -> None:
        if self._peek() != character:
            raise ValueError(f"{character!r} is missing at {self._at}")
        self._at += 1

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"unexpected text at {self._at}")
        self._at = found.end()
        return found[0]

    def _quoted(self) -> str:
        quote = self._text[self._at]
        parts = []
        at = self._at + 1
        while (character := self._text[at : at + 1]) != quote:
            if not character:
                raise ValueError("a text has no end")
            if character == "\\":
                escape = self._text[at + 1 : at + 2]
                if escape == "u":
                    parts.append(chr(int(self._text[at + 2 : at + 6], 16)))
                    at += 6
                    continue
                if escape not in _ESCAPES:
                    raise ValueError(f"unknown escape \\{escape}")
                character = _ESCAPES[escape]
                at += 1
            parts.append(character)
            at += 1
        self._at = at + 1
        # A surrogate pair, two escapes, encodes one character.
        return "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

    def _word(self) -> object:
        word = self._match(_WORD)
        if word in _WORDS:
            return _WORDS[word]
        if re.fullmatch(r"-?0[xX][0-9a-fA-F]+", word):
            return int(word, 16)
        if re.fullmatch(r"-?0[0-7]+", word):
            return int(word, 8)
        if re.fullmatch(r"-?[0-9]+", word):
            return int(word)
        if _FLOAT.fullmatch(word):
            return float(word)
        raise ValueError(f"{word} is no value")
