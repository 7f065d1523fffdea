"""Compiles src/hotserve/protos/*.proto: into messages.binpb, which is loaded at run time, and messages.pyi, for mypy.

    python scripts/compile_protos.py

Needs grpcio-tools. Run it after every change to a .proto file; a test compares what it makes with what is committed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import any_pb2, descriptor_pb2, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

# Nothing is imported from hotserve: it would not start with a broken descriptor set, which is what this mends.
SOURCE_ROOT = Path(__file__).parents[1] / "src"
PROTOS = SOURCE_ROOT / "hotserve" / "protos"
DESCRIPTOR_SET = PROTOS / "messages.binpb"
STUBS = PROTOS / "messages.pyi"
LINE_LENGTH = 120  # the committed stubs are as `ruff format` would write them
WELL_KNOWN = ("BoolValue", "Int32Value", "Int64Value", "StringValue")

HEADER = """\
# Written by scripts/compile_protos.py from the .proto files beside it.
from collections.abc import Iterable, Mapping
from typing import ClassVar, final

from google.protobuf.internal import well_known_types
from google.protobuf.internal.containers import (
    MessageMap,
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
    ScalarMap,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DataType: EnumTypeWrapper
ErrorCode: EnumTypeWrapper
ModelType: EnumTypeWrapper

@final
class AnyMessage(well_known_types.Any, Message):
    def __init__(self, *, type_url: str = ..., value: bytes = ...) -> None: ...
"""


def compile_descriptor_set() -> bytes:
    """The compiled .proto files, a serialized `FileDescriptorSet`.

    The well-known types are left out: they come from the protobuf installed at run time.
    """
    names = sorted(str(path.relative_to(SOURCE_ROOT)) for path in PROTOS.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder, "messages.binpb")
        # A process of its own: in one with TensorFlow, whose C++ protobuf is another, the compiler crashes.
        compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE_ROOT}", f"--descriptor_set_out={compiled}"]
        subprocess.run([*compiler, *names], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    return files.SerializeToString(deterministic=True)


def write_stubs(descriptor_set: bytes) -> str:
    """The text of messages.pyi: a class for each message, with the Python type of each field."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
    pool = DescriptorPool()
    for serialized in (any_pb2.DESCRIPTOR.serialized_pb, wrappers_pb2.DESCRIPTOR.serialized_pb):
        pool.AddSerializedFile(serialized)
    lines = [HEADER.rstrip("\n")]
    for name in WELL_KNOWN:
        lines += ["", *_class(wrappers_pb2.DESCRIPTOR.message_types_by_name[name], 0)]
    for file in files:
        pool.Add(file)
        for message in file.message_type:
            lines += ["", *_class(pool.FindMessageTypeByName(f"{file.package}.{message.name}"), 0)]
    return "\n".join(lines) + "\n"


def _class(message: Descriptor, depth: int) -> Iterator[str]:
    pad = "    " * depth
    yield f"{pad}@final"
    fields = sorted(message.fields, key=lambda field: field.number)
    if not (fields or message.nested_types or message.enum_types):
        yield f"{pad}class {message.name}(Message): ..."
        return
    yield f"{pad}class {message.name}(Message):"
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _class(nested, depth + 1)
            yield ""
    for enum in message.enum_types:
        yield f"{pad}    {enum.name}: ClassVar[EnumTypeWrapper]"
        yield from (f"{pad}    {value.name}: ClassVar[int]" for value in enum.values)
    for field in fields:
        yield from _field(field, f"{pad}    ")
    if fields:
        yield from _constructor(fields, f"{pad}    ")


def _field(field: FieldDescriptor, pad: str) -> Iterable[str]:
    if not field.is_repeated and field.message_type is None:
        return [f"{pad}{field.name}: {_scalar(field)}"]
    return [f"{pad}@property", f"{pad}def {field.name}(self) -> {_container(field)}: ..."]


def _constructor(fields: Iterable[FieldDescriptor], pad: str) -> list[str]:
    arguments = ["self", "*", *(f"{field.name}: {_argument(field)} = ..." for field in fields)]
    line = f"{pad}def __init__({', '.join(arguments)}) -> None: ..."
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"{pad}def __init__(", *(f"{pad}    {argument}," for argument in arguments), f"{pad}) -> None: ..."]


def _container(field: FieldDescriptor) -> str:
    if _is_map(field):
        key, value = field.message_type.fields
        kind = "ScalarMap" if value.message_type is None else "MessageMap"
        return f"{kind}[{_scalar(key)}, {_scalar(value)}]"
    if field.is_repeated:
        kind = "RepeatedScalarFieldContainer" if field.message_type is None else "RepeatedCompositeFieldContainer"
        return f"{kind}[{_scalar(field)}]"
    return _scalar(field)


def _argument(field: FieldDescriptor) -> str:
    if _is_map(field):
        key, value = field.message_type.fields
        return f"Mapping[{_scalar(key)}, {_scalar(value)}]"
    if field.is_repeated:
        return f"Iterable[{_scalar(field)}]"
    return _scalar(field) if field.message_type is None else f"{_scalar(field)} | None"


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _scalar(field: FieldDescriptor) -> str:
    """The type of one value of a field; messages by their dotted name without the package."""
    if field.message_type is not None:
        if field.message_type.full_name == any_pb2.Any.DESCRIPTOR.full_name:
            return "AnyMessage"
        return field.message_type.full_name.removeprefix(f"{field.message_type.file.package}.")
    return {
        FieldDescriptor.CPPTYPE_STRING: "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "str",
        FieldDescriptor.CPPTYPE_BOOL: "bool",
        FieldDescriptor.CPPTYPE_FLOAT: "float",
        FieldDescriptor.CPPTYPE_DOUBLE: "float",
    }.get(field.cpp_type, "int")


if __name__ == "__main__":
    compiled = compile_descriptor_set()
    DESCRIPTOR_SET.write_bytes(compiled)
    STUBS.write_text(write_stubs(compiled))
    print(f"{DESCRIPTOR_SET}: {len(compiled)} bytes")
