from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hotserve.errors import InvalidArgument
from hotserve.handlers.classify import CLASSIFY
from hotserve.tensors import Array, DType, Signature, TensorSpec

TEXT = TensorSpec(DType.STRING, (None,), "tf_example:0")
ROWS = TensorSpec(DType.FLOAT, (None, None), "y:0")


def signature(inputs: str, outputs: str) -> Signature:
    return Signature(dict.fromkeys(inputs.split(), TEXT), dict.fromkeys(outputs.split(), ROWS))


def strings(shape: tuple[int, ...]) -> Array:
    return np.full(shape, b"a", np.object_)


def floats(shape: tuple[int, ...]) -> Array:
    return np.zeros(shape, np.float32)


# What may be called.


@pytest.mark.parametrize(
    ("outputs", "wanted"),
    [
        ("classes", ["classes"]),
        ("scores", ["scores"]),
        ("scores classes", ["classes", "scores"]),
        ("scores other", ["scores"]),
        ("classes other", ["classes"]),
    ],
)
def test_classes_and_scores_are_asked_for_and_nothing_else(outputs: str, wanted: list[str]) -> None:
    assert CLASSIFY.outputs_of(signature("inputs", outputs)) == wanted


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ("", "scores", "Expected one input Tensor."),
        ("inputs more", "scores", "Expected one input Tensor."),
        ("x y", "", "Expected one input Tensor."),
        ("inputs", "", "Expected one or two output Tensors, found 0"),
        ("inputs", "classes scores more", "Expected one or two output Tensors, found 3"),
        ("x", "a b c", "Expected one or two output Tensors, found 3"),
        ("x", "scores", "No classification inputs found in SignatureDef: "),
        ("x", "y", "No classification inputs found in SignatureDef: "),
        (
            "inputs",
            "outputs",
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            " Signature was: ",
        ),
        (
            "inputs",
            "class score",
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            " Signature was: ",
        ),
    ],
)
def test_a_signature_that_does_not_classify_is_refused_in_the_words_of_the_contract(
    inputs: str, outputs: str, text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CLASSIFY.outputs_of(signature(inputs, outputs))
    assert caught.value.message[: len(text)] == text


def test_in_place_of_the_signature_def_there_is_what_it_takes_and_gives() -> None:
    with pytest.raises(InvalidArgument) as caught:
        CLASSIFY.outputs_of(signature("inputs", "b a"))
    assert caught.value.message.endswith(
        "Signature was: it takes inputs: string [?] and gives a: float [?,?], b: float [?,?]."
    )


# What it makes of the answer.


def test_labels_and_scores_are_as_the_model_gives_them() -> None:
    labels, scores = strings((2, 3)), floats((2, 3))
    result = CLASSIFY.result_of({"classes": labels, "scores": scores}, ["classes", "scores"], 2)
    assert result.labels is labels
    assert result.scores is scores


def test_without_classes_labels_are_empty() -> None:
    result = CLASSIFY.result_of({"scores": floats((2, 3))}, ["scores"], 2)
    assert result.labels.tolist() == [[b"", b"", b""]] * 2


def test_without_scores_scores_are_zero() -> None:
    result = CLASSIFY.result_of({"classes": strings((2, 1))}, ["classes"], 2)
    assert (result.scores.dtype, result.scores.tolist()) == (np.float32, [[0.0]] * 2)


BOTH = ["classes", "scores"]


@pytest.mark.parametrize(
    ("outputs", "wanted", "text"),
    [
        ({"classes": strings((2, 1))}, BOTH, "Expected 2 output tensor(s).  Got: 1"),
        ({}, ["scores"], "Expected 1 output tensor(s).  Got: 0"),
        ({"classes": strings((2,))}, ["classes"], "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ({"scores": floats(())}, ["scores"], "Expected Tensor shape: [batch_size num_classes] but got []"),
        ({"scores": floats((2, 1, 3))}, ["scores"], "Expected Tensor shape: [batch_size num_classes] but got [2,1,3]"),
        ({"classes": floats((2, 1))}, ["classes"], "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ({"classes": np.zeros((2, 1), int)}, ["classes"], "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        ({"classes": strings((3, 1))}, ["classes"], "Expected classes output batch size of 2. Got: 3"),
        ({"scores": strings((2, 1))}, ["scores"], "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
        ({"scores": np.zeros((2, 1))}, ["scores"], "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ({"scores": floats((0, 1))}, ["scores"], "Expected scores output batch size of 2. Got: 0"),
        (
            {"classes": strings((2, 3)), "scores": floats((2, 4))},
            BOTH,
            "Tensors class and score should match in dim_size(1). Got 3 vs. 4",
        ),
        # Shape before type before batch; classes before scores.
        ({"scores": np.zeros(3)}, ["scores"], "Expected Tensor shape: [batch_size num_classes] but got [3]"),
        ({"scores": np.zeros((3, 1))}, ["scores"], "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        (
            {"scores": floats(()), "classes": strings((3, 1))},
            BOTH,
            "Expected classes output batch size of 2. Got: 3",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_the_words_of_the_contract(
    outputs: dict[str, Any], wanted: list[str], text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CLASSIFY.result_of(outputs, wanted, 2)
    assert caught.value.message[: len(text)] == text
