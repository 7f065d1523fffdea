from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hotserve.errors import InvalidArgument
from hotserve.handlers.regress import REGRESS
from hotserve.tensors import DType, Signature, TensorSpec

TEXT = TensorSpec(DType.STRING, (None,), "tf_example:0")
FLOATS = TensorSpec(DType.FLOAT, (None,), "y:0")


def signature(inputs: str, outputs: str) -> Signature:
    return Signature(dict.fromkeys(inputs.split(), TEXT), dict.fromkeys(outputs.split(), FLOATS))


def test_the_one_output_is_asked_for() -> None:
    assert REGRESS.outputs_of(signature("inputs", "outputs")) == ["outputs"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ("", "outputs", "Expected one input Tensor."),
        ("inputs more", "outputs", "Expected one input Tensor."),
        ("x y", "a b", "Expected one input Tensor."),
        ("inputs", "", "Expected one output Tensor."),
        ("inputs", "outputs more", "Expected one output Tensor."),
        ("x", "outputs more", "Expected one output Tensor."),
        ("x", "outputs", "No regression inputs found in SignatureDef: "),
        ("x", "y", "No regression inputs found in SignatureDef: "),
        ("inputs", "scores", "No regression outputs found in SignatureDef: "),
    ],
)
def test_a_signature_that_does_not_regress_is_refused_in_the_words_of_the_contract(
    inputs: str, outputs: str, text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        REGRESS.outputs_of(signature(inputs, outputs))
    assert caught.value.message[: len(text)] == text


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_value_for_each_example_may_stand_in_a_column(shape: tuple[int, ...]) -> None:
    values = np.float32([1, 2, 3]).reshape(shape)
    assert REGRESS.result_of({"outputs": values}, ["outputs"], 3).values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Expected output_tensors and output_tensor_names to have the same size"),
        ({"y": np.zeros(2)}, "Could not find output tensor 'outputs'"),
        (
            {"outputs": np.float32(1).reshape(())},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
        ),
        (
            {"outputs": np.zeros((2, 2), np.float32)},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        (
            {"outputs": np.zeros((2, 1, 1), np.float32)},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,1,1]",
        ),
        ({"outputs": np.zeros(3, np.float32)}, "Input batch size did not match output batch size: 2 vs. 3"),
        ({"outputs": np.zeros((1, 1), np.float32)}, "Input batch size did not match output batch size: 2 vs. 1"),
        ({"outputs": np.zeros(2)}, "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        ({"outputs": np.array([b"", b""], object)}, "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"),
        # Shape before batch before type.
        ({"outputs": np.zeros(3)}, "Input batch size did not match output batch size: 2 vs. 3"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_the_words_of_the_contract(
    outputs: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        REGRESS.result_of(outputs, ["outputs"], 2)
    assert caught.value.message[: len(text)] == text
