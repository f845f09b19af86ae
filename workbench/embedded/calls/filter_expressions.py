"""Regular expressions as .NET reads them, which is how the server reads the expression of a filter, made into Python's.

Most of both languages is the same. What only .NET has is translated: ``\\z`` and ``\\Z``, categories (``\\p{Lu}``), classes
less classes (``[\\w-[b]]``), names of groups (``(?<n>…)``, ``(?'n'…)``, ``\\k<n>``), options in the middle, ``(?n)``. What cannot
be translated is refused by name, and so is what only Python has.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

_OPTIONS = re.compile(r"\(\?([imnsx]*)(?:-([imnsx]*))?([:)])")
_GROUP = re.compile(r"\(\?(?:<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_BALANCING = re.compile(r"\(\?(?:<\w*-\w*>|'\w*-\w*')")
_CONDITION = re.compile(r"\(\?\((\w+)\)")
_NAMED_REFERENCE = re.compile(r"\\k(?:<(\w+)>|'(\w+)')")
_CATEGORY = re.compile(r"\\([pP])\{([A-Za-z]{1,2})\}")
_QUANTIFIER = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}")
_PYTHON_ONLY = re.compile(r"\(\?P|\\N\{|\\U")
_PLAIN_GROUPS = ("(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>")
_CATEGORIES = {
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    *("Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn", "L", "M", "N", "P", "S", "Z", "C"),
}


class UnreadableExpression(ValueError):
    """Raised when an expression means nothing in .NET, or something that Python's expressions cannot say."""


def compiled(expression: str) -> re.Pattern[str]:
    """Return the Python expression that finds what a .NET one finds.

    Raises
    ------
    UnreadableExpression
        There is none.
    """
    try:
        return re.compile(_Translator(expression).translated())
    except (re.error, OverflowError, RecursionError) as error:
        raise UnreadableExpression(str(error)) from None


class _Translator:
    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self._out: list[str] = []
        self._wrapped: list[list[str]] = [[]]
        """For each group that is open, the options that were switched in its middle."""
        self._explicit = [False]
        """For each group that is open, whether only named groups are captured, ``(?n)``."""
        self._verbose = [False]
        self._named = self._numbered = False

    def translated(self) -> str:
        while self._at < len(self._text):
            self._step()
        if len(self._wrapped) > 1:
            raise UnreadableExpression("a group is not closed")
        self._end_options()
        if self._named and self._numbered and re.search(r"(?<!\\)(?:\\\\)*\\[1-9]", self._text):
            raise UnreadableExpression("references by number beside named groups, which .NET counts otherwise, cannot be translated")
        return "".join(self._out)

    def _step(self) -> None:
        character = self._text[self._at]
        if character == "\\":
            self._escape()
        elif character == "[":
            self._out.append(self._class())
        elif character == "(":
            self._group()
        elif character == ")":
            if len(self._wrapped) == 1:
                raise UnreadableExpression("a parenthesis is closed that was not opened")
            self._end_options()
            self._leave()
            self._emit(")", 1)
        elif character == "|":
            self._alternative()
        elif character == "#" and self._verbose[-1]:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        elif found := _QUANTIFIER.match(self._text, self._at):
            self._quantifier(found[0])
        elif character == "{":
            self._emit(r"\{", 1)  # no quantifier in .NET, as {,3}
        else:
            self._emit(character, 1)

    def _emit(self, translated: str, length: int) -> None:
        self._out.append(translated)
        self._at += length

    # -- groups

    def _group(self) -> None:
        text, at = self._text, self._at
        if _PYTHON_ONLY.match(text, at):
            raise UnreadableExpression("(?P is Python's, not .NET's")
        if text.startswith("(?#", at):
            end = text.find(")", at)
            if end < 0:
                raise UnreadableExpression("a comment is not closed")
            self._at = end + 1
        elif found := _OPTIONS.match(text, at):
            if found[3] == ":" and not (found[1] or found[2]):
                self._enter("(?:", 3)
            else:
                self._switch(found)
        elif _BALANCING.match(text, at):
            raise UnreadableExpression("balancing groups (?<a-b>…) cannot be translated")
        elif found := _GROUP.match(text, at):
            self._named = True
            self._enter(f"(?P<{found[1] or found[2]}>", len(found[0]))
        elif found := _CONDITION.match(text, at):
            self._enter(found[0], len(found[0]))
        elif plain := next((group for group in _PLAIN_GROUPS if text.startswith(group, at)), None):
            self._enter(plain, len(plain))
        elif text.startswith("(?", at):
            raise UnreadableExpression(f"{text[at : at + 4]!r} cannot be translated")
        elif self._explicit[-1]:
            self._enter("(?:", 1)
        else:
            self._numbered = True
            self._enter("(", 1)

    def _enter(self, translated: str, length: int) -> None:
        self._wrapped.append([])
        self._explicit.append(self._explicit[-1])
        self._verbose.append(self._verbose[-1])
        self._emit(translated, length)

    def _leave(self) -> None:
        self._wrapped.pop()
        self._explicit.pop()
        self._verbose.pop()

    def _switch(self, found: re.Match[str]) -> None:
        """Switch options: for a group of their own, or from here to the end of the group around them."""
        on, off = set(found[1]), set(found[2] or "")
        if found[3] == ":":
            self._enter("", 0)
        for option, states in (("n", self._explicit), ("x", self._verbose)):
            states[-1] = (states[-1] or option in on) and option not in off
        switched = "".join(sorted(on - {"n"} - off)) + ("-" + "".join(sorted(off - {"n"})) if off - {"n"} else "")
        opened = f"(?{switched}:"
        if found[3] == ")":
            self._wrapped[-1].append(opened)
        self._emit(opened, len(found[0]))

    def _end_options(self) -> None:
        self._out.append(")" * len(self._wrapped[-1]))

    def _alternative(self) -> None:
        """Begin another alternative, for which options that were switched before hold too."""
        self._end_options()
        self._emit("|", 1)
        self._out.extend(self._wrapped[-1])

    def _quantifier(self, quantifier: str) -> None:
        self._emit(quantifier, len(quantifier))
        if self._text.startswith("?", self._at):
            self._emit("?", 1)
        if _QUANTIFIER.match(self._text, self._at):
            raise UnreadableExpression(f"nested quantifier {self._text[self._at]!r}")

    # -- characters

    def _escape(self) -> None:
        text, at = self._text, self._at
        following = text[at + 1 : at + 2]
        if found := _CATEGORY.match(text, at):
            inside = _category(found[2])
            self._emit(f"[{'^' if found[1] == 'P' else ''}{inside}]", len(found[0]))
        elif following in ("p", "P"):
            raise UnreadableExpression(f"only general categories can be translated, as \\p{{Lu}}, not {text[at : at + 8]!r}")
        elif found := _NAMED_REFERENCE.match(text, at):
            self._emit(f"(?P={found[1] or found[2]})", len(found[0]))
        elif following == "z":
            self._emit(r"\Z", 2)
        elif following == "Z":
            self._emit(r"(?=\n?\Z)", 2)
        elif following == "G":
            raise UnreadableExpression(r"\G cannot be translated")
        else:
            translated, length = _character(text, at)
            self._emit(translated, length)

    def _class(self) -> str:
        """Translate a class of characters, which may have another one taken away from it."""
        text = self._text
        self._at += 1
        negated = text.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        taken_away = None
        begin = self._at
        while True:
            if self._at >= len(text):
                raise UnreadableExpression("a class of characters is not closed")
            character = text[self._at]
            if character == "]" and self._at > begin:
                self._at += 1
                break
            if text.startswith("-[", self._at) and self._at > begin:
                self._at += 1
                taken_away = self._class()
                if not text.startswith("]", self._at):
                    raise UnreadableExpression("what is taken away must end a class of characters")
                self._at += 1
                break
            if character == "\\":
                parts.append(self._escape_in_class())
            else:
                self._at += 1
                parts.append("\\" + character if character in "[]&|~" else character)
        inside = f"[{'^' if negated else ''}{''.join(parts)}]"
        return inside if taken_away is None else f"(?:(?!{taken_away}){inside})"

    def _escape_in_class(self) -> str:
        if found := _CATEGORY.match(self._text, self._at):
            self._at += len(found[0])
            return _category(found[2], negated=found[1] == "P")
        if self._text.startswith(r"\b", self._at):
            self._at += 2
            return r"\x08"
        translated, length = _character(self._text, self._at)
        self._at += length
        return translated


def _character(text: str, at: int) -> tuple[str, int]:
    """Return how Python writes an escaped character or class, and how many characters .NET's writing of it has."""
    following = text[at + 1 : at + 2]
    if not following:
        raise UnreadableExpression("a backslash ends the expression")
    if following == "e":
        return r"\x1b", 2
    if following == "c" and (control := text[at + 2 : at + 3].upper()) and "@" <= control <= "_":
        return f"\\x{ord(control) - 64:02x}", 3
    if _PYTHON_ONLY.match(text, at) or (following.isalpha() and following not in "aAbBdDfnrsStuvwWx"):
        raise UnreadableExpression(f"\\{following} means nothing")
    return text[at : at + 2], 2


@lru_cache(maxsize=64)
def _category(name: str, *, negated: bool = False) -> str:
    """Return the characters of a general category, as they stand inside a class."""
    if name not in _CATEGORIES:
        raise UnreadableExpression(f"there is no category {name!r}")
    ranges: list[tuple[int, int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(name) != negated:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1] = (ranges[-1][0], code)
            else:
                ranges.append((code, code))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
