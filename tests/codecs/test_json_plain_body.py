from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_plain_body import PlainBody, read_plain_body
from hotserve.codecs.json_request import decode_predict
from hotserve.errors import ServingError
from hotserve.tensors import NUMPY_OF, DType, Signature, TensorSpec

NUMERIC = [dtype for dtype in NUMPY_OF if dtype not in (DType.STRING, DType.BOOL)]


def signature(dtype: DType) -> Signature:
    return Signature({"x": TensorSpec(dtype, None)}, {"y": TensorSpec(dtype, None)})


def padded(nested: str, key: str = "instances", signature_name: str = "") -> bytes:
    """A body with this list, made long enough by white space for the short cut to be tried."""
    named = f'"signature_name": "{signature_name}", ' if signature_name else ""
    return f'{{{named}"{key}": {nested}{" " * 600}}}'.encode()


def nested(leaves: Sequence[str], shape: Sequence[int]) -> str:
    """The leaves as nested lists of this shape."""
    if not shape:
        return leaves[0]
    step = len(leaves) // shape[0]
    return "[" + ", ".join(nested(leaves[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])) + "]"


def assert_agrees(body: bytes, dtype: DType) -> bool:
    """Where the short cut answers, the long way gives the same array; returns whether it did answer."""
    plain = read_plain_body(body)
    short = plain.decode(signature(dtype)) if plain is not None else None
    if short is None:
        return False
    long = decode_predict(parse_document(body), signature(dtype), "")
    assert short.row_format == long.row_format
    assert short.inputs["x"].dtype == long.inputs["x"].dtype
    assert short.inputs["x"].shape == long.inputs["x"].shape
    assert short.inputs["x"].tobytes() == long.inputs["x"].tobytes()
    return True


@pytest.mark.parametrize(
    ("text", "shape", "numbers"),
    [
        ("[1, 2.5, -3e2]", (3,), [1, 2.5, -300.0]),
        ("[[1, 2], [3, 4], [5, 6]]", (3, 2), [1, 2, 3, 4, 5, 6]),
        ("[[[0.5]], [[1]]]", (2, 1, 1), [0.5, 1]),
        ("[\n [ 1 , 2 ]\t]", (1, 2), [1, 2]),
    ],
)
def test_a_list_of_numbers_gives_its_numbers_and_its_shape(
    text: str, shape: tuple[int, ...], numbers: list[float]
) -> None:
    assert read_plain_body(padded(text)) == PlainBody("", True, numbers, shape)


def test_the_key_says_the_format_and_a_signature_may_be_named() -> None:
    assert read_plain_body(padded("[1]", key="inputs")) == PlainBody("", False, [1], (1,))
    assert read_plain_body(padded("[1]", signature_name="serving_default")) == PlainBody(
        "serving_default", True, [1], (1,)
    )


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[[], []]",
        "[[1], []]",
        "[1, 2,]",
        "[,1]",
        "[1 2]",
        "[[1, 2], [3]]",
        "[[1], 2]",
        "[1, [2]]",
        "[1[2]]",
        "[[1]2]",
        "[1[,2]]",
        "[[1],[2]3]",
        "[[1]",
        "[1]]",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[-]",
        "[1e]",
        "[NaN]",
        "[true]",
        "[null]",
        '["1"]',
        '[{"b64": "AA=="}]',
        "1",
        "[1]} {",
        '[1], "other": 2',
        "[" * 100 + "1" + "]" * 100,
    ],
)
def test_whatever_is_not_a_regular_list_of_numbers_is_left_to_the_long_way(text: str) -> None:
    assert read_plain_body(padded(text)) is None


@pytest.mark.parametrize(
    ("text", "dtype"),
    [("[1e39]", DType.FLOAT), ("[1e309]", DType.DOUBLE), ("[1.0]", DType.INT32), ("[300, 3000000000]", DType.INT8)],
)
def test_a_number_that_does_not_fit_its_type_is_left_to_the_long_way(text: str, dtype: DType) -> None:
    plain = read_plain_body(padded(text))
    assert plain is not None
    assert plain.decode(signature(dtype)) is None


def test_a_signature_of_several_inputs_is_left_to_the_long_way() -> None:
    spec = TensorSpec(DType.FLOAT, None)
    plain = read_plain_body(padded("[1]"))
    assert plain is not None
    assert plain.decode(Signature({"a": spec, "b": spec}, {"y": spec})) is None


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**65), 2**65).map(str),
    st.integers(-130, 300).map(str),
    st.sampled_from(["-0", "-0.0", "0.1", "1E5", "1e-400", "123456789012345678901234567890"]),
)


@given(data=st.data(), dtype=st.sampled_from(NUMERIC), key=st.sampled_from(["instances", "inputs"]))
def test_both_ways_give_the_same_array(data: st.DataObject, dtype: DType, key: str) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    leaves = data.draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    assert_agrees(padded(nested(leaves, shape), key), dtype)


@pytest.mark.parametrize("shape", [(784,), (1, 28, 28, 1), (7, 11, 13), (40, 1)])
def test_the_usual_bodies_take_the_short_cut(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).random(shape, np.float32)
    assert assert_agrees(json.dumps({"instances": values.tolist()}).encode(), DType.FLOAT)


@given(text=st.text(alphabet="[], 01.-eE", max_size=40))
def test_any_text_of_brackets_and_numbers_means_the_same_both_ways(text: str) -> None:
    try:
        assert_agrees(padded(f"[{text}]"), DType.FLOAT)
    except ServingError as error:
        raise AssertionError(f"the short cut took what the long way refuses: {error}") from error
