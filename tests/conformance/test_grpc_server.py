"""Contract 1.1: the gRPC server."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hotserve.protos import messages
from support.contract import Client, floats, lines, model_spec, post, predict_request
from support.server_process import ServerProcess

CUT_OFF_BYTES = 1024


@lines(
    "path",
    {
        "a method that PredictionService has not": ["/tensorflow.serving.PredictionService/Nope"],
        "PredictStreamed, whose messages alone exist": ["/tensorflow.serving.PredictionService/PredictStreamed"],
        "SessionService, which is never served": ["/tensorflow.serving.SessionService/SessionRun"],
        "ProfilerService, a reasonable deviation": ["/tensorflow.ProfilerService/Profile"],
        "a service that there is not": ["/no.Service/Method"],
    },
)
def test_what_is_not_served_is_unimplemented(client: Client, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.channel.unary_unary(path)(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_the_health_service_knows_the_unqualified_names(client: Client, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_services(client: Client, version: str) -> None:
    # The messages of both versions are the same.
    call = client.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = call(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=60)
    assert {service.name for service in answer.list_services_response.service} >= {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        f"grpc.reflection.{version}.ServerReflection",
    }


def test_reflection_describes_a_method(client: Client) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = reflection_pb2.ServerReflectionRequest(
        file_containing_symbol="tensorflow.serving.PredictionService.Predict"
    )
    (answer,) = stub.ServerReflectionInfo(iter([asked]), timeout=60)
    assert any(b"PredictRequest" in file for file in answer.file_descriptor_response.file_descriptor_proto)


def test_a_request_and_an_answer_may_be_larger_than_the_4_mib_of_other_servers(client: Client) -> None:
    values = floats(*[1.5] * 2_000_000)
    answer = client.call("Predict", predict_request("echo", "float", x=values))
    assert len(answer.outputs["y"].float_val) == 2_000_000


def test_a_text_of_1024_bytes_is_whole(client: Client) -> None:
    label = "x" * (CUT_OFF_BYTES - len("Unrecognized servable version label: "))
    _, text = client.refusal("Predict", messages.PredictRequest(model_spec=model_spec("half", label=label)))
    assert text.startswith(f"Unrecognized servable version label: {label}")


def test_a_longer_text_ends_after_1024_bytes_with_a_mark(client: Client) -> None:
    label = "x" * 3000
    _, text = client.refusal("Predict", messages.PredictRequest(model_spec=model_spec("half", label=label)))
    whole = f"Unrecognized servable version label: {label}"
    assert text == whole[:CUT_OFF_BYTES] + "...TRUNCATED"


def test_a_text_is_cut_between_characters_and_never_within_one(client: Client) -> None:
    label = "é" * 1500
    _, text = client.refusal("Predict", messages.PredictRequest(model_spec=model_spec("half", label=label)))
    kept = text.removesuffix("...TRUNCATED")
    assert text != kept
    assert CUT_OFF_BYTES - 1 <= len(kept.encode()) <= CUT_OFF_BYTES
    assert set(kept.removeprefix("Unrecognized servable version label: ")) == {"é"}


def test_over_rest_no_text_is_cut(server: ServerProcess) -> None:
    label = "x" * 3000
    answer = post(server, f"half/labels/{label}:predict", '{"instances": [1.0]}')
    assert answer.error.startswith(f"Unrecognized servable version label: {label}")


def test_predict_passes_over_the_fields_of_streams_and_of_options(client: Client) -> None:
    request = predict_request(x=floats(2.0))
    # client_id, 6, and request_options, 7, as another writer would send them.
    packed = request.SerializeToString() + b"\x32\x02id" + b"\x3a\x04\x0a\x02id"
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    answer = messages.PredictResponse.FromString(call(packed, timeout=60))
    assert list(answer.outputs["y"].float_val) == [3.0]


def test_a_deadline_that_passes_is_told(client: Client) -> None:
    steps = messages.TensorProto(dtype=messages.DataType.Value("DT_INT32"), int_val=[300_000])
    code, _ = client.refusal("Predict", predict_request("odd", "slow", steps=steps), timeout=0.05)
    assert code == "DEADLINE_EXCEEDED"
