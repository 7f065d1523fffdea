from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.errors import InvalidArgument
from hotserve.loadgen.made_up import make_inputs
from hotserve.tensors import NUMPY_OF, DType, Shape, Signature, TensorSpec


def signature(**specs: tuple[DType, Shape | None]) -> Signature:
    return Signature({alias: TensorSpec(dtype, shape) for alias, (dtype, shape) in specs.items()}, {})


@given(st.sampled_from(sorted(NUMPY_OF)), st.none() | st.lists(st.none() | st.integers(0, 4), max_size=3).map(tuple))
def test_inputs_are_what_the_signature_declares_and_the_same_each_time(dtype: DType, shape: Shape | None) -> None:
    declared = signature(x=(dtype, shape))
    array = make_inputs(declared)["x"]
    assert array.dtype == NUMPY_OF[dtype]
    assert declared.inputs["x"].accepts(array.shape)
    np.testing.assert_array_equal(array, make_inputs(declared)["x"])


def test_rows_are_the_first_dimension_where_it_is_free_and_other_free_ones_are_1() -> None:
    made = make_inputs(
        signature(a=(DType.FLOAT, (None, None, 3)), b=(DType.INT64, (2,)), c=(DType.STRING, None)), rows=5
    )
    assert {alias: array.shape for alias, array in made.items()} == {"a": (5, 1, 3), "b": (2,), "c": (5,)}
    assert isinstance(made["c"][0], bytes)


def test_whole_numbers_are_0_or_1_and_floats_between_them() -> None:
    made = make_inputs(signature(i=(DType.INT32, (None,)), f=(DType.FLOAT, (None,))), rows=1000)
    assert set(made["i"].tolist()) == {0, 1}
    assert 0 <= made["f"].min() < made["f"].max() < 1


def test_a_shape_that_is_given_wins() -> None:
    assert make_inputs(signature(x=(DType.FLOAT, None)), shapes={"x": (2, 3)})["x"].shape == (2, 3)


@pytest.mark.parametrize(
    ("declared", "rows", "shapes", "words"),
    [
        (signature(x=(DType.FLOAT, (3,))), 1, {"y": (3,)}, "--shape names the input y. Expected one of: x: float"),
        (signature(x=(DType.FLOAT, (3,))), 1, {"x": (4,)}, "--shape=x=4 does not fit x: float"),
        (signature(x=(DType.FLOAT, (3,))), 2, {}, "--rows=2: no input has a free first dimension"),
        (signature(x=(DType.FLOAT, (None, 10**9, 10**9))), 1, {}, "larger than 1 GiB"),
        (signature(x=(DType.RESOURCE, (1,))), 1, {}, "no values can be made up"),
    ],
)
def test_what_cannot_be_made_is_said(
    declared: Signature, rows: int, shapes: dict[str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        make_inputs(declared, rows, shapes)
    assert words in error.value.message
