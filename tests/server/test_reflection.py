from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from hotserve import Server
from support.embedded import toy_server
from support.in_process import PATIENCE, adder

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with toy_server({"m": {1: adder(1)}}) as running:
        yield running


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as opened:
        yield opened


def test_a_client_of_the_grpc_project_lists_the_services(channel: grpc.Channel) -> None:
    assert sorted(ProtoReflectionDescriptorDatabase(channel).get_services()) == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_that_is_listed_can_be_described(channel: grpc.Channel, service: str) -> None:
    described = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(service)
    assert described.methods


def test_a_client_without_any_proto_file_describes_prediction_service_and_calls_it(channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    assert [method.name for method in service.methods] == [
        "Classify",
        "Regress",
        "Predict",
        "MultiInference",
        "GetModelMetadata",
    ]
    method = service.methods_by_name["Predict"]
    request = GetMessageClass(method.input_type)()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(1.5)
    call = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    assert list(call(request, timeout=PATIENCE).outputs["y"].float_val) == [2.5]


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_questions_of_one_call_are_answered_one_by_one(channel: grpc.Channel, package: str) -> None:
    # Each question is asked once the one before it has been answered.
    answers: list[reflection_pb2.ServerReflectionResponse] = []

    def questions() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = answers
        for service in listed.list_services_response.service:
            yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.name)

    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = questions()
    first = call(iter([next(asked)]), timeout=PATIENCE)
    answers += first
    answers += call(asked, timeout=PATIENCE)
    assert [answer.WhichOneof("message_response") for answer in answers] == [
        "list_services_response",
        *["file_descriptor_response"] * len(SERVICES),
    ]
