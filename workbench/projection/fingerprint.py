"""Fingerprints: a short text that identifies what a projection computes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from workbench.projection import plan
from workbench.projection.declaration import Projection, plan_of

MEANING_VERSION = 1
"""Increase this number when the meaning of a plan changes."""


class _Unversioned(Exception):
    """Raised when a plan contains a Python function without a version."""


def fingerprint(projection: type[Projection] | plan.Plan) -> str | None:
    """Return a text that only equivalent projections share, or None if one uses a Python function without ``version=``.

    It depends only on the compiled plan, not on the class's name, its formatting or the process.
    """
    compiled = projection if isinstance(projection, plan.Plan) else plan_of(projection)
    try:
        parts = [_text(part) for part in (compiled.categories, compiled.fields, compiled.types)]
    except _Unversioned:
        return None
    return hashlib.sha256("\n".join([str(MEANING_VERSION), *parts]).encode("utf-8", "surrogatepass")).hexdigest()


def function_fingerprint(function: Callable[..., Any], version: str | int | None) -> str | None:
    """Return a Python function's name and version as text, or None if it has no version."""
    if version is None:
        return None
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)} {version!r}"


def _text(node: object) -> str:
    """Return a node of a plan as text that shows the types of numbers."""
    if isinstance(node, plan.Apply):
        named = function_fingerprint(node.function, node.version)
        if named is None:
            raise _Unversioned
        return f"Apply({named!r})"
    if is_dataclass(node) and not isinstance(node, type):
        return f"{type(node).__name__}({', '.join(_text(getattr(node, field.name)) for field in fields(node))})"
    if isinstance(node, tuple):
        return f"({', '.join(map(_text, node))})"
    return repr(node)
