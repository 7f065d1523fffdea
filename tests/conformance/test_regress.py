"""Contract 1.12: Regress over gRPC."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hotserve.protos import messages
from support.contract import Client, lines, model_spec


def regression(signature: str, *values: float, model: str = "examples") -> messages.RegressionRequest:
    request = messages.RegressionRequest(model_spec=model_spec(model, signature=signature))
    for value in values:
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return request


@lines(
    "model, signature, values",
    {
        "shape [n]": ["examples", "flat", [1.5, 2.5]],
        "shape [n,1]": ["examples", "column", [1.5, 2.5]],
        "whatever the method name of the signature": ["examples", "as_predict", [1.5, 2.5]],
        "TensorFlow 2": ["tf2", "regress", [2.75, 3.25]],
    },
)
def test_one_regression_per_example(client: Client, model: str, signature: str, values: Sequence[float]) -> None:
    result = client.call("Regress", regression(signature, 1.5, 2.5, model=model)).result
    assert [each.value for each in result.regressions] == values


@lines(
    "signature, text",
    {
        "signature exists": ["zzz", "No signature was found with the name: zzz"],
        "exactly 1 input": ["two_inputs", "Expected one input Tensor."],
        "exactly 1 output": ["serving_default", "Expected one output Tensor."],
        "input key `inputs`": ["other_input_regress", "No regression inputs found in SignatureDef: "],
        "output key `outputs`": ["other_output_regress", "No regression outputs found in SignatureDef: "],
        "shape [n,2]": [
            "wide",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ],
        "shape [n,1,1]": [
            "deep",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,1,1]",
        ],
        "batch": ["short", "Input batch size did not match output batch size: 2 vs. 1"],
        "dtype": ["double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"],
        "the examples are fed whatever the dtype of `inputs`": [
            "floats",
            "Expects arg[0] to be float but string is provided",
        ],
    },
)
def test_what_is_no_regression(client: Client, signature: str, text: str) -> None:
    code, found = client.refusal("Regress", regression(signature, 1.0, 2.0))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


@pytest.mark.parametrize("request_", [regression("flat"), messages.RegressionRequest(model_spec=model_spec("half"))])
def test_input_is_empty(client: Client, request_: messages.RegressionRequest) -> None:
    if not request_.model_spec.signature_name:
        request_.model_spec.signature_name = "regress_x_to_y"
    code, text = client.refusal("Regress", request_)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Input is empty.")
