from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.compiled import PlainFrame, PlainTarget, UsualPredict, messages_in_python
from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.codecs.wire import length_delimited, varint
from hotserve.protos import messages
from hotserve.tensors import Array, DType

fast_proto = pytest.importorskip("hotserve.codecs._fast_proto", reason="hotserve was installed without a C compiler")
read_predict: Callable[[bytes], UsualPredict | None] = fast_proto.read_predict
place_of_values: Callable[[bytes], tuple[int, int] | None] = fast_proto.place_of_values

READ = [
    dtype
    for dtype in (LAYOUTS[number].dtype for number in sorted(LAYOUTS))
    if dtype is not DType.STRING and not dtype.name.startswith(("Q", "FLOAT8"))
]
ONLY_AS_CONTENT = {DType.COMPLEX64, DType.COMPLEX128}

SPEC = length_delimited(1, messages.ModelSpec(name="m").SerializeToString())


def arrays_of(usual: UsualPredict) -> dict[str, Array]:
    _, _, kinds, values = usual
    return {
        alias: np.ndarray(shape, LAYOUTS[dtype].numpy, content)
        for (alias, dtype, shape), content in zip(kinds, values, strict=True)
    }


def assert_agrees(data: bytes) -> bool:
    """Where the short cut reads a message, protobuf reads the same; returns whether it did read it."""
    usual = read_predict(data)
    if usual is None:
        return False
    spec, wanted, kinds, _ = usual
    try:
        message = messages.PredictRequest.FromString(data)
    except DecodeError:
        # Nobody has looked into the model_spec; who uses the rest has, or has seen one with the same bytes.
        with pytest.raises(DecodeError):
            messages.ModelSpec.FromString(spec)
        return False
    arrays = arrays_of(usual)
    assert message.HasField("model_spec")
    assert messages.ModelSpec.FromString(spec) == message.model_spec
    assert list(wanted) == list(message.output_filter)
    assert arrays.keys() == set(message.inputs)
    assert len(kinds) == len(message.inputs)
    for alias, dtype, shape in kinds:
        expected = decode_tensor(message.inputs[alias])
        assert dtype == message.inputs[alias].dtype
        assert (arrays[alias].dtype, shape) == (expected.dtype, expected.shape)
        if expected.tobytes() != arrays[alias].tobytes():
            with np.errstate(invalid="ignore"):  # only a signalling NaN may differ: protobuf makes a quiet one of it
                np.testing.assert_array_equal(arrays[alias], expected)
    assert_others_fit_into_the_place(data, usual)
    return True


def assert_others_fit_into_the_place(data: bytes, usual: UsualPredict) -> None:
    """Any bytes in the place of the values are read as the values."""
    place = place_of_values(data)
    if place is None:
        return
    begin, end = place
    assert (data[begin:end],) == usual[3]
    for others in (bytes(end - begin), b"\xff" * (end - begin), bytes(reversed(data[begin:end]))):
        assert read_predict(data[:begin] + others + data[end:]) == (*usual[:3], (others,))


def request(inputs: dict[str, tuple[Array, DType, bool]], wanted: tuple[str, ...] = (), **spec: object) -> bytes:
    message = messages.PredictRequest(output_filter=wanted, model_spec=messages.ModelSpec(name="m", **spec))
    for alias, (array, dtype, as_content) in inputs.items():
        message.inputs[alias].CopyFrom(encode_tensor(array, dtype, as_content))
    return bytes(message.SerializeToString())


def some_numbers(dtype: DType, shape: tuple[int, ...]) -> Array:
    bits = np.random.default_rng(0).integers(0, 256, (*shape, dtype.numpy.itemsize), np.uint8)
    return bits % 2 == 1 if dtype is DType.BOOL else bits.view(dtype.numpy)[..., 0]


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("dtype", READ, ids=str)
def test_numbers_and_flags_of_any_type_are_read(dtype: DType, as_content: bool) -> None:
    for shape in ((1,), (3,), (2, 3), (2, 2, 2), (1, 100)):
        array = some_numbers(dtype, shape)
        if dtype is DType.BOOL:
            array = array[..., 0]
        data = request({"x": (array, dtype, as_content)})
        assert assert_agrees(data) or (dtype in ONLY_AS_CONTENT and not as_content)


def test_scalars_several_inputs_and_a_filter_are_read() -> None:
    data = request(
        {
            "x": (np.float32(2.5).reshape(()), DType.FLOAT, False),
            "n": (np.int64([[-1, 2**62, 0]]), DType.INT64, False),
            "": (np.uint8([255]), DType.UINT8, False),
        },
        wanted=("y", "z", "y"),
        signature_name="s",
    )
    assert assert_agrees(data)
    usual = read_predict(data)
    assert usual is not None
    assert usual[1] == ("y", "z", "y")
    assert sorted(kind[0] for kind in usual[2]) == ["", "n", "x"]


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("dtype", READ, ids=str)
def test_values_have_a_place_of_their_own_where_they_are_written_as_they_are_in_memory(
    dtype: DType, as_content: bool
) -> None:
    array = some_numbers(dtype, (2, 3))
    if dtype is DType.BOOL:
        array = array[..., 0]
    data = request({"x": (array, dtype, as_content)}, wanted=("y",), signature_name="s")
    is_as_in_memory = as_content or dtype in (DType.FLOAT, DType.DOUBLE)
    place = place_of_values(data)
    if is_as_in_memory and dtype is not DType.BOOL:
        assert place is not None
        assert data[slice(*place)] == array.tobytes()
    elif read_predict(data) is not None:
        assert place is None


MESSAGES = [messages_in_python, fast_proto.messages_of_rows]


@pytest.mark.parametrize("write", MESSAGES)
@given(st.binary(max_size=5), st.binary(max_size=40), st.binary(max_size=5), st.integers(1, 8), st.data())
def test_messages_are_their_rows_between_what_all_have_in_common(
    write: Callable[..., list[bytes]], head: bytes, rows: bytes, tail: bytes, row: int, data: st.DataObject
) -> None:
    there = len(rows) // row
    count = data.draw(st.integers(0, there))
    starts = data.draw(st.lists(st.integers(0, there - count), max_size=5))
    expected = [head + rows[row * start : row * (start + count)] + tail for start in starts]
    assert write(head, rows, tail, starts, row, count) == expected


@pytest.mark.parametrize("write", MESSAGES)
@pytest.mark.parametrize(
    ("starts", "row", "rows"),
    [
        ([0, 5], 1, 4),
        ([-1], 1, 1),
        ([0], 1, 9),
        ([], 1, -1),
        ([2**62], 1, 8),
        ([2**62], 4, 1),
        ([2], 4, 1),
        ([0], 0, 0),
        ([0], -1, 1),
        ([0], 4, 2**62),
    ],
)
def test_rows_that_are_not_there_are_never_read(
    write: Callable[..., list[bytes]], starts: list[int], row: int, rows: int
) -> None:
    with pytest.raises(ValueError, match=r"that are not there|more rows|there are"):
        write(b"", bytes(8), b"", starts, row, rows)


FRAMES = [PlainFrame, fast_proto.Frame]


@pytest.mark.parametrize("make", FRAMES)
@given(message=st.binary(max_size=12), other=st.binary(max_size=12), data=st.data())
def test_a_frame_takes_what_is_the_same_but_for_its_values(
    make: type[PlainFrame], message: bytes, other: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, len(message)))
    frame = make(message, start, end)
    assert (frame.before, frame.behind) == (message[:start], message[end:])
    assert frame.values(message) == message[start:end]
    others = data.draw(st.binary(min_size=end - start, max_size=end - start))
    assert frame.values(message[:start] + others + message[end:]) == others
    is_alike = len(other) == len(message) and other[:start] == message[:start] and other[end:] == message[end:]
    assert frame.values(other) == (other[start:end] if is_alike else None)


@pytest.mark.parametrize("make", FRAMES)
@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 5)])
def test_a_frame_around_values_that_are_not_there_is_refused(make: type[PlainFrame], start: int, end: int) -> None:
    with pytest.raises(ValueError, match="not there"):
        make(b"1234", start, end)


def test_the_values_of_several_inputs_have_no_place() -> None:
    x = (np.float32([1]), DType.FLOAT, True)
    assert place_of_values(request({"x": x})) is not None
    assert place_of_values(request({"x": x, "y": x})) is None


def test_what_names_a_version_or_a_label_is_given_as_it_is() -> None:
    x = {"x": (np.float32([1]), DType.FLOAT, True)}
    for spec in ({"version_label": "stable"}, {"version": {"value": 3}}, {}):
        assert assert_agrees(request(x, **spec))


def tensor(*fields: bytes) -> bytes:
    return SPEC + length_delimited(2, length_delimited(1, b"x") + length_delimited(2, b"".join(fields)))


FLOAT = b"\x08\x01"
THREE = length_delimited(2, length_delimited(2, b"\x08\x03"))
VALUES = length_delimited(5, bytes(12))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(tensor(FLOAT, THREE, VALUES).removeprefix(SPEC), id="no model_spec"),
        pytest.param(SPEC, id="no inputs"),
        pytest.param(SPEC + tensor(FLOAT, THREE, VALUES), id="two model_specs, which are merged"),
        pytest.param(tensor(FLOAT, THREE, VALUES) + tensor(FLOAT, VALUES)[len(SPEC) :], id="an alias twice"),
        pytest.param(tensor(FLOAT, THREE, VALUES) + b"\x30\x01", id="an unknown field"),
        pytest.param(tensor(FLOAT, THREE, VALUES, VALUES), id="values in two pieces"),
        pytest.param(tensor(FLOAT, THREE, length_delimited(5, bytes(8))), id="too few values"),
        pytest.param(tensor(FLOAT, THREE, length_delimited(5, bytes(16))), id="too many values"),
        pytest.param(tensor(FLOAT, THREE, length_delimited(6, bytes(24))), id="values of another type"),
        pytest.param(tensor(FLOAT, THREE, b"\x2d" + bytes(4)), id="a value that is not packed"),
        pytest.param(tensor(FLOAT, THREE, THREE, VALUES), id="two shapes, which are merged"),
        pytest.param(tensor(FLOAT, FLOAT, THREE, VALUES), id="two dtypes"),
        pytest.param(tensor(THREE, VALUES), id="no dtype"),
        pytest.param(tensor(FLOAT, length_delimited(2, b"\x18\x01"), VALUES), id="unknown_rank"),
        pytest.param(tensor(FLOAT, length_delimited(2, length_delimited(2, b""))), id="a dimension of nothing"),
        pytest.param(
            tensor(FLOAT, length_delimited(2, length_delimited(2, b"\x08" + varint(2**64 - 1))), VALUES),
            id="a negative dimension",
        ),
        pytest.param(
            tensor(FLOAT, length_delimited(2, 3 * length_delimited(2, b"\x08" + varint(2**22))), VALUES),
            id="more values than there are",
        ),
        pytest.param(tensor(b"\x08\x0a", THREE, length_delimited(4, b"\x00\x01\x02")), id="a flag that is two"),
        pytest.param(tensor(b"\x08\x0a", THREE, length_delimited(11, b"\x80\x01\x00\x00")), id="a flag of two bytes"),
        pytest.param(tensor(b"\x08\x09", THREE, length_delimited(10, b"\x01\x02\x83")), id="a number cut off"),
        pytest.param(tensor(b"\x08\x09", length_delimited(10, b"\xff" * 9 + b"\x02")), id="a number of 65 bits"),
        pytest.param(tensor(b"\x08\x07", THREE, length_delimited(8, b"a") * 3), id="strings"),
        pytest.param(tensor(FLOAT, THREE, VALUES) + length_delimited(3, "\xe9".encode()), id="a filter beyond ASCII"),
    ],
)
def test_what_is_unusual_is_left_to_protobuf(data: bytes) -> None:
    assert read_predict(data) is None


def test_fields_may_come_in_any_order() -> None:
    assert assert_agrees(tensor(VALUES, THREE, FLOAT))
    entry = length_delimited(2, length_delimited(2, FLOAT + THREE + VALUES) + length_delimited(1, b"x"))
    assert assert_agrees(entry + length_delimited(3, b"y") + SPEC)


shapes = st.lists(st.integers(0, 3), max_size=3)
numbers = st.sampled_from([0, 1, 2, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1])


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    dtype = draw(st.sampled_from([*READ, DType.STRING, DType.QINT8, DType.INVALID]))
    layout = LAYOUTS.get(dtype)
    shape = draw(shapes)
    count = int(np.prod(shape, dtype=int)) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    dims = b"".join(length_delimited(2, b"\x08" + varint(size)) for size in shape)
    fields = [b"\x08" + varint(dtype), length_delimited(2, dims)]
    number = draw(st.sampled_from([4, layout.number, layout.number]) if layout is not None else st.integers(4, 17))
    size = layout.numpy.itemsize if layout is not None and dtype is not DType.STRING else 4
    if number in (4, 5, 6):
        length = max(0, count) * size
        fields.append(length_delimited(number, draw(st.binary(min_size=length, max_size=length))))
    else:
        values = [draw(numbers) for _ in range(max(0, count))]
        fields.append(length_delimited(number, b"".join(map(varint, values))))
    fields += draw(st.lists(st.sampled_from([*fields, b"\x18\x01", b"\x98\x06\x01"]), max_size=1))
    return b"".join(draw(st.permutations(fields)))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from(["", "x", "y", "\xe9"]), min_size=1, max_size=3))
    fields = []
    for name in names:
        entry = [length_delimited(1, name.encode()), length_delimited(2, draw(tensors()))]
        fields.append(length_delimited(2, b"".join(draw(st.permutations(entry)))))
    wanted = draw(st.lists(st.sampled_from(["y", "", "\xe9"]), max_size=2))
    fields += [length_delimited(3, name.encode()) for name in wanted]
    specs = [SPEC, SPEC, length_delimited(1, b""), length_delimited(1, b"\x0a")]
    fields += draw(st.lists(st.sampled_from(specs), max_size=2))
    fields += draw(st.lists(st.sampled_from([b"\x30\x01", length_delimited(5, b""), b"\x00"]), max_size=1))
    return b"".join(draw(st.permutations(fields)))


@given(requests())
def test_whatever_is_read_is_what_protobuf_reads(data: bytes) -> None:
    assert_agrees(data)


TARGETS = [PlainTarget, fast_proto.Target]


@pytest.mark.parametrize("make", TARGETS)
@given(requests(), requests())
def test_whoever_names_a_target_names_what_the_message_did_that_it_is_of(
    make: type[PlainTarget], one: bytes, other: bytes
) -> None:
    usual = read_predict(one)
    if usual is None:
        return
    target = make(usual[0], usual[1])
    for message in (one, other):
        if target.is_named_by(message) and (read := read_predict(message)) is not None:
            assert read[:2] == usual[:2]


@pytest.mark.parametrize("make", TARGETS)
def test_a_target_is_named_whatever_the_inputs_are_and_only_with_the_same_spec_and_filter(
    make: type[PlainTarget],
) -> None:
    x = {"x": (np.float32([1]), DType.FLOAT, True)}
    large = {"x": (np.zeros(300, np.float32), DType.FLOAT, False), "n": (np.int64([1]), DType.INT64, False)}
    for wanted in ((), ("y",), ("y", "z")):
        usual = read_predict(request(x, wanted))
        assert usual is not None
        target = make(usual[0], usual[1])
        assert target.is_named_by(request(x, wanted))
        assert target.is_named_by(request(large, wanted))
        for others in ((), ("y",), ("y", "z"), ("z",), ("z", "y"), ("y", "y")):
            assert target.is_named_by(request(large, others)) == (others == wanted)
        assert not target.is_named_by(request(x, wanted, signature_name="s"))
        assert not target.is_named_by(request(x, wanted) + length_delimited(1, b"\x1a\x01s"))
        assert not target.is_named_by(request(x, wanted)[:-1])
        assert not target.is_named_by(b"")
        assert not target.is_named_by(SPEC + b"\x12\xff\xff\xff\xff\x7f")
        assert not target.is_named_by(SPEC + b"\x12")


@given(requests(), st.integers(0, 400))
def test_both_twins_take_the_same_for_a_target(data: bytes, length: int) -> None:
    spec = messages.ModelSpec(name="m").SerializeToString()
    for wanted in ((), ("y",), ("", "y")):
        plain, compiled = (make(spec, wanted) for make in TARGETS)
        for message in (data, data[:length], SPEC + data, SPEC + data[:length]):
            assert plain.is_named_by(message) == compiled.is_named_by(message)


@given(st.data())
def test_a_damaged_message_is_read_as_protobuf_reads_it_or_left_to_it(data: st.DataObject) -> None:
    whole = bytearray(
        request(
            {
                "x": (np.float32([[1, 2, 3]]), DType.FLOAT, data.draw(st.booleans())),
                "n": (np.int64([7, -7]), DType.INT64, False),
            },
            ("y",),
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                whole[place] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[place : place + data.draw(st.integers(1, 4))]
            case _:
                whole.insert(place, data.draw(st.integers(0, 255)))
        if not whole:
            break
    assert_agrees(bytes(whole))
