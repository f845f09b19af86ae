"""A notebook's cells, run one after the other in this process: without a kernel, and with what they showed at hand."""

from __future__ import annotations

import ast
import contextlib
import io
from pathlib import Path
from typing import Any

from workbench.charts import Chart
from workbench.reports.notebook_files import find_notebook, read_cells


def show(name: str, *, lake: Path, **parameters: object) -> list[str]:
    """Return what the cells of a notebook show, in order: charts as JSON, tables and facts as HTML, and what is printed."""
    shown: list[str] = []

    def display(value: Any) -> None:
        if value is not None:
            # A value that has no look of its own would be shown by its repr, which is for programmers.
            shown.append(str(value.to_json()) if isinstance(value, Chart) else value._repr_html_())

    names: dict[str, Any] = {"display": display}
    for cell in read_cells(find_notebook(name)):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse(cell["source"])
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, name, "exec"), names)
            value = None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), names)
        shown += [text for text in (printed.getvalue(),) if text]
        display(value)
        if "parameters" in cell["metadata"].get("tags", ()):
            names |= {"lake": str(lake), **parameters}
    return shown
