"""Recorded requests, run again on a version: as the same requests over gRPC would run, without the network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from hotserve.batching.padding import checked_rows
from hotserve.batching.plans import BatchPlans
from hotserve.batching.samples import Samples
from hotserve.batching.shared_run import run_alone
from hotserve.codecs.tensor_proto import TensorDecodeError, decode_tensor
from hotserve.codecs.tf_example import examples_of
from hotserve.core.handle import Lease
from hotserve.core.servable import runtime_of
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.handlers.checks import check_input_names, explain, find_signature, select_outputs
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import ExampleMethod, OnExamples
from hotserve.handlers.multi_inference import InferenceTask, MultiInference
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.observability.metrics import Metrics
from hotserve.protos.messages import (
    ClassificationRequest,
    ModelSpec,
    MultiInferenceRequest,
    PredictionLog,
    PredictRequest,
    RegressionRequest,
)
from hotserve.tensors import Array


class RecordedRequests:
    """Runs recorded requests in the calling thread."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        plans: BatchPlans | None = None,
        samples: Samples | None = None,
        check_method_name: bool = False,
    ) -> None:
        """Makes a runner.

        Args:
            metrics: Where the runs are counted, under the names of the models that the records name.
            plans: How requests are batched: recorded ones go through the same checks, each as a batch of its own.
            samples: Keeps what was run.
            check_method_name: Whether a signature must have the method's name; see `OnExamples` and `find_signature`.
        """
        self._metrics = metrics
        self._plans = plans or BatchPlans()
        self._samples = samples or Samples()
        self._check_method_name = check_method_name

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
                await self._run_on_examples(CLASSIFY, lease, record.classify_log.request)
            case "regress_log":
                await self._run_on_examples(REGRESS, lease, record.regress_log.request)
            case "multi_inference_log":
                await self._run_multi_inference(lease, record.multi_inference_log.request)
            case _:
                number = PredictionLog.DESCRIPTOR.fields_by_name[kind].number
                raise Unimplemented(
                    f"Unsupported log_type for warmup: {number}. Expected predict_log, classify_log, regress_log or"
                    f" multi_inference_log, and {kind} came."
                )

    async def _run_predict(self, lease: Lease, request: PredictRequest) -> None:
        name, signature = find_signature(
            lease, request.model_spec.signature_name, check_method_name=self._check_method_name
        )
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
        await self._counted(request.model_spec, "Predict")(lease, name, signature, inputs, outputs, None)

    async def _run_on_examples(
        self, method: ExampleMethod[object], lease: Lease, request: ClassificationRequest | RegressionRequest
    ) -> None:
        predict = self._counted(request.model_spec, method.verb)
        on_examples = OnExamples(method, predict, check_method_name=self._check_method_name)
        await on_examples(lease, request.model_spec.signature_name, examples_of(request.input), None)

    async def _run_multi_inference(self, lease: Lease, request: MultiInferenceRequest) -> None:
        tasks = [
            InferenceTask(task.model_spec.name, task.model_spec.signature_name, task.method_name)
            for task in request.tasks
        ]
        predict = self._counted(request.tasks[0].model_spec if request.tasks else ModelSpec(), "MultiInference")
        multi_inference = MultiInference(predict, check_method_name=self._check_method_name)
        await multi_inference(lease, tasks, examples_of(request.input), None)

    def _counted(self, spec: ModelSpec, api: str) -> Predict:
        return Predict(_CallingThread(self._metrics, self._plans, self._samples, spec.name, api))


class _CallingThread:
    """An engine without threads: there is nobody to keep waiting. It runs the requests of one record."""

    def __init__(self, metrics: Metrics, plans: BatchPlans, samples: Samples, model: str, api: str) -> None:
        self._metrics = metrics
        self._plans = plans
        self._samples = samples
        self._model = model
        self._api = api

    async def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None = None,
        api: str = "Predict",
    ) -> dict[str, Array]:
        rules = self._plans.of(lease.servable).rules_of(signature_name)
        rows = checked_rows(inputs, rules) if rules.is_strict else 1
        start = time.perf_counter()
        answer = run_alone(lease.servable, signature_name, inputs, outputs, rules, rows)
        microseconds = 1e6 * (time.perf_counter() - start)
        self._samples.note(lease.servable, signature_name, inputs)
        model = self._model or lease.id.name
        self._metrics.count_warmup_run(model, self._api, runtime_of(lease.servable), microseconds)
        return answer
