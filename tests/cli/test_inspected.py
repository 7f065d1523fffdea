from __future__ import annotations

import pytest

from hotserve.batching.row_check import has_rows
from hotserve.cli.inspected import batching_of
from hotserve.tensors import DType, Signature, TensorSpec

FREE = TensorSpec(DType.FLOAT, (None, 4))
FIXED = TensorSpec(DType.FLOAT, (1,))
SCALAR = TensorSpec(DType.FLOAT, ())
ANY = TensorSpec(DType.FLOAT, None)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ({"x": FREE}, {"y": FREE}, "yes, where its rows turn out to be independent at the load"),
        ({"x": FIXED, "z": FREE}, {"y": FREE}, "no: the first dimension of x is not free"),
        ({"x": FREE}, {"label": FIXED, "y": FREE}, "no: the first dimension of label is not free"),
        ({"x": SCALAR}, {"y": ANY}, "no: the first dimension of x, y is not free"),
        ({}, {"y": FREE}, "no: it has no inputs"),
        ({"x": FREE}, {}, "no: it has no outputs"),
    ],
)
def test_what_is_said_of_batching_is_what_a_server_goes_by(
    inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec], words: str
) -> None:
    signature = Signature(inputs, outputs)
    assert batching_of(signature) == words
    assert words.startswith("yes") == has_rows(signature)
