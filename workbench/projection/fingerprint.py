"""Fingerprints: what a projection means, as a short text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from workbench.projection import plan
from workbench.projection.declaration import Projection, plan_of

MEANING_VERSION = 1
"""Raised whenever the same plan comes to mean something else."""


class _Unversioned(Exception):
    """Raised when a Python function without a version takes part."""


def fingerprint(projection: type[Projection] | plan.Plan) -> str | None:
    """Return a text that two projections share only if they mean the same, or None if a Python function without ``version=`` takes part.

    It depends on the compiled plan only: not on the class's name, its formatting, or the process.
    """
    compiled = projection if isinstance(projection, plan.Plan) else plan_of(projection)
    try:
        parts = [_text(part) for part in (compiled.categories, compiled.fields, compiled.types)]
    except _Unversioned:
        return None
    return hashlib.sha256("\n".join([str(MEANING_VERSION), *parts]).encode("utf-8", "surrogatepass")).hexdigest()


def function_fingerprint(function: Callable[..., Any], version: str | int | None) -> str | None:
    """Return a text for a Python function: its name and the version that its author gives it; None without a version."""
    if version is None:
        return None
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)} {version!r}"


def _text(node: object) -> str:
    """Return a plan's node as text, types of numbers included."""
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
