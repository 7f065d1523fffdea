from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hotserve.platforms.engines.domain import Bounds, Domain, domain_from_json

DOMAIN = Domain({"x": (None, 3)}, {"x": Bounds(-10.0, 10.0)})


def row(*numbers: float) -> dict[str, np.ndarray]:
    return {"x": np.array([numbers], np.float32)}


def test_what_has_been_tried_is_inside() -> None:
    assert DOMAIN.contains(row(-10, 0, 10))
    assert DOMAIN.contains({"x": np.zeros((7, 3), np.float32)})


@pytest.mark.parametrize("number", [10.5, -11, np.nan, np.inf, -np.inf])
def test_a_value_outside_the_range_is_outside(number: float) -> None:
    assert not DOMAIN.contains(row(0, number, 0))


@pytest.mark.parametrize("shape", [(3,), (1, 2), (1, 3, 1), (), (0, 3)])
def test_another_shape_is_outside_and_so_is_an_empty_one(shape: tuple[int, ...]) -> None:
    assert not DOMAIN.contains({"x": np.zeros(shape, np.float32)})


def test_rows_that_are_not_as_many_in_all_inputs_are_outside() -> None:
    domain = Domain({"x": (None, 3), "k": (2,), "z": (None,)})
    inputs = {"x": np.zeros((4, 3)), "k": np.zeros(2), "z": np.zeros(4)}
    assert domain.contains(inputs)
    assert not domain.contains({**inputs, "z": np.zeros(1)})
    assert not domain.contains({**inputs, "z": np.zeros(5)})


def test_a_size_below_all_that_have_been_tried_is_outside_and_the_number_of_rows_is_none() -> None:
    domain = Domain({"x": (None, None)}, smallest_size=5)
    assert domain.contains({"x": np.zeros((1, 5))})
    assert not domain.contains({"x": np.zeros((5, 4))})


def test_inputs_without_bounds_may_hold_anything() -> None:
    assert Domain({"x": (None, 3)}).contains(row(np.nan, np.inf, -3e38))


@given(arrays.arrays(np.int64, 3, elements=st.integers(-(2**62), 2**62)), st.integers(0, 2**40))
def test_the_range_of_integers_is_exact(array: np.ndarray, highest: int) -> None:
    domain = Domain({"x": (3,)}, {"x": Bounds(0, highest)})
    assert domain.contains({"x": array}) == all(0 <= number <= highest for number in array.tolist())


@given(arrays.arrays(np.float32, (2, 3), elements=st.floats(width=32)), st.sampled_from([1.0, 1000.0, 1e6]))
def test_the_range_of_floats_is_exact(array: np.ndarray, highest: float) -> None:
    domain = Domain({"x": (None, 3)}, {"x": Bounds(-highest, highest)})
    assert domain.contains({"x": array}) == bool((np.abs(array) <= highest).all())
    assert domain.contains({"x": array[:, ::-1]}) == domain.contains({"x": array})


def test_a_domain_survives_a_file() -> None:
    domain = Domain({"x": (None, 3), "n": ()}, {"n": Bounds(0, 2**53 + 1)}, 5)
    assert domain_from_json(json.loads(json.dumps(domain.to_json()))) == domain
