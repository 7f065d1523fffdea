"""Reads LiteRT (TensorFlow Lite) models as far as serving needs, and tells whole files, without LiteRT.

A folder is complete when `model.tflite` begins as a flatbuffer of that schema and everything that its tables lead to is
there: subgraphs, tensors, operators, and the bytes of every buffer.

What bytes alone cannot tell: padding at the end that is cut off, and a hole in the middle of a buffer.

Source: tflite/converter/schema/schema.fbs in google-ai-edge/LiteRT. The schema is read by the numbers of its fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.platforms.flatbuffer import Table, root_table
from hotserve.platforms.mistaken_file import unreadable_file
from hotserve.platforms.wire_format import ByteSource, FileBytes, WireError
from hotserve.tensors import DType, Shape

MODEL_FILE = "model.tflite"
SIGNATURE_METADATA = "signature_defs_metadata"
"""The name of the metadata that older converters keep SignatureDefs in."""

_IDENTIFIER = b"TFL3"

_OPERATOR_CODES, _SUBGRAPHS, _BUFFERS, _METADATA, _SIGNATURE_DEFS = 1, 2, 4, 6, 7  # Model
_OLD_CODE, _NEW_CODE = 0, 3  # OperatorCode
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3  # SubGraph
_OPCODE_INDEX, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2  # Operator
_SHAPE, _TYPE, _BUFFER, _NAME, _SHAPE_SIGNATURE, _HAS_RANK = 0, 1, 2, 3, 7, 8  # Tensor
_DATA, _OFFSET, _SIZE = 0, 1, 2  # Buffer
_METADATA_NAME, _METADATA_BUFFER = 0, 1  # Metadata
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _SUBGRAPH_INDEX = 0, 1, 2, 4  # SignatureDef
_MAP_NAME, _MAP_INDEX = 0, 1  # TensorMap

_DTYPES = (  # TensorType, by number
    *(DType.FLOAT, DType.HALF, DType.INT32, DType.UINT8, DType.INT64, DType.STRING, DType.BOOL, DType.INT16),
    *(DType.COMPLEX64, DType.INT8, DType.DOUBLE, DType.COMPLEX128, DType.UINT64, DType.RESOURCE, DType.VARIANT),
    *(DType.UINT32, DType.UINT16, DType.INT4, DType.BFLOAT16, DType.INT2, DType.UINT4),
    *(DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2),
)


@dataclass(frozen=True, slots=True)
class LiteRtTensor:
    """An input or output of a subgraph.

    Attributes:
        index: Its number among the subgraph's tensors.
        name: As the file has it, e.g. `serving_default_x:0`.
        dtype: The element type.
        shape: The dimensions, None in place of one that is unknown; None as a whole for an unknown rank.
    """

    index: int
    name: str
    dtype: DType
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A graph of the model.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        operators: The `BuiltinOperator` numbers that occur in it.
    """

    inputs: Sequence[LiteRtTensor]
    outputs: Sequence[LiteRtTensor]
    operators: frozenset[int]


@dataclass(frozen=True, slots=True)
class LiteRtSignature:
    """A signature of the file itself.

    Attributes:
        name: What it is called.
        subgraph: The number of the subgraph that it runs.
        inputs: Alias -> number of the tensor.
        outputs: Alias -> number of the tensor.
    """

    name: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LiteRtModel:
    """What a file says of its model.

    Attributes:
        subgraphs: Its graphs; the first one is the main one.
        signatures: Its own signatures.
        signature_metadata: A flexbuffer that maps names to serialized SignatureDefs; empty for none.
    """

    subgraphs: Sequence[Subgraph]
    signatures: Sequence[LiteRtSignature]
    signature_metadata: bytes


class LiteRtFiles:
    """LiteRT folders."""

    description = f"a LiteRT model (`{MODEL_FILE}`)"

    def recognise(self, path: Path) -> bool:
        return (path / MODEL_FILE).exists()

    def missing_parts(self, path: Path) -> str | None:
        try:
            with FileBytes(path / MODEL_FILE) as source:
                read_model(source)
        except FileNotFoundError:
            return f"{MODEL_FILE} is not there yet"
        except OSError as error:
            return f"{MODEL_FILE} cannot be read: {error.strerror}"
        except WireError as error:
            return unreadable_file(path / MODEL_FILE, error)
        return None


def read_model(source: ByteSource) -> LiteRtModel:
    """Reads a model, and looks at everything that its tables lead to.

    Raises:
        WireError: The bytes are no whole model.
    """
    model = root_table(source, _IDENTIFIER)
    codes = [_operator_code(code) for code in model.tables(_OPERATOR_CODES)]
    buffers = list(model.tables(_BUFFERS))
    for buffer in buffers:
        _check_buffer(buffer)
    subgraphs = [_subgraph(subgraph, codes, len(buffers)) for subgraph in model.tables(_SUBGRAPHS)]
    if not subgraphs:
        raise WireError("there is no subgraph in it")
    signatures = [_signature(signature) for signature in model.tables(_SIGNATURE_DEFS)]
    return LiteRtModel(subgraphs, signatures, _signature_metadata(model, buffers))


def _operator_code(code: Table) -> int:
    # Numbers above 127 stand in the second field only, lower ones in files of old converters in the first only.
    return max(code.integer(_OLD_CODE, 1, signed=True), code.integer(_NEW_CODE, 4, signed=True))


def _check_buffer(buffer: Table) -> None:
    buffer.vector(_DATA, 1)
    # In files of more than 2 GiB the bytes follow the flatbuffer; 1 stands for nothing in particular.
    offset, size = buffer.integer(_OFFSET, 8), buffer.integer(_SIZE, 8)
    if offset > 1 and offset + size > buffer.source.size:
        raise WireError(f"a buffer ends at byte {offset + size}, the file has {buffer.source.size}")


def _subgraph(subgraph: Table, codes: Sequence[int], buffer_count: int) -> Subgraph:
    tensors = list(subgraph.tables(_TENSORS))
    for tensor in tensors:
        _in_range(tensor.integer(_BUFFER, 4), buffer_count, "buffer")
        tensor.vector(_NAME, 1)
        tensor.vector(_SHAPE, 4)
        tensor.vector(_SHAPE_SIGNATURE, 4)
    operators = set()
    for operator in subgraph.tables(_OPERATORS):
        operators.add(codes[_in_range(operator.integer(_OPCODE_INDEX, 4), len(codes), "operator code")])
        for index in (*(operator.integers(_OPERATOR_INPUTS) or ()), *(operator.integers(_OPERATOR_OUTPUTS) or ())):
            if index != -1:  # an optional tensor that is left out
                _in_range(index, len(tensors), "tensor")
    return Subgraph(
        tuple(_tensors(subgraph.integers(_INPUTS), tensors)),
        tuple(_tensors(subgraph.integers(_OUTPUTS), tensors)),
        frozenset(operators),
    )


def _tensors(indexes: Sequence[int] | None, tensors: Sequence[Table]) -> Iterator[LiteRtTensor]:
    for index in indexes or ():
        tensor = tensors[_in_range(index, len(tensors), "tensor")]
        number = tensor.integer(_TYPE, 1)
        dtype = _DTYPES[number] if number < len(_DTYPES) else DType.INVALID
        yield LiteRtTensor(index, tensor.text(_NAME), dtype, _shape(tensor))


def _shape(tensor: Table) -> Shape | None:
    sizes = tensor.integers(_SHAPE) or ()
    sizes = tensor.integers(_SHAPE_SIGNATURE) or sizes
    # A scalar of an old converter, which knew no such flag, and a tensor of unknown rank look the same.
    if not sizes and not tensor.integer(_HAS_RANK, 1):
        return None
    return tuple(None if size < 0 else size for size in sizes)


def _signature(signature: Table) -> LiteRtSignature:
    return LiteRtSignature(
        signature.text(_SIGNATURE_KEY),
        signature.integer(_SUBGRAPH_INDEX, 4),
        _tensor_map(signature, _SIGNATURE_INPUTS),
        _tensor_map(signature, _SIGNATURE_OUTPUTS),
    )


def _tensor_map(signature: Table, field: int) -> Mapping[str, int]:
    return {entry.text(_MAP_NAME): entry.integer(_MAP_INDEX, 4) for entry in signature.tables(field)}


def _signature_metadata(model: Table, buffers: Sequence[Table]) -> bytes:
    for entry in model.tables(_METADATA):
        index = _in_range(entry.integer(_METADATA_BUFFER, 4), len(buffers), "buffer")
        if entry.text(_METADATA_NAME) == SIGNATURE_METADATA:
            span = buffers[index].vector(_DATA, 1)
            return model.source.read(span.start, span.end) if span else b""
    return b""


def _in_range(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise WireError(f"it names {what} {index}, and has {count} of them")
    return index
