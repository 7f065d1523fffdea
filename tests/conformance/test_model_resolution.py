"""Contract 1.8 and 1.9: which model, which version, and what an answer says of them."""

from __future__ import annotations

from typing import Any

import pytest

from hotserve.protos import messages
from support.contract import Client, ask, floats, lines, model_spec, post, predict_request
from support.server_process import ServerProcess

RPCS = ("Predict", "Classify", "Regress", "GetModelMetadata")

REQUESTS: dict[str, Any] = {
    "Predict": messages.PredictRequest,
    "Classify": messages.ClassificationRequest,
    "Regress": messages.RegressionRequest,
    "GetModelMetadata": messages.GetModelMetadataRequest,
    "GetModelStatus": messages.GetModelStatusRequest,
}


def request_for(rpc: str, spec: messages.ModelSpec | None) -> Any:
    request = REQUESTS[rpc]()
    if spec is not None:
        request.model_spec.CopyFrom(spec)
    if rpc == "GetModelMetadata":
        request.metadata_field.append("signature_def")
    if rpc in ("Classify", "Regress"):
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    return request


UNRESOLVED = {
    "1. model_spec present": [None, "INVALID_ARGUMENT", "Missing ModelSpec"],
    "2. name non-empty": [model_spec(), "INVALID_ARGUMENT", "ModelSpec has no name specified."],
    "2. name non-empty, before the label": [
        model_spec(label="stable"),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ],
    "3. unknown label": [
        model_spec("plus", label="zzz"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: zzz",
    ],
    "3. empty label": [model_spec("plus", label=""), "INVALID_ARGUMENT", "Unrecognized servable version label: "],
    "3. label of an unknown model": [
        model_spec("nope", label="stable"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ],
    "3. label of another model": [
        model_spec("half", label="stable"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ],
    "4. unknown model": [model_spec("nope"), "NOT_FOUND", "Servable not found for request: Latest(nope)"],
    "4. unknown version": [
        model_spec("plus", version=99),
        "NOT_FOUND",
        "Servable not found for request: Specific(plus, 99)",
    ],
    "4. version 0 is a version": [
        model_spec("plus", version=0),
        "NOT_FOUND",
        "Servable not found for request: Specific(plus, 0)",
    ],
    "4. negative version": [
        model_spec("plus", version=-1),
        "NOT_FOUND",
        "Servable not found for request: Specific(plus, -1)",
    ],
    "4. version of an unknown model": [
        model_spec("nope", version=1),
        "NOT_FOUND",
        "Servable not found for request: Specific(nope, 1)",
    ],
    "4. label of a version that is not loaded": [
        model_spec("plus", label="gone"),
        "NOT_FOUND",
        "Servable not found for request: Specific(plus, 9)",
    ],
}


@pytest.mark.parametrize("rpc", RPCS)
@lines("spec, code, text", UNRESOLVED)
def test_over_grpc_what_cannot_be_resolved_is_refused(
    client: Client, rpc: str, spec: messages.ModelSpec | None, code: str, text: str
) -> None:
    refusal = client.refusal(rpc, request_for(rpc, spec))
    assert refusal[0] == code
    assert refusal[1].startswith(text)


@lines(
    "path, status, text",
    {
        "unknown model": ["nope", 404, "Servable not found for request: Latest(nope)"],
        "unknown version": ["plus/versions/99", 404, "Servable not found for request: Specific(plus, 99)"],
        "version 0": ["plus/versions/0", 404, "Servable not found for request: Specific(plus, 0)"],
        "version of an unknown model": ["nope/versions/1", 404, "Servable not found for request: Specific(nope, 1)"],
        "unknown label": ["plus/labels/zzz", 400, "Unrecognized servable version label: zzz"],
        "label of an unknown model": ["nope/labels/stable", 400, "Unrecognized servable version label: stable"],
        "label of a version that is not loaded": [
            "plus/labels/gone",
            404,
            "Servable not found for request: Specific(plus, 9)",
        ],
    },
)
@pytest.mark.parametrize("verb", [":predict", ":classify", ":regress", "/metadata"])
def test_over_rest_what_cannot_be_resolved_is_refused(
    server: ServerProcess, verb: str, path: str, status: int, text: str
) -> None:
    if verb == "/metadata":
        answer = ask(server, "GET", f"/v1/models/{path}/metadata")
    else:
        answer = post(server, path + verb, '{"instances": [1.0], "examples": [{"x": 1.0}]}')
    assert answer.status == status
    assert answer.error.startswith(text)


RESOLVED = {
    "the largest version that is ready": [model_spec("plus"), 2, 12.0],
    "exactly that version": [model_spec("plus", version=1), 1, 11.0],
    "the version of a label": [model_spec("plus", label="stable"), 1, 11.0],
    "the version of another label": [model_spec("plus", label="canary"), 2, 12.0],
    "the version of a label with any characters": [model_spec("plus", label="a b/c:d"), 1, 11.0],
}


@lines("spec, version, y", RESOLVED)
def test_the_version_that_is_meant_answers_and_is_named(
    client: Client, spec: messages.ModelSpec, version: int, y: float
) -> None:
    request = messages.PredictRequest(model_spec=spec)
    request.inputs["x"].CopyFrom(floats(10.0))
    answer = client.call("Predict", request)
    assert list(answer.outputs["y"].float_val) == [y]
    assert answer.model_spec == model_spec("plus", version=version, signature="serving_default")


@lines("spec, version, y", RESOLVED)
def test_metadata_names_the_version_and_leaves_the_signature_empty(
    client: Client, spec: messages.ModelSpec, version: int, y: float
) -> None:
    request = messages.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    assert client.call("GetModelMetadata", request).model_spec == model_spec("plus", version=version)


@pytest.mark.parametrize("rpc", ["Classify", "Regress"])
def test_an_answer_on_examples_names_the_version_and_the_signature_of_the_request(client: Client, rpc: str) -> None:
    signature = "classify_x_to_y" if rpc == "Classify" else "regress_x_to_y"
    answer = client.call(rpc, request_for(rpc, model_spec("half", signature=signature)))
    assert answer.model_spec == model_spec("half", version=123, signature=signature)


def test_an_answer_to_no_signature_names_the_default_one(client: Client) -> None:
    answer = client.call("Classify", request_for("Classify", model_spec("examples")))
    assert answer.model_spec == model_spec("examples", version=7, signature="serving_default")


def test_of_a_version_and_a_label_the_last_one_on_the_wire_counts(client: Client) -> None:
    request = predict_request("plus", x=floats(10.0))
    packed = request.SerializeToString()
    # The second and the third message are merged into the first: version 2, then the label of version 1.
    packed += messages.PredictRequest(model_spec=model_spec("plus", version=2)).SerializeToString()
    packed += messages.PredictRequest(model_spec=model_spec("plus", label="stable")).SerializeToString()
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    answer = messages.PredictResponse.FromString(call(packed, timeout=60))
    assert answer.model_spec.version.value == 1
