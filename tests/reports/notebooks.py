"""Notebooks that tests write by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OWN = 'lake: str = "data/demo"  # the lake\nat: str | int | None = None  # until when\n'


def write_notebook(path: Path, *cells: str, parameters: str | None = "") -> Path:
    """Write a notebook: texts that begin with ``#`` and a space are Markdown, the others code; parameters come first."""
    content: list[dict[str, Any]] = []
    if parameters is not None:
        content.append(_cell("code", OWN + parameters, {"tags": ["parameters"]}))
    content += [_cell("markdown" if cell.startswith("# ") else "code", cell, {}) for cell in cells]
    for number, cell in enumerate(content):
        cell["id"] = f"cell-{number}"
    metadata = {"kernelspec": {"name": "nowhere", "display_name": "Nowhere", "language": "python"}}
    path.write_text(json.dumps({"cells": content, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    return path


def _cell(kind: str, source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": metadata, "source": source}
    return {**cell, "outputs": [], "execution_count": None} if kind == "code" else cell
