"""Reads YAML strictly: every error names its line, and unknown words are errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import UsageError

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_ALMOST = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_LETTER = {
    None: re.compile(r"(?P<letter>\S)"),
    "'": re.compile(r"(?P<letter>''|[^\s'])"),
    '"': re.compile(r"\\[ntrvfNLP_\s]|(?P<letter>\\(?:x..|u.{4}|U.{8}|.)|[^\s\"\\])"),
}
"""For each scalar style, a pattern for one source spelling of a character other than a space."""
_CONSTANTS = {
    spelt: value for word, value in (("null", None), ("true", True), ("false", False)) for spelt in (word, word.capitalize(), word.upper())
} | {"~": None, "": None}


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file with one document. Nodes are those of ``yaml.compose``; aliases and tags are errors."""

    file: Path
    root: yaml.Node

    @classmethod
    def open(cls, file: Path, *, kind: str = "a scenario", holds: str = "a name and edits") -> Document:
        """Read a file. Messages use ``kind``, what the file should be, and ``holds``, what it should contain.

        Raises
        ------
        UsageError
            The file cannot be read or is not YAML.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read as text: {getattr(error, 'strerror', None) or error}.") from error
        try:
            # With aliases, a few lines could expand beyond any memory.
            for event in yaml.parse(text, Loader=yaml.BaseLoader):
                if isinstance(event, yaml.AliasEvent):
                    raise _at(file, event.start_mark, f"{kind} cannot have aliases: put a text that begins with * in quotes")
                if getattr(event, "tag", None) is not None:
                    raise _at(file, event.start_mark, f"{kind} cannot have tags: leave {event.tag} out")
            root = yaml.compose(text, Loader=yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = ", ".join(part for part in (error.context, error.problem) if part)
            raise _at(file, mark, f"this is not valid YAML: {what}") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
        except RecursionError:
            raise UsageError(f"{file} is nested too deeply to be {kind}.") from None
        if root is None:
            raise UsageError(f"{file} is empty: {kind} must have {holds}.")
        return cls(file, root)

    def place(self, node: yaml.Node) -> str:
        """Return the location of a value: file, line and column."""
        return _place(self.file, node.start_mark)

    def wrong(self, node: yaml.Node, why: str) -> UsageError:
        """Return an error with the reason and the location of a value."""
        return _at(self.file, node.start_mark, why)

    def wrong_inside(self, node: yaml.Node, offset: int, why: str) -> UsageError:
        """Return an error with the reason and the location of one character of a text."""
        buffer, index = node.start_mark.buffer, node.start_mark.index
        index += _source_index(buffer[index : node.end_mark.index], node.style, node.value, offset)
        return _at(
            self.file, yaml.Mark(None, index, buffer.count("\n", 0, index), index - buffer.rfind("\n", 0, index) - 1, None, None), why
        )

    def mapping(self, node: yaml.Node, what: str, example: str) -> dict[str, yaml.Node]:
        """Return the values by their names, in order.

        Raises
        ------
        UsageError
            The node is not a mapping, is empty, or has a name that is not text or occurs twice.
        """
        if not isinstance(node, yaml.MappingNode) or not node.value:
            raise self.wrong(node, f"{what} takes names with values, as in {example}")
        return dict(self._pairs(node))

    def words(self, node: yaml.Node, what: str, known: Collection[str], *, needs: Collection[str] = ()) -> dict[str, yaml.Node]:
        """Return the values by their names; unknown names and missing ``needs`` are errors."""
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                word = key.value if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
                if word not in known:
                    raise self.wrong(key, f"{what} has no key {word!r}; it knows {', '.join(known)}")
        found = self.mapping(node, what, f"{{{next(iter(known))}: ...}}; it knows {', '.join(known)}")
        missing = [word for word in needs if word not in found]
        if missing:
            raise self.wrong(node, f"{what} needs {' and '.join(missing)}; it knows {', '.join(known)}")
        return found

    def items(self, node: yaml.Node, what: str, example: str) -> list[yaml.Node]:
        """Return the items of a non-empty list."""
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node, f"{what} takes a list, as in {example}")
        return list(node.value)

    def text(self, node: yaml.Node, what: str) -> str:
        """Return a text."""
        value = self.value(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, str) and value:
            return value
        hint = f": write it in quotes, '{node.value}'" if isinstance(node, yaml.ScalarNode) and node.value else ""
        raise self.wrong(node, f"{what} takes a text{hint}")

    def value(self, node: yaml.Node) -> Any:
        """Return a JSON value; a number with a fraction keeps its digits, and any other plain scalar is text."""
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return {name: self.value(item) for name, item in self._pairs(node)}
        assert isinstance(node, yaml.ScalarNode)
        text = node.value
        if node.style is not None:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        number = _NUMBER.fullmatch(text)
        if number is not None:
            return Decimal(text) if number[1] or number[2] else int(text)
        if _ALMOST.fullmatch(text):
            raise self.wrong(node, f"{text} may be a number or a text: write it as in JSON, or in quotes")
        return text

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(key, "a name is a text")
            name = key.value
            if name in lines:
                raise self.wrong(key, f"{name!r} is repeated here, first on line {lines[name]}")
            lines[name] = key.start_mark.line + 1
            yield name, value


def _source_index(source: str, style: str | None, value: str, offset: int) -> int:
    """Return the index in a scalar's source of a character of its value; for a space, that of the next other character.

    This counts the characters other than spaces, because YAML folds and indents only spaces.
    """
    begin = source.find("\n") if style in ("|", ">") else 0 if style is None else 1
    letters = [found.start() for found in _LETTER.get(style, _LETTER[None]).finditer(source[begin:]) if found["letter"]]
    number = len("".join(value[:offset].split()))
    return begin + (letters[number] if number < len(letters) else letters[-1] + 1)


def _at(file: Path, mark: Any, why: str) -> UsageError:
    return UsageError(f"{_place(file, mark)}: {why}.")


def _place(file: Path, mark: Any) -> str:
    return str(file) if mark is None else f"{file}, line {mark.line + 1}, column {mark.column + 1}"
