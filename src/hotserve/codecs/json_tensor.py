"""JSON values to arrays.

Two ways, one result. `regular_array` takes nested lists of equal lengths with one kind of element, in a few passes
of C. `read_elements` walks element by element, in the order of the original, and names the first thing that is wrong
in the original's words; whatever the first way will not take goes the second.

Source: TensorFlow Serving `util/json_tensor.cc`, GetDenseTensorShape, FillTensorProto, AddValueToTensor.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from hotserve.codecs.json_base64 import base64_text, decode_base64
from hotserve.codecs.json_debug import debug_string
from hotserve.codecs.json_value import JsonValue, text_bytes, type_name
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.tensors import Array, DType

MAX_RANK: Final = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
"""The most dimensions that an array can have."""


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements of one tensor, last dimension fastest, each checked against the dtype they were read for."""

    shape: tuple[int, ...]
    leaves: list[Any]


def read_array(value: JsonValue, dtype: DType) -> Array:
    """Reads a whole tensor.

    Args:
        value: A number, string, boolean or base64 object for a scalar; else lists, nested once per dimension. The
            first element at each depth sets the shape, `[]` gives a dimension of size 0.
        dtype: What to read it as. Floating types take any number; integer types take integer tokens in range
            (int8, int16 and uint8 all of int32, wrapped around); bool takes true and false; string takes strings
            and base64 objects.

    Returns:
        An array of `dtype`; strings are objects of `bytes`.

    Raises:
        InvalidArgument: The lists are ragged, or nested deeper than `MAX_RANK`, or an element is of another type.
        Unimplemented: JSON has no form for `dtype`.
    """
    result = regular_array(value, dtype)
    if result is None:
        elements = read_elements(value, dtype)
        result = array_of(elements.leaves, dtype, elements.shape)
    return result


def regular_array(value: JsonValue, dtype: DType) -> Array | None:
    """What `read_array` gives, where that can be told quickly; None wherever there is doubt."""
    passage = _PASSAGES.get(dtype)
    if passage is None:
        return None
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        if len(shape) == MAX_RANK or set(map(type, level)) != {list} or len(set(map(len, level))) > 1:
            return None
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))
    if not passage.types.issuperset(map(type, level)):
        return None
    try:
        return array_of(level, dtype, shape)
    except OverflowError:
        return None


def read_elements(value: JsonValue, dtype: DType, max_rank: int = MAX_RANK) -> Elements:
    """Reads a tensor element by element: see `read_array`.

    Args:
        value: As for `read_array`.
        dtype: As for `read_array`.
        max_rank: How many dimensions the value may have.
    """
    shape = _shape_along_first(value, max_rank)
    leaves: list[Any] = []
    _collect(value, 0, shape, dtype, leaves)
    if not leaves and dtype not in _PASSAGES:
        raise _unsupported(value, dtype)
    return Elements(shape, leaves)


def array_of(leaves: Sequence[Any], dtype: DType, shape: Sequence[int]) -> Array:
    """Makes an array of elements that are of the right types for `dtype`.

    Raises:
        OverflowError: An integer is out of the range that `dtype` is read in.
    """
    passage = _PASSAGES[dtype]
    if not passage.typecode:
        strings = np.empty(len(leaves), np.object_)
        strings[:] = [text_bytes(leaf) if isinstance(leaf, str) else leaf for leaf in leaves]
        return strings.reshape(shape)
    values: Array = np.asarray(array(passage.typecode, leaves))
    if values.dtype != dtype.numpy:
        with np.errstate(over="ignore"):
            values = values.astype(dtype.numpy)
    return values.reshape(shape)


@dataclass(frozen=True, slots=True)
class _Passage:
    """How elements become an array.

    Attributes:
        types: The Python types that are taken, exactly: a `bool` is no `int` here.
        typecode: The C type that they pass through, with its range, as `array.array` names it; "" for none.
    """

    types: frozenset[type]
    typecode: str


_NUMBERS: Final = frozenset({int, float})
_INTEGERS: Final = frozenset({int})

_PASSAGES: Final[Mapping[DType, _Passage]] = MappingProxyType(
    {
        # A C cast makes float of double, so too large becomes infinite and nothing warns.
        DType.FLOAT: _Passage(_NUMBERS, "f"),
        DType.DOUBLE: _Passage(_NUMBERS, "d"),
        DType.HALF: _Passage(_NUMBERS, "d"),
        DType.BFLOAT16: _Passage(_NUMBERS, "d"),
        DType.INT64: _Passage(_INTEGERS, "q"),
        DType.INT32: _Passage(_INTEGERS, "i"),
        # The original carries the small ones as int32 and lets them wrap around, and clients may rely on it.
        DType.INT16: _Passage(_INTEGERS, "i"),
        DType.INT8: _Passage(_INTEGERS, "i"),
        DType.UINT8: _Passage(_INTEGERS, "i"),
        DType.UINT64: _Passage(_INTEGERS, "Q"),
        DType.UINT32: _Passage(_INTEGERS, "I"),
        # Ours alone, as half and bfloat16 are; no client relies on wrapping here, so its range is its own.
        DType.UINT16: _Passage(_INTEGERS, "H"),
        DType.BOOL: _Passage(frozenset({bool}), "B"),
        DType.STRING: _Passage(frozenset({str}), ""),
    }
)


def _shape_along_first(value: JsonValue, max_rank: int) -> tuple[int, ...]:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        if len(shape) == max_rank:
            raise InvalidArgument(
                f"JSON Value: {debug_string(value)} is nested too deeply. Expected lists nested at most "
                f"{max_rank} deep, one for each dimension of a tensor"
            )
        shape.append(len(first))
        first = first[0] if first else None
    return tuple(shape)


def _collect(value: JsonValue, level: int, shape: tuple[int, ...], dtype: DType, leaves: list[Any]) -> None:
    """Appends the elements of `value`, which lies `level` lists deep. Never deeper than the rank of `shape`."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise InvalidArgument(
                f"JSON Value: {debug_string(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= rank:
        raise InvalidArgument(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise InvalidArgument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, dtype, leaves)


def _leaf(value: JsonValue, dtype: DType) -> bool | int | float | bytes:
    if isinstance(value, dict) and dtype is DType.STRING:
        text = base64_text(value)
        if text is None:
            raise InvalidArgument(f"JSON Value: {debug_string(value)} not formatted correctly for base64 data")
        return decode_base64(text)
    passage = _PASSAGES.get(dtype)
    if passage is None and not isinstance(value, dict):
        raise _unsupported(value, dtype)
    if passage is None or type(value) not in passage.types:
        raise _type_error(value, dtype)
    if isinstance(value, str):
        return text_bytes(value)
    assert isinstance(value, bool | int | float), "the only types that are left"
    try:
        array(passage.typecode, (value,))
    except OverflowError as error:
        raise _type_error(value, dtype) from error
    return value


def _type_error(value: JsonValue, dtype: DType) -> InvalidArgument:
    return InvalidArgument(
        f"JSON Value: {debug_string(value)} Type: {type_name(value)} is not of expected type: {dtype.label}"
    )


def _unsupported(value: JsonValue, dtype: DType) -> Unimplemented:
    return Unimplemented(f"Conversion of JSON Value: {debug_string(value)} to type: {dtype.label}")
