from __future__ import annotations

import io
import json

import numpy as np
import pytest

from hotserve.errors import InvalidArgument, ServingError
from hotserve.loadgen.bodies import Format, RequestMaker, check_inputs
from hotserve.loadgen.model import Model
from hotserve.loadgen.target import read_target
from hotserve.protos.messages import PredictionLog, PredictRequest
from hotserve.tensors import Array, DType, Signature, TensorSpec

REST, GRPC = read_target("http://h:1/base"), read_target("h:1")
X = Signature({"x": TensorSpec(DType.FLOAT, (None,))}, {})
TWO = Signature({"x": TensorSpec(DType.FLOAT, (None, 2)), "s": TensorSpec(DType.STRING, (None,))}, {})
BOTH: dict[str, Array] = {"x": np.float32([[1, 2], [3, 4]]), "s": np.array([b"a", b"\xff"], object)}


def maker(target: str = "rest", form: Format = Format.JSON) -> RequestMaker:
    return RequestMaker(REST if target == "rest" else GRPC, Model("m", 3), form)


def record(**inputs: Array) -> PredictionLog:
    log = PredictionLog()
    log.predict_log.request.model_spec.name = "another"
    log.predict_log.request.model_spec.signature_name = "sig"
    message = maker("grpc").of_inputs(inputs, "sig", None).body
    log.predict_log.request.inputs["x"].CopyFrom(PredictRequest.FromString(message).inputs["x"])
    return log


def test_the_only_input_is_a_list_of_instances() -> None:
    request = maker().of_inputs({"x": np.float32([1, 0.5])}, "", X)
    assert (request.path, request.content_type) == ("/base/v1/models/m/versions/3:predict", "application/json")
    assert json.loads(request.body) == {"instances": [1.0, 0.5]}


def test_several_inputs_with_as_many_rows_are_instances_with_names() -> None:
    assert json.loads(maker().of_inputs(BOTH, "sig", TWO).body) == {
        "signature_name": "sig",
        "instances": [{"x": [1.0, 2.0], "s": {"b64": "YQ=="}}, {"x": [3.0, 4.0], "s": {"b64": "/w=="}}],
    }


@pytest.mark.parametrize("other", [np.float32(7), np.float32([1, 2, 3]), np.float32([])])
def test_inputs_without_common_rows_are_columns(other: Array) -> None:
    body = json.loads(maker().of_inputs({"x": np.float32([1, 2]), "y": np.asarray(other)}, "", None).body)
    assert body == {"inputs": {"x": [1.0, 2.0], "y": np.asarray(other).tolist()}}


def test_over_grpc_a_request_is_a_message_with_the_model_and_the_declared_types() -> None:
    request = maker("grpc").of_inputs({"x": np.float64([1])}, "sig", X)
    message = PredictRequest.FromString(request.body)
    assert request.path == "/tensorflow.serving.PredictionService/Predict"
    assert (message.model_spec.name, message.model_spec.version.value) == ("m", 3)
    assert message.model_spec.signature_name == "sig"
    assert (message.inputs["x"].dtype, list(message.inputs["x"].float_val)) == (DType.FLOAT, [1.0])


def test_a_label_is_named_in_the_path_and_in_the_message() -> None:
    labelled = Model("a/b", label="canary")
    assert RequestMaker(REST, labelled).of_json(b"{}").path == "/base/v1/models/a%2Fb/labels/canary:predict"
    assert labelled.spec().version_label == "canary"


def test_over_rest_the_message_goes_as_it_is() -> None:
    request = maker(form=Format.PROTOBUF).of_inputs(BOTH, "sig", TWO)
    assert (request.path, request.content_type) == ("/base/v1/models/m/versions/3:predict", "application/x-protobuf")
    assert sorted(PredictRequest.FromString(request.body).inputs) == ["s", "x"]


def test_in_numpys_form_one_input_is_a_file_and_several_are_an_archive() -> None:
    one = maker(form=Format.NPY).of_inputs({"x": np.float32([1])}, "sig", X)
    assert (one.content_type, one.headers) == ("application/x-npy", (("x-signature-name", "sig"),))
    np.testing.assert_array_equal(np.load(io.BytesIO(one.body)), np.float32([1]))
    two = maker(form=Format.NPY).of_inputs(BOTH, "", TWO)
    assert (two.content_type, two.headers) == ("application/x-npz", ())
    assert sorted(np.load(io.BytesIO(two.body))) == ["s", "x"]


@pytest.mark.parametrize("form", list(Format))
def test_a_record_asks_the_model_of_the_load_and_its_own_signature(form: Format) -> None:
    request = maker(form=form).of_log(record(x=np.float32([1, 2])))
    assert request.path == "/base/v1/models/m/versions/3:predict"
    if form is Format.JSON:
        assert json.loads(request.body) == {"signature_name": "sig", "inputs": {"x": [1.0, 2.0]}}
    if form is Format.PROTOBUF:
        assert PredictRequest.FromString(request.body).model_spec.name == "m"
    if form is Format.NPY:
        assert request.headers == (("x-signature-name", "sig"),)


def test_records_of_other_methods_go_to_their_methods() -> None:
    log = PredictionLog()
    log.regress_log.request.input.example_list.examples.add()
    assert maker("grpc").of_log(log).path == "/tensorflow.serving.PredictionService/Regress"
    assert maker().of_log(log).path.endswith(":regress")
    log.multi_inference_log.request.tasks.add().model_spec.signature_name = "s"
    assert maker("grpc").of_log(log).path == "/tensorflow.serving.PredictionService/MultiInference"


@pytest.mark.parametrize("form", [Format.PROTOBUF, Format.NPY])
def test_a_record_without_a_form_is_refused(form: Format) -> None:
    log = PredictionLog()
    with pytest.raises(ServingError, match="without a request"):
        maker(form=form).of_log(log)
    log.classify_log.request.SetInParent()
    with pytest.raises(InvalidArgument, match="no form but JSON"):
        maker(form=form).of_log(log)


def test_arrays_get_the_names_and_the_types_of_the_signature() -> None:
    assert check_inputs(np.int16([1]), X, "")["x"].dtype == np.float32
    assert check_inputs({"x": np.float64([1])}, X, "")["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("inputs", "signature", "words"),
    [
        (np.float32([1]), TWO, "one array without a name"),
        ({"x": np.float32([[1, 2]])}, TWO, "The data has x. Expected the inputs of signature sig: s: string"),
        ({"x": np.float32([1]), "y": np.float32([1])}, X, "The data has x, y."),
        ({}, X, "The data has no arrays"),
        ({"x": np.complex64([1])}, X, "The data has x of type complex64"),
        ({"x": np.array([b"a"], object)}, X, "The data has x of type object"),
    ],
)
def test_arrays_that_are_not_those_of_the_signature_are_refused(
    inputs: dict[str, Array] | Array, signature: Signature, words: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_inputs(inputs, signature, "sig")
    assert words in error.value.message
