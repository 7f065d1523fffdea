"""gRPC: path, metadata and message in, message out. Knows nothing of HTTP/2 or of what carries it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType

from hotserve.api.codec_threads import CodecThreads
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import CallRoad, Gatherer
from hotserve.api.grpc_calls import answering_spec, counted, model_spec_of, parse
from hotserve.api.grpc_examples import GrpcExamples
from hotserve.api.grpc_predict import GrpcPredict
from hotserve.api.health_service import HealthService
from hotserve.api.reflection_service import REFLECTION_SERVICES, ReflectionService
from hotserve.core.served_versions import ServedVersions
from hotserve.errors import Internal, InvalidArgument, ServingError, Unimplemented
from hotserve.handlers.metadata import SIGNATURE_DEF_FIELD, check_metadata_fields, signature_def_map
from hotserve.handlers.predict import Predict
from hotserve.handlers.status import model_status
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import NO_REQUEST_LOG, RequestLog
from hotserve.protos import messages

logger = logging.getLogger(__name__)

_PREDICT = "/tensorflow.serving.PredictionService/Predict"

Unary = Callable[[GrpcRequest], Awaitable[bytes]]
ServerStreaming = Callable[[GrpcRequest], AsyncGenerator[bytes, None]]
Bidirectional = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
"""From the messages of the client, as they come, to those for it; errors of reading come out of the former."""


class GrpcServices:
    """The services that TensorFlow Serving's clients call, and the standard health service."""

    def __init__(
        self,
        manager: ServedVersions,
        predict: Predict,
        health: HealthService,
        metrics: Metrics,
        reload_config: Unary,
        request_log: RequestLog = NO_REQUEST_LOG,
        codec_threads: CodecThreads | None = None,
        *,
        as_content: bool = False,
        check_method_name: bool = False,
        gatherer: Gatherer | None = None,
    ) -> None:
        """Makes the services.

        Args:
            manager: Resolves names to versions.
            predict: Runs requests.
            health: Answers the health service.
            metrics: Counts calls.
            reload_config: Answers `HandleReloadConfigRequest`; see `GrpcReload`.
            request_log: Where requests go that have been answered.
            codec_threads: Read and write what is large; threads of its own without it.
            as_content: Whether the tensors that answer Predict are sent as raw bytes, in `tensor_content`.
            check_method_name: Whether a signature must have been exported for the method that calls it; see
                `OnExamples` and `find_signature`.
            gatherer: Where calls of Predict gather; without it, all go the usual way.
        """
        self._manager = manager
        self._metrics = metrics
        codec_threads = codec_threads or CodecThreads()
        examples = GrpcExamples(
            manager, predict, metrics, request_log, codec_threads, check_method_name=check_method_name
        )
        grpc_predict = GrpcPredict(
            manager,
            predict,
            metrics,
            request_log,
            codec_threads,
            as_content=as_content,
            check_method_name=check_method_name,
            gatherer=gatherer,
        )
        self.roads: Mapping[str, CallRoad] = MappingProxyType(
            {} if grpc_predict.road is None else {_PREDICT: grpc_predict.road}
        )
        """The path of a method -> where calls of it are to be handed in first."""
        self.unary: Mapping[str, Unary] = MappingProxyType(
            {
                _PREDICT: grpc_predict,
                "/tensorflow.serving.PredictionService/Classify": examples.classify,
                "/tensorflow.serving.PredictionService/Regress": examples.regress,
                "/tensorflow.serving.PredictionService/MultiInference": examples.multi_inference,
                "/tensorflow.serving.PredictionService/GetModelMetadata": self._get_model_metadata,
                "/tensorflow.serving.ModelService/GetModelStatus": self._get_model_status,
                "/tensorflow.serving.ModelService/HandleReloadConfigRequest": reload_config,
                "/grpc.health.v1.Health/Check": health.check,
            }
        )
        self.streaming: Mapping[str, ServerStreaming] = MappingProxyType({"/grpc.health.v1.Health/Watch": health.watch})
        services = {path.split("/")[1] for path in (*self.unary, *self.streaming)}
        reflection = ReflectionService(services.union(REFLECTION_SERVICES))
        self.bidirectional: Mapping[str, Bidirectional] = MappingProxyType(
            {f"/{service}/ServerReflectionInfo": reflection.info for service in REFLECTION_SERVICES}
        )

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

    async def _get_model_metadata(self, request: GrpcRequest) -> bytes:
        start = time.perf_counter()
        message = parse(messages.GetModelMetadataRequest, request.message)
        with counted(self._metrics, message.model_spec.name, "GetModelMetadata", start, request) as call:
            if not message.HasField("model_spec"):
                raise InvalidArgument("Missing ModelSpec")
            check_metadata_fields(message.metadata_field)
            with self._manager.lease(model_spec_of(message)) as lease:
                call.version = str(lease.id.version)
                response = messages.GetModelMetadataResponse(model_spec=answering_spec(lease.id, signature_name=""))
                response.metadata[SIGNATURE_DEF_FIELD].Pack(signature_def_map(lease))
                data = response.SerializeToString()
                call.sent_bytes = len(data)
                return data

    async def _get_model_status(self, request: GrpcRequest) -> bytes:
        start = time.perf_counter()
        message = parse(messages.GetModelStatusRequest, request.message)
        with counted(self._metrics, message.model_spec.name, "GetModelStatus", start, request) as call:
            if not message.HasField("model_spec"):
                raise InvalidArgument("Missing ModelSpec")
            spec = message.model_spec
            version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
            data = bytes(model_status(self._manager, spec.name, version).SerializeToString())
            call.sent_bytes = len(data)
            return data
