"""gRPC's Classify, Regress and MultiInference: the calls that take tf.Examples."""

from __future__ import annotations

import time

from hotserve.api.codec_threads import LARGE_BYTES, CodecThreads
from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_calls import AnyMessage, answering_spec, counted, model_spec_of, parse, read_model_spec
from hotserve.codecs.inference_results import Classified, Regressed, classification_result, regression_result
from hotserve.codecs.prediction_log import LogKind
from hotserve.codecs.tf_example import examples_of
from hotserve.core.handle import Lease
from hotserve.core.served_versions import ServedVersions
from hotserve.errors import InvalidArgument
from hotserve.handlers.checks import known_signature
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import OnExamples
from hotserve.handlers.multi_inference import InferenceTask, MultiInference
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.observability.logged_call import GrpcCall
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import NO_REQUEST_LOG, RequestLog
from hotserve.protos import messages
from hotserve.tensors import DEFAULT_SIGNATURE, Array


class GrpcExamples:
    """The methods of PredictionService that take tf.Examples."""

    def __init__(
        self,
        manager: ServedVersions,
        predict: Predict,
        metrics: Metrics,
        request_log: RequestLog = NO_REQUEST_LOG,
        codec_threads: CodecThreads | None = None,
        *,
        check_method_name: bool = False,
    ) -> None:
        """Makes the methods; for the arguments see `GrpcServices`."""
        self._request_log = request_log
        self._codec_threads = codec_threads or CodecThreads()
        self._manager = manager
        self._metrics = metrics
        self._run_classify = OnExamples(CLASSIFY, predict, check_method_name=check_method_name)
        self._run_regress = OnExamples(REGRESS, predict, check_method_name=check_method_name)
        self._run_tasks = MultiInference(predict, check_method_name=check_method_name)

    async def classify(self, request: GrpcRequest) -> bytes:
        """Answers a Classify call; raises ServingError."""
        start = time.perf_counter()
        message = await self._parsed(messages.ClassificationRequest, request.message)
        signature_name = message.model_spec.signature_name
        with (
            counted(self._metrics, message.model_spec.name, "Classify", start, request) as call,
            self._manager.lease(model_spec_of(message)) as lease,
        ):
            call.version = str(lease.id.version)
            call.signature = known_signature(lease, signature_name)
            examples = await self._examples_of(message.input, len(request.message))
            call.mark_decoded()
            result = await self._run_classify(lease, signature_name, examples, request.timeout_seconds)
            call.mark_ran()
            answered = answering_spec(lease.id, signature_name or DEFAULT_SIGNATURE)
            response = messages.ClassificationResponse(result=classification_result(result), model_spec=answered)
            data = response.SerializeToString()
            call.sent_bytes = len(data)
            if self._request_log.logs(lease.id.name):
                logged = GrpcCall(LogKind.CLASSIFY, answered.signature_name, request.message, data)
                self._request_log.offer(lease.id, logged, lease.servable)
            return data

    async def regress(self, request: GrpcRequest) -> bytes:
        """Answers a Regress call; raises ServingError."""
        start = time.perf_counter()
        message = await self._parsed(messages.RegressionRequest, request.message)
        signature_name = message.model_spec.signature_name
        with (
            counted(self._metrics, message.model_spec.name, "Regress", start, request) as call,
            self._manager.lease(model_spec_of(message)) as lease,
        ):
            call.version = str(lease.id.version)
            call.signature = known_signature(lease, signature_name)
            examples = await self._examples_of(message.input, len(request.message))
            call.mark_decoded()
            result = await self._run_regress(lease, signature_name, examples, request.timeout_seconds)
            call.mark_ran()
            answered = answering_spec(lease.id, signature_name or DEFAULT_SIGNATURE)
            response = messages.RegressionResponse(result=regression_result(result), model_spec=answered)
            data = response.SerializeToString()
            call.sent_bytes = len(data)
            if self._request_log.logs(lease.id.name):
                logged = GrpcCall(LogKind.REGRESS, answered.signature_name, request.message, data)
                self._request_log.offer(lease.id, logged, lease.servable)
            return data

    async def _parsed(self, message_class: type[AnyMessage], data: bytes) -> AnyMessage:
        if len(data) < LARGE_BYTES:
            return parse(message_class, data)
        return await self._codec_threads.run(parse, message_class, data)

    async def _examples_of(self, message: messages.Input, size: int) -> Array:
        if size < LARGE_BYTES:
            return examples_of(message)
        return await self._codec_threads.run(examples_of, message)

    async def multi_inference(self, request: GrpcRequest) -> bytes:
        """Answers a MultiInference call; raises ServingError.

        As in the original, the first task names the version for all of them, and the call is not among the counted
        requests; its examples are counted instead.
        """
        start = time.perf_counter()
        message = await self._parsed(messages.MultiInferenceRequest, request.message)
        if not message.tasks:
            raise InvalidArgument(
                "ModelSpec has no name specified. Expected at least one task, and it names the model."
            )
        with (
            counted(self._metrics, message.tasks[0].model_spec.name, "MultiInference", start, request) as call,
            self._manager.lease(read_model_spec(message.tasks[0].model_spec)) as lease,
        ):
            call.version = str(lease.id.version)
            tasks = [
                InferenceTask(task.model_spec.name, task.model_spec.signature_name, task.method_name)
                for task in message.tasks
            ]
            examples = await self._examples_of(message.input, len(request.message))
            results = await self._run_tasks(lease, tasks, examples, request.timeout_seconds)
            self._metrics.count_examples(lease.id.name, len(examples))
            data = messages.MultiInferenceResponse(
                results=[_task_result(lease, task, result) for task, result in zip(tasks, results, strict=True)]
            ).SerializeToString()
            call.sent_bytes = len(data)
            if self._request_log.logs(lease.id.name):
                logged = GrpcCall(LogKind.MULTI_INFERENCE, "", request.message, data)
                self._request_log.offer(lease.id, logged, lease.servable)
            return data


def _task_result(lease: Lease, task: InferenceTask, result: Classified | Regressed) -> messages.InferenceResult:
    spec = answering_spec(lease.id, task.signature_name or DEFAULT_SIGNATURE)
    match result:
        case Classified():
            return messages.InferenceResult(model_spec=spec, classification_result=classification_result(result))
        case Regressed():
            return messages.InferenceResult(model_spec=spec, regression_result=regression_result(result))
