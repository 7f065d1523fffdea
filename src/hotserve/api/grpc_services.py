"""gRPC: path, metadata and message in, message out. Knows nothing of HTTP/2 or of what carries it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import DecodeError

from hotserve.api.exchange import GrpcRequest
from hotserve.api.health_service import HealthService
from hotserve.codecs.tensor_proto import TensorDecodeError, decode_tensor, serialize_tensor
from hotserve.core.manager import Manager, ModelSpec
from hotserve.errors import Code, Internal, InvalidArgument, ServingError, Unimplemented
from hotserve.handlers.checks import check_input_names, explain, find_signature, select_outputs
from hotserve.handlers.metadata import SIGNATURE_DEF_FIELD, check_metadata_fields, signature_def_map
from hotserve.handlers.predict import Predict
from hotserve.handlers.status import model_status
from hotserve.observability.metrics import Metrics
from hotserve.protos import messages
from hotserve.tensors import Array

logger = logging.getLogger(__name__)


Unary = Callable[[GrpcRequest], Awaitable[bytes]]
ServerStreaming = Callable[[GrpcRequest], AsyncGenerator[bytes, None]]


class GrpcServices:
    """The services that TensorFlow Serving's clients call, and the standard health service."""

    def __init__(self, manager: Manager, predict: Predict, health: HealthService, metrics: Metrics) -> None:
        self._manager = manager
        self._run_predict = predict
        self._metrics = metrics
        self.unary: Mapping[str, Unary] = MappingProxyType(
            {
                "/tensorflow.serving.PredictionService/Predict": self._predict,
                "/tensorflow.serving.PredictionService/GetModelMetadata": self._get_model_metadata,
                "/tensorflow.serving.ModelService/GetModelStatus": self._get_model_status,
                "/grpc.health.v1.Health/Check": health.check,
            }
        )
        self.streaming: Mapping[str, ServerStreaming] = MappingProxyType({"/grpc.health.v1.Health/Watch": health.watch})

    async def call(self, request: GrpcRequest) -> bytes:
        """Answers one unary call.

        Raises:
            ServingError: What the client gets as status and message.
        """
        method = self.unary.get(request.path)
        if method is None:
            raise Unimplemented(f"Method not found: {request.path}. Methods: {', '.join(sorted(self.unary))}.")
        try:
            return await method(request)
        except ServingError:
            raise
        except Exception as error:  # the edge: a fault of ours must reach the client as a status
            logger.exception("%s failed", request.path)
            raise Internal(f"{type(error).__name__}: {error}. This is a fault of the server; see its log.") from error

    async def _predict(self, request: GrpcRequest) -> bytes:
        start = time.perf_counter()
        message = _parse(messages.PredictRequest, request.message)
        code = Code.INTERNAL  # what it stays if anything but a ServingError gets through
        version = ""
        try:
            spec = _model_spec(message)
            with self._manager.lease(spec) as lease:
                version = str(lease.id.version)
                name, signature = find_signature(lease, message.model_spec.signature_name)
                inputs: dict[str, Array] = {}
                try:
                    check_input_names(signature, message.inputs)
                    for alias in message.inputs:
                        inputs[alias] = _decode(alias, message.inputs[alias])
                    outputs = select_outputs(signature, message.output_filter)
                except InvalidArgument as error:
                    raise explain(error, name, signature, inputs) from error
                answer = await self._run_predict(lease, name, signature, inputs, outputs, request.timeout_seconds)
                response = messages.PredictResponse()
                _fill_spec(response.model_spec, lease.id.name, lease.id.version, name)
                for alias in outputs:
                    response.outputs[alias].MergeFromString(
                        serialize_tensor(answer[alias], signature.outputs[alias].dtype)
                    )
                code = Code.OK
                return bytes(response.SerializeToString())
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = Code.DEADLINE_EXCEEDED if _is_over(request.timeout_seconds, start) else Code.CANCELLED
            raise
        finally:
            self._metrics.count_request(
                message.model_spec.name, version, "Predict", "GRPC", code.name, 1e6 * (time.perf_counter() - start)
            )

    async def _get_model_metadata(self, request: GrpcRequest) -> bytes:
        message = _parse(messages.GetModelMetadataRequest, request.message)
        if not message.HasField("model_spec"):
            raise InvalidArgument("Missing ModelSpec")
        check_metadata_fields(message.metadata_field)
        with self._manager.lease(_model_spec(message)) as lease:
            response = messages.GetModelMetadataResponse()
            _fill_spec(response.model_spec, lease.id.name, lease.id.version, "")
            response.metadata[SIGNATURE_DEF_FIELD].Pack(signature_def_map(lease))
            return bytes(response.SerializeToString())

    async def _get_model_status(self, request: GrpcRequest) -> bytes:
        message = _parse(messages.GetModelStatusRequest, request.message)
        if not message.HasField("model_spec"):
            raise InvalidArgument("Missing ModelSpec")
        spec = message.model_spec
        version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        return bytes(model_status(self._manager, spec.name, version).SerializeToString())


def _parse(message_class: Any, data: bytes) -> Any:
    """Reads a message; gRPC's own servers say INTERNAL to bytes that are none."""
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise Internal(
            f"The {len(data)} bytes received are no {message_class.DESCRIPTOR.full_name} message: {error}"
        ) from error


def _is_over(timeout_seconds: float | None, start: float) -> bool:
    """Whether a call that was cancelled had come to its deadline."""
    # The wire's timer began a little earlier than ours, and the client, whose began earlier still, hangs up as its own
    # deadline passes.
    return timeout_seconds is not None and time.perf_counter() - start >= 0.9 * timeout_seconds


def _model_spec(message: Any) -> ModelSpec:
    """Reads and checks the `model_spec` of a request.

    Source: ServerCore::ServableRequestFromModelSpec in tensorflow_serving/model_servers/server_core.cc.
    """
    if not message.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec. Set model_spec.name to the name of a model.")
    spec = message.model_spec
    if not spec.name:
        raise InvalidArgument("ModelSpec has no name specified.")
    match spec.WhichOneof("version_choice"):
        case "version":
            return ModelSpec(spec.name, version=spec.version.value)
        case "version_label":
            return ModelSpec(spec.name, label=spec.version_label)
        case _:
            return ModelSpec(spec.name)


def _fill_spec(spec: Any, name: str, version: int, signature_name: str) -> None:
    spec.name = name
    spec.version.value = version
    spec.signature_name = signature_name


def _decode(alias: str, proto: Any) -> Array:
    try:
        return decode_tensor(proto)
    except TensorDecodeError as error:
        raise InvalidArgument(f"tensor parsing error: {alias}: {error.message}") from error
