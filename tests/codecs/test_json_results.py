from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hotserve.codecs.inference_results import Classified, Regressed
from hotserve.codecs.json_results import encode_classifications, encode_regressions
from hotserve.errors import InvalidArgument
from hotserve.tensors import Array


def classified(labels: list[list[bytes]], scores: list[list[float]]) -> Classified:
    array = np.empty((len(labels), len(labels[0])), np.object_)
    array[:] = labels
    return Classified(array, np.float32(scores))


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (
            classified([[b"car", b"bus"]] * 2, [[0.5, 0.25]] * 2),
            '{\n    "results": [[["car", 0.5], ["bus", 0.25]], [["car", 0.5], ["bus", 0.25]]\n    ]\n}',
        ),
        (classified([[b""]], [[2.5]]), '{\n    "results": [[["", 2.5]]\n    ]\n}'),
        (
            classified([[b'a"\n', "é".encode()]], [[1.0, 0.1]]),
            '{\n    "results": [[["a\\"\\n", 1.0], ["é", 0.1]]\n    ]\n}',
        ),
        (
            classified([[b"a", b"b"]], [[np.nan, -np.inf]]),
            '{\n    "results": [[["a", NaN], ["b", -Infinity]]\n    ]\n}',
        ),
        (classified([[b"\xff"]], [[1 / 3]]), '{\n    "results": [[[{"b64": "/w=="}, 0.333333343]]\n    ]\n}'),
        (
            Classified(np.empty((2, 0), np.object_), np.empty((2, 0), np.float32)),
            '{\n    "results": [[], []\n    ]\n}',
        ),
    ],
)
def test_classes_are_pairs_of_label_and_score_laid_out_as_the_original_does(result: Classified, body: str) -> None:
    assert encode_classifications(result) == body.encode()


@pytest.mark.parametrize(
    ("values", "body"),
    [
        ([0.5, 1.5], '{\n    "results": [0.5, 1.5]\n}'),
        ([42.0], '{\n    "results": [42.0]\n}'),
        ([np.nan, np.inf, -np.inf], '{\n    "results": [NaN, Infinity, -Infinity]\n}'),
        ([1e6, 1234567.0, 3e-5, -0.0], '{\n    "results": [1e+06, 1234567.0, 3e-05, -0.0]\n}'),
    ],
)
def test_values_are_a_flat_list_laid_out_as_the_original_does(values: list[float], body: str) -> None:
    assert encode_regressions(Regressed(np.float32(values))) == body.encode()


def test_no_results_have_no_form() -> None:
    with pytest.raises(InvalidArgument) as caught:
        encode_classifications(Classified(np.empty((0, 2), np.object_), np.empty((0, 2), np.float32)))
    assert caught.value.message == "Cannot convert empty ClassificationResults to JSON"
    with pytest.raises(InvalidArgument) as caught:
        encode_regressions(Regressed(np.empty(0, np.float32)))
    assert caught.value.message == "Cannot convert empty RegressionResults to JSON"


SHAPES = st.tuples(st.integers(1, 4), st.integers(0, 4))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.data())
def test_classes_read_back_as_they_were(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    scores: Array = data.draw(hnp.arrays(np.float32, shape))
    labels = data.draw(st.lists(TEXTS, min_size=scores.size, max_size=scores.size))
    array = np.empty(scores.size, np.object_)
    array[:] = [label.encode() for label in labels]
    results = json.loads(encode_classifications(Classified(array.reshape(shape), scores)))["results"]
    assert [len(row) for row in results] == [shape[1]] * shape[0]
    pairs = [pair for row in results for pair in row]
    assert [label for label, _ in pairs] == labels
    np.testing.assert_array_equal(np.float32([score for _, score in pairs]), scores.ravel())


@given(hnp.arrays(np.float32, st.integers(1, 20)))
def test_values_read_back_as_they_were(values: Array) -> None:
    results = json.loads(encode_regressions(Regressed(values)))["results"]
    np.testing.assert_array_equal(np.float32(results), values)
