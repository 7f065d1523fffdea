from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hotserve.cli.comparison import Tolerance, differences
from hotserve.tensors import Array

EXACT = Tolerance()


def strings(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@given(arrays.arrays(st.sampled_from([np.float32, np.int64, np.bool_, np.complex64]), arrays.array_shapes(min_dims=0)))
def test_whatever_is_the_same_has_no_difference(array: Array) -> None:
    assert differences({"y": array}, {"y": array.copy()}, EXACT) == []


@pytest.mark.parametrize(
    ("recorded", "now", "text", "largest"),
    [
        (np.float32([[1, 2], [3, 4]]), np.float32([[1, 2], [3.5, 6]]), "[1,1] is 6.0, recorded was 4.0", 2.0),
        (np.float32(1), np.float32(1.5), " is 1.5, recorded was 1.0", 0.5),
        (np.float32([np.nan]), np.float32([1]), "[0] is 1.0, recorded was nan", math.inf),
        (np.float32([np.inf]), np.float32([-np.inf]), "[0] is -inf, recorded was inf", math.inf),
        (np.int64([2**62]), np.int64([-(2**62)]), f"[0] is {-(2**62)}, recorded was {2**62}", 2.0**63),
        (np.uint8([1]), np.uint8([255]), "[0] is 255, recorded was 1", 254.0),
        (np.array([True, False]), np.array([True, True]), "[1] is True, recorded was False", math.inf),
        (strings(b"a", b"b"), strings(b"a", b"c"), "[1] is b'c', recorded was b'b'", math.inf),
        (np.float32([1]), np.float32([[1]]), "has the shape [1,1], recorded was [1]", math.inf),
        (np.float32([]), np.float32([1]), "has the shape [1], recorded was [0]", math.inf),
    ],
)
def test_a_difference_says_where_it_is_largest(recorded: Any, now: Any, text: str, largest: float) -> None:
    (difference,) = differences({"y": np.asarray(recorded)}, {"y": np.asarray(now)}, EXACT)

    assert (difference.output, difference.text, difference.largest) == ("y", text, largest)


@pytest.mark.parametrize(
    ("tolerance", "differ"),
    [
        (Tolerance(relative=0.1), False),
        (Tolerance(relative=0.001), True),
        (Tolerance(absolute=1.0), False),
        (Tolerance(absolute=0.1), True),
        (Tolerance(relative=0.004, absolute=0.2), False),
    ],
)
def test_floats_may_be_apart_by_the_tolerance(tolerance: Tolerance, differ: bool) -> None:
    found = differences({"y": np.float32([100])}, {"y": np.float32([100.5])}, tolerance)

    assert bool(found) is differ


@pytest.mark.parametrize(
    ("recorded", "now"),
    [(np.int32([100]), np.int32([101])), (np.array([True]), np.array([False])), (strings(b"a"), strings(b"b"))],
)
def test_nothing_but_floats_may_be_apart(recorded: Array, now: Array) -> None:
    assert differences({"y": recorded}, {"y": now}, Tolerance(relative=1.0, absolute=10.0))


def test_infinity_is_not_near_to_a_number_whatever_the_tolerance() -> None:
    assert differences({"y": np.float32([np.inf])}, {"y": np.float32([1])}, Tolerance(relative=0.1))


def test_outputs_that_are_missing_differ_and_those_that_are_new_do_not() -> None:
    (difference,) = differences({"y": np.float32([1])}, {"z": np.float32([1])}, EXACT)

    assert (difference.output, difference.text) == ("y", "is not in the answer")
