from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_tensor import MAX_RANK, array_of, read_array, read_elements, regular_array
from hotserve.codecs.json_value import JsonValue
from hotserve.errors import InvalidArgument, ServingError, Unimplemented
from hotserve.tensors import Array, DType

READABLE = [
    DType.FLOAT,
    DType.DOUBLE,
    DType.HALF,
    DType.BFLOAT16,
    DType.INT8,
    DType.INT16,
    DType.INT32,
    DType.INT64,
    DType.UINT8,
    DType.UINT16,
    DType.UINT32,
    DType.UINT64,
    DType.BOOL,
    DType.STRING,
]
UNREADABLE = [dtype for dtype in DType if dtype not in READABLE]


def described(array: Array) -> tuple[str, tuple[int, ...], str]:
    """All there is to an array, comparable: NaN is equal to itself here, and -0.0 is not 0.0."""
    return str(array.dtype), array.shape, repr(array.tolist())


@pytest.mark.parametrize(
    ("dtype", "value", "element"),
    [
        (DType.FLOAT, 1, 1.0),
        (DType.FLOAT, 0.1, np.float32(0.1)),
        (DType.FLOAT, 1e39, math.inf),
        (DType.FLOAT, -1e300, -math.inf),
        (DType.FLOAT, 1e-46, 0.0),
        (DType.FLOAT, 16777217, 16777216.0),
        (DType.FLOAT, 2**70, float(2**70)),
        (DType.DOUBLE, 0.1, 0.1),
        (DType.DOUBLE, 2**64 - 1, float(2**64)),
        (DType.DOUBLE, math.inf, math.inf),
        (DType.HALF, 0.1, np.float16(0.1)),
        (DType.HALF, 1e6, math.inf),
        (DType.BFLOAT16, 1.00390625, 1.0),
        (DType.INT32, -(2**31), -(2**31)),
        (DType.INT16, 40000, -25536),
        (DType.INT8, 128, -128),
        (DType.INT8, -(2**31), 0),
        (DType.UINT8, 300, 44),
        (DType.UINT8, -1, 255),
        (DType.INT64, 2**63 - 1, 2**63 - 1),
        (DType.UINT16, 65535, 65535),
        (DType.UINT32, 2**32 - 1, 2**32 - 1),
        (DType.UINT64, 2**64 - 1, 2**64 - 1),
        (DType.BOOL, True, True),
        (DType.BOOL, False, False),
        (DType.STRING, "é\udcff\0", b"\xc3\xa9\xff\0"),
        (DType.STRING, {"b64": "AP8="}, b"\x00\xff"),
    ],
)
def test_a_value_becomes_an_element_of_the_dtype(dtype: DType, value: JsonValue, element: object) -> None:
    for read in (read_array(value, dtype), array_of(read_elements(value, dtype).leaves, dtype, ())):
        assert read.dtype == dtype.numpy
        assert read.shape == ()
        assert read.item() == element


def test_the_sign_of_zero_and_nan_are_kept() -> None:
    read = read_array([-0.0, 0, math.nan], DType.FLOAT)
    assert repr(read.tolist()) == "[-0.0, 0.0, nan]"


@pytest.mark.parametrize(
    ("dtype", "value", "shown"),
    [
        (DType.FLOAT, "a", '"a" Type: String is not of expected type: float'),
        (DType.FLOAT, True, "true Type: True is not of expected type: float"),
        (DType.FLOAT, None, "null Type: Null is not of expected type: float"),
        (DType.FLOAT, {}, "{} Type: Object is not of expected type: float"),
        (DType.DOUBLE, False, "false Type: False is not of expected type: double"),
        (DType.HALF, "1", '"1" Type: String is not of expected type: half'),
        (DType.INT32, 1.0, "1.0 Type: Number is not of expected type: int32"),
        (DType.INT32, 2**31, "2147483648 Type: Number is not of expected type: int32"),
        (DType.INT16, -(2**31) - 1, "-2147483649 Type: Number is not of expected type: int16"),
        (DType.INT8, True, "true Type: True is not of expected type: int8"),
        (DType.UINT8, 2**31, "2147483648 Type: Number is not of expected type: uint8"),
        (DType.INT64, 100.0, "100.0 Type: Number is not of expected type: int64"),
        (DType.INT64, 2**63, "9223372036854775808 Type: Number is not of expected type: int64"),
        (DType.UINT16, 65536, "65536 Type: Number is not of expected type: uint16"),
        (DType.UINT32, -1, "-1 Type: Number is not of expected type: uint32"),
        (DType.UINT32, 2**32, "4294967296 Type: Number is not of expected type: uint32"),
        (DType.UINT64, -1, "-1 Type: Number is not of expected type: uint64"),
        (DType.UINT64, 2**64, "18446744073709552000.0 Type: Number is not of expected type: uint64"),
        (DType.BOOL, 1, "1 Type: Number is not of expected type: bool"),
        (DType.STRING, 1, "1 Type: Number is not of expected type: string"),
        (DType.STRING, None, "null Type: Null is not of expected type: string"),
        (DType.COMPLEX64, {"b64": ""}, '{\n    "b64": ""\n} Type: Object is not of expected type: complex64'),
    ],
)
def test_a_value_of_another_type_is_refused(dtype: DType, value: JsonValue, shown: str) -> None:
    for nested in (value, [value]):
        with pytest.raises(InvalidArgument) as refusal:
            read_array(nested, dtype)
        assert refusal.value.message == f"JSON Value: {shown}"


def test_an_object_for_a_string_must_be_a_base64_object() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_array([{"b64": 5}], DType.STRING)
    assert refusal.value.message == 'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data'


@pytest.mark.parametrize("dtype", UNREADABLE)
def test_a_dtype_without_a_json_form_is_refused(dtype: DType) -> None:
    with pytest.raises(Unimplemented) as refusal:
        read_array([0.5], dtype)
    assert refusal.value.message == f"Conversion of JSON Value: 0.5 to type: {dtype.label}"
    with pytest.raises(Unimplemented) as refusal:
        read_array([], dtype)
    assert refusal.value.message == f"Conversion of JSON Value: [] to type: {dtype.label}"


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, ()),
        ([1, 2], (2,)),
        ([[1, 2], [3, 4], [5, 6]], (3, 2)),
        ([[[[1, 2]], [[3, 4]]]], (1, 2, 1, 2)),
        ([], (0,)),
        ([[], []], (2, 0)),
        ([[[]], [[]], [[]]], (3, 1, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.HALF, DType.UINT8, DType.INT64])
def test_the_nesting_is_the_shape(value: JsonValue, shape: tuple[int, ...], dtype: DType) -> None:
    array = read_array(value, dtype)
    assert array.shape == shape
    assert array.ravel().tolist() == list(range(1, array.size + 1))


@pytest.mark.parametrize("dtype", [DType.STRING, DType.BOOL])
def test_an_empty_list_is_an_empty_tensor(dtype: DType) -> None:
    array = read_array([[]], dtype)
    assert (array.shape, array.dtype) == ((1, 0), dtype.numpy)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], 3], "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([[], 3], "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], [2, 3]], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ([[], [1]], "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        ([[1, 2], [3]], "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([["a"], [1, 2]], 'JSON Value: "a" Type: String is not of expected type: float'),
    ],
)
def test_a_ragged_list_is_refused_with_its_position(value: JsonValue, message: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_array(value, DType.FLOAT)
    assert refusal.value.message == message


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


def test_as_many_dimensions_as_numpy_has_are_read() -> None:
    assert read_array(nested(MAX_RANK), DType.FLOAT).shape == (1,) * MAX_RANK
    assert read_array([nested(MAX_RANK - 1), nested(MAX_RANK - 1)], DType.FLOAT).shape == (2, *(1,) * (MAX_RANK - 1))


@pytest.mark.parametrize("depth", [MAX_RANK + 1, 100_000])
def test_more_dimensions_than_numpy_has_are_refused(depth: int) -> None:
    with pytest.raises(InvalidArgument, match=f"nested too deeply. Expected lists nested at most {MAX_RANK} deep"):
        read_array(nested(depth), DType.FLOAT)
    # A deep value off the path that sets the shape.
    with pytest.raises(InvalidArgument, match="unexpected level: 1 expected < 1"):
        read_array([1, nested(depth)], DType.FLOAT)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, 255, -1, 2**31, 2**32, 2**63, 2**64]),
    st.floats(),
    st.text(max_size=3),
    st.just({"b64": "aGk="}),
    st.just({"b64": "!"}),
)


def _lists(elements: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonValue]:
    """Regular more often than not: the same element again, or elements of one kind."""
    return st.one_of(
        st.lists(elements, max_size=3),
        st.tuples(elements, st.integers(0, 3)).map(lambda drawn: [drawn[0]] * drawn[1]),
        st.lists(st.floats(), max_size=4),
        st.lists(st.integers(-5, 300), max_size=4),
    )


@given(st.recursive(SCALARS, _lists, max_leaves=12), st.sampled_from(list(DType)))
def test_the_quick_way_never_differs_from_the_exact_one(value: JsonValue, dtype: DType) -> None:
    try:
        elements = read_elements(value, dtype)
    except ServingError:
        assert regular_array(value, dtype) is None
        return
    exact = described(array_of(elements.leaves, dtype, elements.shape))
    assert described(read_array(value, dtype)) == exact


NUMBERS = st.floats() | st.integers(-(2**53), 2**53)


@given(
    st.integers(0, 3).flatmap(lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1)),
    st.sampled_from([DType.FLOAT, DType.DOUBLE, DType.HALF]),
)
def test_floats_are_those_of_numpy(rows: list[list[int | float]], dtype: DType) -> None:
    with np.errstate(over="ignore"):
        expected = np.array(rows, np.float64).astype(dtype.numpy)
    assert regular_array(rows, dtype) is not None
    assert described(read_array(rows, dtype)) == described(expected)
