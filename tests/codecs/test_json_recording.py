from __future__ import annotations

import json
from typing import Any

import pytest

from hotserve.codecs.json_recording import record_of
from hotserve.codecs.tensor_proto import decode_tensor
from hotserve.errors import InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, DType, Signature, TensorSpec

SIGNATURES = {
    DEFAULT_SIGNATURE: Signature({"x": TensorSpec(DType.HALF, (None,))}, {}),
    "two": Signature({"a": TensorSpec(DType.INT64, (None,)), "b": TensorSpec(DType.STRING, (None,))}, {}),
}


def record(verb: str, body: Any) -> Any:
    return record_of(verb, json.dumps(body).encode(), "m", SIGNATURES)


def test_the_types_of_a_predict_request_are_those_of_the_signature() -> None:
    request = record("predict", {"instances": [1, 2.5]}).predict_log.request

    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", DEFAULT_SIGNATURE)
    x = decode_tensor(request.inputs["x"])
    assert (x.dtype.name, x.tolist()) == ("float16", [1.0, 2.5])


def test_the_signature_that_the_body_names_counts() -> None:
    request = record("predict", {"signature_name": "two", "inputs": {"a": [1], "b": ["x"]}}).predict_log.request

    assert request.model_spec.signature_name == "two"
    assert request.inputs["a"].int64_val == [1]
    assert request.inputs["b"].string_val == [b"x"]


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_examples_become_examples(verb: str) -> None:
    log = record(verb, {"signature_name": "two", "context": {"c": 1}, "examples": [{"x": 1.5}]})

    request = getattr(log, f"{verb}_log").request
    assert request.model_spec.signature_name == "two"
    (example,) = request.input.example_list.examples
    assert example.features.feature["x"].float_list.value == [1.5]
    assert example.features.feature["c"].int64_list.value == [1]


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("predict", {"signature_name": "other", "instances": [1]}, '"other" not found in signature def. Signatures: '),
        ("predict", {"examples": [{}]}, "Missing 'inputs' or 'instances' key"),
        ("predict", {"instances": ["text"]}, "instances"),
        ("classify", {"instances": [1]}, "'examples' is expected"),
        ("train", {"instances": [1]}, "There are no train requests"),
    ],
)
def test_a_body_that_is_no_such_request_is_refused(verb: str, body: Any, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        record(verb, body)

    assert words in caught.value.message
