"""The format of a lake: its columns, files and log, from the schema and the modules that write them."""

import inspect
from collections.abc import Mapping

from workbench.events import EVENT_SCHEMA
from workbench.lake.files import format as written
from workbench.lake.files import parquet, sums


def pages() -> Mapping[str, str]:
    """Return the one page."""
    return {"index.rst": "\n".join([_heading("Lake format", "="), *_sections()])}


def _sections() -> list[str]:
    return [
        f"This is format {written.FORMAT_VERSION} of a lake. A lake is a directory, or a prefix in an object store, with one Delta Lake",
        f"table, ``{written.TABLE}``. Programs that read Delta tables or Parquet files can read the events as they are.\n",
        _heading("Columns", "-"),
        _columns(),
        ".. autodata:: workbench.events.EVENT_SCHEMA\n   :no-value:\n",
        _heading("Identity and checkpoint", "-"),
        _documentation(written),
        f".. autodata:: {written.__name__}.FORMAT_VERSION\n   :no-value:\n",
        _heading("Names of files", "-"),
        f".. autoclass:: {written.__name__}.FileName\n   :no-members:\n",
        f".. autodata:: {written.__name__}.STATISTICS\n",
        _heading("Digests in files", "-"),
        _documentation(parquet),
        _heading("Sums in the log", "-"),
        _documentation(sums),
    ]


def _columns() -> str:
    rows = [".. list-table::", "   :header-rows: 1", "", "   * - column", "     - Arrow type", "     - may be null", "     - statistics"]
    for field in EVENT_SCHEMA:
        rows += [f"   * - ``{field.name}``", f"     - ``{field.type}``", f"     - {'yes' if field.nullable else 'no'}"]
        rows += [f"     - {'yes' if field.name in written.STATISTICS else 'no'}"]
    return "\n".join([*rows, ""])


def _documentation(module: object) -> str:
    """Return the docstring of a module behind its first sentence's line, which stands as the first paragraph."""
    return f"{inspect.getdoc(module) or ''}\n"


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n"
