"""Writes a plan as text and reads it again, so that an export can bring up to date what a projection made."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

import msgspec

from workbench.projection import plan as ir

_PARTS: dict[str, Any] = {name: part for name, part in vars(ir).items() if is_dataclass(part)}
"""Reading a plan constructs these classes and nothing else."""


def plan_to_json(plan: ir.Plan) -> str | None:
    """Return a plan as JSON; None if it contains a Python function or a value that JSON cannot represent."""
    try:
        return msgspec.json.encode(_tree(plan)).decode()
    except (TypeError, UnicodeError, OverflowError):
        return None


def plan_from_json(text: str) -> ir.Plan | None:
    """Return the plan that ``plan_to_json`` gave as text; None for any other text."""
    try:
        found = _node(msgspec.json.decode(text))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, ir.Plan) else None


def _tree(node: object) -> Any:
    if is_dataclass(node) and not isinstance(node, type):
        return {type(node).__name__: [_tree(getattr(node, field.name)) for field in fields(node)]}
    if isinstance(node, tuple):
        return [_tree(inner) for inner in node]
    if isinstance(node, datetime):
        return {"datetime": [node.isoformat()]}
    if node is None or isinstance(node, (str, int, float)):
        return node
    raise TypeError(f"{node!r} has no form in JSON")


def _node(tree: Any) -> Any:
    if isinstance(tree, list):
        return tuple(map(_node, tree))
    if not isinstance(tree, dict):
        return tree
    [(name, values)] = tree.items()
    if name == "datetime":
        return datetime.fromisoformat(*values)
    return _PARTS[name](*map(_node, values))
