from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from hotserve.api.exchange import GrpcRequest
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.errors import Code, Internal, InvalidArgument, ServingError
from hotserve.protos import messages
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.in_process import (
    CHECK,
    METADATA,
    PREDICT,
    STATUS,
    WATCH,
    Gate,
    GrpcAnswer,
    InProcess,
    ToyServable,
    adder,
    failing,
)

FLOATS = TensorSpec(DType.FLOAT, (None,), "x:0")
COUNTS = TensorSpec(DType.INT32, (None,), "n:0")
UNSPECIFIED: Any = object()


def several() -> ToyServable:
    """Signatures with two inputs, with defaults, with bound shapes, and without inputs."""

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if signature == "constant":
            return {"y": np.float32(7).reshape(())}
        twice = inputs["n"] * 2 if "n" in inputs else np.zeros(1, np.int32)
        return {"sum": np.asarray(inputs["x"] + np.float32(1)), "twice": twice}

    outputs = {"sum": FLOATS, "twice": COUNTS}
    resource = TensorSpec(DType.RESOURCE, (), "r:0")
    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature({"x": FLOATS, "n": COUNTS}, outputs),
            "defaults": Signature({"x": FLOATS, "n": COUNTS}, outputs, defaults={"n": np.int32([5])}),
            "strict": Signature({"x": TensorSpec(DType.FLOAT, (None, 2), "x:0")}, outputs, enforces_shapes=True),
            "constant": Signature({}, {"y": FLOATS}),
            "resource": Signature({"x": resource}, outputs),
            "__saved_model_init_op": Signature({}, {"__saved_model_init_op": TensorSpec(DType.INVALID, None, "NoOp")}),
        },
        run,
    )


@pytest.fixture(scope="module")
def apis() -> Iterator[InProcess]:
    models: dict[str, Any] = {
        "m": {1: adder(1), 2: adder(2)},
        "several": {5: several()},
        "broken": {3: InvalidArgument("it will not load")},
        "refuses": {1: failing(InvalidArgument("Matrix size-incompatible: In[0]: [3,3]"))},
        "crashes": {1: failing(KeyError("oops"))},
    }
    with InProcess(models, labels={"m": {"stable": 1, "gone": 9}}) as running:
        yield running


def spec(name: str = "m", version: int | None = None, label: str | None = None, signature: str = "") -> Any:
    message = messages.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


def predict_request(
    model_spec: Any = UNSPECIFIED, inputs: Mapping[str, Any] | None = None, output_filter: tuple[str, ...] = ()
) -> Any:
    """A request to `m` with `x` = [1], unless said otherwise; arrays become tensors, `None` is no tensor at all."""
    request = messages.PredictRequest(output_filter=output_filter)
    if model_spec is not None:
        request.model_spec.CopyFrom(spec() if model_spec is UNSPECIFIED else model_spec)
    for name, value in ({"x": np.float32([1])} if inputs is None else inputs).items():
        if isinstance(value, np.ndarray):
            dtype = {"f": DType.FLOAT, "i": DType.INT32, "O": DType.STRING}[value.dtype.kind]
            request.inputs[name].CopyFrom(encode_tensor(value, dtype))
        else:
            request.inputs[name].CopyFrom(value)
    return request


def outputs_of(answer: GrpcAnswer) -> tuple[dict[str, list[Any]], Any]:
    assert answer.error is None, answer.error
    response = messages.PredictResponse.FromString(answer.message)
    return {name: decode_tensor(proto).tolist() for name, proto in response.outputs.items()}, response.model_spec


def assert_refused(answer: GrpcAnswer, code: Code, text: str) -> str:
    assert answer.error is not None
    assert (answer.error.code, answer.error.message[: len(text)]) == (code, text)
    return answer.error.message


# Which version: the same for predict and metadata.


@pytest.mark.parametrize(
    ("model_spec", "number"),
    [
        (spec(), 2),
        (spec(version=1), 1),
        (spec(version=2), 2),
        (spec(label="stable"), 1),
    ],
)
def test_a_model_spec_leads_to_a_version_and_the_answer_names_it(apis: InProcess, model_spec: Any, number: int) -> None:
    values, answered = outputs_of(apis.call(PREDICT, predict_request(model_spec)))
    assert values == {"y": [1.0 + number]}
    assert (answered.name, answered.version.value, answered.signature_name) == ("m", number, "serving_default")
    assert answered.WhichOneof("version_choice") == "version"

    metadata = apis.call(
        METADATA, messages.GetModelMetadataRequest(model_spec=model_spec, metadata_field=["signature_def"])
    )
    answered = messages.GetModelMetadataResponse.FromString(metadata.message).model_spec
    assert (answered.name, answered.version.value, answered.signature_name) == ("m", number, "")


MODEL_SPEC_REFUSALS = [
    (None, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    (messages.ModelSpec(), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    (spec("", version=1), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    (spec(label="zzz"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: zzz"),
    (spec(label=""), Code.INVALID_ARGUMENT, "Unrecognized servable version label: "),
    (spec("nope", label="zzz"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: zzz"),
    (spec(label="gone"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: gone"),
    (spec("nope"), Code.NOT_FOUND, "Servable not found for request: Latest(nope)"),
    (spec("broken"), Code.NOT_FOUND, "Servable not found for request: Latest(broken)"),
    (spec(version=99), Code.NOT_FOUND, "Servable not found for request: Specific(m, 99)"),
    (spec(version=0), Code.NOT_FOUND, "Servable not found for request: Specific(m, 0)"),
    (spec(version=-1), Code.NOT_FOUND, "Servable not found for request: Specific(m, -1)"),
    (spec("broken", version=3), Code.NOT_FOUND, "Servable not found for request: Specific(broken, 3)"),
]


@pytest.mark.parametrize(("model_spec", "code", "text"), MODEL_SPEC_REFUSALS)
def test_a_model_spec_that_leads_nowhere_is_refused_by_predict(
    apis: InProcess, model_spec: Any, code: Code, text: str
) -> None:
    assert_refused(apis.call(PREDICT, predict_request(model_spec)), code, text)


@pytest.mark.parametrize(("model_spec", "code", "text"), MODEL_SPEC_REFUSALS)
def test_a_model_spec_that_leads_nowhere_is_refused_by_metadata(
    apis: InProcess, model_spec: Any, code: Code, text: str
) -> None:
    request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
    if model_spec is not None:
        request.model_spec.CopyFrom(model_spec)
    assert_refused(apis.call(METADATA, request), code, text)


# Predict.


def test_a_signature_is_echoed_and_all_outputs_come_without_a_filter(apis: InProcess) -> None:
    request = predict_request(spec("several", signature="defaults"), {"x": np.float32([1]), "n": np.int32([2])})
    values, answered = outputs_of(apis.call(PREDICT, request))
    assert values == {"sum": [2.0], "twice": [4]}
    assert answered.signature_name == "defaults"


@pytest.mark.parametrize(
    ("output_filter", "names"),
    [(("sum",), {"sum"}), (("twice", "sum"), {"sum", "twice"}), ((), {"sum", "twice"})],
)
def test_an_output_filter_selects(apis: InProcess, output_filter: tuple[str, ...], names: set[str]) -> None:
    inputs = {"x": np.float32([1]), "n": np.int32([2])}
    values, _ = outputs_of(apis.call(PREDICT, predict_request(spec("several"), inputs, output_filter)))
    assert values.keys() == names


def test_an_input_that_is_left_out_takes_its_default(apis: InProcess) -> None:
    defaulted = predict_request(spec("several", signature="defaults"), {"x": np.float32([1])})
    assert outputs_of(apis.call(PREDICT, defaulted))[0] == {"sum": [2.0], "twice": [10]}


def test_a_signature_without_inputs_is_called_with_none(apis: InProcess) -> None:
    values, _ = outputs_of(apis.call(PREDICT, predict_request(spec("several", signature="constant"), {})))
    assert values == {"y": 7.0}


def test_a_tensor_with_fewer_values_than_elements_repeats_the_last(apis: InProcess) -> None:
    tensor = messages.TensorProto(dtype=DType.FLOAT, float_val=[1, 2])
    tensor.tensor_shape.dim.add(size=4)
    assert outputs_of(apis.call(PREDICT, predict_request(inputs={"x": tensor})))[0] == {"y": [3.0, 4.0, 4.0, 4.0]}


def test_shapes_that_a_signature_does_not_enforce_are_free(apis: InProcess) -> None:
    request = predict_request(inputs={"x": np.float32([[1], [2]])})
    assert outputs_of(apis.call(PREDICT, request))[0] == {"y": [[3.0], [4.0]]}


MISSING = (
    "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs expected to be"
    " in the request {n}, or default input alias set: {n}"
)
NEGATIVE = messages.TensorProto(
    dtype=DType.FLOAT, tensor_shape=messages.TensorShapeProto(dim=[messages.TensorShapeProto.Dim(size=-1)])
)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (
            predict_request(spec(signature="zzz")),
            Code.FAILED_PRECONDITION,
            'Serving signature key "zzz" not found. Signatures of m version 2: serving_default.',
        ),
        (
            predict_request(spec("several", signature="__saved_model_init_op"), {}),
            Code.FAILED_PRECONDITION,
            "__saved_model_init_op initialises the graph and cannot be called.",
        ),
        (
            predict_request(inputs={}),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            predict_request(inputs={"x": np.float32([1]), "b": np.float32([1]), "a": np.float32([1])}),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 3!=1 len({a,b,x}) != len({x}). Sent extra: {a,b}. Missing but"
            " required: {}.",
        ),
        (
            predict_request(spec("several"), {"k": np.float32([1])}),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 1!=2 len({k}) != len({n,x}). Sent extra: {k}. Missing but required:"
            " {n,x}.",
        ),
        (
            predict_request(inputs={"k": np.float32([1])}),
            Code.INVALID_ARGUMENT,
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs"
            " expected to be in the request {k}, or default input alias set: {}",
        ),
        (
            predict_request(spec("several", signature="defaults"), {"n": np.int32([1])}),
            Code.INVALID_ARGUMENT,
            MISSING,
        ),
        (
            predict_request(spec("several", signature="defaults"), {"x": np.float32([1]), "k": np.int32([1])}),
            Code.INVALID_ARGUMENT,
            "Inputs contains invalid name. Used request inputs: x, request input: k,x",
        ),
        (
            predict_request(spec("several", signature="defaults"), dict.fromkeys("abc", np.float32([1]))),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 3!=2 len({a,b,c}) != len({n,x}). Sent extra: {a,b,c}. Missing but"
            " required: {x}.",
        ),
        (predict_request(inputs={"x": NEGATIVE}), Code.INVALID_ARGUMENT, "tensor parsing error: x: dimension 0 of"),
        (
            predict_request(inputs={"x": messages.TensorProto()}),
            Code.INVALID_ARGUMENT,
            "tensor parsing error: x: dtype DT_INVALID",
        ),
        (
            predict_request(inputs={"x": messages.TensorProto(dtype=DType.FLOAT, tensor_content=b"abc")}),
            Code.INVALID_ARGUMENT,
            "tensor parsing error: x: 3 bytes of tensor_content",
        ),
        (
            predict_request(output_filter=("zzz",)),
            Code.INVALID_ARGUMENT,
            "output tensor alias not found in signature: zzz Outputs expected to be in the set {y}.",
        ),
        (
            predict_request(output_filter=("y", "y")),
            Code.INVALID_ARGUMENT,
            "duplicate output tensor alias: y",
        ),
        (
            predict_request(inputs={"x": np.array([b"one"], object)}),
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be float but string is provided",
        ),
        (
            predict_request(spec("several"), {"x": np.float32([1]), "n": np.float32([1])}),
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be int32 but float is provided",
        ),
        (
            predict_request(spec("several", signature="resource"), {"x": np.float32([1])}),
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be resource but float is provided",
        ),
        (
            predict_request(spec("several", signature="strict"), {"x": np.float32([[1, 2, 3]])}),
            Code.INVALID_ARGUMENT,
            "Input x has the wrong shape: expected float [?,2], and float [1,3] came",
        ),
        (predict_request(spec("refuses")), Code.INVALID_ARGUMENT, "Matrix size-incompatible: In[0]: [3,3]"),
    ],
)
def test_a_predict_request_is_refused_in_the_words_of_the_contract(
    apis: InProcess, request_: Any, code: Code, text: str
) -> None:
    assert_refused(apis.call(PREDICT, request_), code, text)


def test_names_are_checked_before_tensors_and_tensors_before_the_filter(apis: InProcess) -> None:
    bad_tensor = {"x": messages.TensorProto()}
    by_name = predict_request(inputs={"k": messages.TensorProto()}, output_filter=("zzz",))
    assert_refused(apis.call(PREDICT, by_name), Code.INVALID_ARGUMENT, "Signature input alias: x")
    by_tensor = predict_request(inputs=bad_tensor, output_filter=("zzz",))
    assert_refused(apis.call(PREDICT, by_tensor), Code.INVALID_ARGUMENT, "tensor parsing error: x")


def test_a_refusal_tells_what_the_signature_takes_and_what_came(apis: InProcess) -> None:
    request = predict_request(spec("several"), {"x": np.float32([[1, 2]]), "n": np.float32([1])})
    text = assert_refused(apis.call(PREDICT, request), Code.INVALID_ARGUMENT, "Expects arg[0]")
    assert text.endswith(
        "Inputs of signature serving_default: n: int32 [?], x: float [?]."
        " The request gave n: float [1], x: float [1,2]."
    )


def test_bytes_that_are_no_message_are_internal_as_of_any_grpc_server(apis: InProcess) -> None:
    for path in (PREDICT, METADATA, STATUS, CHECK):
        text = assert_refused(apis.call(path, b"\xff\xff"), Code.INTERNAL, "The ")
        assert "bytes received are no " in text


def test_a_fault_of_a_servable_is_internal_and_a_line_in_the_log(
    apis: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "hotserve"):
        answer = apis.call(PREDICT, predict_request(spec("crashes")))
    assert_refused(answer, Code.INTERNAL, "KeyError: 'oops'. This is a fault of the server; see its log.")
    assert [record.getMessage() for record in caplog.records] == [f"{PREDICT} failed"]


# Metadata.


@pytest.mark.parametrize(
    ("model_spec", "fields", "text"),
    [
        (None, [], "Missing ModelSpec"),
        (None, ["signature_def"], "Missing ModelSpec"),
        # The fields come before the model.
        (spec("nope"), [], "GetModelMetadataRequest must specify at least one metadata_field"),
        (spec("nope"), ["nope"], "Metadata field nope is not supported"),
        (spec("m"), ["signature_def", "other"], "Metadata field other is not supported"),
    ],
)
def test_a_metadata_request_names_a_model_and_the_one_field_there_is(
    apis: InProcess, model_spec: Any, fields: list[str], text: str
) -> None:
    request = messages.GetModelMetadataRequest(metadata_field=fields)
    if model_spec is not None:
        request.model_spec.CopyFrom(model_spec)
    assert_refused(apis.call(METADATA, request), Code.INVALID_ARGUMENT, text)


def test_metadata_are_all_signatures_in_an_any(apis: InProcess) -> None:
    request = messages.GetModelMetadataRequest(model_spec=spec("several"), metadata_field=["signature_def"] * 2)
    response = messages.GetModelMetadataResponse.FromString(apis.call(METADATA, request).message)
    assert list(response.metadata) == ["signature_def"]
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    shown = messages.SignatureDefMap.FromString(packed.value).signature_def
    assert sorted(shown) == [
        "__saved_model_init_op",
        "constant",
        "defaults",
        "resource",
        "serving_default",
        "strict",
    ]
    assert shown["serving_default"].inputs["n"].name == "n:0"
    assert shown["serving_default"].inputs["n"].dtype == DType.INT32
    assert decode_tensor(shown["defaults"].defaults["n"]).tolist() == [5]


# Status.


def statuses(answer: GrpcAnswer) -> list[tuple[int, str, int, str]]:
    response = messages.GetModelStatusResponse.FromString(answer.message)
    return [
        (entry.version, messages.ModelVersionStatus.State.Name(entry.state), entry.status.error_code, text)
        for entry in response.model_version_status
        for text in [entry.status.error_message]
    ]


@pytest.mark.parametrize(
    ("model_spec", "expected"),
    [
        (spec("m"), [(2, "AVAILABLE", 0, ""), (1, "AVAILABLE", 0, "")]),
        (spec("m", version=1), [(1, "AVAILABLE", 0, "")]),
        # As in the original, a label is not looked at.
        (spec("m", label="stable"), [(2, "AVAILABLE", 0, ""), (1, "AVAILABLE", 0, "")]),
        (spec("m", label="zzz"), [(2, "AVAILABLE", 0, ""), (1, "AVAILABLE", 0, "")]),
        (spec("broken"), [(3, "END", 3, "it will not load")]),
    ],
)
def test_the_status_lists_versions_newest_first_and_what_went_wrong(
    apis: InProcess, model_spec: Any, expected: list[tuple[int, str, int, str]]
) -> None:
    answer = apis.call(STATUS, messages.GetModelStatusRequest(model_spec=model_spec))
    assert statuses(answer) == expected


def test_the_status_message_is_there_even_when_it_is_ok(apis: InProcess) -> None:
    answer = apis.call(STATUS, messages.GetModelStatusRequest(model_spec=spec("m")))
    response = messages.GetModelStatusResponse.FromString(answer.message)
    assert all(entry.HasField("status") for entry in response.model_version_status)


@pytest.mark.parametrize(
    ("model_spec", "code", "text"),
    [
        (None, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (messages.ModelSpec(), Code.NOT_FOUND, "Could not find any versions of model "),
        (spec("nope"), Code.NOT_FOUND, "Could not find any versions of model nope"),
        (spec("m", version=7), Code.NOT_FOUND, "Could not find version 7 of model m"),
        (spec("m", version=0), Code.NOT_FOUND, "Could not find version 0 of model m"),
        (spec("nope", version=7), Code.NOT_FOUND, "Could not find version 7 of model nope"),
    ],
)
def test_a_status_that_nobody_knows_is_refused(apis: InProcess, model_spec: Any, code: Code, text: str) -> None:
    request = messages.GetModelStatusRequest()
    if model_spec is not None:
        request.model_spec.CopyFrom(model_spec)
    assert_refused(apis.call(STATUS, request), code, text)


# Other methods.


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.PredictionService/Nope",
        "/tensorflow.serving.PredictionService/PredictStreamed",
        "/tensorflow.serving.SessionService/SessionRun",
        "/tensorflow.serving.predictionservice/predict",
        "Predict",
        "",
    ],
)
def test_a_method_that_there_is_not_is_unimplemented_and_the_answer_lists_those_there_are(
    apis: InProcess, path: str
) -> None:
    text = assert_refused(apis.call(path, b""), Code.UNIMPLEMENTED, f"Method not found: {path}. Methods: ")
    assert PREDICT in text


# Health.


def health_check(apis: InProcess, service: str) -> GrpcAnswer:
    return apis.call(CHECK, messages.HealthCheckRequest(service=service))


SERVING, NOT_SERVING, SERVICE_UNKNOWN = (
    messages.HealthCheckResponse(status=status).SerializeToString() for status in (1, 2, 3)
)


@pytest.mark.parametrize(
    "service",
    [
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
        "m",
    ],
)
def test_a_server_whose_models_answer_serves(service: str) -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        assert health_check(apis, service).message == SERVING
        apis.health.stopping = True
        assert health_check(apis, service).message == NOT_SERVING


def test_one_model_that_does_not_answer_is_enough_not_to_serve(apis: InProcess) -> None:
    assert health_check(apis, "").message == NOT_SERVING
    assert health_check(apis, "broken").message == NOT_SERVING
    assert health_check(apis, "m").message == SERVING


def test_an_unknown_service_is_not_found_and_the_answer_lists_the_known_ones(apis: InProcess) -> None:
    text = assert_refused(health_check(apis, "nope"), Code.NOT_FOUND, "unknown service: 'nope'.")
    assert "'tensorflow.serving.PredictionService'" in text


def test_a_watcher_hears_of_every_change_and_of_the_stop() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:

        async def watch() -> list[bytes]:
            request = GrpcRequest(WATCH, messages.HealthCheckRequest(service="m").SerializeToString())
            answers = apis.grpc_services.streaming[WATCH](request)
            heard = [await anext(answers)]
            await asyncio.to_thread(apis.serve, "m")
            heard.append(await anext(answers))
            await asyncio.to_thread(apis.serve, "m", 1)
            heard.append(await anext(answers))
            apis.health.stopping = True
            apis.health_service.notify()
            return heard + [answer async for answer in answers]

        assert asyncio.run(watch()) == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]


def test_a_watcher_of_an_unknown_service_is_told_so_and_hears_no_more_until_the_stop() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:

        async def watch() -> list[bytes]:
            request = GrpcRequest(WATCH, messages.HealthCheckRequest(service="nope").SerializeToString())
            answers = apis.grpc_services.streaming[WATCH](request)
            heard = [await anext(answers)]
            await asyncio.to_thread(apis.serve, "m")
            apis.health.stopping = True
            apis.health_service.notify()
            return heard + [answer async for answer in answers]

        assert asyncio.run(watch()) == [SERVICE_UNKNOWN]


def test_bytes_that_are_no_watch_request_are_internal() -> None:
    with InProcess({}) as apis:

        async def watch() -> list[bytes]:
            return [answer async for answer in apis.grpc_services.streaming[WATCH](GrpcRequest(WATCH, b"\xff"))]

        with pytest.raises(Internal, match=r"no grpc\.health\.v1\.HealthCheckRequest"):
            asyncio.run(watch())


# What is counted.


@pytest.mark.parametrize(
    ("request_", "cell"),
    [
        (predict_request(), ("m", "1", "serving_default", "Predict", "GRPC", "OK")),
        (predict_request(inputs={}), ("m", "1", "serving_default", "Predict", "GRPC", "INVALID_ARGUMENT")),
        (predict_request(spec("nope")), ("nope", "", "", "Predict", "GRPC", "NOT_FOUND")),
        (predict_request(None), ("", "", "", "Predict", "GRPC", "INVALID_ARGUMENT")),
        (predict_request(spec("crashes")), ("crashes", "1", "serving_default", "Predict", "GRPC", "INTERNAL")),
    ],
)
def test_every_predict_call_is_counted_once(request_: Any, cell: tuple[str, str, str, str, str, str]) -> None:
    with InProcess({"m": {1: adder(1)}, "crashes": {1: failing(KeyError("oops"))}}) as apis:
        apis.call(PREDICT, request_)
        assert list(apis.metrics.requests.cells()) == [(cell, 1)]
        assert list(apis.metrics.request_count.cells()) == [((cell[0], cell[5]), 1)]
        latencies = list(apis.metrics.request_latency.cells())
    assert [labels for labels, _ in latencies] == ([("m", "Predict", "GRPC")] if cell[5] == "OK" else [])


@pytest.mark.parametrize(("timeout_seconds", "status"), [(None, "CANCELLED"), (0.5, "DEADLINE_EXCEEDED")])
def test_a_call_that_is_given_up_is_not_counted_as_a_success(timeout_seconds: float | None, status: str) -> None:
    gate = Gate()
    with InProcess({"m": {1: gate.servable}}) as apis:

        async def give_up() -> None:
            request = GrpcRequest(PREDICT, predict_request().SerializeToString(), timeout_seconds)
            call = asyncio.ensure_future(apis.grpc_services.call(request))
            await asyncio.to_thread(gate.wait_entered)
            await asyncio.sleep(timeout_seconds or 0)  # as the wire does, which cancels a call at its deadline
            call.cancel()
            with pytest.raises((asyncio.CancelledError, ServingError)):
                await call

        asyncio.run(give_up())
        assert list(apis.metrics.request_count.cells()) == [(("m", status), 1)]
        gate.open()


@pytest.mark.parametrize("path", [METADATA, STATUS, CHECK])
def test_other_calls_are_not_counted_where_the_original_counts_none(path: str) -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        apis.call(path, b"")
        assert apis.metrics.request_count.cells() == []
        assert apis.metrics.request_latency.cells() == []
