from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_numbers import float_texts
from hotserve.tensors import DType, dtype_of_array


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1.0"),
        (0.1, "0.1"),
        (1 / 3, "0.333333343"),
        (999999, "999999.0"),
        (1e6, "1e+06"),
        (1234567, "1234567.0"),
        (0.00003, "3e-05"),
        (3.4028235e38, "3.40282347e+38"),
        (1.70141173e38, "1.70141173e+38"),
        (10000002, "10000002.0"),
        (0.693147182, "0.693147182"),
        (1e-45, "1.4013e-45"),
        (-0.0, "-0.0"),
        (-2.5, "-2.5"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_a_float_takes_six_digits_or_else_nine(value: float, text: str) -> None:
    assert float_texts(np.array([value], np.float32), DType.FLOAT) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.33333333333333331"),
        (0.1, "0.1"),
        (123456789, "123456789.0"),
        (1e15, "1e+15"),
        (1e16, "1e+16"),
        (2.5e-08, "2.5e-08"),
        (0.30000000000000004, "0.30000000000000004"),
        (1e100, "1e+100"),
        (5e-324, "4.94066e-324"),
        (-0.0, "-0.0"),
    ],
)
def test_a_double_takes_six_digits_or_else_seventeen(value: float, text: str) -> None:
    assert float_texts(np.array([value]), DType.DOUBLE) == [text]


@pytest.mark.parametrize("dtype", [DType.HALF, DType.BFLOAT16])
def test_every_16_bit_number_survives(dtype: DType) -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(dtype.numpy)
    texts = float_texts(numbers, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        read_back = np.array(texts, np.float64).astype(dtype.numpy)
        ordinary = ~np.isnan(numbers)
    assert (read_back.view(np.uint16) == numbers.view(np.uint16))[ordinary].all()
    assert {text for text, same in zip(texts, ordinary, strict=True) if not same} == {"NaN"}
    assert max(map(len, texts)) <= len("-9.99999e-99")


@given(st.lists(st.floats(width=32), max_size=5))
def test_every_float_survives(numbers: list[float]) -> None:
    texts = float_texts(np.array(numbers, np.float32), DType.FLOAT)
    with np.errstate(over="ignore"):
        assert repr([float(np.float32(text)) for text in texts]) == repr(numbers)


@given(st.lists(st.floats(), max_size=5))
def test_every_double_survives_and_looks_like_one(numbers: list[float]) -> None:
    texts = float_texts(np.array(numbers, np.float64), DType.DOUBLE)
    assert repr([float(text) for text in texts]) == repr(numbers)
    assert all(set(text) & set(".eN") or text.endswith("Infinity") for text in texts)


def test_numbers_come_last_dimension_first() -> None:
    array = np.array([[1, 2], [3, 4]], ml_dtypes.bfloat16)
    assert float_texts(array, dtype_of_array(array)) == ["1.0", "2.0", "3.0", "4.0"]
    assert float_texts(array.T, DType.BFLOAT16) == ["1.0", "3.0", "2.0", "4.0"]
    assert float_texts(np.float32([[]]), DType.FLOAT) == []
