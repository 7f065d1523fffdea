"""Where a `TensorProto` has the values of each type, if not in `tensor_content`: one table.

Source: the comments in tensorflow/core/framework/tensor.proto, and ProtoHelper in tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hotserve.tensors import DType


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """How one type is sent.

    Attributes:
        dtype: The type.
        numpy: The dtype of its arrays.
        field: The name of its field in TensorProto.
        number: That field's number.
        wire: The dtype of the numbers in the field; `uint8` for a field of bytes, `object` for strings.
        bits: What each of those numbers is cut to. The result, seen as `numpy`, is the array: a half is sent as the
            number that its 16 bits make, and a complex number as two floats.
    """

    dtype: DType
    numpy: np.dtype[Any]
    field: str
    number: int
    wire: np.dtype[Any]
    bits: np.dtype[Any]


def _layout(dtype: DType, field: str, number: int, wire: type, bits: type | None = None) -> TensorLayout:
    return TensorLayout(dtype, dtype.numpy, field, number, np.dtype(wire), np.dtype(bits or wire))


LAYOUTS: Mapping[int, TensorLayout] = MappingProxyType(
    {
        int(layout.dtype): layout
        for layout in (
            _layout(DType.FLOAT, "float_val", 5, np.float32),
            _layout(DType.DOUBLE, "double_val", 6, np.float64),
            _layout(DType.INT32, "int_val", 7, np.int32),
            _layout(DType.INT16, "int_val", 7, np.int32, np.int16),
            _layout(DType.INT8, "int_val", 7, np.int32, np.int8),
            _layout(DType.UINT16, "int_val", 7, np.int32, np.uint16),
            _layout(DType.UINT8, "int_val", 7, np.int32, np.uint8),
            _layout(DType.QINT32, "int_val", 7, np.int32),
            _layout(DType.QINT16, "int_val", 7, np.int32, np.int16),
            _layout(DType.QINT8, "int_val", 7, np.int32, np.int8),
            _layout(DType.QUINT16, "int_val", 7, np.int32, np.uint16),
            _layout(DType.QUINT8, "int_val", 7, np.int32, np.uint8),
            _layout(DType.STRING, "string_val", 8, object),
            _layout(DType.COMPLEX64, "scomplex_val", 9, np.float32),
            _layout(DType.INT64, "int64_val", 10, np.int64),
            _layout(DType.BOOL, "bool_val", 11, np.bool_),
            _layout(DType.COMPLEX128, "dcomplex_val", 12, np.float64),
            _layout(DType.HALF, "half_val", 13, np.int32, np.uint16),
            _layout(DType.BFLOAT16, "half_val", 13, np.int32, np.uint16),
            _layout(DType.UINT32, "uint32_val", 16, np.uint32),
            _layout(DType.UINT64, "uint64_val", 17, np.uint64),
            _layout(DType.FLOAT8_E5M2, "float8_val", 18, np.uint8),
            _layout(DType.FLOAT8_E4M3FN, "float8_val", 18, np.uint8),
            _layout(DType.FLOAT8_E4M3FNUZ, "float8_val", 18, np.uint8),
            _layout(DType.FLOAT8_E4M3B11FNUZ, "float8_val", 18, np.uint8),
            _layout(DType.FLOAT8_E5M2FNUZ, "float8_val", 18, np.uint8),
        )
    }
)
"""`tensorflow.DataType` number -> layout. A type that is missing has no values to send here: resources, variants,
reference types, and numbers of less than a byte."""
