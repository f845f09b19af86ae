"""A data frame in, a table for people out: the same in a notebook and in a report. What its values look like is said in ``display``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Self

import polars as pl

from workbench.display import (
    LONGEST,
    NOTHING,
    STYLE,
    Facts,
    distinct_labels,
    facts,
    in_bytes,
    in_words,
    offset_where_ambiguous,
    one_line,
    percent,
    prose,
    shorten,
)
from workbench.zones import moments

__all__ = [
    "STYLE",
    "TableColumn",
    "Facts",
    "Table",
    "distinct_labels",
    "facts",
    "in_bytes",
    "offset_where_ambiguous",
    "one_line",
    "percent",
    "prose",
    "shorten",
    "table",
]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table: its heading, whether its cells are numbers, and the length, from 0 to 1, of the bar in each cell."""

    label: str
    numeric: bool = False
    bars: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A formatted table. The first column names the rows. Displays as HTML in a notebook."""

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    note: str = ""

    def to_html(self) -> str:
        """Return the table as HTML with headings for rows and columns; the data in it cannot act as markup."""
        # The first column names the rows: its cells are aligned left, whatever their type.
        head = "".join(
            f'<th scope="col"{_number(column) if place else ""}>{escape(column.label)}</th>' for place, column in enumerate(self.columns)
        )
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
            TableColumn(column["label"], numeric=column["numeric"], bars=None if column["bars"] is None else tuple(column["bars"]))
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
    """Allow line breaks after the dots and underscores of a long name."""
    return re.sub(r"([._])(?=\w)", r"\1<wbr>", text)


def _number(column: TableColumn) -> str:
    return ' class="number"' if column.numeric else ""


def table(frame: pl.DataFrame, *, caption: str = "", bars: str | None = None, rows: int = 200, total: int | None = None) -> Table:
    """Return a frame as a table for people: labels in words, numbers grouped, shares as per cent.

    Parameters
    ----------
    frame
        The rows; the first column names them. Columns called ``share`` or ending with ``_share`` are fractions and shown as per cent;
        columns ending with ``_bytes`` get a unit; other numbers except positions are grouped by thousands. Text longer than 200
        characters is shortened in the middle.
    caption
        What the table shows, in a few words.
    bars
        The name of a column whose cells get a bar. The bar of the greatest value is as wide as the column.
    rows
        How many rows to show. A note below the table counts the rest.
    total
        How many rows there are in all, if the frame holds only the first of them.

    Returns
    -------
    Table
        A table that a notebook shows as HTML and ``print`` as text.

    Examples
    --------
    >>> print(table(pl.DataFrame({"type": ["a", "b"], "count": [12000, 3], "share": [0.99975, 0.00025]})))
    Type   Count    Share
    a     12,000  99.98 %
    b          3   0.03 %
    """
    shown = frame.head(rows)
    columns = tuple(
        TableColumn(
            _label(name, dtype),
            numeric=dtype.is_numeric(),
            bars=tuple(_fractions(shown[name])) if name == bars else None,
        )
        for name, dtype in shown.schema.items()
    )
    cells = [_texts(shown[name]) for name in shown.columns]
    more = max(frame.height, total or 0) - shown.height
    note = f"{more:,} more {'row' if more == 1 else 'rows'} not shown." if more else "" if shown.height else "There are none."
    return Table(columns, tuple(zip(*cells, strict=True)), prose(caption), note)


def _label(name: str, dtype: pl.DataType) -> str:
    words = shorten(one_line(name.removesuffix("_bytes").removesuffix("_at").replace("_", " ")), LONGEST)
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
        labels = distinct_labels(values.drop_nulls().unique(maintain_order=True), LONGEST)
        return [NOTHING if value is None else labels[value] for value in values.to_list()]
    return [in_words(value) for value in (moments(values) if isinstance(values.dtype, pl.Datetime) else values.to_list())]
