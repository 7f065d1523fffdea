"""LiteRT models, put together operator by operator: nothing has to be converted, and nothing imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from support.versioned_models import WIDTH

ADD = schema.BuiltinOperator.ADD
CONV_2D = schema.BuiltinOperator.CONV_2D
CUSTOM = schema.BuiltinOperator.CUSTOM
GATHER = schema.BuiltinOperator.GATHER
RESIZE_NEAREST_NEIGHBOR = schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR
WHERE = schema.BuiltinOperator.WHERE

TYPES = {
    "bool": schema.TensorType.BOOL,
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "int8": schema.TensorType.INT8,
    "resource": schema.TensorType.RESOURCE,
    "string": schema.TensorType.STRING,
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: Its name.
        shape: Its sizes, None for one that is unknown; None as a whole for an unknown rank.
        dtype: A key of `TYPES`.
        value: What a constant is.
    """

    name: str
    shape: Sequence[int | None] | None
    dtype: str = "float32"
    value: np.ndarray | None = None


@dataclass(frozen=True)
class Graph:
    """One subgraph; tensors are named by their place in `tensors`.

    Attributes:
        tensors: All of them.
        inputs: Those that are fed.
        outputs: Those that are given.
        operators: Code, inputs and outputs of each.
    """

    tensors: Sequence[Tensor]
    inputs: Sequence[int]
    outputs: Sequence[int]
    operators: Sequence[tuple[int, Sequence[int], Sequence[int]]]
    options: Mapping[int, tuple[int, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FileSignature:
    """A signature of the file: alias -> tensor."""

    name: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def litert_model(
    graphs: Sequence[Graph],
    signatures: Sequence[FileSignature] = (),
    metadata: Mapping[str, bytes] | bytes | None = None,
) -> bytes:
    """The content of a `model.tflite`.

    Args:
        graphs: Its subgraphs.
        signatures: Its own signatures.
        metadata: Name -> serialized SignatureDef, as older converters write them; or the bytes in their place.
    """
    model = schema.ModelT()
    model.version = 3
    model.description = "made by a test"
    model.buffers = [schema.BufferT()]
    codes = sorted({code for graph in graphs for code, _, _ in graph.operators})
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, 1
        entry.customCode = b"Unheard" if code == CUSTOM else None
        model.operatorCodes.append(entry)
    model.subgraphs = [_subgraph(graph, codes, model.buffers) for graph in graphs]
    model.signatureDefs = [_signature(signature) for signature in signatures]
    if metadata is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(metadata if isinstance(metadata, bytes) else _flexbuffer(metadata), np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = b"signature_defs_metadata", len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def write_model(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(content)
    return folder


def adder(value: float, shape: Sequence[int | None] | None = (None, WIDTH), dtype: str = "float32") -> Graph:
    """`y` is `x` plus a number."""
    constant = Tensor("value", (), dtype, np.array(value, dtype))
    return Graph([Tensor("x:0", shape, dtype), constant, Tensor("y:0", shape, dtype)], [0], [2], [(ADD, [0, 1], [2])])


def picker() -> Graph:
    """`picked` has the elements of `words` that `places` names."""
    tensors = [Tensor("words", [None], "string"), Tensor("places", [None], "int32"), Tensor("picked", [None], "string")]
    return Graph(tensors, [0, 1], [2], [(GATHER, [0, 1], [2])])


def litert_version(folder: Path, version: int, ballast_bytes: int = 0) -> None:
    """Writes `folder/model.tflite`: `x`: float [?,32] to `y`, which is `x` plus the version's number."""
    graph = adder(version)
    if ballast_bytes:
        ballast = np.random.default_rng(version).random(ballast_bytes // 4, dtype=np.float32)
        graph = Graph([*graph.tensors, Tensor("ballast", ballast.shape, value=ballast)], [0], [2], graph.operators)
    write_model(folder, litert_model([graph], [FileSignature("serving_default", 0, {"x": 0}, {"y": 2})]))


def _subgraph(graph: Graph, codes: Sequence[int], buffers: list[Any]) -> Any:
    subgraph = schema.SubGraphT()
    subgraph.tensors = []
    for tensor in graph.tensors:
        entry = schema.TensorT()
        entry.name, entry.type, entry.hasRank = tensor.name.encode(), TYPES[tensor.dtype], tensor.shape is not None
        shape = tensor.shape or ()
        entry.shape = [1 if size is None else size for size in shape]
        entry.shapeSignature = [-1 if size is None else size for size in shape] if None in shape else None
        entry.buffer = 0
        if tensor.value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(tensor.value.tobytes(), np.uint8)
            entry.buffer = len(buffers)
            buffers.append(buffer)
        subgraph.tensors.append(entry)
    subgraph.inputs, subgraph.outputs = list(graph.inputs), list(graph.outputs)
    subgraph.operators = []
    for position, (code, inputs, outputs) in enumerate(graph.operators):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = codes.index(code), list(inputs), list(outputs)
        if position in graph.options:
            operator.builtinOptionsType, operator.builtinOptions = graph.options[position]
        subgraph.operators.append(operator)
    return subgraph


def _signature(signature: FileSignature) -> Any:
    def entries(tensors: Mapping[str, int]) -> list[Any]:
        made = []
        for name, index in tensors.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            made.append(entry)
        return made

    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = signature.name.encode(), signature.graph
    made.inputs, made.outputs = entries(signature.inputs), entries(signature.outputs)
    return made


def _flexbuffer(entries: Mapping[str, bytes]) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, serialized in entries.items():
            builder.Key(name)
            builder.String(serialized.decode("ascii"))  # which the few fields of a test's SignatureDefs are
    return bytes(builder.Finish())
