"""Snapshots of a ``Fold``: its entities as bytes, from which a later replay goes on.

The bytes are a pickle, of which only plain values and the function's own dataclasses, named tuples and enumerations are let back in:
who can write into a lake must not be able to run code in the processes that read it.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
import sys
from typing import Any

from workbench.errors import InvalidProjection
from workbench.replay.function import Fold, Folded

_PLAIN = {
    "builtins": {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
}


class _Refused(Exception):
    """Raised when a snapshot names a class that is not let in."""


class _Loader(pickle.Unpickler):
    def __init__(self, content: bytes, fold: Fold) -> None:
        super().__init__(io.BytesIO(content))
        module = sys.modules.get(getattr(fold.function, "__module__", None) or "")
        known = [one for one in vars(module).values() if isinstance(one, type)] if module is not None else []
        self._own = {(one.__module__, one.__qualname__): one for one in known if _is_record(one)}

    def find_class(self, module: str, name: str, /) -> Any:
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if (module, name) in self._own:
            return self._own[module, name]
        raise _Refused(f"{module}.{name}")


def encoded(entities: dict[str, Folded], fold: Fold) -> bytes:
    """Return a fold's entities as bytes.

    Raises
    ------
    InvalidProjection
        A state is made of something that cannot be kept.
    """
    rows = [(key, one.state, one.position, one.revision, one.recorded_at, one.event_count) for key, one in entities.items()]
    try:
        content = pickle.dumps(rows, protocol=5)
        _Loader(content, fold).load()
    except _Refused as error:
        raise InvalidProjection(
            f"{fold.name}: its states hold {error}, which is not kept; make them of dicts, lists, sets, texts, numbers, instants, and of "
            "dataclasses, named tuples and enumerations that stand in the function's module."
        ) from None
    except Exception as error:  # what a class of the user does when it is pickled
        raise InvalidProjection(f"{fold.name}: its states cannot be kept: {type(error).__name__}: {error}.") from error
    return content


def decoded(content: bytes, fold: Fold) -> dict[str, Folded] | None:
    """Return the entities again; None if the bytes are not what ``encoded`` gave for this fold."""
    try:
        rows = _Loader(content, fold).load()
        return {key: Folded(*rest) for key, *rest in rows}
    except Exception:  # noqa: BLE001  # a pickle can fail in any way, and then there is no snapshot
        return None


def _is_record(one: type) -> bool:
    return dataclasses.is_dataclass(one) or issubclass(one, enum.Enum) or (issubclass(one, tuple) and hasattr(one, "_fields"))
