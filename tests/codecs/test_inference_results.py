from __future__ import annotations

import numpy as np
import pytest

from hotserve.codecs.inference_results import Classified, Regressed, classification_result, regression_result
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import ClassificationResult, RegressionResult
from hotserve.tensors import Array


def strings(rows: list[list[bytes]]) -> Array:
    array = np.empty((len(rows), len(rows[0])), np.object_)
    array[:] = rows
    return array


def read(result: ClassificationResult) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in each.classes] for each in result.classifications]


def test_every_example_has_its_classes_in_the_order_of_the_model() -> None:
    labels = strings([[b"car", b"bus"], ["é".encode(), b""]])
    result = classification_result(Classified(labels, np.float32([[0.25, 0.5], [-1.0, np.inf]])))
    assert read(result) == [[("car", 0.25), ("bus", 0.5)], [("é", -1.0), ("", np.inf)]]


def test_an_example_may_have_no_classes() -> None:
    assert read(classification_result(Classified(np.empty((2, 0), np.object_), np.empty((2, 0), np.float32)))) == [
        [],
        [],
    ]


def test_labels_may_be_text_already() -> None:
    result = classification_result(Classified(np.array([["a"]], np.object_), np.float32([[1.0]])))
    assert read(result) == [[("a", 1.0)]]


def test_a_label_that_is_no_text_is_refused_and_shown() -> None:
    with pytest.raises(InvalidArgument) as caught:
        classification_result(Classified(strings([[b"ok", b"\xff\0"]]), np.float32([[1.0, 2.0]])))
    assert caught.value.message == (
        "The model gives the class label b'\\xff\\x00', and a label must be UTF-8. Predict gives the same output as"
        " bytes."
    )


def test_every_example_has_its_value() -> None:
    result = regression_result(Regressed(np.float32([0.1, -2.0])))
    assert isinstance(result, RegressionResult)
    assert [each.value for each in result.regressions] == [float(np.float32(0.1)), -2.0]
