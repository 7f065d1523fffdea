"""What a model takes and gives: tensor specs, signatures, and the one table of dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of any dtype. Strings are `object` arrays of `bytes`."""

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


class DType(IntEnum):
    """`tensorflow.DataType` by number. Source: tensorflow/core/framework/types.proto.

    Numbers over 100 (reference types of old graphs) are read as the type itself: see `DType.of`.
    """

    INVALID = 0
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23
    FLOAT8_E5M2 = 24
    FLOAT8_E4M3FN = 25
    FLOAT8_E4M3FNUZ = 26
    FLOAT8_E4M3B11FNUZ = 27
    FLOAT8_E5M2FNUZ = 28
    INT4 = 29
    UINT4 = 30
    INT2 = 31
    UINT2 = 32
    FLOAT4_E2M1FN = 33

    @property
    def label(self) -> str:
        """The name that error texts use: `float`, `half`, `string` (TensorFlow's `DataTypeString`)."""
        return self.name.lower()

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype; `object` (of `bytes`) for strings.

        Raises:
            KeyError: The type has no array form here (resources, variants, quantized kinds below a byte).
        """
        return NUMPY_OF[self]


NUMPY_OF: Mapping[DType, np.dtype[Any]] = MappingProxyType(
    {
        DType.FLOAT: np.dtype(np.float32),
        DType.DOUBLE: np.dtype(np.float64),
        DType.INT32: np.dtype(np.int32),
        DType.UINT8: np.dtype(np.uint8),
        DType.INT16: np.dtype(np.int16),
        DType.INT8: np.dtype(np.int8),
        DType.STRING: np.dtype(object),
        DType.COMPLEX64: np.dtype(np.complex64),
        DType.INT64: np.dtype(np.int64),
        DType.BOOL: np.dtype(np.bool_),
        DType.QINT8: np.dtype(np.int8),
        DType.QUINT8: np.dtype(np.uint8),
        DType.QINT32: np.dtype(np.int32),
        DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
        DType.QINT16: np.dtype(np.int16),
        DType.QUINT16: np.dtype(np.uint16),
        DType.UINT16: np.dtype(np.uint16),
        DType.COMPLEX128: np.dtype(np.complex128),
        DType.HALF: np.dtype(np.float16),
        DType.UINT32: np.dtype(np.uint32),
        DType.UINT64: np.dtype(np.uint64),
        DType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
        DType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
        DType.FLOAT8_E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
        DType.FLOAT8_E4M3B11FNUZ: np.dtype(ml_dtypes.float8_e4m3b11fnuz),
        DType.FLOAT8_E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    }
)

_QUANTIZED = frozenset({DType.QINT8, DType.QUINT8, DType.QINT32, DType.QINT16, DType.QUINT16})

# A plain type and its quantized kind share a numpy dtype; an array always means the plain one.
_OF_NUMPY: Mapping[np.dtype[Any], DType] = MappingProxyType(
    {numpy: dtype for dtype, numpy in NUMPY_OF.items() if dtype not in _QUANTIZED}
)


def dtype_of_number(number: int) -> DType:
    """Reads a `tensorflow.DataType` number; reference types (value + 100) become the type itself.

    Returns:
        The type, `DType.INVALID` for a number that is none.
    """
    try:
        return DType(number - 100 if number > 100 else number)
    except ValueError:
        return DType.INVALID


def dtype_of_array(array: Array) -> DType:
    """The type of an array; `object`, `bytes` and `str` arrays are strings.

    Raises:
        KeyError: The array's dtype is no tensor type (dates, structures).
    """
    if array.dtype.kind in "SU":
        return DType.STRING
    return _OF_NUMPY[array.dtype]


Shape = tuple[int | None, ...]
"""Sizes along each dimension, `None` where any size goes."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        dtype: The element type.
        shape: The dimensions, `None` in place of one that is unknown; `None` as a whole for an unknown rank.
        tensor_name: The platform's own name, e.g. `x:0` in a TensorFlow graph. Clients see it in metadata.
    """

    dtype: DType
    shape: Shape | None
    tensor_name: str = ""

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of `shape` fits, dimension by dimension."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        """`float [?,28,28,1]`, as error texts show it."""
        return f"{self.dtype.label} {shape_text(self.shape)}"


def shape_text(shape: Shape | None) -> str:
    """A shape as users read it: `[?,3]`, `[]` for a scalar, `of any shape` for an unknown rank."""
    if shape is None:
        return "of any shape"
    return "[" + ",".join("?" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A named way to call a servable.

    Attributes:
        inputs: Input alias -> spec.
        outputs: Output alias -> spec.
        method_name: TensorFlow Serving's name of the kind of call.
        defaults: Input alias -> value used when a gRPC request leaves the input out.
        enforces_shapes: Whether the declared input shapes bind. A TensorFlow graph takes any shape that its
            operations take, whatever its signature declares, and clients rely on it; an ONNX graph does not.
        declared: A serialized SignatureDef, where the model came with one that says more than the fields above:
            reference types, sparse and composite tensors, names of dimensions. For metadata only.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = PREDICT_METHOD
    defaults: Mapping[str, Array] = field(default_factory=dict)
    enforces_shapes: bool = False
    declared: bytes = field(default=b"", repr=False, compare=False)

    def describe_inputs(self) -> str:
        """The inputs in one line, sorted by name: `image: float [?,28,28,1], k: int32 []`."""
        return ", ".join(f"{name}: {spec}" for name, spec in sorted(self.inputs.items())) or "none"
