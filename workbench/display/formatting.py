"""Formats values, and shows key figures as text or HTML. Imports nothing heavy.

Whole numbers are grouped by thousands, shares are in per cent, bytes have a unit, instants are truncated to the minute, and everything
from the data is escaped. Different texts look different: invisible characters become escapes such as ``\\x0a``, and shortened names stay
distinct.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import escape

NOTHING = "—"

LONGEST = 200
"""The longest text in a cell, in characters; longer than names usually are."""
_LONGEST_FACT = 30

STYLE = """
<style>
.wb-table, .wb-facts { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.wb-scroll { overflow-x: auto; }
.wb-table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
.wb-table caption { caption-side: top; text-align: left; padding: 0 0 .5rem; }
.wb-table.wb-table tr { background: none; }
.wb-table.wb-table th, .wb-table.wb-table td {
  padding: .3rem .75rem; text-align: left; white-space: nowrap; border: 0; background: none; max-width: none;
}
.wb-table.wb-table th:first-child { padding-left: 0; }
.wb-table.wb-table td:last-child, .wb-table.wb-table thead th:last-child { padding-right: 0; }
.wb-table.wb-table thead th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid currentColor; }
.wb-table.wb-table tbody th, .wb-table.wb-table tbody td { vertical-align: top; }
.wb-table.wb-table tbody th { font-weight: 400; white-space: normal; overflow-wrap: anywhere; min-width: 11rem; }
.wb-table.wb-table tbody tr + tr > * { border-top: 1px solid rgb(128 128 128 / .25); }
.wb-table.wb-table .number { text-align: right; }
.wb-table.wb-table td.bar { position: relative; min-width: 10rem; }
.wb-table td.bar span { position: relative; }
.wb-table td.bar::before {
  content: ""; position: absolute; left: .75rem; top: .3rem; height: 1.35em; border-radius: 1px;
  width: calc((100% - 5.75rem) * var(--part)); background: rgb(28 99 176 / .3);
}
.wb-facts.wb-facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: 1rem; margin: .25rem 0 1rem; width: 100%;
}
.wb-facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.wb-facts.wb-facts dt, .wb-facts.wb-facts dd { float: none; width: auto; margin: 0; padding: 0; }
.wb-facts.wb-facts dt { font-size: .8125rem; line-height: 1.35; font-weight: 400; opacity: .78; }
.wb-facts.wb-facts dd { font-size: 1.25rem; line-height: 1.3; font-weight: 600; white-space: nowrap; }
.wb-card { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.wb-card .wb-facts.wb-facts { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 0 0 .6rem; }
.wb-card .wb-facts.wb-facts dd { font-size: 1.125rem; }
.wb-card > p { margin: 0 0 .5rem; overflow-wrap: anywhere; }
.wb-card > ul { margin: 0 0 .5rem; padding: 0 0 0 1.1rem; font-size: .875rem; overflow-wrap: anywhere; }
</style>
"""
"""The style of tables and facts. Each output of a notebook includes it; a report has it once."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Named key figures. Displays as HTML in a notebook."""

    values: tuple[tuple[str, str], ...]

    def to_html(self) -> str:
        """Return the figures as an HTML description list."""
        items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in self.values)
        return f'<dl class="wb-facts">{items}</dl>'

    def _repr_html_(self) -> str:
        return STYLE + self.to_html()

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.values)


@dataclass(frozen=True, slots=True)
class Card:
    """A summary: a title, a location, key figures and notes. Displays as HTML in a notebook."""

    title: str
    place: str
    facts: Facts
    notes: tuple[str, ...] = ()

    def to_html(self) -> str:
        """Return the card as HTML; all texts are escaped."""
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        listed = f"<ul>{notes}</ul>" if notes else ""
        place = f" <code>{escape(self.place)}</code>" if self.place else ""
        return f'<div class="wb-card"><p><strong>{escape(self.title)}</strong>{place}</p>{self.facts.to_html()}{listed}</div>'

    def _repr_html_(self) -> str:
        return STYLE + self.to_html()


def card(title: str, values: Mapping[str, object], *, place: str = "", notes: Iterable[str] = ()) -> Card:
    """Return a card with key figures as ``facts`` makes them."""
    return Card(prose(title), prose(place), facts(values), tuple(prose(note) for note in notes))


def facts(values: Mapping[str, object]) -> Facts:
    """Return key figures as a small table for people.

    Parameters
    ----------
    values
        Names and values, in the order to show. Whole numbers are grouped by thousands, instants are cut to the minute.

    Returns
    -------
    Facts
        A table that a notebook shows as HTML and ``print`` as text.

    Examples
    --------
    >>> print(facts({"Events": 1234567, "Most frequent": "user.logged_in"}))
    Events: 1,234,567
    Most frequent: user.logged_in
    """
    return Facts(tuple((prose(name), shorten(in_words(value), _LONGEST_FACT)) for name, value in values.items()))


def in_words(value: object) -> str:
    """Return the text of a value in a table cell."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case Decimal():
            return f"{value:,f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} {offset_where_ambiguous(value)}".rstrip()
        case date():
            return value.isoformat()
        case timedelta():
            return spelled(value)
        case list():
            return shorten(", ".join(map(in_words, value)), LONGEST) or NOTHING
        case _:
            return shorten(one_line(str(value)), LONGEST)


def spelled(span: timedelta) -> str:
    """Format a duration, to three digits or to the second.

    >>> from datetime import timedelta
    >>> spelled(timedelta(microseconds=357268)), spelled(timedelta(minutes=3, seconds=7)), spelled(timedelta(days=2, hours=5))
    ('357 ms', '3 min 7 s', '2 d 5 h')
    """
    if span < timedelta():
        return f"-{spelled(-span)}"
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


# A space that a browser would collapse, and a backslash that looks like one of our escapes.
_UNSEEN = re.compile(r"^ | $|(?<= ) |\\(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def one_line(text: str) -> str:
    r"""Return a name on one line, with invisible characters escaped, so that different names look different.

    >>> print(one_line("two\nlines"), one_line("\u202eright to left"), one_line(" a  b"), one_line(r"a\b"))
    two\x0alines \u202eright to left \x20a \x20b a\b
    """
    marked = _UNSEEN.sub(lambda match: _escape(match[0]), text)
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in marked) or "(empty)"


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def prose(text: str) -> str:
    """Return a title or a caption on one line: line breaks become spaces, everything else is escaped as in a name."""
    words = " ".join(text.split())
    return one_line(words) if words else ""


def shorten(text: str, longest: int, *, mark: str = "…") -> str:
    """Return a text of at most ``longest`` characters; a longer text has its middle replaced by a mark."""
    if len(text) <= longest:
        return text
    kept = longest - len(mark)
    return f"{text[: kept - kept // 2]}{mark}{text[len(text) - kept // 2 :]}"


def distinct_labels(names: Iterable[str], longest: int) -> dict[str, str]:
    """Return for each name a label on one line, of at most ``longest`` characters; different names get different labels.

    >>> distinct_labels(["a", "from here to there", "from here or there"], 12)
    {'a': 'a', 'from here to there': 'from h…there', 'from here or there': 'from …2…here'}
    """
    lines = {name: one_line(name) for name in names}
    taken = {line for line in lines.values() if len(line) <= longest}
    labels: dict[str, str] = {}
    alike: dict[str, int] = {}
    for name, line in lines.items():
        label = plain = shorten(line, longest)
        while len(line) > longest and label in taken:
            alike[plain] = alike.get(plain, 1) + 1
            label = shorten(line, longest, mark=f"…{alike[plain]}…")
        taken.add(label)
        labels[name] = label
    return labels


def offset_where_ambiguous(moment: datetime) -> str:
    """Return an instant's offset from UTC, such as ``+02:00``, if its wall clock shows this time twice; else an empty text."""
    if moment.replace(fold=0).utcoffset() == moment.replace(fold=1).utcoffset():
        return ""
    return moment.isoformat(timespec="minutes")[len("2025-10-26T02:00") :]


def percent(share: float) -> str:
    """Return a fraction in per cent with two decimals; a small positive fraction is shown as less than 0.01 %.

    >>> percent(0.3456), percent(0.00001), percent(0)
    ('34.56 %', '< 0.01 %', '0.00 %')
    """
    return "< 0.01 %" if 0 < share < 0.00005 else f"{share:.2%}".replace("%", " %")


def in_bytes(size: int) -> str:
    """Return a size in bytes with a decimal unit.

    >>> in_bytes(0), in_bytes(999), in_bytes(1_234_567)
    ('0 B', '999 B', '1.2 MB')
    """
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} PB"
