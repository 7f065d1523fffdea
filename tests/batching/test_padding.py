from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.options import NATURAL, BatchingOptions
from hotserve.batching.padding import Inputs, check_outputs, checked_rows, divide, key_of, merge, rows_of
from hotserve.errors import FailedPrecondition, InvalidArgument
from hotserve.tensors import Array, DType, Shape, Signature, TensorSpec

PADDING = BatchingOptions(pad_variable_length_inputs=True).rules()


def signature(**outputs: Shape | None) -> Signature:
    return Signature(
        {"x": TensorSpec(DType.FLOAT, (None, None)), "z": TensorSpec(DType.FLOAT, (None, 3))},
        {name: TensorSpec(DType.FLOAT, shape) for name, shape in outputs.items()},
    )


def x(*rows: list[float]) -> Inputs:
    return {"x": np.array(rows, np.float32)}


def test_rows_are_counted_by_the_first_dimension() -> None:
    assert rows_of({"x": np.zeros((3, 2)), "z": np.zeros(3)}) == 3


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.zeros(())}, "Batching Run() input tensors must have at least one dimension"),
        ({"x": np.zeros(2), "z": np.zeros(3)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_what_has_no_rows_is_refused_in_the_words_of_the_original(inputs: Inputs, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        rows_of(inputs)
    assert caught.value.message.startswith(text)


def test_a_request_may_have_as_many_rows_as_the_limit_says() -> None:
    rules = BatchingOptions(max_batch_size=4).rules()
    assert checked_rows({"x": np.zeros(4)}, rules) == 4
    with pytest.raises(InvalidArgument) as caught:
        checked_rows({"x": np.zeros(5)}, rules)
    assert caught.value.message.startswith("Task size 5 is larger than maximum input batch size 4")


def test_requests_fit_together_if_everything_but_the_first_dimension_is_equal() -> None:
    a, b = np.zeros((1, 3), np.float32), np.zeros((5, 3), np.float32)
    assert key_of({"x": a}, pads=False) == key_of({"x": b}, pads=False)
    assert key_of({"x": a}, pads=False) != key_of({"x": np.zeros((1, 4), np.float32)}, pads=False)
    assert key_of({"x": a}, pads=False) != key_of({"x": a.astype(np.float64)}, pads=False)
    assert key_of({"x": a, "z": b}, pads=False) == key_of({"z": b, "x": a}, pads=False)


def test_with_padding_the_number_of_dimensions_is_all_that_must_be_equal() -> None:
    a = np.zeros((1, 3), np.float32)
    assert key_of({"x": a}, pads=True) == key_of({"x": np.zeros((1, 9), np.float32)}, pads=True)
    assert key_of({"x": a}, pads=True) != key_of({"x": np.zeros((1, 3, 1), np.float32)}, pads=True)
    # An array without elements cannot be padded, and must fail nobody else.
    assert key_of({"x": a}, pads=True) != key_of({"x": np.zeros((1, 0), np.float32)}, pads=True)


def test_seven_dimensions_cannot_be_padded() -> None:
    with pytest.raises(InvalidArgument) as caught:
        key_of({"x": np.zeros((1,) * 7)}, pads=True)
    assert caught.value.message.startswith("Only tensors with rank from 1 to 6 can be padded.")


def test_missing_rows_are_copies_of_the_first_row_of_the_last_request() -> None:
    merged = merge([x([1], [2]), x([3], [4])], 4, 6, PADDING)
    assert merged["x"].tolist() == [[1], [2], [3], [4], [3], [3]]


def test_a_request_that_needs_no_padding_is_not_copied() -> None:
    inputs = x([1], [2])
    assert merge([inputs], 2, 2, PADDING)["x"] is inputs["x"]


def test_inputs_are_padded_with_their_own_first_element() -> None:
    merged = merge([x([7, 8]), x([1, 2, 3])], 2, 2, PADDING)
    assert merged["x"].tolist() == [[7, 8, 7], [1, 2, 3]]


@pytest.mark.parametrize(
    ("first", "second", "padded"),
    [
        (np.float32([[5]]), np.float32([[1, 2]]), [[5, -1], [1, 2]]),
        (np.int64([[5]]), np.int64([[1, 2]]), [[5, -1], [1, 2]]),
        (np.array([[b"a"]], object), np.array([[b"b", b"c"]], object), [[b"a", b""], [b"b", b"c"]]),
    ],
)
def test_inputs_are_padded_with_a_value_if_there_is_one(first: Array, second: Array, padded: list[object]) -> None:
    rules = BatchingOptions(pad_variable_length_inputs=True, pad_value=-1).rules()
    assert merge([{"x": first}, {"x": second}], 2, 2, rules)["x"].tolist() == padded


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (np.float32(1), "Batched output tensor has 0 dimensions"),
        (
            np.zeros(3),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input"
            " tensors",
        ),
    ],
)
def test_an_answer_without_a_row_for_each_row_cannot_be_divided(output: Array, text: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        check_outputs({"y": np.asarray(output)}, 2)
    assert caught.value.message.startswith(text)


def test_an_answer_loses_what_was_padded_where_its_dimension_is_the_inputs() -> None:
    requests = [x([1, 2]), x([1, 2, 3])]
    outputs = {
        "same": np.arange(6.0).reshape(2, 3),
        "declared": np.zeros((2, 3)),
        "other": np.zeros((2, 5)),
        "vector": np.zeros(2),
    }
    declared = signature(same=(None, None), declared=(None, 3), other=(None, None), vector=(None,))
    first, second = divide(outputs, [1, 1], requests, declared, pads=True)
    assert {name: array.shape for name, array in first.items()} == {
        "same": (1, 2),
        "declared": (1, 3),
        "other": (1, 5),
        "vector": (1,),
    }
    assert second["same"].tolist() == [[3, 4, 5]]


def test_an_answer_is_left_as_it_is_where_two_inputs_disagree_on_what_is_padding() -> None:
    spec = TensorSpec(DType.FLOAT, (None, None))
    both = Signature({"x": spec, "z": spec}, {"y": spec})
    requests = [
        {"x": np.zeros((1, 2)), "z": np.zeros((1, 3))},
        {"x": np.zeros((1, 3)), "z": np.zeros((1, 1))},
    ]
    answers = divide({"y": np.zeros((2, 3))}, [1, 1], requests, both, pads=True)
    assert [answer["y"].shape for answer in answers] == [(1, 3), (1, 3)]


shapes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=6)


@given(shapes, st.sampled_from([(), (8,), (2, 4, 8, 16, 32)]), st.booleans())
def test_divided_again_every_request_has_its_own(
    shapes: list[tuple[int, int]], sizes: tuple[int, ...], pads: bool
) -> None:
    limit = {} if not sizes else {"max_batch_size": sizes[-1], "allowed_batch_sizes": sizes}
    rules = BatchingOptions(pad_variable_length_inputs=pads, **limit).rules()  # type: ignore[arg-type]
    number = iter(range(1000))
    requests: list[Inputs] = []
    for rows, columns in shapes:
        shape = (rows, columns if pads else 2)
        values = [next(number) for _ in range(shape[0] * shape[1])]
        requests.append({"x": np.array(values, np.float32).reshape(shape)})
    counts = [len(request["x"]) for request in requests]
    size = rules.size_for(sum(counts))
    merged = merge(requests, sum(counts), size, rules)
    assert merged["x"].shape[0] == size
    declared = Signature({"x": TensorSpec(DType.FLOAT, (None, None))}, {"y": TensorSpec(DType.FLOAT, (None, None))})
    answers = divide({"y": merged["x"] * 2}, counts, requests, declared, pads)
    for request, answer in zip(requests, answers, strict=True):
        assert answer["y"].tolist() == (request["x"] * 2).tolist()


def test_natural_batches_pad_nothing() -> None:
    assert not NATURAL.pads
    assert NATURAL.size_for(3) == 3
