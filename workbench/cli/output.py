"""Prints results: a table for people, JSON and CSV for programs, or a file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from workbench.cli.lines import printable, say
from workbench.errors import UsageError, WorkbenchError
from workbench.events import FORMULA, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from workbench.export import Progress

_WIDE = 4096
_NAMES = ("position", "revision", "ticks")  # identifying numbers, printed without separators so that they can be copied into a command
_INSTANT = "%Y-%m-%dT%H:%M:%S%.f"
_SUFFIXES = (".parquet", ".csv", ".json", ".arrow")


def console() -> Console:
    """Return a console for results: as wide as the terminal, or as wide as needed without a terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def show(
    frame: pl.DataFrame,
    *,
    json: bool = False,
    csv: bool = False,
    out: Path | None = None,
    rows: int | None = None,
    guard_formulas: bool = False,
) -> None:
    """Print a frame, or write it to ``out``.

    Parameters
    ----------
    rows
        The most rows in a table, which says if there are more; JSON, CSV and files get all rows.
    guard_formulas
        Whether to put ``'`` before texts in CSV that a spreadsheet may read as formulas.

    Raises
    ------
    UsageError
        Both JSON and CSV were requested, or ``out`` has an unknown suffix.
    """
    if json and csv:
        raise UsageError("--json and --csv exclude each other.")
    if out is not None:
        _write(frame, out, guard_formulas=guard_formulas)
    elif json:
        print(json_text(_local(frame).to_dicts()))
    elif csv:
        sys.stdout.write(_flat(frame, guard_formulas=guard_formulas).write_csv())
    else:
        shown = frame if rows is None else frame.head(rows)
        print_table(shown)
        if shown.height < frame.height:
            console().print("… and more rows; --rows N shows more, and --json, --csv and --out give all")


def print_table(frame: pl.DataFrame) -> None:
    """Print a frame as a table: numbers right-aligned with separators, instants in UTC, nulls empty."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(printable(name.replace("_", " ")), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in _local(frame).iter_rows():
        table.add_row(*(cell(name, value) for name, value in zip(frame.columns, row, strict=True)))
    console().print(table)


def cell(name: str, value: Any) -> str:
    """Write a value of a column for people."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat() if value.utcoffset() else format_time(value)
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if isinstance(value, float):
        return f"{value:.2%}" if name == "share" else f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if name.endswith(_NAMES) else f"{value:,}"
    if isinstance(value, bytes):
        return value.hex(" ", 4) if len(value) <= 16 else f"{value[:16].hex(' ', 4)}… ({len(value):,} bytes)"
    if isinstance(value, list):
        return "[" + ", ".join(cell(name, element) for element in value) + "]"
    return printable(str(value), keep="\n")


def json_text(values: Any, *, indent: bool = True) -> str:
    """Write values as JSON: instants in UTC, all digits of decimals, bytes in base64."""
    import base64

    import orjson

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Decimal) and value.is_finite():
            return orjson.Fragment(format(value, "f"))  # all its digits, as a number
        return str(value)

    options = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(values, default=plain, option=options).decode()


def _local(frame: pl.DataFrame) -> pl.DataFrame:
    """Convert instants in zones other than UTC to text, with the same zone data that computed them."""
    import polars as pl

    from workbench.zones import texts

    zoned = (name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC"))
    return frame.with_columns(texts(frame[name], _INSTANT) for name in zoned)


def _flat(frame: pl.DataFrame, *, guard_formulas: bool) -> pl.DataFrame:
    """Convert a frame for CSV: nested values become JSON text, bytes become base64."""
    import base64

    import polars as pl

    from workbench.zones import texts as zoned_texts

    columns: list[pl.Expr | pl.Series] = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Struct | pl.List | pl.Array):
            texts = [None if value is None else json_text(value, indent=False) for value in frame[name].to_list()]
            columns.append(pl.Series(name, texts, dtype=pl.String))
        elif dtype == pl.Binary:
            columns.append(pl.col(name).map_elements(lambda value: base64.b64encode(value).decode(), return_dtype=pl.String))
        elif isinstance(dtype, pl.Duration):
            columns.append(pl.col(name).dt.total_microseconds() / 1e6)  # seconds, as in JSON
        elif isinstance(dtype, pl.Datetime):
            columns.append(zoned_texts(frame[name], _INSTANT))
    flat = frame.with_columns(columns)
    if not guard_formulas:
        return flat
    guarded = flat.with_columns(
        pl.when(pl.col(name).cast(pl.String).str.contains(FORMULA)).then("'" + pl.col(name).cast(pl.String)).otherwise(name).alias(name)
        for name, dtype in flat.schema.items()
        if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
    )
    return guarded.rename({name: f"'{name}" for name in flat.columns if re.match(FORMULA, name)})


def _write(frame: pl.DataFrame, out: Path, *, guard_formulas: bool) -> None:
    """Write a frame to a temporary file and rename it, so that nobody reads a partial file."""
    import polars as pl

    from workbench.host.durable_files import written_aside

    if out.suffix not in _SUFFIXES:
        raise UsageError(f"{out} has an unknown suffix; write to a file that ends in {', '.join(_SUFFIXES)}.")
    check_place(out)
    writers: dict[str, Callable[[Path], Any]] = {
        ".parquet": frame.write_parquet,
        # Many Arrow readers do not support string views, Polars' text format.
        ".arrow": lambda part: frame.write_ipc(part, compat_level=pl.CompatLevel.oldest()),
        ".csv": lambda part: _flat(frame, guard_formulas=guard_formulas).write_csv(part),
        ".json": lambda part: part.write_text(json_text(_local(frame).to_dicts()) + "\n", encoding="utf-8"),
    }
    try:
        with written_aside(out) as part:
            writers[out.suffix](part)
    except OSError as error:
        raise WorkbenchError(f"{out} cannot be written: {error.strerror or error}. The incomplete file was removed.") from error
    say(f"{out}: {frame.height:,} rows", error=True)


def check_place(file: Path) -> None:
    """Check that a file can be written, before the work begins.

    Raises
    ------
    UsageError
        It is a directory, or its directory does not exist or cannot be written.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a directory; name a file in it.")
    if not file.parent.is_dir():
        raise UsageError(f"There is no directory {file.parent} to write {file.name} to; make it first.")
    if not os.access(file.parent, os.W_OK):
        raise UsageError(f"The directory {file.parent} cannot be written; name another place for {file.name}.")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float, str], None] | None]:
    """Show a progress bar on a terminal; yield a function that updates its share and text, or None in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from workbench.cli.bar import ProgressPercentage

    said = TextColumn("{task.fields[said]}")
    columns = (TextColumn("{task.description}"), BarColumn(), ProgressPercentage(), said, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0, said="", told_at=bar.get_time())
        yield lambda done, said: bar.update(task, completed=done, said=said, told_at=bar.get_time())


@contextmanager
def progress(what: str) -> Iterator[Callable[[Progress], None] | None]:
    """Show the rate and the remaining time of an export on a terminal."""
    with _bar(what) as show:
        yield show and (lambda step: show(step.done, f"{step.events:,} events, {step.rate:,.0f}/s"))


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show the number of finished items and the total on a terminal."""
    with _bar(what) as show:
        yield show and (lambda done, total: show(done / total, f"{done:,} of {total:,}"))


def size(count: float) -> str:
    """Write a number of bytes for people.

    >>> size(999), size(123_456_789)
    ('999 B', '123 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
