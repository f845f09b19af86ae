"""The words of the language: a text becomes tokens for sqlglot's parser, and what is outside the language is refused.

Few words are reserved, so that fields may be called ``order``, ``case`` or ``date`` without quotes: every other word becomes a quoted
identifier before the parser sees it. ``count``, ``filter``, ``where`` and ``distinct`` mean something only where a measure has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import sqlglot
from sqlglot import Token, TokenType
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from workbench.errors import InvalidCondition

Kind = Literal["condition", "measure", "path"]

AGGREGATES = ("count", "sum", "avg", "min", "max")
ALLOWED: dict[Kind, str] = {
    "condition": "a condition compares names with constants by =, <>, <, <=, >, >=, in (…), between … and …, is null and exists(…), and "
    "combines comparisons by and, or, not and parentheses",
    "measure": "a measure is count(*), count(field), count(distinct field), sum(field), avg(field), min(field) or max(field), of all "
    "entities or of those that fit: sum(paid) filter (where plan = 'pro')",
    "path": 'a path is a name with .name, ."any name" or [0] behind it',
}
FILTERED = "count(*) filter (where plan = 'pro')"
_MOST_NESTED = 100
_TEMPLATE_COMMENT = "{#"
"""Opens the one kind of comment that sqlglot reads in every dialect."""
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[^\W\d][\w$]*|\$[\w$]+")
_NAMES = frozenset({TokenType.VAR, TokenType.IDENTIFIER})
_COMPARISONS = frozenset({TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE})
_RESERVED = frozenset({TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.IS})
_OPEN = _COMPARISONS | _RESERVED | {TokenType.L_PAREN, TokenType.COMMA, TokenType.WHERE}
"""After these, a name, a constant or another condition begins."""
_SIGNS = _COMPARISONS | {TokenType.L_PAREN, TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.COMMA, TokenType.DOT, TokenType.STRING}
_KEYWORDS = {
    **{word.name: word for word in (*_RESERVED, TokenType.EXISTS, TokenType.NULL, TokenType.TRUE, TokenType.FALSE)},
    "==": TokenType.EQ,
    "<>": TokenType.NEQ,
    "!=": TokenType.NEQ,
    "<=": TokenType.LTE,
    ">=": TokenType.GTE,
}


class ConditionDialect(Dialect):
    """sqlglot's own dialect with these reserved words only, and without comments."""

    class Tokenizer(sqlglot.Tokenizer):
        """Splits a text."""

        KEYWORDS: ClassVar = _KEYWORDS
        COMMANDS: ClassVar = set[TokenType]()
        COMMENTS: ClassVar = list[str | tuple[str, str]]()


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and what it is meant to be."""

    text: str
    kind: Kind

    def wrong(self, offset: int, reason: str) -> InvalidCondition:
        """Return the error that says what is wrong at a place of the text."""
        return InvalidCondition(self.kind, self.text, offset=offset, reason=reason)

    def unexpected(self, token: Token | None) -> InvalidCondition:
        """Return the error for a word that does not belong where it stands, or for an end that comes too early."""
        if token is None:
            return self.wrong(len(self.text.rstrip()), f"it ends too early; {ALLOWED[self.kind]}")
        return self.wrong(token.start, f"{self.text[token.start : token.end + 1]} is not allowed here; {ALLOWED[self.kind]}")

    def tokens(self) -> list[Token]:
        """Return the words and signs of the text, all of them of the language.

        Raises
        ------
        InvalidCondition
            One is not.
        """
        try:
            found = ConditionDialect().tokenize(self.text)
        except SqlglotError as error:
            opened = max(map(self.text.rfind, ("'", '"', _TEMPLATE_COMMENT)))
            what = "a comment" if self.text.startswith(_TEMPLATE_COMMENT, opened) else "a quote"
            raise self.wrong(opened, f"{what} is not closed; a quote inside a text is doubled: 'it''s'") from error
        if not found:
            raise self.wrong(0, f"there is nothing; {ALLOWED[self.kind]}")
        deepest = max(chain([0], _depths(found)))
        if deepest > _MOST_NESTED:
            raise self.wrong(0, f"parentheses are nested {deepest} deep, and {_MOST_NESTED} is the most")
        checked: list[Token] = []
        for token, after in zip(found, [*found[1:], None], strict=True):
            checked.append(self._checked(token, checked, after))
        if checked[-1].token_type in _OPEN | {TokenType.DOT, TokenType.DASH}:
            raise self.unexpected(None)
        return checked

    def _checked(self, token: Token, checked: list[Token], after: Token | None) -> Token:
        """Return a token as the parser should see it, given those before it as checked, and the next one."""
        before = checked[-1] if checked else None
        written = self.text[token.start : token.end + 1]
        if token.comments:
            raise self.wrong(token.start, "a comment stands beside this, and is not allowed")
        begins = before is None or before.token_type in _OPEN
        follows_dot = before is not None and before.token_type == TokenType.DOT
        is_word = _WORD.fullmatch(written) is not None
        match token.token_type:
            case TokenType.EQ if written == "==":
                raise self.wrong(token.start, "equal is =, not ==")
            case TokenType.NUMBER if follows_dot:
                raise self.wrong(token.start, 'an element of an array is [0], and a name that is no word stands in double quotes: "0"')
            case TokenType.NUMBER if not _NUMBER.fullmatch(written):
                raise self.wrong(token.start, f"{written} is not a number: write it as JSON does")
            case TokenType.NUMBER:
                return token
            case TokenType.DASH if not begins or after is None or after.token_type != TokenType.NUMBER:
                raise self.wrong(
                    token.start, 'a minus stands only before a number; a name that holds one stands in double quotes: "first-name"'
                )
            case kind if follows_dot and kind != TokenType.IDENTIFIER and not is_word:
                raise self.unexpected(token)
            case TokenType.L_BRACKET:
                return self._bracket(token, before, after)
            case TokenType.STAR if self.kind == "measure":
                return token
            case TokenType.IDENTIFIER:
                return self._name(token, after)
            case kind if begins and kind in _COMPARISONS | {TokenType.DOT, TokenType.COMMA}:
                raise self.unexpected(token)
            case TokenType.R_PAREN if before is not None and before.token_type in (TokenType.COMMA, TokenType.L_PAREN):
                raise self.unexpected(token)
            case kind if kind in _SIGNS or kind == TokenType.DASH:
                return token
        if not is_word:
            and_or_not = "write and, or, not" if written[0] in "&|!~" else f"{written} is not allowed here; {ALLOWED[self.kind]}"
            raise self.wrong(token.start, and_or_not)
        return self._name(token, after) if follows_dot else self._word(token, checked, after, begins=begins)

    def _bracket(self, token: Token, before: Token | None, after: Token | None) -> Token:
        if before is not None and before.token_type == TokenType.IN:
            raise self.wrong(token.start, "a list stands in parentheses: in ('a', 'b')")
        if after is not None and after.token_type in (TokenType.IDENTIFIER, TokenType.STRING):
            name = after.text.replace('"', '""')
            raise self.wrong(token.start, f'a name that is no word stands in double quotes behind a dot: ."{name}"')
        if after is None or after.token_type != TokenType.NUMBER:
            raise self.wrong(token.start, "brackets hold the number of an element, from 0: [0]")
        return token

    def _word(self, token: Token, checked: list[Token], after: Token | None, *, begins: bool) -> Token:
        """Return a word that no dot precedes: reserved, of a measure, or a name."""
        is_call = after is not None and after.token_type == TokenType.L_PAREN
        if token.token_type == TokenType.EXISTS:
            if not begins:
                raise self.wrong(token.start, "exists stands in front of the name: exists(data.trial)")
            return token if is_call else self._name(token, after)
        if token.token_type in (TokenType.AND, TokenType.OR) and begins:
            raise self.unexpected(token)
        if token.token_type == TokenType.NULL and TokenType.IS not in [one.token_type for one in checked[-2:]]:
            raise self.wrong(token.start, "nothing equals null: write is null, or is not null")
        if token.token_type != TokenType.VAR:
            return token
        if token.text.lower() == "timestamp" and after is not None and after.token_type == TokenType.STRING:
            return _as(token, TokenType.TIMESTAMP)
        return self._word_of_measure(token, checked, after) if self.kind == "measure" else self._name(token, after)

    def _word_of_measure(self, token: Token, checked: list[Token], after: Token | None) -> Token:
        behind = [one.token_type for one in checked[-2:]]
        is_call = after is not None and after.token_type == TokenType.L_PAREN
        match token.text.lower():
            case word if word in AGGREGATES and is_call and not checked:
                return token
            case "mean" if is_call and not checked:
                raise self.wrong(token.start, "the mean is avg(field), not mean(field)")
            case "count" if after is None and not checked:
                raise self.wrong(token.start, "the number of entities is count(*), not count")
            case "distinct" if behind == [TokenType.VAR, TokenType.L_PAREN] and after is not None and after.token_type in _NAMES:
                return _as(token, TokenType.DISTINCT)
            case "filter" if behind[-1:] == [TokenType.R_PAREN] and is_call:
                return _as(token, TokenType.FILTER)
            case "where" if behind == [TokenType.FILTER, TokenType.L_PAREN]:
                return _as(token, TokenType.WHERE)
            case "where" if len(checked) == 1 or behind[-1:] == [TokenType.R_PAREN]:
                raise self.wrong(token.start, f"a condition stands in a filter: {FILTERED}")
        if behind == [TokenType.FILTER, TokenType.L_PAREN]:
            raise self.wrong(token.start, f"a filter begins with where: {FILTERED}")
        return self._name(token, after)

    def _name(self, token: Token, after: Token | None) -> Token:
        if after is not None and after.token_type == TokenType.L_PAREN:
            raise self.wrong(token.start, f"there is no function {token.text}; {ALLOWED[self.kind]}")
        return _as(token, TokenType.IDENTIFIER)


def _as(token: Token, kind: TokenType) -> Token:
    return Token(kind, token.text, line=token.line, col=token.col, start=token.start, end=token.end)


def _depths(found: list[Token]) -> Iterator[int]:
    depth = 0
    for token in found:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        yield depth
