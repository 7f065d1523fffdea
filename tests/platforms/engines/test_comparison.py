from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hotserve.platforms.engines.comparison import compare, compare_arrays, largest_of

FLOATS = arrays.arrays(np.float32, arrays.array_shapes(min_side=0), elements=st.floats(width=32))


@given(FLOATS)
def test_an_array_agrees_with_itself_whatever_is_in_it(array: np.ndarray) -> None:
    difference = compare_arrays(array, array.copy())
    assert difference.agrees
    assert difference.absolute == 0


@given(arrays.arrays(np.float32, 5, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_what_rounding_changes_agrees(array: np.ndarray) -> None:
    assert compare_arrays(array, np.nextafter(array, np.float32(np.inf))).agrees


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e6, 1e20])
def test_numbers_are_held_to_the_scale_of_their_own_output(scale: float) -> None:
    expected = np.array([1.0, 0.5, 0.001], np.float32) * np.float32(scale)
    assert compare_arrays(expected, expected * np.float32(1.00005)).agrees
    assert not compare_arrays(expected, expected * np.float32(1.0005)).agrees
    assert not compare_arrays(expected, np.zeros_like(expected)).agrees


def test_a_small_sum_of_large_terms_may_differ_by_their_rounding() -> None:
    assert compare_arrays(np.array([1000.0, 0.001], np.float32), np.array([1000.0, 0.002], np.float32)).agrees


def test_what_is_rounding_noise_beside_other_answers_may_differ() -> None:
    noise, other = {"y": np.array([1e-7], np.float32)}, {"y": np.array([3e-7], np.float32)}
    assert not compare(noise, other).agrees
    assert compare(noise, other, largest_of({"y": np.array([-1.0, np.inf], np.float32)})).agrees


def test_denormal_numbers_count_as_zero() -> None:
    assert compare_arrays(np.array([0.0], np.float32), np.array([1e-40], np.float32)).agrees


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (np.nan, 0.0),
        (0.0, np.nan),
        (np.inf, -np.inf),
        (np.inf, 3e38),
        (1.0, np.inf),
    ],
)
def test_nan_and_the_infinities_have_to_stand_where_they_stand(expected: float, found: float) -> None:
    assert not compare_arrays(np.array([1.0, expected], np.float32), np.array([1.0, found], np.float32)).agrees


def test_integers_booleans_and_strings_have_to_be_equal() -> None:
    for expected, found in [
        (np.array([1_000_000]), np.array([1_000_001])),
        (np.array([True]), np.array([False])),
        (np.array([b"a"], object), np.array([b"b"], object)),
    ]:
        assert compare_arrays(expected, expected.copy()).agrees
        assert not compare_arrays(expected, found).agrees


def test_half_precision_is_allowed_what_half_precision_has() -> None:
    assert compare_arrays(np.array([1.0], np.float16), np.array([1.002], np.float16)).agrees
    assert not compare_arrays(np.array([1.0], np.float16), np.array([1.02], np.float16)).agrees


def test_shapes_and_types_have_to_be_equal() -> None:
    one = np.ones(1, np.float32)
    assert "shape is [1, 1], expected [1]" in compare_arrays(one, one.reshape(1, 1)).where
    assert "type is float64, expected float32" in compare_arrays(one, one.astype(np.float64)).where


def test_the_worst_element_is_described() -> None:
    difference = compare(
        {"a": np.zeros(2, np.float32), "b": np.array([[1.0, 2.0]], np.float32)},
        {"a": np.zeros(2, np.float32), "b": np.array([[1.0, 2.5]], np.float32)},
    )
    assert difference.absolute == 0.5
    assert difference.where == "output b: element [0, 1] is np.float32(2.5), expected np.float32(2.0)"


def test_an_output_that_is_missing_is_a_difference() -> None:
    assert not compare({"a": np.zeros(1)}, {}).agrees
