from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hotserve.codecs import compiled
from hotserve.codecs.json_lists import number_lists
from hotserve.codecs.json_reader import read_document
from hotserve.codecs.json_response import encode_error, encode_predictions, encode_rows
from hotserve.codecs.json_tensor import read_array
from hotserve.errors import InvalidArgument
from hotserve.tensors import Array, DType, dtype_of_array


def strings(*values: bytes | str) -> Array:
    return np.array(values, object)


@pytest.mark.parametrize(
    ("outputs", "body"),
    [
        ({"y": np.float32([2.5, 3, 4.5])}, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'),
        ({"y": np.float32([[1.5, 2.5], [1.5, 2.5]])}, '{\n    "predictions": [[1.5, 2.5], [1.5, 2.5]\n    ]\n}'),
        (
            {"a": np.float32([[1.5, 2.5], [1.5, 2.5]]), "b": np.float32([3, 3])},
            '{\n    "predictions": [\n        {\n            "a": [1.5, 2.5],\n            "b": 3.0\n        },\n'
            '        {\n            "a": [1.5, 2.5],\n            "b": 3.0\n        }\n    ]\n}',
        ),
        (
            {"y_bytes": strings(b"i", b"")},
            """{
    "predictions": [{
            "b64": "aQ=="
        }, {
            "b64": ""
        }
    ]
}""",
        ),
        (
            {"n": np.int64([1]), "y_bytes": strings(b"i")},
            """{
    "predictions": [
        {
            "n": 1,
            "y_bytes": {
                "b64": "aQ=="
            }
        }
    ]
}""",
        ),
        ({"y": np.float32([])}, '{\n    "predictions": []\n}'),
        ({"y": np.zeros((0, 3)), "z": np.zeros(0)}, '{\n    "predictions": []\n}'),
        ({"y": np.zeros((2, 0, 3))}, '{\n    "predictions": [[], []\n    ]\n}'),
        ({"y": np.zeros((1, 2, 0))}, '{\n    "predictions": [[[], []]\n    ]\n}'),
        ({"y": np.array([True, False])}, '{\n    "predictions": [true, false\n    ]\n}'),
    ],
)
def test_rows_are_laid_out_as_the_original_does(outputs: dict[str, Array], body: str) -> None:
    assert encode_predictions(outputs, row_format=True) == body.encode()


@pytest.mark.parametrize(
    ("outputs", "body"),
    [
        ({"y": np.float32(3.5)}, '{\n    "outputs": 3.5\n}'),
        ({"y": np.int32([])}, '{\n    "outputs": []\n}'),
        ({"y": np.uint64([[0, 2**64 - 1]])}, '{\n    "outputs": [[0, 18446744073709551615]]\n}'),
        (
            {"m": np.int64(4), 'q"': np.float64([1 / 3, np.nan])},
            '{\n    "outputs": {\n        "m": 4,\n        "q\\"": [0.33333333333333331, NaN]\n    }\n}',
        ),
        ({"y": strings("é", b"a\n\0")}, '{\n    "outputs": ["é", "a\\n\\u0000"]\n}'),
        ({"y": np.array(b"abc")}, '{\n    "outputs": "abc"\n}'),
        ({"y": np.array(["a", "b"])}, '{\n    "outputs": ["a", "b"]\n}'),
        ({"y": np.float16([0.1, -np.inf])}, '{\n    "outputs": [0.0999756, -Infinity]\n}'),
        ({"y": np.array([0.1], ml_dtypes.bfloat16)}, '{\n    "outputs": [0.100098]\n}'),
        ({"y": np.uint16([65535])}, '{\n    "outputs": [65535]\n}'),
    ],
)
def test_columns_are_whole_values(outputs: dict[str, Array], body: str) -> None:
    assert encode_predictions(outputs, row_format=False) == body.encode()


@pytest.mark.parametrize("name", ["y", "y_bytes"])
def test_a_string_that_is_no_utf8_is_written_as_base64_whatever_its_name(name: str) -> None:
    body = encode_predictions({name: strings(b"\xff\xfe")}, row_format=True)
    assert json.loads(body) == {"predictions": [{"b64": "//4="}]}


def test_only_the_string_that_needs_it_is_written_as_base64() -> None:
    body = encode_predictions({"y": strings(b"\xff", b"plain")}, row_format=False)
    assert json.loads(body) == {"outputs": [{"b64": "/w=="}, "plain"]}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.float32(1)}, "Tensor name: y has no shape information "),
        (
            {"y": np.zeros(3), "two": np.zeros(2)},
            "Tensor name: two has inconsistent batch size: 2 expecting: 3",
        ),
        ({"y": np.zeros(1, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
        ({"y": np.zeros(1, np.complex128)}, "Failed to write JSON value for tensor type: complex128"),
        (
            {"y": np.zeros(1, ml_dtypes.float8_e5m2)},
            "Failed to write JSON value for tensor type: float8_e5m2",
        ),
        ({"y": np.zeros(1, "datetime64[s]")}, "Failed to write JSON value for tensor type: datetime64[s]"),
        (
            {"y": np.array([None])},
            "Failed to write JSON value for tensor type: string. Expected elements of type bytes, but the model gave "
            "one of type NoneType",
        ),
    ],
)
def test_what_json_cannot_express_is_refused(outputs: dict[str, Array], message: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        encode_predictions(outputs, row_format=True)
    assert refusal.value.message == message


def test_an_array_in_any_memory_order_is_written_last_dimension_first() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    written = json.loads(encode_predictions({"y": array.T}, row_format=False))
    assert written == {"outputs": [[0, 3], [1, 4], [2, 5]]}


NUMERIC = [
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
]
SHAPES = hnp.array_shapes(max_dims=3, max_side=3)


def arrays(dtype: DType) -> st.SearchStrategy[Array]:
    if dtype is DType.BFLOAT16:
        # Every bit pattern; hypothesis does not know the type.
        return hnp.arrays(np.uint16, SHAPES).map(lambda bits: bits.view(ml_dtypes.bfloat16))
    return hnp.arrays(dtype.numpy, SHAPES)


@st.composite
def shared_rows(draw: st.DrawFn) -> tuple[dict[str, Array], list[int], list[int]]:
    """Outputs with the rows of some requests, where those of each begin, and how many they are."""
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    outputs = {}
    for name in draw(st.sampled_from([("y",), ("y", "z")])):
        dtype = draw(st.sampled_from(NUMERIC))
        tail = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=2))
        bits = np.dtype(np.uint16) if dtype is DType.BFLOAT16 else dtype.numpy
        array = draw(hnp.arrays(bits, (sum(counts), *tail)))
        outputs[name] = array.view(ml_dtypes.bfloat16) if dtype is DType.BFLOAT16 else array
    starts = [sum(counts[:index]) for index in range(len(counts))]
    chosen = draw(st.lists(st.sampled_from(range(len(counts))), min_size=1, unique=True))
    return outputs, [starts[index] for index in chosen], [counts[index] for index in chosen]


@given(shared_rows(), st.booleans())
def test_each_of_several_requests_has_the_body_that_its_rows_have_alone(
    shared: tuple[dict[str, Array], list[int], list[int]], row_format: bool
) -> None:
    outputs, starts, counts = shared
    assert encode_rows(outputs, row_format, starts, counts) == [
        encode_predictions({name: array[start : start + count] for name, array in outputs.items()}, row_format)
        for start, count in zip(starts, counts, strict=True)
    ]


@pytest.mark.skipif(not compiled.IS_USED, reason="it is the extension's")
@pytest.mark.parametrize(
    ("data", "shape", "starts", "counts"),
    [
        (bytes(8), (2,), [0, 1], [1]),
        (bytes(8), (2,), [1], [2]),
        (bytes(8), (2,), [-1], [1]),
        (bytes(8), (2,), [0], [0]),
        (bytes(9), (2,), [0], [1]),
        (bytes(8), (0,), [0], [1]),
        (bytes(8), (2, 2), [0], [1]),
    ],
)
def test_rows_that_are_not_there_are_never_written(
    data: bytes, shape: tuple[int, ...], starts: list[int], counts: list[int]
) -> None:
    assert compiled.EXTENSION is not None
    with pytest.raises(ValueError, match="expected"):
        compiled.EXTENSION.answers_of_rows(data, shape, "f", True, starts, counts)


def same(a: Array, b: Array) -> bool:
    """Whether all values are equal, NaN to NaN, and zeros in sign too."""
    return a.dtype == b.dtype and a.shape == b.shape and repr(a.tolist()) == repr(b.tolist())


@given(st.sampled_from(NUMERIC).flatmap(arrays))
def test_every_array_survives_a_round_trip(array: Array) -> None:
    dtype = dtype_of_array(array)
    for row_format, key in ((True, "predictions"), (False, "outputs")):
        body = encode_predictions({"y": array}, row_format)
        for document in (read_document(body), json.loads(body)):
            assert same(read_array(document[key], dtype), array)


@given(st.lists(st.tuples(st.binary(max_size=6), st.text(max_size=4)), min_size=1, max_size=4))
def test_every_string_survives_a_round_trip(values: list[tuple[bytes, str]]) -> None:
    flat: list[bytes] = [data for pair in values for data in (pair[0], pair[1].encode("utf-8", "surrogatepass"))]
    array = strings(*flat).reshape(-1, 2)
    for name in ("y", "y_bytes"):
        document: Any = json.loads(encode_predictions({name: array}, row_format=True))
        assert same(read_array(document["predictions"], DType.STRING), array)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("Missing 'inputs' or 'instances' key", "{\n    \"error\": \"Missing 'inputs' or 'instances' key\"\n}"),
        ('JSON Value: "a"\n\x0b\x7fé/', '{\n    "error": "JSON Value: \\"a\\"\\n\\u000B\x7fé/"\n}'),
        ("lone \ud800 and escaped \udcff", '{\n    "error": "lone \ufffd and escaped \ufffd"\n}'),
    ],
)
def test_an_error_is_one_member_and_always_utf8(message: str, body: str) -> None:
    assert encode_error(message) == body.encode()


@pytest.mark.parametrize("row_format", [True, False])
@pytest.mark.parametrize("shape", [(200_000,), (1, 100_000), (3, 70_000), (40_000, 1, 3), (2, 1, 70_001)])
def test_a_large_output_is_written_in_pieces_as_a_small_one_is(shape: tuple[int, ...], row_format: bool) -> None:
    array = np.linspace(-1, 1, math.prod(shape)).astype(np.float32).reshape(shape)
    written = encode_predictions({"y": array}, row_format)
    listed = number_lists(array, DType.FLOAT, False)[0]
    expected = f'"predictions": {listed[:-1]}\n    ]' if row_format else f'"outputs": {listed}'
    assert written == f"{{\n    {expected}\n}}".encode()
