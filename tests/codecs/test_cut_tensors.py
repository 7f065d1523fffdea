from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from hotserve.codecs.cut_tensors import CONTENT_NUMBER, CutValues, cut_tensors, pieces_of
from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import (
    TensorDecodeError,
    decode_tensor,
    encode_tensor,
    serialize_tensor,
    serialize_tensor_in_parts,
    serialized_head,
)
from hotserve.codecs.wire import length_delimited, varint
from hotserve.protos.messages import PredictRequest, TensorProto
from hotserve.tensors import DType

COUNT = 80_000
"""Elements enough for every type to be cut out."""

PACKED = sorted(
    DType(number)
    for number, layout in LAYOUTS.items()
    if layout.dtype is not DType.STRING and layout.field != "float8_val"
)


def _array(dtype: DType, count: int = COUNT) -> Any:
    bits = LAYOUTS[int(dtype)].bits
    data = np.random.default_rng(7).integers(0, 256, count * dtype.numpy.itemsize, np.uint8)
    if bits == np.bool_:
        return data > 127
    if dtype.numpy.kind in "fc":
        return np.linspace(-3e4, 3e4, count).astype(dtype.numpy)
    return data.view(bits).astype(bits).view(dtype.numpy)[:count]


def _request(**inputs: TensorProto) -> PredictRequest:
    request = PredictRequest()
    request.model_spec.name = "m"
    request.output_filter.append("y")
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    return request


def _entry(alias: str, *tensor_fields: bytes) -> bytes:
    """A field of a PredictRequest: an input whose tensor has these fields."""
    return length_delimited(2, length_delimited(1, alias.encode()) + length_delimited(2, b"".join(tensor_fields)))


@pytest.mark.parametrize("as_content", [True, False], ids=["tensor_content", "typed"])
@pytest.mark.parametrize("dtype", PACKED, ids=lambda dtype: dtype.label)
def test_what_is_cut_out_is_what_protobuf_reads(dtype: DType, as_content: bool) -> None:
    small = encode_tensor(np.ones(3, np.float32), DType.FLOAT)
    request = _request(x=encode_tensor(_array(dtype).reshape(100, -1), dtype, as_content), small=small)
    found = cut_tensors(request.SerializeToString())
    assert found is not None
    rest = PredictRequest.FromString(found[0])
    assert list(found[1]) == ["x"]
    assert len(found[0]) < 1000
    assert rest.model_spec.name == "m"
    assert list(rest.output_filter) == ["y"]
    assert rest.inputs["small"] == small
    ours = decode_tensor(rest.inputs["x"], found[1]["x"])
    theirs = decode_tensor(request.inputs["x"])
    assert ours.dtype == theirs.dtype
    assert ours.shape == (100, COUNT // 100)
    assert ours.tobytes() == theirs.tobytes()
    assert ours.flags.aligned


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50), st.integers(1, 3000))
def test_varints_of_every_length_are_read_as_protobuf_reads_them(numbers: list[int], shift: int) -> None:
    proto = TensorProto(dtype=DType.INT64)
    proto.tensor_shape.dim.add(size=70_000)
    # Longer than a slice, which ends anywhere.
    proto.int64_val.extend(([0] * shift + numbers * 70_000)[:70_000])
    found = cut_tensors(_request(x=proto).SerializeToString())
    assert found is not None
    rest = PredictRequest.FromString(found[0])
    np.testing.assert_array_equal(decode_tensor(rest.inputs["x"], found[1]["x"]), decode_tensor(proto))


def test_missing_values_are_filled_in_and_values_of_another_type_do_not_count() -> None:
    proto = encode_tensor(_array(DType.FLOAT), DType.FLOAT)
    proto.tensor_shape.dim[0].size = COUNT + 2
    other = encode_tensor(_array(DType.DOUBLE), DType.DOUBLE)
    other.dtype = DType.FLOAT
    found = cut_tensors(_request(short=proto, other=other).SerializeToString())
    assert found is not None
    rest = PredictRequest.FromString(found[0])
    for alias, theirs in {"short": proto, "other": other}.items():
        np.testing.assert_array_equal(decode_tensor(rest.inputs[alias], found[1][alias]), decode_tensor(theirs))


def test_content_that_does_not_fit_the_shape_is_refused_in_the_same_words() -> None:
    proto = encode_tensor(_array(DType.FLOAT), DType.FLOAT, True)
    proto.tensor_shape.dim[0].size = 3
    found = cut_tensors(_request(x=proto).SerializeToString())
    assert found is not None
    with pytest.raises(TensorDecodeError) as theirs:
        decode_tensor(proto)
    with pytest.raises(TensorDecodeError) as ours:
        decode_tensor(PredictRequest.FromString(found[0]).inputs["x"], found[1]["x"])
    assert ours.value.message == theirs.value.message


def test_strings_in_tensor_content_are_read_as_ever() -> None:
    array = np.array([b"a" * 70_000, b""], object)
    request = _request(x=encode_tensor(array, DType.STRING, True))
    found = cut_tensors(request.SerializeToString())
    assert found is not None
    read = decode_tensor(PredictRequest.FromString(found[0]).inputs["x"], found[1]["x"])
    assert read.tolist() == array.tolist()


def test_many_strings_are_what_protobuf_reads() -> None:
    lengths = np.random.default_rng(3).integers(0, 300, 5000).tolist()
    array = np.array([bytes([65 + length % 26]) * length for length in lengths], object)
    for count in (5000, 5001, 4999):  # as many as there are, the last one repeated, one too many
        proto = encode_tensor(array, DType.STRING)
        proto.tensor_shape.dim[0].size = count
        data = _request(x=proto).SerializeToString()
        found = cut_tensors(data)
        assert found is not None
        assert len(found[0]) < 100
        ours = decode_tensor(PredictRequest.FromString(found[0]).inputs["x"], found[1]["x"])
        assert ours.tolist() == decode_tensor(proto).tolist()


def test_strings_do_not_count_in_a_tensor_of_numbers() -> None:
    proto = encode_tensor(np.array([b"a" * 70_000], object), DType.STRING)
    proto.dtype = DType.FLOAT
    found = cut_tensors(_request(x=proto).SerializeToString())
    assert found is not None
    assert decode_tensor(PredictRequest.FromString(found[0]).inputs["x"], found[1]["x"]).tolist() == [0.0]


@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.DOUBLE, DType.COMPLEX64, DType.COMPLEX128])
def test_numbers_that_are_not_packed_are_what_protobuf_reads(dtype: DType) -> None:
    layout = LAYOUTS[int(dtype)]
    values = _array(dtype)
    size = layout.wire.itemsize
    numbers = values.view(np.uint8).reshape(-1, size)
    fields = np.empty((len(numbers), size + 1), np.uint8)
    fields[:, 0] = layout.number << 3 | (5 if size == 4 else 1)
    fields[:, 1:] = numbers
    # Another field behind them, whose bytes may look like one more of them.
    data = _entry(
        "x", serialized_head(dtype, values.shape), fields.tobytes(), length_delimited(4, bytes(fields[0]) * 3)
    )
    found = cut_tensors(data)
    assert found is not None
    assert len(found[0]) < 100
    proto = PredictRequest.FromString(found[0]).inputs["x"]
    proto.ClearField("tensor_content")
    np.testing.assert_array_equal(decode_tensor(proto, found[1]["x"]), values)


def test_of_two_entries_with_one_key_the_later_one_counts() -> None:
    first = serialize_tensor(_array(DType.FLOAT), DType.FLOAT)
    second = serialize_tensor(_array(DType.FLOAT) + 1, DType.FLOAT)
    small = serialize_tensor(np.zeros(2, np.float32), DType.FLOAT)
    for fields in ((first, second), (second, first), (first, small), (small, first)):
        data = b"".join(_entry("x", field) for field in fields)
        found = cut_tensors(data)
        assert found is not None
        ours = decode_tensor(PredictRequest.FromString(found[0]).inputs["x"], found[1].get("x"))
        np.testing.assert_array_equal(ours, decode_tensor(PredictRequest.FromString(data).inputs["x"]))


LARGE = bytes(1 << 17)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_entry("x", length_delimited(5, LARGE), length_delimited(5, LARGE)), id="values in two pieces"),
        pytest.param(_entry("x", length_delimited(5, LARGE), length_delimited(5, bytes(4))), id="and a small piece"),
        pytest.param(_entry("x", varint(5 << 3 | 5) + bytes(4), length_delimited(5, LARGE)), id="one not packed"),
        pytest.param(
            _entry("x", length_delimited(8, LARGE), b"\x08\x07", length_delimited(8, b"")), id="strings apart"
        ),
        pytest.param(_entry("x", length_delimited(8, LARGE), b"\x42\x05"), id="a string that is cut off"),
        pytest.param(_entry("x", b"\x50\x01" * 40_000), id="varints one by one"),
        pytest.param(_entry("x", length_delimited(5, LARGE + b"\0")), id="no whole number of floats"),
        pytest.param(_entry("x", length_delimited(10, LARGE + b"\x80")), id="a varint that is cut off"),
        pytest.param(_entry("x", length_delimited(10, LARGE + b"\x80" * 10 + b"\0")), id="a varint that is too long"),
        pytest.param(_entry("x", length_delimited(10, b"\x80" * (1 << 19) + b"\0")), id="one that is far too long"),
        pytest.param(_entry("x", length_delimited(99, LARGE)), id="a field that there is not"),
        pytest.param(_entry("x", length_delimited(5, LARGE))[:-1], id="a request that is cut off"),
        pytest.param(_entry("x", varint(5 << 3 | 2) + b"\xff\xff\xff\xff\x0f" + LARGE), id="a length too large"),
        pytest.param(length_delimited(2, length_delimited(2, LARGE) * 2), id="two values in an entry"),
        pytest.param(length_delimited(2, length_delimited(1, b"\xff") + length_delimited(2, LARGE)), id="no UTF-8"),
        pytest.param(b"\x0b" + LARGE, id="a group"),
        pytest.param(b"\x00" + LARGE, id="field 0"),
        pytest.param(length_delimited(3, b"y") * 5000, id="thousands of fields"),
    ],
)
def test_what_is_unusual_is_left_to_protobuf(data: bytes) -> None:
    assert cut_tensors(data) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_came_is_read_as_protobuf_reads_it_or_left_to_it(data: st.DataObject) -> None:
    whole = bytearray(
        _request(
            x=encode_tensor(_array(DType.INT64, 9000), DType.INT64),
            y=encode_tensor(_array(DType.FLOAT, 17_000), DType.FLOAT, True),
        ).SerializeToString()
    )
    # The fields around the values are at the beginnings of the two entries and of the message.
    places = [*range(60), *range(whole.index(b"\x01y") - 10, whole.index(b"\x01y") + 40)]
    for place in data.draw(st.lists(st.sampled_from(places), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    found = cut_tensors(bytes(whole))
    if found is None:
        return
    try:
        theirs = PredictRequest.FromString(bytes(whole))
    except DecodeError:
        # What is left is no message either, unless a byte of what was cut out is to blame, which cannot be.
        with pytest.raises(DecodeError):
            PredictRequest.FromString(found[0])
        return
    rest = PredictRequest.FromString(found[0])
    assert rest.inputs.keys() == theirs.inputs.keys()
    for alias in theirs.inputs:
        assert _read(rest.inputs[alias], found[1].get(alias)) == _read(theirs.inputs[alias], None)


def _read(proto: TensorProto, cut: CutValues | None) -> Any:
    try:
        array = decode_tensor(proto, cut)
    except TensorDecodeError as error:
        return error.message
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


@pytest.mark.parametrize("as_content", [True, False], ids=["tensor_content", "typed"])
@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.INT64, DType.STRING, DType.HALF], ids=lambda dtype: dtype.label)
def test_parts_of_a_tensor_are_the_tensor(dtype: DType, as_content: bool) -> None:
    array = np.array([b"ab", b""], object) if dtype is DType.STRING else _array(dtype, 1_300_000).reshape(2, -1)
    parts = serialize_tensor_in_parts(array, dtype, as_content)
    assert b"".join(parts) == serialize_tensor(array, dtype, as_content)
    if as_content and dtype is DType.FLOAT:
        assert max(map(len, parts)) <= 1 << 21


def test_an_array_that_is_not_contiguous_is_cut_in_its_order() -> None:
    array = np.arange(600_000, dtype=np.float32).reshape(2, -1).T
    assert b"".join(serialize_tensor_in_parts(array, DType.FLOAT)) == serialize_tensor(array, DType.FLOAT)
    assert b"".join(pieces_of(array.reshape(-1))) == array.tobytes()


def test_content_is_cut_out_by_its_number() -> None:
    found = cut_tensors(_entry("x", serialize_tensor(_array(DType.FLOAT), DType.FLOAT, True)))
    assert found is not None
    assert found[1]["x"].number == CONTENT_NUMBER
