from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.protos import messages
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.in_process import PREDICT, InProcess, ToyServable, adder, error_text

PROTOBUF, NPY, NPZ = "application/x-protobuf", "application/x-npy", "application/x-npz"
IN_PROTOBUF, IN_NPY = {"content-type": PROTOBUF}, {"content-type": NPY}
X = np.array([1.0, 2.5], np.float32)


def pair() -> ToyServable:
    """`x`: float [?] and `n`: int32 [?], to their `sum` and `difference`; `constant` takes nothing."""
    x, n = TensorSpec(DType.FLOAT, (None,)), TensorSpec(DType.INT32, (None,))
    word = TensorSpec(DType.STRING, (None,))

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if signature == "constant":
            return {"y": np.array([7.0], np.float32)}
        if signature == "words":
            return {"word": inputs["word"]}
        n = inputs["n"].astype(np.float32)
        return {"sum": inputs["x"] + n, "difference": inputs["x"] - n}

    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature({"x": x, "n": n}, {"sum": x, "difference": x}),
            "constant": Signature({}, {"y": x}),
            "words": Signature({"word": word}, {"word": word}),
        },
        run,
    )


@pytest.fixture(scope="module")
def apis() -> Iterator[InProcess]:
    models = {"m": {1: adder(1), 2: adder(2)}, "pair": {5: pair()}}
    with InProcess(models, labels={"m": {"stable": 1}}) as running:
        yield running


def predict_request(name: str = "", **inputs: Array) -> Any:
    request = messages.PredictRequest()
    if name:
        request.model_spec.name = name
    for alias, array in inputs.items():
        dtype = DType.FLOAT if array.dtype == np.float32 else DType.INT32
        request.inputs[alias].CopyFrom(encode_tensor(array, dtype))
    return request


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


# A serialized PredictRequest.


def test_an_answer_in_protobuf_has_the_bytes_of_the_same_call_over_grpc(apis: InProcess) -> None:
    request = predict_request("m", x=X)
    answer = apis.rest("POST", "/v1/models/m:predict", request.SerializeToString(), **IN_PROTOBUF)
    assert (answer.status, answer.content_type) == (200, PROTOBUF)
    assert answer.body == apis.call(PREDICT, request).message
    response = messages.PredictResponse.FromString(answer.body)
    assert decode_tensor(response.outputs["y"]).tolist() == [3.0, 4.5]
    assert response.model_spec.version.value == 2


@pytest.mark.parametrize("content_type", [PROTOBUF, "application/protobuf", "Application/X-Protobuf; charset=utf-8"])
def test_the_model_spec_may_be_left_to_the_url(apis: InProcess, content_type: str) -> None:
    body = predict_request(x=X).SerializeToString()
    answer = apis.rest("POST", "/v1/models/m/labels/stable:predict", body, content_type=content_type)
    assert messages.PredictResponse.FromString(answer.body).model_spec.version.value == 1


def test_a_version_in_the_message_counts_where_the_url_names_none(apis: InProcess) -> None:
    request = predict_request("m", x=X)
    request.model_spec.version.value = 1
    for path in ("/v1/models/m:predict", "/v1/models/m/versions/1:predict"):
        answer = apis.rest("POST", path, request.SerializeToString(), **IN_PROTOBUF)
        assert messages.PredictResponse.FromString(answer.body).model_spec.version.value == 1


@pytest.mark.parametrize("path", ["/v1/models/pair:predict", "/v1/models/m/versions/2:predict"])
def test_url_and_message_that_name_different_models_are_refused(apis: InProcess, path: str) -> None:
    request = predict_request("m", x=X)
    request.model_spec.version.value = 1
    answer = apis.rest("POST", path, request.SerializeToString(), **IN_PROTOBUF)
    assert answer.status == 400
    assert "and the model_spec of the body m version 1. Leave the model_spec out" in error_text(answer)


def test_an_output_filter_is_heard(apis: InProcess) -> None:
    request = predict_request(x=X, n=np.array([1, 2], np.int32))
    request.output_filter.append("difference")
    answer = apis.rest("POST", "/v1/models/pair:predict", request.SerializeToString(), **IN_PROTOBUF)
    assert list(messages.PredictResponse.FromString(answer.body).outputs) == ["difference"]
    request.output_filter.append("quotient")
    answer = apis.rest("POST", "/v1/models/pair:predict", request.SerializeToString(), **IN_PROTOBUF)
    assert error_text(answer).startswith("output tensor alias not found in signature: quotient")


def test_a_signature_without_inputs_can_be_called(apis: InProcess) -> None:
    request = messages.PredictRequest()
    request.model_spec.signature_name = "constant"
    answer = apis.rest("POST", "/v1/models/pair:predict", request.SerializeToString(), **IN_PROTOBUF)
    assert decode_tensor(messages.PredictResponse.FromString(answer.body).outputs["y"]).tolist() == [7.0]


def test_a_body_that_is_no_message_is_a_bad_request(apis: InProcess) -> None:
    answer = apis.rest("POST", "/v1/models/m:predict", b'{"instances": [1.0]}', **IN_PROTOBUF)
    assert answer.status == 400
    assert "is no serialized PredictRequest" in error_text(answer)


def test_wrong_inputs_are_explained_once(apis: InProcess) -> None:
    request = predict_request(k=X)
    answer = apis.rest("POST", "/v1/models/m:predict", request.SerializeToString(), **IN_PROTOBUF)
    assert answer.status == 400
    assert error_text(answer).startswith("Signature input alias: x(feed name: x:0) not found in request")
    assert error_text(answer).count("Inputs of signature serving_default") == 1


# numpy's files.


def test_one_array_is_the_only_input_and_comes_back_as_one(apis: InProcess) -> None:
    answer = apis.rest("POST", "/v1/models/m:predict", npy(X), **IN_NPY)
    assert (answer.status, answer.content_type) == (200, NPY)
    assert np.load(io.BytesIO(answer.body)).tolist() == [3.0, 4.5]


@pytest.mark.parametrize("content_type", [NPY, NPZ])
def test_several_inputs_and_outputs_are_an_npz_file(apis: InProcess, content_type: str) -> None:
    body = npz(x=X, n=np.array([1, 2], np.int32))
    answer = apis.rest("POST", "/v1/models/pair:predict", body, content_type=content_type)
    assert (answer.status, answer.content_type) == (200, NPZ)
    with np.load(io.BytesIO(answer.body)) as arrays:
        assert {name: arrays[name].tolist() for name in arrays.files} == {"sum": [2.0, 4.5], "difference": [0.0, 0.5]}


def test_a_header_names_the_signature(apis: InProcess) -> None:
    headers = {**IN_NPY, "x-signature-name": "words"}
    answer = apis.rest("POST", "/v1/models/pair:predict", npy(np.array(["a", "h\u00e9"])), **headers)
    assert np.load(io.BytesIO(answer.body)).tolist() == [b"a", "h\u00e9".encode()]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("pair", npy(X), "One array came, and the signature has 2 inputs. Send an .npz file"),
        ("m", npz(k=X), "Signature input alias: x"),
        ("m", npy(X.astype(np.float64)), "Expects arg[0] to be float but double is provided"),
        ("m", npy(np.array([1.0]).astype("V4")), "raw bytes, as numpy.save writes bfloat16 and float8; expected float"),
        ("m", b'{"instances": [1.0]}', "The body is no .npy file"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_reason(apis: InProcess, path: str, body: bytes, text: str) -> None:
    answer = apis.rest("POST", f"/v1/models/{path}:predict", body, **IN_NPY)
    assert answer.status == 400
    assert text in error_text(answer)


# Accept.


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/json", "application/json"),
        ("text/html, application/x-npy;q=0.9, application/json", NPY),
        ("application/x-npz", NPY),
        ("application/x-protobuf", PROTOBUF),
    ],
)
def test_the_answer_has_the_first_form_of_accept_that_there_is(apis: InProcess, accept: str, content_type: str) -> None:
    answer = apis.rest("POST", "/v1/models/m:predict", {"instances": [1.0]}, accept=accept)
    assert (answer.status, answer.content_type) == (200, content_type)


def test_an_array_may_be_answered_in_json(apis: InProcess) -> None:
    answer = apis.rest("POST", "/v1/models/m:predict", npy(X), **IN_NPY, accept="application/json")
    assert json.loads(answer.body) == {"outputs": [3.0, 4.5]}


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/xml"])
def test_any_other_content_type_is_json(apis: InProcess, content_type: str) -> None:
    answer = apis.rest("POST", "/v1/models/m:predict", {"instances": [1.0]}, content_type=content_type)
    assert json.loads(answer.body) == {"predictions": [3.0]}
