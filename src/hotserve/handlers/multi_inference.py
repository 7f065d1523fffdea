"""MultiInference: several signatures of one version, classifying or regressing the same examples.

Source: tensorflow_serving/servables/tensorflow/multi_inference.cc.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hotserve.codecs.inference_results import Classified, Regressed
from hotserve.core.handle import Lease
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.handlers.checks import other_signatures
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import ExampleCall, ExampleMethod, check_examples, fitting_call, run_call
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.tensors import DEFAULT_SIGNATURE, Array

_METHODS: Mapping[str, ExampleMethod[Classified | Regressed]] = MappingProxyType(
    {CLASSIFY.method_name: CLASSIFY, REGRESS.method_name: REGRESS}
)


@dataclass(frozen=True, slots=True)
class InferenceTask:
    """One signature to run.

    Attributes:
        model_name: The model, the same in all tasks of a request.
        signature_name: The signature; empty for the default.
        method_name: `tensorflow/serving/classify` or `tensorflow/serving/regress`.
    """

    model_name: str
    signature_name: str
    method_name: str


class MultiInference:
    """Runs several signatures on the same examples."""

    def __init__(self, predict: Predict, *, check_method_name: bool = False) -> None:
        """Makes a handler; for the arguments see `OnExamples`."""
        self._predict = predict
        self._check_method_name = check_method_name

    async def __call__(
        self, lease: Lease, tasks: Sequence[InferenceTask], examples: Array, timeout_seconds: float | None
    ) -> list[Classified | Regressed]:
        """Runs all tasks, or none of them if one is wrong.

        The original runs the graph once, for all outputs of all signatures. Here each signature runs by itself: that
        is all that a servable can do, whatever its platform, and the answers are the same for a graph without state.
        They are of one version, because one lease holds it for all of them.

        Args:
            lease: The version to run; held by the caller until the answer is encoded.
            tasks: What to run.
            examples: string [n], serialized.
            timeout_seconds: How long to wait for all of it; None for as long as it takes.

        Returns:
            One result for each task, in their order.

        Raises:
            InvalidArgument: A task names no model, another model than the one before it, a signature that there is not
                or that stands there twice; or as for `OnExamples`.
            Unimplemented: A task has another method name.
            ExamplesRefused: The model refuses the examples.
            DeadlineExceeded: The time is over.
        """
        calls = fitting_calls(lease, tasks, check_method_name=self._check_method_name)
        for call in calls:
            check_examples(lease, call, examples)
        start = time.monotonic()
        results = []
        for call in calls:
            left = None if timeout_seconds is None else max(0.0, timeout_seconds - (time.monotonic() - start))
            results.append(await run_call(self._predict, lease, call, examples, left, "MultiInference"))
        return results


def fitting_calls(
    lease: Lease, tasks: Sequence[InferenceTask], *, check_method_name: bool = False
) -> list[ExampleCall[Classified | Regressed]]:
    """One call for each task, in their order.

    Raises:
        InvalidArgument: A task names no model, another model than the first one, a signature that there is not, that
            does not fit its method, or that an earlier task names, too.
        Unimplemented: A task has another method name.
    """
    calls: dict[str, ExampleCall[Classified | Regressed]] = {}
    for task in tasks:
        if not task.model_name:
            raise InvalidArgument("Found ModelSpec with an empty model name. Name the same model in every task.")
        if task.model_name != tasks[0].model_name:
            raise InvalidArgument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name. Found"
                f" {tasks[0].model_name} and {task.model_name}."
            )
        name = task.signature_name or DEFAULT_SIGNATURE
        if name in calls:
            raise InvalidArgument(f"Duplicate evaluation of signature: {name}. Name each signature in one task only.")
        if name not in lease.servable.signatures:
            raise InvalidArgument(f"Requested signature not found in model graph: {name}. {other_signatures(lease)}")
        method = _METHODS.get(task.method_name)
        if method is None:
            raise Unimplemented(
                f"Unsupported signature method_name: {task.method_name}. Expected {' or '.join(_METHODS)}."
            )
        calls[name] = fitting_call(method, lease, name, check_method_name=check_method_name)
    return list(calls.values())
