"""A projection in one line, for tests that break it."""

from types import new_class
from typing import Any

from workbench.projection import Projection


def declare(fields: dict[str, Any], handlers: list[Any], *, category: Any = "user", key: Any = None, **names: Any) -> type[Projection]:
    """Return a projection named User with these fields, handlers and names."""

    def body(namespace: dict[str, Any]) -> None:
        namespace.update({"__annotations__": fields, "handlers": handlers, **names})

    return new_class("User", (Projection,), {"category": category, "key": key}, body)
