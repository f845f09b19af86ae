"""Formats values for display: numbers, sizes, times and names, key figures and tables.

Values and data frames come in; text and HTML go out, the same in a terminal, a notebook and a report.
`formatting` formats single values and key figures and imports nothing heavy; `tables` makes tables of data frames.
All shared formatting is here, so that a value looks the same everywhere.
Begin reading with `formatting`.
"""

from workbench.display.formatting import (
    LONGEST,
    NOTHING,
    STYLE,
    Facts,
    card,
    distinct_labels,
    facts,
    in_bytes,
    in_words,
    offset_where_ambiguous,
    one_line,
    percent,
    prose,
    shorten,
    spelled,
)

__all__ = [
    "Facts",
    "LONGEST",
    "NOTHING",
    "STYLE",
    "card",
    "distinct_labels",
    "facts",
    "in_bytes",
    "in_words",
    "offset_where_ambiguous",
    "one_line",
    "percent",
    "prose",
    "shorten",
    "spelled",
]
