"""The messages of KurrentDB's protocol, as esdbclient ships them, in a separate descriptor pool.

esdbclient and kurrentdbclient register messages with the same names in the default pool, so a process can import only one of them.
The workbench imports neither. It takes the descriptors out of esdbclient's generated modules and builds its own classes from them, so a
process may use either client beside it.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2, descriptor_pool, duration_pb2, empty_pb2, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from esdbclient.protos.Grpc import code_pb2, gossip_pb2, persistent_pb2, shared_pb2, status_pb2, streams_pb2
    from google.protobuf.any_pb2 import Any as Packed
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.empty_pb2 import Empty

__all__ = ["Duration", "Empty", "Packed", "code_pb2", "gossip_pb2", "persistent_pb2", "shared_pb2", "status_pb2", "streams_pb2"]

_NAMES = ("shared", "code", "status", "streams", "gossip", "persistent")
"""In the order of their imports: each file after those that it imports."""


def _folder() -> Path:
    found = find_spec("esdbclient")
    if found is None or found.origin is None:
        raise WorkbenchError("esdbclient, which contains the messages of the protocol, is not installed: reinstall the workbench.")
    return Path(found.origin).parent / "protos" / "Grpc"


def _descriptor(file: Path) -> bytes:
    """Return the serialised descriptor that a generated module hands to ``AddSerializedFile``."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "AddSerializedFile":
            content: bytes = ast.literal_eval(node.args[0])
            return content
    raise WorkbenchError(f"{file} contains no messages: esdbclient is damaged or has another version. Reinstall the workbench.")


def _messages(file: Any) -> SimpleNamespace:
    """Return what the generated module of one file has: its messages, its enumerations, and their values."""
    named: dict[str, Any] = {name: message_factory.GetMessageClass(descriptor) for name, descriptor in file.message_types_by_name.items()}
    for name, enum in file.enum_types_by_name.items():
        named |= {name: EnumTypeWrapper(enum)} | {value.name: value.number for value in enum.values}
    return SimpleNamespace(**named, DESCRIPTOR=file)


if not TYPE_CHECKING:
    _POOL = descriptor_pool.DescriptorPool()
    for _known in (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2):
        _POOL.AddSerializedFile(_known.DESCRIPTOR.serialized_pb)
    for _name in _NAMES:
        globals()[f"{_name}_pb2"] = _messages(_POOL.AddSerializedFile(_descriptor(_folder() / f"{_name}_pb2.py")))
    Packed = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("google.protobuf.Any"))
    Duration = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("google.protobuf.Duration"))
    Empty = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("google.protobuf.Empty"))
