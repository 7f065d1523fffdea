"""Server reflection: clients such as grpcurl learn services and messages from the server, without .proto files.

Source: grpc/doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from google.protobuf.descriptor import FileDescriptor

from hotserve.api.grpc_calls import parse
from hotserve.errors import InvalidArgument, NotFound, ServingError
from hotserve.protos import messages
from hotserve.protos.pool import POOL

REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The names of the service, whose messages are the same on the wire."""


class ReflectionService:
    """Answers what there is to be called, and how."""

    def __init__(self, services: Iterable[str]) -> None:
        """Makes the service.

        Args:
            services: The full names of all services that the server has.
        """
        self._services = sorted(services)

    async def info(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """`ServerReflectionInfo`: one answer to each question; what is not found is an answer, too."""
        async for data in requests:
            request = parse(messages.ServerReflectionRequest, data)
            response = messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
            try:
                self._answer(request, response)
            except ServingError as error:
                response.error_response.error_code = int(error.code)
                response.error_response.error_message = error.message
            yield response.SerializeToString()

    def _answer(self, request: messages.ServerReflectionRequest, response: messages.ServerReflectionResponse) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [messages.ServiceResponse(name=name) for name in self._services]
                response.list_services_response.service.extend(names)
            case "file_by_filename":
                _describe(_file(request.file_by_filename), response)
            case "file_containing_symbol":
                _describe(_file_with(request.file_containing_symbol), response)
            case "file_containing_extension":
                extension = request.file_containing_extension
                # Extensions are of proto2, and all files here are of proto3.
                raise NotFound(f"{extension.containing_type} has no extension {extension.extension_number}.")
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                _check_message(name)
                response.all_extension_numbers_response.base_type_name = name
            case _:
                raise InvalidArgument(
                    "The request asks for nothing that is known here. Expected one of list_services, file_by_filename,"
                    " file_containing_symbol, file_containing_extension and all_extension_numbers_of_type."
                )


def _file(name: str) -> FileDescriptor:
    try:
        return POOL.FindFileByName(name)
    except KeyError as error:
        raise NotFound(f"File not found: {name!r}.") from error


def _file_with(symbol: str) -> FileDescriptor:
    try:
        return POOL.FindFileContainingSymbol(symbol)
    except KeyError:  # with protobuf's faster implementation, methods are not among the symbols
        pass
    try:
        return POOL.FindMethodByName(symbol).containing_service.file
    except KeyError as error:
        raise NotFound(
            f"Symbol not found: {symbol!r}. Expected the full name of a service, method, message or enum, such as"
            " tensorflow.serving.PredictionService."
        ) from error


def _check_message(name: str) -> None:
    try:
        POOL.FindMessageTypeByName(name)
    except KeyError as error:
        raise NotFound(f"Message not found: {name!r}.") from error


def _describe(file: FileDescriptor, response: messages.ServerReflectionResponse) -> None:
    """Adds a file and all that it needs, so that clients need not ask again."""
    files: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        next_file = waiting.pop()
        if next_file.name not in files:
            files[next_file.name] = next_file
            waiting.extend(next_file.dependencies)
    response.file_descriptor_response.file_descriptor_proto.extend(found.serialized_pb for found in files.values())
