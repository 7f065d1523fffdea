"""Tells ONNX folders, and whether all their files are there, without onnx or ONNX Runtime.

A folder holds an ONNX model when there is a `model.onnx` in it, or exactly one other `*.onnx` file; with several and no
`model.onnx`, hotserve does not guess. It is complete when

- the file reads as a ModelProto with a graph and an opset import,
- every file of external data that a tensor names is there, and long enough.

What bytes alone cannot tell: a file cut exactly before a top-level field that follows the graph and the first opset
import (another opset import, model metadata, functions, training information).

Source: onnx/onnx.proto, onnx/docs/ExternalData.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath

from hotserve.platforms.mistaken_file import mistaken_file, unreadable_file
from hotserve.platforms.wire_format import FileBytes, Message, WireError, read_varint

PREFERRED_FILE = "model.onnx"

_MODEL_GRAPH, _MODEL_OPSET_IMPORT, _MODEL_FUNCTIONS = 7, 8, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_GRAPH_INPUT_OUTPUT = (11, 12)
_VALUE_NAME, _VALUE_TYPE = 1, 2  # ValueInfoProto
_TYPE_TENSOR = 1  # TypeProto
_TENSOR_TYPE_SHAPE = 2  # TypeProto.Tensor
_FUNCTION_NODE = 7
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_GRAPHS = (6, 11)
_ATTRIBUTE_TENSORS = (5, 10)
_ATTRIBUTE_SPARSE_TENSORS = (22, 23)
_SPARSE_PARTS = (1, 2)  # SparseTensorProto's values and indices
_TENSOR_DIMS, _TENSOR_DATA_TYPE, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 1, 2, 13, 14
_EXTERNAL = 1  # TensorProto.DataLocation
_ENTRY_KEY, _ENTRY_VALUE = 1, 2  # StringStringEntryProto

_MAX_GRAPH_DEPTH = 64
_MAX_DIMS_BYTES = 1 << 16

# Bits an element of each TensorProto.DataType; external strings do not exist.
_ELEMENT_BITS = {
    **dict.fromkeys((1, 6, 12), 32),  # float, int32, uint32
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # uint8, int8, bool, float8
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, double, uint64, complex64
    15: 128,  # complex128
    **dict.fromkeys((21, 22, 23), 4),  # uint4, int4, float4
    **dict.fromkeys((25, 26), 2),  # uint2, int2
}


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A file that tensors are read from.

    Attributes:
        location: Its path below the model's folder, as the model has it.
        needed_bytes: How long it must at least be.
    """

    location: str
    needed_bytes: int

    @property
    def is_inside(self) -> bool:
        """Whether the path stays within the model's folder."""
        location = PurePosixPath(self.location)
        depth = 0
        for part in location.parts:
            depth += -1 if part == ".." else 1
            if depth < 0:
                return False
        return not location.is_absolute() and depth > 0


class OnnxFiles:
    """ONNX folders."""

    description = f"an ONNX model (`{PREFERRED_FILE}`, or one other `*.onnx` file)"

    def recognise(self, path: Path) -> bool:
        return bool(model_files(path))

    def missing_parts(self, path: Path) -> str | None:
        files = model_files(path)
        if not files:
            return f"{PREFERRED_FILE} is not there yet"
        if len(files) > 1:
            return f"one `*.onnx` file, found {describe_files(files)}: name the one to serve {PREFERRED_FILE}"
        file = files[0]
        try:
            external_data = read_external_data(file)
        except FileNotFoundError:
            return f"{file.name} is not there yet"
        except OSError as error:
            return f"{file.name} cannot be read: {error.strerror}"
        except WireError as error:
            return unreadable_file(file, error)
        for data in external_data:
            # No file that may still arrive makes a path that leads elsewhere good: the loader refuses the model.
            missing = _missing_data(path, data) if data.is_inside else None
            if missing is not None:
                return missing
        return None


def model_files(path: Path) -> Sequence[Path]:
    """The files in a folder that may be the model: one that is named so, or else all of the kind, sorted."""
    preferred = path / PREFERRED_FILE
    if preferred.exists():
        return (preferred,)
    # Names with a dot in front are another program's own: partial copies, macOS's resource forks.
    return sorted(file for file in path.glob("*.onnx") if not file.name.startswith("."))


def describe_files(files: Sequence[Path]) -> str:
    """Names for a message: the first few, and how many more."""
    names = ", ".join(file.name for file in files[:4])
    return names if len(files) <= 4 else f"{names} and {len(files) - 4} more"


def read_external_data(file: Path) -> Sequence[ExternalData]:
    """Reads a model as far as finding the files that it names.

    Returns:
        One entry a file, in the order of their first mention.

    Raises:
        WireError: The file is no whole model.
        OSError: It cannot be read.
    """
    needed: dict[str, int] = {}
    has_graph = has_opset = False
    with FileBytes(file) as source:
        model = Message(source)
        for field in model.fields():
            if field.number == _MODEL_GRAPH:
                has_graph = True
                _collect(_graph_tensors(model.child(field), 0), needed)
            elif field.number == _MODEL_FUNCTIONS:
                for node in model.child(field).children(_FUNCTION_NODE):
                    _collect(_node_tensors(node, 0), needed)
            elif field.number == _MODEL_OPSET_IMPORT:
                has_opset = True
                for _ in model.child(field).fields():
                    pass
    if not has_graph:
        raise WireError("there is no graph in it")
    if not has_opset:
        raise WireError("there is no opset import in it")
    return [ExternalData(location, size) for location, size in needed.items()]


def read_names_without_shape(file: Path) -> frozenset[str]:
    """The names of the model's inputs and outputs that have no declared shape, so that any rank goes.

    Raises:
        WireError: The file is no whole model.
        OSError: It cannot be read.
    """
    names: set[str] = set()
    with FileBytes(file) as source:
        for graph in Message(source).children(_MODEL_GRAPH):
            for field in graph.fields():
                if field.number in _GRAPH_INPUT_OUTPUT:
                    value = graph.child(field)
                    if not _has_shape(value):
                        names.update(value.text(part) for part in value.fields() if part.number == _VALUE_NAME)
    return frozenset(names)


def _missing_data(path: Path, data: ExternalData) -> str | None:
    try:
        size = (path / data.location).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return f"{data.location} is not there yet"
    except (OSError, ValueError) as error:
        return f"{data.location!r} cannot be read: {error}"
    if size < data.needed_bytes:
        what = mistaken_file(path / data.location)
        return f"{data.location} {f'is {what}' if what else f'has {size} of {data.needed_bytes} bytes'}"
    return None


def _graph_tensors(graph: Message, depth: int) -> Iterator[Message]:
    if depth > _MAX_GRAPH_DEPTH:
        raise WireError(f"its graphs are nested more than {_MAX_GRAPH_DEPTH} deep")
    for field in graph.fields():
        if field.number == _GRAPH_INITIALIZER:
            yield graph.child(field)
        elif field.number == _GRAPH_NODE:
            yield from _node_tensors(graph.child(field), depth)
        elif field.number == _GRAPH_SPARSE_INITIALIZER:
            yield from _sparse_parts(graph.child(field))


def _node_tensors(node: Message, depth: int) -> Iterator[Message]:
    for attribute in node.children(_NODE_ATTRIBUTE):
        for field in attribute.fields():
            if field.number in _ATTRIBUTE_TENSORS:
                yield attribute.child(field)
            elif field.number in _ATTRIBUTE_GRAPHS:
                yield from _graph_tensors(attribute.child(field), depth + 1)
            elif field.number in _ATTRIBUTE_SPARSE_TENSORS:
                yield from _sparse_parts(attribute.child(field))


def _sparse_parts(tensor: Message) -> Iterator[Message]:
    for field in tensor.fields():
        if field.number in _SPARSE_PARTS:
            yield tensor.child(field)


def _collect(tensors: Iterator[Message], needed: dict[str, int]) -> None:
    for tensor in tensors:
        data = _external_data(tensor)
        if data is not None:
            needed[data.location] = max(needed.get(data.location, 0), data.needed_bytes)


def _external_data(tensor: Message) -> ExternalData | None:
    """What a TensorProto wants of another file; None when its values are within."""
    sizes: list[int] = []
    entries: dict[str, str] = {}
    data_type = data_location = 0
    for field in tensor.fields():
        if field.number == _TENSOR_DIMS:
            sizes += _integers(tensor, field.start, field.end) if field.wire_type else (field.value,)
        elif field.number == _TENSOR_DATA_TYPE:
            data_type = field.value
        elif field.number == _TENSOR_DATA_LOCATION:
            data_location = field.value
        elif field.number == _TENSOR_EXTERNAL_DATA:
            entry = tensor.child(field)
            texts = {part.number: entry.text(part) for part in entry.fields()}
            entries[texts.get(_ENTRY_KEY, "")] = texts.get(_ENTRY_VALUE, "")
    if data_location != _EXTERNAL:
        return None
    if not entries.get("location"):
        raise WireError("a tensor has its data in another file, and no location says in which")
    offset = _count(entries, "offset") or 0
    length = _count(entries, "length")
    if length is None:
        length = (prod(sizes) * _ELEMENT_BITS.get(data_type, 0) + 7) // 8
    return ExternalData(entries["location"], offset + length)


def _integers(message: Message, start: int, end: int) -> Sequence[int]:
    """The numbers of a packed field."""
    if end - start > _MAX_DIMS_BYTES:
        raise WireError(f"a tensor has dimensions of {end - start} bytes")
    data = message.source.read(start, end)
    numbers = []
    index = 0
    while index < len(data):
        number, index = read_varint(data, index)
        numbers.append(number)
    return numbers


def _count(entries: Mapping[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise WireError(f"the {key} of external data is {text!r}, expected a number of bytes")
    return int(text)


def _has_shape(value: Message) -> bool:
    """Whether a ValueInfoProto is of a tensor type with a shape."""
    for kind in value.children(_VALUE_TYPE):
        for tensor in kind.children(_TYPE_TENSOR):
            if any(field.number == _TENSOR_TYPE_SHAPE for field in tensor.fields()):
                return True
    return False
