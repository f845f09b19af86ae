"""Says how values look to people: numbers, sizes, times and names, key figures and tables.

Values and data frames come in; text and HTML go out, the same in a terminal, a notebook and a report.
`values` formats single values and key figures and loads nothing heavy; `tables` makes tables of data frames.
Whatever is shown more than once is formatted here, so that one thing looks the same everywhere.
Begin reading with `values`.
"""

from workbench.display.values import (
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
