"""`TensorProto` messages to arrays and back: the tensors of gRPC requests and responses.

A message has its values either in `tensor_content`, the bytes of the array, or in the field of its type: see
`hotserve.codecs.tensor_layout`. All of it is little endian, and so is every machine that our engines run on: bytes are
taken as they are.

Source: tensorflow/core/framework/tensor.proto; Tensor::FromProto and AsProtoField in tensor.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from hotserve.codecs.cut_tensors import CONTENT_NUMBER, CutValues, delimited_head, numbers_of, pieces_of
from hotserve.codecs.tensor_layout import LAYOUTS, TensorLayout
from hotserve.codecs.wire import length_delimited, read_varint32, varint
from hotserve.errors import Internal, InvalidArgument
from hotserve.protos import messages
from hotserve.protos.messages import TensorProto, TensorShapeProto
from hotserve.tensors import Array, DType, shape_text

MAX_FILLED_BYTES: Final = 64 << 20
"""How many bytes of an array may come from repeating a message's last value (or zero), and not from its bytes.

The wire format lets twenty bytes ask for 10^12 values. The original allocates what is asked for, if it can; here a
message has to send what it wants to have in memory, and a padded batch of images still passes.
"""

_MAX_DIMENSIONS: Final = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
_MAX_COUNT: Final = 2**63 - 1
_PIECE: Final = 1 << 14

Sizes = tuple[int, ...]


class TensorDecodeError(InvalidArgument):
    """A TensorProto contradicts itself or asks for too much. The message is the reason, without the input's name."""


def decode_tensor(proto: TensorProto, cut: CutValues | None = None) -> Array:
    """Reads a tensor.

    Values that a typed field lacks are its last one repeated, or zero where it has none; surplus values are ignored,
    as are those in the field of another type. Integers out of range of a narrow type wrap.

    Args:
        proto: The message. `unknown_rank`, an absent shape and a shape without dimensions all mean a scalar.
        cut: Values of the message that are not in it any more: see `cut_tensors`.

    Returns:
        An array of `proto.tensor_shape`; of `bytes` objects for strings. Not to be written to: it may be a view of a
        buffer.

    Raises:
        TensorDecodeError: The dtype is none, or has no values to send; a dimension is negative, or there are more than
            64; `tensor_content` is not as long as shape and dtype say; the shape asks for more than `MAX_FILLED_BYTES`
            of values that were not sent.

    Source: Tensor::FromProto in tensorflow/core/framework/tensor.cc.
    """
    layout = LAYOUTS.get(proto.dtype)
    if layout is None:
        raise _unreadable_dtype(proto.dtype)
    shape, count = _read_shape(proto.tensor_shape)
    if count == 0:
        return _empty(layout, shape)
    if cut is not None and cut.number == CONTENT_NUMBER and layout.dtype is not DType.STRING:
        return _read_content(cut.data, layout, shape, count).copy()  # which is aligned
    content = proto.tensor_content if cut is None or cut.number != CONTENT_NUMBER else bytes(cut.data)
    if content:
        return _read_content(content, layout, shape, count)
    return _filled(_read_field(proto, layout, cut), layout, shape, count)


def encode_tensor(array: Array, dtype: DType, as_content: bool = False) -> TensorProto:
    """Writes a tensor as a message; see `serialize_tensor`, which is the same without the message."""
    return TensorProto.FromString(serialize_tensor(array, dtype, as_content))


def serialize_tensor(array: Array, dtype: DType, as_content: bool = False) -> bytes:
    """Writes a tensor as a serialized TensorProto.

    `response.outputs[alias].MergeFromString(...)` takes it without the copy that assigning a message costs.

    Args:
        array: Any shape; of `dtype`, or of a dtype that casts to it within its kind (float64 to float). Strings are
            `bytes`, or `str`, which becomes UTF-8.
        dtype: The type to declare.
        as_content: Whether the values go into `tensor_content` and not into the field of their type. Strings are there
            as their lengths in varints, and then their bytes.

    Returns:
        The message: dtype, shape (also of a scalar), and every value, even where the last ones are all the same.

    Raises:
        Internal: The array is of another kind than `dtype`, or tensors of `dtype` cannot be sent.

    Source: Tensor::AsProtoField and AsProtoTensorContent in tensorflow/core/framework/tensor.cc.
    """
    head = serialized_head(dtype, array.shape)
    if array.size == 0:
        return head
    if dtype is DType.STRING:
        strings = _strings_of(array)
        return head + (_string_content(strings) if as_content else _string_field(strings))
    flat = _flat(array, dtype)
    return head + (length_delimited(CONTENT_NUMBER, flat.tobytes()) if as_content else _number_field(flat, dtype))


def serialize_tensor_in_parts(array: Array, dtype: DType, as_content: bool = False) -> list[bytes]:
    """As `serialize_tensor`, in parts that belong one behind the other.

    Where the values are bytes of the array as they are, no part is large, and none takes long to make.
    """
    layout = LAYOUTS.get(dtype)
    is_raw = layout is not None and (as_content or layout.wire.kind == "f") and dtype is not DType.STRING
    if layout is None or not is_raw or array.size == 0:
        return [serialize_tensor(array, dtype, as_content)]
    flat = np.ascontiguousarray(_flat(array, dtype))
    number = CONTENT_NUMBER if as_content else layout.number
    return [serialized_head(dtype, array.shape), delimited_head(number, flat.nbytes), *pieces_of(flat)]


def _unreadable_dtype(number: int) -> TensorDecodeError:
    name = messages.DataType.Name(number) if number in messages.DataType.values() else f"{number}, which is unknown,"
    return TensorDecodeError(f"dtype {name} has no values to send; expected a type of numbers, bool or string")


def _read_shape(proto: TensorShapeProto) -> tuple[Sizes, int]:
    """The sizes and their product."""
    # A list first: twice as fast as a generator.
    shape = tuple([dim.size for dim in proto.dim])
    if len(shape) > _MAX_DIMENSIONS:
        raise TensorDecodeError(f"{len(shape)} dimensions; at most {_MAX_DIMENSIONS} are supported")
    count = 1
    for axis, size in enumerate(shape):
        if size < 0:
            raise TensorDecodeError(f"dimension {axis} of shape {shape_text(shape)} is negative")
        # Checked at each dimension, as TensorShape does: a zero helps only against those that follow it.
        count *= size
        if count > _MAX_COUNT:
            raise TensorDecodeError(f"shape {shape_text(shape)} has 2^63 elements or more")
    return shape, count


def _empty(layout: TensorLayout, shape: Sizes) -> Array:
    try:
        return np.empty(shape, layout.numpy)
    except ValueError:
        # numpy wants the product of the other sizes to be small, too.
        raise TensorDecodeError(f"shape {shape_text(shape)} has no elements, and is still too large") from None


def _read_content(content: bytes | memoryview, layout: TensorLayout, shape: Sizes, count: int) -> Array:
    if layout.dtype is DType.STRING:
        assert isinstance(content, bytes)
        return _split_strings(content, shape, count)
    needed = count * layout.numpy.itemsize
    if len(content) != needed:
        raise TensorDecodeError(
            f"{len(content)} bytes of tensor_content for shape {shape_text(shape)} of {layout.dtype.label}, "
            f"which needs {needed}"
        )
    if layout.dtype is DType.BOOL:
        # Any byte but 0 is true; as a numpy bool, 2 would be true here and not equal to true there.
        flags: Array = np.ndarray(shape, np.uint8, content) != 0
        return flags
    return np.ndarray(shape, layout.numpy, content)


def _read_field(proto: TensorProto, layout: TensorLayout, cut: CutValues | None) -> Array:
    """The values that were sent in the typed field: one dimension, of the tensor's dtype."""
    sent: Any = getattr(proto, layout.field)
    if layout.dtype is DType.STRING:
        return _objects(sent if cut is None or cut.number != layout.number else cut.strings)
    if cut is not None and cut.number == layout.number:
        values: Array = numbers_of(cut, layout.wire)
    elif isinstance(sent, bytes):
        values = np.frombuffer(sent, layout.wire)
    else:
        # The container hands over its memory: 6 us for 784 numbers, against 60 for np.fromiter. That costs 4 us for
        # any number of them, and a short list 1.
        values = np.array(sent if len(sent) > 32 else sent[:], layout.wire)
    if layout.bits is not layout.wire:
        values = values.astype(layout.bits)
    if layout.numpy is layout.bits:
        return values
    # A real part that comes without its imaginary part does not count.
    whole = len(values) - len(values) % (layout.numpy.itemsize // layout.bits.itemsize)
    return values[:whole].view(layout.numpy)


def _filled(values: Array, layout: TensorLayout, shape: Sizes, count: int) -> Array:
    """`values` in `shape`, cut or filled to `count`."""
    sent = len(values)
    if sent == count:
        return values.reshape(shape)
    if sent > count:
        return values[:count].reshape(shape)
    if (count - sent) * values.itemsize > MAX_FILLED_BYTES:
        raise TensorDecodeError(
            f"shape {shape_text(shape)} of {layout.dtype.label} has {count} elements, and the message carries {sent}; "
            f"at most {MAX_FILLED_BYTES >> 20} MiB are filled in by repeating the last one: send the values"
        )
    flat = np.empty(count, values.dtype)
    flat[:sent] = values
    if sent:
        flat[sent:] = values[-1]
    else:
        flat[:] = b"" if layout.dtype is DType.STRING else 0
    return flat.reshape(shape)


def _objects(strings: Iterable[bytes]) -> Array:
    values = strings if isinstance(strings, list) else list(strings)
    array = np.empty(len(values), object)
    for start in range(0, len(values), _PIECE):  # which lets others run in between
        array[start : start + _PIECE] = values[start : start + _PIECE]
    return array


def _split_strings(content: bytes, shape: Sizes, count: int) -> Array:
    """Reads `count` lengths as varints, and then that many bytes each.

    Source: DecodeStringList in tensorflow/core/platform/tensor_coding.cc.
    """
    wrong = f"{len(content)} bytes of tensor_content for shape {shape_text(shape)} of string are not {count} lengths"
    # A length takes a byte at least: nothing is allocated for lengths that cannot be there.
    if count > len(content):
        raise TensorDecodeError(wrong)
    lengths = []
    position = 0
    for _ in range(count):
        length, position = read_varint32(content, position)
        if length < 0:
            raise TensorDecodeError(wrong)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorDecodeError(f"{wrong} and then as many bytes as those say")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return _objects(strings).reshape(shape)


@lru_cache(maxsize=1024)
def serialized_head(dtype: DType, shape: Sizes) -> bytes:
    """A message without values. A server answers in few shapes: they are worth remembering.

    Raises:
        Internal: Tensors of `dtype` cannot be sent.
    """
    if dtype not in LAYOUTS:
        raise Internal(f"A tensor of type {dtype.label} cannot be sent; expected a number, bool or string")
    proto = TensorProto(dtype=dtype)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto.SerializeToString()


def _flat(array: Array, dtype: DType) -> Array:
    """The numbers in row order, of `dtype` in this machine's byte order."""
    if array.dtype != dtype.numpy:
        if not np.can_cast(array.dtype, dtype.numpy, "same_kind"):
            raise Internal(f"An array of {array.dtype} cannot be sent as {dtype.label}; expected {dtype.numpy}")
        array = array.astype(dtype.numpy)
    return array.reshape(-1)


def _number_field(flat: Array, dtype: DType) -> bytes:
    """A serialized message of nothing but the typed field; appended to another message, it sets the field there."""
    layout = LAYOUTS[dtype]
    values = flat.view(layout.bits)
    if layout.wire.kind in "fb" or layout.wire.itemsize == 1:
        return length_delimited(layout.number, values.tobytes())
    if len(values) >= 64 and values.min() >= 0 and values.max() < 128:
        # Class numbers and masks: each is a varint of one byte, while protobuf would want a Python int for each.
        return length_delimited(layout.number, values.astype(np.uint8).tobytes())
    proto = TensorProto()
    getattr(proto, layout.field).extend(values.tolist())
    return proto.SerializeToString()


def _strings_of(array: Array) -> list[bytes]:
    if array.dtype.kind not in "OSU":
        raise Internal(f"An array of {array.dtype} cannot be sent as string; expected an object array of bytes")
    return [value.encode() if isinstance(value, str) else value for value in array.reshape(-1).tolist()]


def _string_field(strings: list[bytes]) -> bytes:
    return TensorProto(string_val=strings).SerializeToString()


def _string_content(strings: list[bytes]) -> bytes:
    return length_delimited(CONTENT_NUMBER, b"".join([*(varint(len(string)) for string in strings), *strings]))
