"""What the calls of all services have in common: reading a request, the model that it names, and counting it."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from hotserve.api.exchange import GrpcRequest
from hotserve.core.ids import ServableId
from hotserve.core.served_versions import ModelSpec
from hotserve.errors import Code, Internal, InvalidArgument, ServingError
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_record import RequestRecord
from hotserve.protos import messages

_OK = Code.OK.name  # looked up once: an attribute of an enum takes long

AnyMessage = TypeVar("AnyMessage", bound=Message)


class counted:  # noqa: N801 - it reads as what it does
    """A context manager that counts a call by how its block ends; gives the block the record of the call.

    A class, because one that `contextlib` makes of a generator costs twice as much, at every call.
    """

    __slots__ = ("_metrics", "_record", "_timeout_seconds")

    def __init__(self, metrics: Metrics, model: str, api: str, start: float, request: GrpcRequest) -> None:
        """Begins nothing yet.

        Args:
            metrics: Where it is counted.
            model: The client's name for the model.
            api: The name of the method.
            start: When the call began, as `time.perf_counter` tells it.
            request: The call.
        """
        self._metrics = metrics
        self._timeout_seconds = request.timeout_seconds
        self._record = RequestRecord("GRPC", len(request.message), start)
        self._record.model = model
        self._record.api = api

    def __enter__(self) -> RequestRecord:
        self._metrics.begin_request(self._record)
        return self._record

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._metrics.count_request(self._record, _OK)
            return
        match error:
            case ServingError():
                code = error.code
            case asyncio.CancelledError():
                is_over = _is_over(self._timeout_seconds, self._record.start)
                code = Code.DEADLINE_EXCEEDED if is_over else Code.CANCELLED
            case _:
                code = Code.INTERNAL
        self._metrics.count_request(self._record, code.name)


def parse(message_class: type[AnyMessage], data: bytes) -> AnyMessage:
    """Reads a message.

    Raises:
        Internal: The bytes are none; it is what gRPC's own servers say.
    """
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise Internal(
            f"The {len(data)} bytes received are no {message_class.DESCRIPTOR.full_name} message: {error}"
        ) from error


def model_spec_of(message: Any) -> ModelSpec:
    """Reads and checks the `model_spec` of a request.

    Raises:
        InvalidArgument: It is missing, or names no model.

    Source: ServerCore::ServableRequestFromModelSpec in tensorflow_serving/model_servers/server_core.cc.
    """
    if not message.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec. Set model_spec.name to the name of a model.")
    return read_model_spec(message.model_spec)


def read_model_spec(spec: messages.ModelSpec) -> ModelSpec:
    """Reads and checks a `ModelSpec`; for the errors see `model_spec_of`."""
    if not spec.name:
        raise InvalidArgument("ModelSpec has no name specified.")
    match spec.WhichOneof("version_choice"):
        case "version":
            return ModelSpec(spec.name, version=spec.version.value)
        case "version_label":
            return ModelSpec(spec.name, label=spec.version_label)
        case _:
            return ModelSpec(spec.name)


def answering_spec(id: ServableId, signature_name: str) -> messages.ModelSpec:
    """The `model_spec` of an answer: the version that was resolved, and the signature that was run."""
    spec = messages.ModelSpec(name=id.name, signature_name=signature_name)
    spec.version.value = id.version
    return spec


def _is_over(timeout_seconds: float | None, start: float) -> bool:
    """Whether a call that was cancelled had come to its deadline."""
    # The wire's timer began a little earlier than ours, and the client, whose began earlier still, hangs up as its own
    # deadline passes.
    return timeout_seconds is not None and time.perf_counter() - start >= 0.9 * timeout_seconds
