"""Recorded requests, run again on a version: as the same requests over gRPC would run, without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotserve.codecs.tensor_proto import TensorDecodeError, decode_tensor
from hotserve.codecs.tf_example import examples_of
from hotserve.core.handle import Lease
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.handlers.checks import check_input_names, explain, find_signature, select_outputs
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import OnExamples
from hotserve.handlers.multi_inference import InferenceTask, MultiInference
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.protos.messages import MultiInferenceRequest, PredictionLog, PredictRequest
from hotserve.tensors import Array


class RecordedRequests:
    """Runs recorded requests in the calling thread."""

    def __init__(self, *, check_method_name: bool = False) -> None:
        """Makes a runner.

        Args:
            check_method_name: Whether a signature must have the method's name, for classify and regress; see
                `OnExamples`.
        """
        self._predict = Predict(_CallingThread())
        self._classify = OnExamples(CLASSIFY, self._predict, check_method_name=check_method_name)
        self._regress = OnExamples(REGRESS, self._predict, check_method_name=check_method_name)
        self._multi_inference = MultiInference(self._predict, check_method_name=check_method_name)

    async def run(self, lease: Lease, record: PredictionLog) -> None:
        """Runs the request of a record, and blocks meanwhile. A record without one is passed over.

        The model and the version that the request names are not looked at, its signature is.

        Args:
            lease: What to run it on.
            record: A request of the kinds predict, classify, regress or multi-inference.

        Raises:
            Unimplemented: The request is of another kind.
            ServingError: The request fails.

        Source: RunWarmupRequest in tensorflow_serving/servables/tensorflow/saved_model_warmup.cc.
        """
        kind = record.WhichOneof("log_type")
        match kind:
            case None:
                return
            case "predict_log":
                await self._run_predict(lease, record.predict_log.request)
            case "classify_log":
                classify = record.classify_log.request
                await self._classify(lease, classify.model_spec.signature_name, examples_of(classify.input), None)
            case "regress_log":
                regress = record.regress_log.request
                await self._regress(lease, regress.model_spec.signature_name, examples_of(regress.input), None)
            case "multi_inference_log":
                await self._run_multi_inference(lease, record.multi_inference_log.request)
            case _:
                number = PredictionLog.DESCRIPTOR.fields_by_name[kind].number
                raise Unimplemented(
                    f"Unsupported log_type for warmup: {number}. Expected predict_log, classify_log, regress_log or"
                    f" multi_inference_log, and {kind} came."
                )

    async def _run_predict(self, lease: Lease, request: PredictRequest) -> None:
        name, signature = find_signature(lease, request.model_spec.signature_name)
        inputs: dict[str, Array] = {}
        try:
            check_input_names(signature, request.inputs)
            for alias in request.inputs:
                try:
                    inputs[alias] = decode_tensor(request.inputs[alias])
                except TensorDecodeError as error:
                    raise InvalidArgument(f"tensor parsing error: {alias}: {error.message}") from error
            outputs = select_outputs(signature, request.output_filter)
        except InvalidArgument as error:
            raise explain(error, name, signature, inputs) from error
        await self._predict(lease, name, signature, inputs, outputs, None)

    async def _run_multi_inference(self, lease: Lease, request: MultiInferenceRequest) -> None:
        tasks = [
            InferenceTask(task.model_spec.name, task.model_spec.signature_name, task.method_name)
            for task in request.tasks
        ]
        await self._multi_inference(lease, tasks, examples_of(request.input), None)


class _CallingThread:
    """An engine without threads: there is nobody to keep waiting."""

    async def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None = None,
    ) -> dict[str, Array]:
        return lease.servable.run(signature_name, inputs, outputs)
