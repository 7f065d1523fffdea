from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from google.protobuf import descriptor_pb2

from hotserve.api.reflection_service import ReflectionService
from hotserve.errors import Code, Internal
from hotserve.protos import messages

SERVICES = ["tensorflow.serving.PredictionService", "grpc.health.v1.Health"]


def ask(*requests: bytes | messages.ServerReflectionRequest) -> list[messages.ServerReflectionResponse]:
    async def stream() -> AsyncGenerator[bytes, None]:
        for request in requests:
            yield request if isinstance(request, bytes) else request.SerializeToString()

    async def run() -> list[messages.ServerReflectionResponse]:
        answers = ReflectionService(SERVICES).info(stream())
        return [messages.ServerReflectionResponse.FromString(data) async for data in answers]

    return asyncio.run(run())


def question(**field: str) -> messages.ServerReflectionRequest:
    return messages.ServerReflectionRequest(host="here", **field)  # type: ignore[arg-type]


def files(response: messages.ServerReflectionResponse) -> Sequence[descriptor_pb2.FileDescriptorProto]:
    return [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in response.file_descriptor_response.file_descriptor_proto
    ]


def test_services_are_listed_in_order() -> None:
    (response,) = ask(question(list_services="*"))
    assert [service.name for service in response.list_services_response.service] == sorted(SERVICES)


def test_an_answer_repeats_what_it_answers() -> None:
    (response,) = ask(question(list_services=""))
    assert (response.valid_host, response.original_request) == ("here", question(list_services=""))


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("tensorflow.serving.PredictionService", "hotserve/protos/prediction_service.proto"),
        ("tensorflow.serving.PredictionService.Predict", "hotserve/protos/prediction_service.proto"),
        ("tensorflow.serving.PredictRequest", "hotserve/protos/predict.proto"),
        ("tensorflow.DataType", "hotserve/protos/tensor.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "hotserve/protos/health.proto"),
        ("google.protobuf.Any", "google/protobuf/any.proto"),
    ],
)
def test_a_symbol_is_answered_with_its_file_first(symbol: str, name: str) -> None:
    (response,) = ask(question(file_containing_symbol=symbol))
    assert files(response)[0].name == name


def test_a_file_comes_with_all_that_it_needs_and_each_once() -> None:
    (response,) = ask(question(file_by_filename="hotserve/protos/prediction_service.proto"))
    found = [file.name for file in files(response)]
    assert len(set(found)) == len(found)
    assert {dependency for file in files(response) for dependency in file.dependency} <= set(found)


def test_a_type_without_extensions_has_none() -> None:
    (response,) = ask(question(all_extension_numbers_of_type="tensorflow.TensorProto"))
    assert response.WhichOneof("message_response") == "all_extension_numbers_response"
    assert response.all_extension_numbers_response.base_type_name == "tensorflow.TensorProto"
    assert list(response.all_extension_numbers_response.extension_number) == []


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (question(file_by_filename="x.proto"), Code.NOT_FOUND, "File not found: 'x.proto'."),
        (question(file_containing_symbol="no.such"), Code.NOT_FOUND, "Symbol not found: 'no.such'."),
        (question(all_extension_numbers_of_type="no.such"), Code.NOT_FOUND, "Message not found: 'no.such'."),
        (
            messages.ServerReflectionRequest(
                file_containing_extension=messages.ExtensionRequest(
                    containing_type="tensorflow.TensorProto", extension_number=7
                )
            ),
            Code.NOT_FOUND,
            "tensorflow.TensorProto has no extension 7.",
        ),
        (question(), Code.INVALID_ARGUMENT, "The request asks for nothing that is known here."),
    ],
)
def test_what_is_not_found_is_an_answer_and_the_next_question_is_answered(
    request_: messages.ServerReflectionRequest, code: Code, text: str
) -> None:
    refused, answered = ask(request_, question(list_services="*"))
    assert refused.error_response.error_code == code
    assert refused.error_response.error_message.startswith(text)
    assert answered.WhichOneof("message_response") == "list_services_response"


def test_bytes_that_are_no_question_end_the_call() -> None:
    with pytest.raises(Internal, match=r"no grpc\.reflection\.v1alpha\.ServerReflectionRequest message"):
        ask(b"\xff")
