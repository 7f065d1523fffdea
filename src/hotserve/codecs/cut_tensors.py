"""The large tensors of a PredictRequest, cut out of its bytes before protobuf reads the rest.

protobuf copies a message twice before its values are an array, and holds the GIL meanwhile: 0.15 s for 64 MB, during
which nothing else is answered. Here only the few fields around the values are read; the values are told by where they
lie, and copied once, by numpy, which lets go of the GIL.

What is unusual, right or wrong, is left to protobuf: values in several pieces, varints that are not packed.

Source: protobuf's encoding specification; `predict.proto` and `tensor.proto` for the numbers of the fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.wire import length_delimited, varint
from hotserve.tensors import Array

CONTENT_NUMBER: Final = 4
"""The number of `tensor_content` in TensorProto."""

_INPUTS: Final = 2  # of PredictRequest
_KEY, _VALUE = 1, 2  # of an entry of a map
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5

STRINGS_NUMBER: Final = 8
"""The number of `string_val` in TensorProto."""

_STRING_TAG: Final = STRINGS_NUMBER << 3 | _LENGTH_DELIMITED

_CUT_FROM_BYTES: Final = 1 << 16
"""Smaller values stay in the message."""

_MAX_FIELDS: Final = 4096
"""A message with more fields on one level is left to protobuf, which walks them faster."""

_SLICE: Final = 1 << 18
"""How many bytes of varints are read in one go: all that numpy makes of them stays in the processor's cache."""

_PACKED: Final[Mapping[int, int]] = MappingProxyType(
    {
        layout.number: layout.wire.itemsize
        for layout in LAYOUTS.values()
        if layout.wire.kind in "fiub" and layout.field != "float8_val"
    }
)
"""The fields of TensorProto with packed numbers -> the size of one in memory."""

_ONE_BY_ONE: Final[Mapping[int, tuple[int, int]]] = MappingProxyType(
    {
        layout.number << 3 | (_FIXED32 if layout.wire.itemsize == 4 else _FIXED64): (
            layout.number,
            layout.wire.itemsize,
        )
        for layout in LAYOUTS.values()
        if layout.wire.kind == "f"
    }
)
"""The tag of a floating-point number that is not packed -> its field, and its size."""


@dataclass(frozen=True, slots=True)
class CutValues:
    """The values of one tensor.

    Attributes:
        number: The field of TensorProto that has them: 4 for `tensor_content`, 8 for strings, or that of numbers.
        data: Its bytes, packed; none of strings.
        strings: The strings.
    """

    number: int
    data: memoryview
    strings: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire_type: int
    start: int  # of its tag
    value: int  # where the value begins, behind its length
    end: int


class _UnusualError(Exception):
    """protobuf has to look."""


def cut_tensors(data: bytes) -> tuple[bytes, Mapping[str, CutValues]] | None:
    """Cuts the large tensors out of a request.

    Args:
        data: A serialized PredictRequest.

    Returns:
        The request without them, serialized, and input alias -> what was cut out. None where that cannot be told
        quickly, or the message is none.
    """
    view = memoryview(data)
    rest: list[bytes | memoryview] = []
    cut: dict[str, CutValues] = {}
    try:
        for field in _fields(data, 0, len(data)):
            if field.number == _INPUTS and field.wire_type == _LENGTH_DELIMITED:
                alias, values, entry = _cut_entry(data, view, field)
                # Of two entries with one key, the later one counts.
                cut.pop(alias, None)
                if values is not None:
                    cut[alias] = values
                rest.append(entry)
            else:
                rest.append(view[field.start : field.end])
    except (_UnusualError, UnicodeDecodeError):
        return None
    return b"".join(rest), cut


def numbers_of(values: CutValues, wire: np.dtype[np.generic]) -> Array:
    """The numbers of a packed field.

    Args:
        values: What was cut out.
        wire: What the numbers are in memory.

    Returns:
        One dimension, of `wire`.
    """
    if wire.kind == "f":
        return np.frombuffer(values.data, wire).copy()
    parts = []
    start, size = 0, len(values.data)
    while start < size:
        end = min(start + _SLICE, size)
        while values.data[end - 1] >= 0x80:  # the last number of the field has ended, `cut_tensors` has seen to that
            end += 1
        parts.append(_varints(np.frombuffer(values.data[start:end], np.uint8)).astype(wire))
        start = end
    return np.concatenate(parts)


def _varints(data: Array) -> Array:
    ends = np.flatnonzero(data < 0x80)
    if len(ends) == len(data):
        return data
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    numbers = np.zeros(len(ends), np.uint64)
    for index in range(int(lengths.max())):
        having = np.flatnonzero(lengths > index)
        groups = (data[starts[having] + index] & 0x7F).astype(np.uint64)
        numbers[having] |= groups << np.uint64(7 * index)
    return numbers


def _cut_entry(data: bytes, view: memoryview, field: _Field) -> tuple[str, CutValues | None, bytes | memoryview]:
    """One entry of `inputs`: its key, what was cut out of it, and the field without that."""
    key = b""
    tensor: _Field | None = None
    for member in _fields(data, field.value, field.end):
        if member.wire_type != _LENGTH_DELIMITED or member.number not in (_KEY, _VALUE):
            raise _UnusualError
        if member.number == _KEY:
            key = data[member.value : member.end]
        elif tensor is not None:
            raise _UnusualError  # two values would be merged
        else:
            tensor = member
    alias = key.decode()
    if tensor is None or tensor.end - tensor.value < _CUT_FROM_BYTES:
        return alias, None, view[field.start : field.end]
    values: CutValues | None = None
    rest: list[bytes | memoryview] = []
    seen = set()
    position = tensor.value
    for _ in range(_MAX_FIELDS):
        if position == tensor.end:
            break
        found, number, end = _large_member(data, view, position, tensor.end)
        if found is None:
            seen.add(number)
            rest.append(view[position:end])
        elif values is not None:
            raise _UnusualError
        else:
            values = found
        position = end
    else:
        raise _UnusualError
    if values is None or values.number in seen:
        raise _UnusualError
    entry = length_delimited(_KEY, key) + length_delimited(_VALUE, b"".join(rest))
    return alias, values, length_delimited(_INPUTS, entry)


def _large_member(data: bytes, view: memoryview, position: int, end: int) -> tuple[CutValues | None, int, int]:
    """The next field of a tensor, or the next ones that are alike.

    Returns:
        What can be cut out, None where it is not large; the field's number; and where it ends.
    """
    tag = data[position]
    if tag == _STRING_TAG:
        strings, stop = _string_run(data, position, end)
        cut = CutValues(STRINGS_NUMBER, view[:0], strings) if stop - position >= _CUT_FROM_BYTES else None
        return cut, STRINGS_NUMBER, stop
    if tag in _ONE_BY_ONE:
        number, size = _ONE_BY_ONE[tag]
        fields = np.frombuffer(data, np.uint8, (end - position) // (size + 1) * (size + 1), position)
        fields = fields.reshape(-1, size + 1)
        others = np.flatnonzero(fields[:, 0] != tag)
        count = int(others[0]) if len(others) else len(fields)
        if count * (size + 1) >= _CUT_FROM_BYTES:
            packed = np.ascontiguousarray(fields[:count, 1:])
            return CutValues(number, packed.reshape(-1).data), number, position + count * (size + 1)
    member = next(_fields(data, position, end))
    if member.end - member.start < _CUT_FROM_BYTES:
        return None, member.number, member.end
    if not _can_be_cut(data, member):
        raise _UnusualError
    return CutValues(member.number, view[member.value : member.end]), member.number, member.end


def _string_run(data: bytes, position: int, end: int) -> tuple[Sequence[bytes], int]:
    """Strings that stand one behind the other, and where they end. In Python, which lets others run meanwhile."""
    strings = []
    while position < end and data[position] == _STRING_TAG:
        size, start = data[position + 1] if position + 1 < end else 0x80, position + 2
        if size >= 0x80:
            size, start = _varint(data, position + 1, end)
        position = start + size
        if position > end:
            raise _UnusualError
        strings.append(data[start:position])
    return strings, position


def _can_be_cut(data: bytes, field: _Field) -> bool:
    """Whether a large field of a tensor is `tensor_content`, or packed numbers, the last of which is whole."""
    if field.wire_type != _LENGTH_DELIMITED:
        return False
    if field.number == CONTENT_NUMBER:
        return True
    if field.number not in _PACKED:
        return False
    if _is_fixed(field.number):
        return (field.end - field.value) % _PACKED[field.number] == 0
    return data[field.end - 1] < 0x80 and _are_short(data, field)


def _is_fixed(number: int) -> bool:
    return any(layout.number == number and layout.wire.kind == "f" for layout in LAYOUTS.values())


def _are_short(data: bytes, field: _Field) -> bool:
    """Whether no varint is longer than ten bytes; protobuf refuses those."""
    for start in range(field.value, field.end, _SLICE):
        # Slices overlap, so that a run of continued bytes cannot hide at a boundary.
        end = min(start + _SLICE + 10, field.end)
        continued = np.frombuffer(data, np.uint8, end - start, start) >= 0x80
        ends = np.flatnonzero(~continued)
        if len(ends) == 0 or ends[0] > 9 or (len(ends) > 1 and int(np.diff(ends).max()) > 10):
            return False
    return True


def _fields(data: bytes, position: int, end: int) -> Iterator[_Field]:
    for _ in range(_MAX_FIELDS):
        if position == end:
            return
        start = position
        tag, position = _varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        if not number or tag > 0xFFFFFFFF:
            raise _UnusualError
        value = position
        if wire_type == _VARINT:
            _, position = _varint(data, position, end)
        elif wire_type == _LENGTH_DELIMITED:
            size, value = _varint(data, position, end)
            position = value + size
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        else:
            raise _UnusualError
        if position > end:
            raise _UnusualError
        yield _Field(number, wire_type, start, value, position)
    if position != end:
        raise _UnusualError


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise _UnusualError


def pieces_of(flat: Array) -> list[bytes]:
    """The bytes of an array, in pieces: no copy of one takes long, and joining them lets go of the GIL.

    Args:
        flat: One dimension, contiguous.
    """
    step = max(1, (1 << 21) // flat.itemsize)
    return [flat[start : start + step].tobytes() for start in range(0, len(flat), step)]


def delimited_head(number: int, size: int) -> bytes:
    """What stands before field `number`, of `size` bytes."""
    return varint(number << 3 | 2) + varint(size)
