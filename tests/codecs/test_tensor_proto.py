from __future__ import annotations

import re
import sys
import tracemalloc
from typing import Any

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import (
    MAX_FILLED_BYTES,
    TensorDecodeError,
    decode_tensor,
    encode_tensor,
    serialize_tensor,
)
from hotserve.errors import Code, Internal
from hotserve.protos.messages import TensorProto, TensorShapeProto
from hotserve.tensors import Array, DType

NUMBERS = sorted(DType(number) for number in LAYOUTS if number != DType.STRING)
QUANTIZED = {DType.QINT8, DType.QUINT8, DType.QINT16, DType.QUINT16, DType.QINT32}
# TensorFlow's C++ reads these, and its Python does not.
UNKNOWN_TO_PYTHON = {DType.FLOAT8_E4M3FNUZ, DType.FLOAT8_E4M3B11FNUZ, DType.FLOAT8_E5M2FNUZ}
ALL = [*NUMBERS, DType.STRING]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)

# The first example of a run waits for TensorFlow to start.
no_deadline = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _proto(dtype: DType | int, *shape: int, **values: Any) -> TensorProto:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return TensorProto(dtype=int(dtype), tensor_shape=TensorShapeProto(dim=dims), **values)


@st.composite
def arrays(draw: st.DrawFn, dtype: DType) -> Array:
    """An array of any bits: NaN, negative zero, every integer."""
    shape = draw(SHAPES)
    count = int(np.prod(shape))
    if dtype is DType.STRING:
        flat = np.empty(count, object)
        flat[:] = draw(st.lists(st.binary(max_size=200), min_size=count, max_size=count))
        return flat.reshape(shape)
    if dtype is DType.BOOL:
        return draw(hnp.arrays(np.bool_, shape))
    size = count * dtype.numpy.itemsize
    numbers = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), LAYOUTS[dtype].bits)
    if numbers.dtype.kind == "f":
        # A signalling NaN becomes a quiet one on its way through a Python float.
        numbers = np.where(np.isnan(numbers), numbers.dtype.type("nan"), numbers)
    return numbers.view(dtype.numpy).reshape(shape)


def _same(got: Array, want: Array) -> bool:
    """Equal shapes, and equal to the last bit: a NaN is the same NaN."""
    if got.shape != want.shape:
        return False
    if want.dtype == object:
        return bool(np.array_equal(got, want))
    return got.dtype == want.dtype and got.tobytes() == want.tobytes()


@pytest.mark.parametrize("as_content", [False, True], ids=["typed field", "tensor_content"])
@pytest.mark.parametrize("dtype", ALL, ids=lambda dtype: dtype.label)
@no_deadline
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same_bits(dtype: DType, as_content: bool, data: st.DataObject) -> None:
    array = data.draw(arrays(dtype))
    proto = encode_tensor(array, dtype, as_content)
    assert proto.dtype == dtype
    assert proto.HasField("tensor_shape")
    assert bool(proto.tensor_content) == (as_content and array.size > 0)
    assert _same(decode_tensor(proto), array)


@pytest.mark.parametrize("dtype", ALL, ids=lambda dtype: dtype.label)
@no_deadline
@given(data=st.data())
def test_tensorflow_reads_what_is_encoded(dtype: DType, data: st.DataObject) -> None:
    array = data.draw(arrays(dtype))
    tensor = tf.io.parse_tensor(serialize_tensor(array, dtype), tf.as_dtype(int(dtype)))
    # A scalar string comes as `bytes`, of which numpy would make an S array, and cut its trailing zeros.
    read = np.asarray(tensor.numpy(), object if dtype is DType.STRING else None)
    assert _same(read if dtype is DType.STRING else read.view(array.dtype), array)
    if dtype not in UNKNOWN_TO_PYTHON:
        proto = type(tf.make_tensor_proto(0.0)).FromString(serialize_tensor(array, dtype))
        assert _same(tf.make_ndarray(proto).astype(array.dtype), array)


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in ALL if dtype not in UNKNOWN_TO_PYTHON], ids=lambda dtype: dtype.label
)
@no_deadline
@given(data=st.data())
def test_what_tensorflow_makes_is_read(dtype: DType, data: st.DataObject) -> None:
    array = data.draw(arrays(dtype))
    made = tf.make_tensor_proto(array.astype(np.int64) if dtype in QUANTIZED else array, tf.as_dtype(int(dtype)))
    got = decode_tensor(TensorProto.FromString(made.SerializeToString()))
    assert got.dtype == dtype.numpy
    if dtype is DType.STRING:
        assert got.tolist() == array.tolist()
    else:
        assert _same(got, array)


@st.composite
def messages(draw: st.DrawFn) -> TensorProto:
    """Messages as a careless client might send them: any field set, any length, some shapes impossible."""
    dtype = draw(st.sampled_from([*ALL, DType.INVALID]))
    shape = draw(st.lists(st.integers(-1, 4), max_size=3))
    proto = _proto(dtype, *shape)
    proto.tensor_shape.unknown_rank = draw(st.booleans())
    floats = st.floats(width=32, allow_nan=False)
    fields = {
        "float_val": floats,
        "double_val": st.floats(allow_nan=False),
        "int_val": st.integers(-(2**31), 2**31 - 1),
        "string_val": st.binary(max_size=5),
        "scomplex_val": floats,
        "int64_val": st.integers(-(2**63), 2**63 - 1),
        "bool_val": st.booleans(),
        "dcomplex_val": st.floats(allow_nan=False),
        "half_val": st.integers(-(2**31), 2**31 - 1),
        "uint32_val": st.integers(0, 2**32 - 1),
        "uint64_val": st.integers(0, 2**64 - 1),
    }
    # Half of the time the field of the type, or else any.
    own = [LAYOUTS[dtype].field] * len(fields) if dtype in LAYOUTS else []
    field = draw(st.sampled_from([*fields, *own]))
    if field == "float8_val":
        proto.float8_val = draw(st.binary(max_size=6))
    else:
        getattr(proto, field).extend(draw(st.lists(fields[field], max_size=6)))
    if draw(st.integers(0, 3)) == 0:
        byte = st.integers(0, 1) if dtype is DType.BOOL else st.integers(0, 255)
        proto.tensor_content = bytes(draw(st.lists(byte, max_size=16)))
    return proto


@settings(no_deadline, max_examples=1000)
@given(proto=messages())
def test_any_message_means_what_it_means_to_tensorflow(proto: TensorProto) -> None:
    try:
        want = tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype or 1))
    except tf.errors.InvalidArgumentError:
        with pytest.raises(TensorDecodeError):
            decode_tensor(proto)
        return
    got = decode_tensor(proto)
    # A scalar string comes as `bytes`, of which numpy would make an S array, and cut its trailing zeros.
    expected = np.asarray(want.numpy(), object if proto.dtype == DType.STRING else None)
    if proto.dtype == DType.STRING:
        assert got.shape == tuple(want.shape)
        assert got.reshape(-1).tolist() == expected.reshape(-1).tolist()
    else:
        assert _same(got, expected.view(got.dtype))


BF16 = ml_dtypes.bfloat16
DECODED: list[tuple[str, TensorProto, Array]] = [
    ("no shape is a scalar", TensorProto(dtype=1, float_val=[7]), np.float32(7)),
    ("no dimensions is a scalar", _proto(1, float_val=[7]), np.float32(7)),
    (
        "unknown rank is a scalar",
        TensorProto(dtype=1, float_val=[7], tensor_shape=TensorShapeProto(unknown_rank=True)),
        np.float32(7),
    ),
    ("no elements, whatever is sent", _proto(1, 2, 0, float_val=[1, 2, 3]), np.zeros((2, 0), np.float32)),
    ("content comes first", _proto(1, 1, tensor_content=b"\0\0\x80\x3f", float_val=[7]), np.float32([1])),
    ("the last value is repeated", _proto(1, 4, float_val=[1, 2]), np.float32([1, 2, 2, 2])),
    ("one value fills a matrix", _proto(3, 2, 2, int_val=[5]), np.int32([[5, 5], [5, 5]])),
    ("surplus values are ignored", _proto(1, 2, float_val=[1, 2, 3]), np.float32([1, 2])),
    ("no value is zero", _proto(2, 2), np.float64([0, 0])),
    ("no value is false", _proto(10, 2), np.array([False, False])),
    ("no value is an empty string", _proto(7, 2), np.array([b"", b""], object)),
    ("no value is zero, also of bfloat16", _proto(14, 2), np.array([0, 0], BF16)),
    ("a value in the wrong field is none", _proto(1, 2, int_val=[1, 2]), np.float32([0, 0])),
    ("the last string is repeated", _proto(7, 3, string_val=[b"a", b"b"]), np.array([b"a", b"b", b"b"], object)),
    ("int8 wraps", _proto(6, 3, int_val=[128, -129, 256]), np.int8([-128, 127, 0])),
    ("uint8 wraps", _proto(4, 3, int_val=[256, -1, 257]), np.uint8([0, 255, 1])),
    ("int16 wraps", _proto(5, 2, int_val=[32768, 65537]), np.int16([-32768, 1])),
    ("uint16 wraps", _proto(17, 2, int_val=[65536, -1]), np.uint16([0, 65535])),
    ("a half is its bits", _proto(19, 2, half_val=[0x3C00, 0xC000]), np.float16([1, -2])),
    ("a bfloat16 is its bits", _proto(14, 2, half_val=[0x3F80, 0xC000]), np.array([1, -2], BF16)),
    ("complex parts take turns", _proto(8, 2, scomplex_val=[1, 2, 3, 4]), np.complex64([1 + 2j, 3 + 4j])),
    ("the last complex pair is repeated", _proto(8, 2, scomplex_val=[1, 2]), np.complex64([1 + 2j, 1 + 2j])),
    ("half a complex number does not count", _proto(18, 2, dcomplex_val=[1, 2, 3]), np.complex128([1 + 2j, 1 + 2j])),
    ("a float8 is its byte", _proto(25, 2, float8_val=b"\x38\xb8"), np.array([1, -1], ml_dtypes.float8_e4m3fn)),
    ("the last float8 is repeated", _proto(24, 2, float8_val=b"\x3c"), np.array([1, 1], ml_dtypes.float8_e5m2)),
    ("any byte but 0 is true", _proto(10, 3, tensor_content=b"\0\1\2"), np.array([False, True, True])),
    ("strings as content", _proto(7, 2, tensor_content=b"\1\2abc"), np.array([b"a", b"bc"], object)),
    (
        "long strings as content",
        _proto(7, 2, tensor_content=b"\xac\x02\0" + b"x" * 300),
        np.array([b"x" * 300, b""], object),
    ),
    ("an empty string as content", _proto(7, tensor_content=b"\0"), np.array(b"", object)),
    ("quantized types are their numbers", _proto(11, 2, int_val=[-1, 300]), np.int8([-1, 44])),
]


@pytest.mark.parametrize(("proto", "want"), [case[1:] for case in DECODED], ids=[case[0] for case in DECODED])
def test_a_message_is_read_as_the_wire_format_says(proto: TensorProto, want: Array) -> None:
    got = decode_tensor(proto)
    assert isinstance(got, np.ndarray)
    assert _same(got, np.asarray(want))


REFUSED: list[tuple[str, TensorProto, str]] = [
    ("negative dimension", _proto(1, 2, -1, float_val=[1]), r"dimension 1 of shape \[2,-1\] is negative"),
    ("overflowing dimensions", _proto(1, 2**33, 2**33, float_val=[1]), r"2\^63 elements or more"),
    ("overflow before a zero", _proto(1, 2**33, 2**33, 0), r"2\^63 elements or more"),
    ("too large although empty", _proto(1, 0, 2**62, 2**62), "no elements, and is still too large"),
    ("many dimensions", _proto(1, *[1] * 65, float_val=[1]), "65 dimensions; at most"),
    ("very many dimensions", _proto(1, *[1] * 255, float_val=[1]), "255 dimensions; at most"),
    ("no dtype", _proto(0, 1, float_val=[1]), "dtype DT_INVALID has no values to send"),
    ("no dtype and no elements", _proto(0, 0), "dtype DT_INVALID has no values to send"),
    ("unknown dtype", _proto(999, 1, float_val=[1]), "dtype 999, which is unknown, has no values to send"),
    ("reference dtype", _proto(101, 1, float_val=[1]), "dtype DT_FLOAT_REF has no values to send"),
    ("resource", _proto(20, 1), "dtype DT_RESOURCE has no values to send"),
    (
        "content too short",
        _proto(1, 3, tensor_content=b"\0" * 8),
        r"^8 bytes of tensor_content for shape \[3\] of float, which needs 12$",
    ),
    ("content too long", _proto(1, 1, tensor_content=b"\0" * 8), r"for shape \[1\] of float, which needs 4$"),
    ("content of no whole number", _proto(1, 1, tensor_content=b"abc"), "3 bytes of tensor_content"),
    ("content and one value", _proto(1, 10**12, tensor_content=b"\0" * 4), "which needs 4000000000000$"),
    ("one value for 10^12", _proto(1, 10**12, float_val=[1]), "has 1000000000000 elements, and the message carries 1"),
    ("no value for 10^12", _proto(7, 10**6, 10**6), "has 1000000000000 elements, and the message carries 0"),
    ("string lengths missing", _proto(7, 3, tensor_content=b"\1"), "are not 3 lengths$"),
    ("string lengths for 10^12", _proto(7, 10**12, tensor_content=b"\1a"), "are not 1000000000000 lengths$"),
    ("string length without end", _proto(7, 1, tensor_content=b"\xff" * 6), "are not 1 lengths$"),
    ("string bytes missing", _proto(7, 2, tensor_content=b"\1\2ab"), "as many bytes as those say"),
    ("string bytes left over", _proto(7, 1, tensor_content=b"\1ab"), "as many bytes as those say"),
]


@pytest.mark.parametrize(("proto", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_message_that_contradicts_itself_is_refused_with_the_reason(proto: TensorProto, reason: str) -> None:
    with pytest.raises(TensorDecodeError) as refused:
        decode_tensor(proto)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert re.search(reason, refused.value.message)


def test_a_shape_without_its_values_is_filled_up_to_a_bound_and_no_further() -> None:
    elements = MAX_FILLED_BYTES // 4
    filled = decode_tensor(_proto(DType.FLOAT, elements + 1, float_val=[2.5]))
    assert filled.shape == (elements + 1,)
    assert filled[-1] == 2.5

    tracemalloc.start()
    try:
        with pytest.raises(TensorDecodeError, match="send the values"):
            decode_tensor(_proto(DType.FLOAT, elements + 2, float_val=[2.5]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_an_array_larger_than_the_bound_is_read_when_its_values_are_sent() -> None:
    array = np.arange(MAX_FILLED_BYTES // 8 + 2, dtype=np.int64)
    assert _same(decode_tensor(encode_tensor(array, DType.INT64, as_content=True)), array)


def test_content_is_read_without_a_copy_and_cannot_be_written_to() -> None:
    got = decode_tensor(_proto(DType.FLOAT, 2, tensor_content=np.float32([1, 2]).tobytes()))
    assert not got.flags.owndata
    assert not got.flags.writeable


def test_a_large_packed_field_is_read_like_a_small_one() -> None:
    for count in (1, 32, 33, 1000):
        want = np.linspace(-1, 1, count, dtype=np.float32)
        assert _same(decode_tensor(_proto(DType.FLOAT, count, float_val=want.tolist())), want)


ENCODED: list[tuple[str, Array, DType, TensorProto]] = [
    ("scalar", np.array(1.5, np.float32), DType.FLOAT, _proto(1, float_val=[1.5])),
    ("equal values are not folded", np.float32([1, 1, 1]), DType.FLOAT, _proto(1, 3, float_val=[1, 1, 1])),
    ("no elements", np.zeros((2, 0), np.float32), DType.FLOAT, _proto(1, 2, 0)),
    ("negative int16", np.int16([-3, 3]), DType.INT16, _proto(5, 2, int_val=[-3, 3])),
    ("uint8", np.uint8([0, 255]), DType.UINT8, _proto(4, 2, int_val=[0, 255])),
    ("int64", np.int64([[-(2**63)], [2**63 - 1]]), DType.INT64, _proto(9, 2, 1, int64_val=[-(2**63), 2**63 - 1])),
    ("uint32", np.uint32([2**32 - 1]), DType.UINT32, _proto(22, 1, uint32_val=[2**32 - 1])),
    ("uint64", np.uint64([2**64 - 1]), DType.UINT64, _proto(23, 1, uint64_val=[2**64 - 1])),
    ("bool", np.array([True, False]), DType.BOOL, _proto(10, 2, bool_val=[True, False])),
    ("half", np.float16([-2]), DType.HALF, _proto(19, 1, half_val=[0xC000])),
    ("bfloat16", np.array([-2], BF16), DType.BFLOAT16, _proto(14, 1, half_val=[0xC000])),
    ("complex64", np.complex64([1 + 2j]), DType.COMPLEX64, _proto(8, 1, scomplex_val=[1, 2])),
    ("complex128", np.complex128([1 + 2j]), DType.COMPLEX128, _proto(18, 1, dcomplex_val=[1, 2])),
    ("float8", np.array([1], ml_dtypes.float8_e5m2), DType.FLOAT8_E5M2, _proto(24, 1, float8_val=b"\x3c")),
    ("string", np.array([b"a", b"\xff\0"], object), DType.STRING, _proto(7, 2, string_val=[b"a", b"\xff\0"])),
    ("text is UTF-8", np.array(["é", b"b"], object), DType.STRING, _proto(7, 2, string_val=["é".encode(), b"b"])),
    ("numpy's own text", np.array(["é"]), DType.STRING, _proto(7, 1, string_val=["é".encode()])),
    ("numpy's own bytes", np.array([b"abc"]), DType.STRING, _proto(7, 1, string_val=[b"abc"])),
    ("float64 as float", np.float64([0.1]), DType.FLOAT, _proto(1, 1, float_val=[float(np.float32(0.1))])),
    ("float as bfloat16", np.float32([1.5]), DType.BFLOAT16, _proto(14, 1, half_val=[0x3FC0])),
    ("big endian", np.array([1, 2], ">i4"), DType.INT32, _proto(3, 2, int_val=[1, 2])),
    ("a view with strides", np.arange(6, dtype=np.int32)[::-2], DType.INT32, _proto(3, 3, int_val=[5, 3, 1])),
    (
        "a transposed matrix",
        np.arange(4, dtype=np.float32).reshape(2, 2).T,
        DType.FLOAT,
        _proto(1, 2, 2, float_val=[0, 2, 1, 3]),
    ),
]


@pytest.mark.parametrize(("array", "dtype", "want"), [case[1:] for case in ENCODED], ids=[case[0] for case in ENCODED])
def test_an_array_is_written_as_the_original_writes_it(array: Array, dtype: DType, want: TensorProto) -> None:
    assert encode_tensor(array, dtype) == want


@pytest.mark.parametrize("top", [127, 128, 2**31 - 1])
@pytest.mark.parametrize("bottom", [0, -1])
def test_many_integers_are_written_like_few(top: int, bottom: int) -> None:
    values = [*range(100), top, bottom]
    assert list(encode_tensor(np.array(values, np.int32), DType.INT32).int_val) == values
    assert list(encode_tensor(np.array(values, np.int64), DType.INT64).int64_val) == values


def test_content_is_the_bytes_of_the_array() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T
    want = _proto(DType.INT16, 3, 2, tensor_content=np.array([0, 3, 1, 4, 2, 5], "<i2").tobytes())
    assert encode_tensor(array, DType.INT16, as_content=True) == want


def test_strings_as_content_are_their_lengths_and_then_their_bytes() -> None:
    long = b"x" * 300
    proto = encode_tensor(np.array([b"a", long], object), DType.STRING, as_content=True)
    assert proto == _proto(DType.STRING, 2, tensor_content=b"\x01\xac\x02a" + long)
    read = tf.io.parse_tensor(proto.SerializeToString(), tf.string)
    assert read.numpy().tolist() == [b"a", long]


@pytest.mark.parametrize(
    ("array", "dtype", "text"),
    [
        (np.float32([1]), DType.INT32, "An array of float32 cannot be sent as int32"),
        (np.float32([1]), DType.STRING, "An array of float32 cannot be sent as string"),
        (np.array([b"a"], object), DType.FLOAT, "An array of object cannot be sent as float"),
        (np.int64([1]), DType.BOOL, "An array of int64 cannot be sent as bool"),
        (np.int64([1]), DType.RESOURCE, "A tensor of type resource cannot be sent"),
    ],
)
def test_an_array_of_another_kind_than_declared_is_a_fault_of_the_server(array: Array, dtype: DType, text: str) -> None:
    with pytest.raises(Internal, match=text):
        encode_tensor(array, dtype)


def test_the_machine_is_little_endian_as_the_wire_is() -> None:
    assert sys.byteorder == "little"
