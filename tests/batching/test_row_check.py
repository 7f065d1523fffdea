from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from hotserve.batching.row_check import (
    ABSOLUTE_TOLERANCE,
    RELATIVE_TOLERANCE,
    agree,
    are_independent,
    has_rows,
    why_dependent,
)
from hotserve.errors import InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Shape, Signature, TensorSpec
from support.in_process import ToyServable

Function = Callable[[Array], Array]


def model(function: Function, dtype: DType = DType.FLOAT, shape: Shape = (None, 4)) -> ToyServable:
    def run(name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": function(inputs["x"])}

    spec = TensorSpec(dtype, shape)
    return ToyServable({DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": TensorSpec(DType.FLOAT, (None,))})}, run)


def why(function: Function, dtype: DType = DType.FLOAT, shape: Shape = (None, 4)) -> str:
    return why_dependent(model(function, dtype, shape), DEFAULT_SIGNATURE)


@pytest.mark.parametrize(
    ("function", "dtype", "shape"),
    [
        (lambda x: x * 2 + 1, DType.FLOAT, (None, 4)),
        (lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True), DType.FLOAT, (None, 4)),
        (lambda x: x.sum(axis=(1, 2)), DType.FLOAT, (None, None, None)),
        (lambda x: np.float32([[1, 2], [3, 4]])[x], DType.INT64, (None, 3)),
        (lambda x: np.char.upper(x.astype("S")).astype(object), DType.STRING, (None,)),
    ],
)
def test_rows_that_do_not_look_at_each_other_are_independent(function: Function, dtype: DType, shape: Shape) -> None:
    assert why(function, dtype, shape) == ""


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.exp(x) / np.exp(x).sum(axis=0),
        lambda x: x - x.mean(axis=0),
        lambda x: np.cumsum(x, axis=0),
        lambda x: x[::-1],
        lambda x: x + np.float32(len(x)),
        lambda x: np.argsort(x[:, 0]),
    ],
    ids=["softmax over the batch", "normalised over the batch", "running sum", "reversed", "batch size", "rank"],
)
def test_rows_that_do_are_found_out(function: Function) -> None:
    assert why(function) == "a row's output y depends on the other rows of its batch"


def test_an_output_without_a_row_for_each_row_is_found_out() -> None:
    assert why(lambda x: x[:1] * 0) == "output y has the shape [1, 4] for 3 rows"
    assert why(lambda x: np.float32(1.0)) == "output y has the shape [] for 3 rows"


def test_a_model_whose_answers_are_random_shares_no_runs() -> None:
    random = np.random.default_rng(0)
    assert why(lambda x: random.uniform(size=len(x))) != ""


def test_a_model_that_refuses_what_is_made_up_for_it_shares_no_runs_and_says_so() -> None:
    def refuse(x: Array) -> Array:
        raise InvalidArgument("no tf.Example")

    reason = why(refuse)
    assert reason.startswith("whether its rows are independent cannot be tried")
    assert "no tf.Example" in reason


def test_a_dimension_that_must_be_one_is_tried_as_one() -> None:
    def only_one(x: Array) -> Array:
        if x.shape[1] != 1:
            raise InvalidArgument("one column")
        return x

    assert why(only_one, shape=(None, None)) == ""


def test_inputs_that_it_has_taken_are_tried_in_place_of_made_up_ones() -> None:
    def parse(x: Array) -> Array:
        if any(not value.startswith(b"example") for value in x):
            raise InvalidArgument("no tf.Example")
        return np.array([len(value) for value in x], np.float32)

    servable = model(parse, DType.STRING, (None,))
    assert why_dependent(servable, DEFAULT_SIGNATURE) != ""
    samples = [{"x": np.array([b"example", b"example", b"example 2"], object)}]
    assert why_dependent(servable, DEFAULT_SIGNATURE, samples) == ""
    # Equal rows tell nothing.
    assert why_dependent(servable, DEFAULT_SIGNATURE, [{"x": np.array([b"example"] * 3, object)}]) != ""


def test_only_a_signature_with_an_unknown_first_dimension_everywhere_can_have_rows() -> None:
    def signature(x: Shape | None, y: Shape | None) -> Signature:
        return Signature({"x": TensorSpec(DType.FLOAT, x)}, {"y": TensorSpec(DType.FLOAT, y)})

    assert has_rows(signature((None, 3), (None,)))
    for x, y in [((None,), ()), ((), (None,)), ((1,), (None,)), (None, (None,)), ((None,), None), ((None,), (2,))]:
        assert not has_rows(signature(x, y))
    assert not has_rows(Signature({}, {"y": TensorSpec(DType.FLOAT, (None,))}))


def test_floating_point_answers_agree_within_the_tolerances_and_others_bit_by_bit() -> None:
    one = np.float32([1000.0, 0.0])
    assert agree(one, one + np.float32([1000 * RELATIVE_TOLERANCE / 2, 0]))
    assert agree(one, one + np.float32([0, 1000 * ABSOLUTE_TOLERANCE / 2]))
    assert not agree(one, one + np.float32([0, 1000 * ABSOLUTE_TOLERANCE * 2]))
    assert agree(np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf]))
    assert not agree(np.float32([np.nan]), np.float32([0]))
    assert not agree(np.int64([1]), np.int64([2]))
    assert not agree(np.float32([1]), np.float64([1]))


def test_rows_of_another_shape_than_declared_are_tried_with_that_shape() -> None:
    column = model(lambda x: x / 2 + 2, shape=(None, 1))
    number = {"x": TensorSpec(DType.FLOAT, (1,))}
    assert are_independent(column, DEFAULT_SIGNATURE, ["y"], number)
    assert are_independent(column, DEFAULT_SIGNATURE, ["y"], {"x": TensorSpec(DType.FLOAT, (1, 3))})


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.max(axis=-1, keepdims=True),
        lambda x: np.maximum(x.max(axis=-1, keepdims=True) - 10, 0) + x,
        lambda x: x + np.float32([1, 2, 3]),
        lambda x: x[0],
    ],
    ids=["softmax of a row", "a limit that small numbers do not reach", "one shape only", "the first element"],
)
def test_a_vector_that_the_graph_takes_for_one_row_is_found_out(function: Function) -> None:
    assert not are_independent(model(function), DEFAULT_SIGNATURE, ["y"], {"x": TensorSpec(DType.FLOAT, (1,))})


def test_a_shape_that_is_refused_has_no_rows() -> None:
    def refuse(x: Array) -> Array:
        raise InvalidArgument("no such shape")

    assert not are_independent(model(refuse), DEFAULT_SIGNATURE, ["y"], {"x": TensorSpec(DType.FLOAT, (1,))})
