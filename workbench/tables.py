"""A data frame or a few figures in, a table for people out: the same in a notebook and in a report.

Numbers are grouped by thousands, shares are per cent, bytes carry a unit, instants are cut to the minute, and everything that
comes from the data is escaped. Texts that differ look different: what cannot be seen is written as ``\\x0a``, and of long names
that are shortened each keeps a look of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from html import escape
from typing import Any, Self

import polars as pl

NOTHING = "—"

_LONGEST = 200
"""How many letters of a text are shown in a cell: more than any name has that people gave."""
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
</style>
"""
"""What tables and facts look like. A notebook's output carries it along; a report has it once."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, whether its cells are numbers, and the length of a bar behind each cell, 0 to 1."""

    label: str
    numeric: bool = False
    bars: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table ready to be read. The first column names the rows. Shows itself in a notebook."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    note: str = ""

    def to_html(self) -> str:
        """Return the table as HTML with headings for rows and columns; the data in it cannot act as markup."""
        head = "".join(f'<th scope="col"{_number(column)}>{escape(column.label)}</th>' for column in self.columns)
        body = "\n".join(f"<tr>{self._cells(index, row)}</tr>" for index, row in enumerate(self.rows))
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        note = f'<p class="wb-note">{escape(self.note)}</p>' if self.note else ""
        label = escape(self.caption or "Table")
        return (
            f'<div class="wb-scroll" role="region" aria-label="{label}" tabindex="0"><table class="wb-table">{caption}'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{note}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values, to travel inside a figure."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the table that :meth:`to_json` wrote."""
        columns = tuple(
            Column(column["label"], numeric=column["numeric"], bars=None if column["bars"] is None else tuple(column["bars"]))
            for column in values["columns"]
        )
        return cls(columns, tuple(tuple(row) for row in values["rows"]), values["caption"], values["note"])

    def _cells(self, index: int, row: tuple[str, ...]) -> str:
        cells = [f'<th scope="row">{_breakable(escape(row[0]))}</th>']
        for column, text in zip(self.columns[1:], row[1:], strict=True):
            if column.bars is None:
                cells.append(f"<td{_number(column)}>{escape(text)}</td>")
            else:
                part = column.bars[index]
                cells.append(f'<td class="number bar" style="--part:{part:.4f}"><span>{escape(text)}</span></td>')
        return "".join(cells)

    def _repr_html_(self) -> str:
        return STYLE + self.to_html()

    def __str__(self) -> str:
        lines = [[column.label for column in self.columns], *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                text.rjust(width) if column.numeric else text.ljust(width)
                for text, width, column in zip(line, widths, self.columns, strict=True)
            ).rstrip()
            for line in lines
        )


def _breakable(text: str) -> str:
    """Let a long name break behind its dots and underscores, where there is no room for it on one line."""
    return re.sub(r"([._])(?=\w)", r"\1<wbr>", text)


def _number(column: Column) -> str:
    return ' class="number"' if column.numeric else ""


@dataclass(frozen=True, slots=True)
class Facts:
    """A few key figures, each with its name. Shows itself in a notebook."""

    values: tuple[tuple[str, str], ...]

    def to_html(self) -> str:
        """Return the figures as an HTML description list."""
        items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in self.values)
        return f'<dl class="wb-facts">{items}</dl>'

    def _repr_html_(self) -> str:
        return STYLE + self.to_html()

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.values)


def facts(values: Mapping[str, object]) -> Facts:
    """Return key figures in the order given: whole numbers are grouped by thousands, instants are cut to the minute.

    >>> print(facts({"Events": 1234567, "Most frequent": "user.logged_in"}))
    Events: 1,234,567
    Most frequent: user.logged_in
    """
    return Facts(tuple((name, shorten(_value(value), _LONGEST_FACT)) for name, value in values.items()))


def table(frame: pl.DataFrame, *, caption: str = "", bars: str | None = None, rows: int = 200) -> Table:
    """Return a frame as a table for people.

    Parameters
    ----------
    frame
        The first column names the rows. Columns called ``share`` or ending with ``_share`` are fractions and shown as per cent;
        those ending with ``_bytes`` are shown with a unit; other numbers are grouped by thousands, except positions. A text of
        more than 200 letters is shortened in its middle.
    caption
        What the table shows, in a few words.
    bars
        The name of a column whose cells get a bar; the greatest value's is as wide as the column.
    rows
        How many rows to show; a note under the table says how many more there are.

    >>> print(table(pl.DataFrame({"type": ["a", "b"], "count": [12000, 3], "share": [0.99975, 0.00025]})))
    Type   Count    Share
    a     12,000  99.98 %
    b          3   0.03 %
    """
    shown = frame.head(rows)
    columns = tuple(
        Column(
            _label(name, dtype),
            numeric=dtype.is_numeric(),
            bars=tuple(_fractions(shown[name])) if name == bars else None,
        )
        for name, dtype in shown.schema.items()
    )
    cells = [_texts(shown[name]) for name in shown.columns]
    more = frame.height - shown.height
    note = f"{more:,} more {'row' if more == 1 else 'rows'} not shown." if more else ""
    return Table(columns, tuple(zip(*cells, strict=True)), prose(caption), note)


def _label(name: str, dtype: pl.DataType) -> str:
    words = shorten(one_line(name.removesuffix("_bytes").removesuffix("_at").replace("_", " ")), _LONGEST)
    zone = getattr(dtype, "time_zone", None)
    return words[:1].upper() + words[1:] + (f" ({zone})" if zone else "")


def _fractions(values: pl.Series) -> list[float]:
    numbers = [float(value or 0.0) for value in values.to_list()]
    greatest = max(numbers, default=0.0)
    return [number / greatest if greatest else 0.0 for number in numbers]


def _texts(values: pl.Series) -> list[str]:
    name = values.name
    if name == "share" or name.endswith("_share"):
        return [NOTHING if value is None else percent(value) for value in values.to_list()]
    if name.endswith("_bytes"):
        return [NOTHING if value is None else in_bytes(value) for value in values.to_list()]
    if name.endswith("position"):
        return [NOTHING if value is None else str(value) for value in values.to_list()]
    if values.dtype == pl.String:
        labels = distinct_labels(values.drop_nulls().unique(maintain_order=True), _LONGEST)
        return [NOTHING if value is None else labels[value] for value in values.to_list()]
    return [_value(value) for value in values.to_list()]


def _value(value: object) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} {offset_where_ambiguous(value)}".rstrip()
        case date():
            return value.isoformat()
        case _:
            return shorten(one_line(str(value)), _LONGEST)


# A space that a browser would swallow, and a backslash that could be taken for one of ours.
_UNSEEN = re.compile(r"^ | $|(?<= ) |\\(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def one_line(text: str) -> str:
    r"""Return a name on one line with all that cannot be seen in it made visible, so that names that differ look different.

    >>> print(one_line("two\nlines"), one_line("\u202eright to left"), one_line(" a  b"), one_line(r"a\b"))
    two\x0alines \u202eright to left \x20a \x20b a\b
    """
    marked = _UNSEEN.sub(lambda match: _escape(match[0]), text)
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in marked) or "(empty)"


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def prose(text: str) -> str:
    """Return a title or a caption on one line: line breaks in it are the author's, and everything else as in a name."""
    words = " ".join(text.split())
    return one_line(words) if words else ""


def shorten(text: str, longest: int, *, mark: str = "…") -> str:
    """Return a text of at most ``longest`` letters, with a mark in place of its middle if there were more."""
    if len(text) <= longest:
        return text
    kept = longest - len(mark)
    return f"{text[: kept - kept // 2]}{mark}{text[len(text) - kept // 2 :]}"


def distinct_labels(names: Iterable[str], longest: int) -> dict[str, str]:
    """Return for each name a label of one line and at most ``longest`` letters; labels of different names differ.

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
    """Return an instant's offset from UTC, such as ``+02:00``, if its wall clock shows this time twice; else nothing."""
    if moment.replace(fold=0).utcoffset() == moment.replace(fold=1).utcoffset():
        return ""
    return moment.isoformat(timespec="minutes")[len("2025-10-26T02:00") :]


def percent(share: float) -> str:
    """Return a fraction as per cent with two decimals; what is there but rounds to nothing is shown as such.

    >>> percent(0.3456), percent(0.00001), percent(0)
    ('34.56 %', '< 0.01 %', '0.00 %')
    """
    return "< 0.01 %" if 0 < share < 0.00005 else f"{share:.2%}".replace("%", " %")


def in_bytes(size: int) -> str:
    """Return a size with a decimal unit.

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
