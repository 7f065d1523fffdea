from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hotserve.batching.scheduler import EngineThreads
from hotserve.codecs.inference_results import Classified, Regressed
from hotserve.codecs.tf_example import examples_of
from hotserve.core.servable import Servable
from hotserve.errors import Code, DeadlineExceeded, InvalidArgument, ServingError
from hotserve.handlers.examples import ExamplesRefused
from hotserve.handlers.multi_inference import InferenceTask, MultiInference
from hotserve.handlers.predict import Predict
from hotserve.tensors import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, Array
from support.leases import lease
from support.toy_examples import example, examples_input, likes

TWO = examples_of(examples_input(example(x=0.25), example(x=1.0)))


def regress(signature: str, model: str = "m") -> InferenceTask:
    return InferenceTask(model, signature, REGRESS_METHOD)


def classify(signature: str, model: str = "m") -> InferenceTask:
    return InferenceTask(model, signature, CLASSIFY_METHOD)


def infer(
    engine: EngineThreads, servable: Servable, *tasks: InferenceTask, examples: Array = TWO, **how: Any
) -> list[Classified | Regressed]:
    handler = MultiInference(Predict(engine), check_method_name=how.get("check_method_name", False))
    with lease(servable) as held:
        return asyncio.run(handler(held, tasks, examples, how.get("timeout_seconds")))


def test_each_task_has_its_result_in_the_order_of_the_tasks(engine: EngineThreads) -> None:
    half, scores, column = infer(engine, likes(), regress("half"), classify("scores"), regress("column"))
    assert isinstance(half, Regressed)
    assert isinstance(scores, Classified)
    assert isinstance(column, Regressed)
    assert half.values.tolist() == column.values.tolist() == [0.125, 0.5]
    assert scores.scores.tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_a_task_without_a_signature_is_about_the_default_one(engine: EngineThreads) -> None:
    (result,) = infer(engine, likes(), classify(""))
    assert isinstance(result, Classified)
    assert result.labels.tolist() == [[b"yes", b"no"]] * 2


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        (
            [regress("half"), classify("scores", model="")],
            Code.INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
        (
            [regress("half"), classify("scores", model="other")],
            Code.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        ([regress("half")] * 2, Code.INVALID_ARGUMENT, "Duplicate evaluation of signature: half"),
        (
            [classify(""), classify("serving_default")],
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: serving_default",
        ),
        # The signature counts, not what is done with it.
        ([regress("half"), classify("half")], Code.INVALID_ARGUMENT, "Duplicate evaluation of signature: half"),
        ([regress("nope")], Code.INVALID_ARGUMENT, "Requested signature not found in model graph: nope"),
        (
            [InferenceTask("m", "half", PREDICT_METHOD)],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        ([InferenceTask("m", "half", "")], Code.UNIMPLEMENTED, "Unsupported signature method_name: "),
        ([regress("scores")], Code.INVALID_ARGUMENT, "No regression outputs found in SignatureDef: "),
        (
            [classify("half")],
            Code.INVALID_ARGUMENT,
            'Expected classification signature outputs to contain at least one of "classes" or "scores".',
        ),
        ([regress("half_alone")], Code.INVALID_ARGUMENT, "Expects arg[0] to be float but string is provided"),
        # Task by task, and in each the names before the method.
        (
            [InferenceTask("m", "nope", PREDICT_METHOD)],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: nope",
        ),
        (
            [InferenceTask("m", "half", PREDICT_METHOD), regress("scores", model="")],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_one_wrong_task_fails_the_call_before_anything_runs(
    engine: EngineThreads, tasks: list[InferenceTask], code: Code, text: str
) -> None:
    servable = likes()
    with pytest.raises(ServingError) as caught:
        infer(engine, servable, *tasks)
    assert (caught.value.code, caught.value.message[: len(text)]) == (code, text)
    assert servable.runs == 0


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        (
            [regress("nope")],
            "Requested signature not found in model graph: nope. Signatures of m version 7: column, half, half_alone,"
            " labels, score_alone, scores, serving_default.",
        ),
        (
            [InferenceTask("m", "half", "regress")],
            "Unsupported signature method_name: regress. Expected tensorflow/serving/classify or"
            " tensorflow/serving/regress.",
        ),
        (
            [regress("half"), regress("column", model="n")],
            "All ModelSpecs in a MultiInferenceRequest must access the same model name. Found m and n.",
        ),
    ],
)
def test_a_refusal_says_what_was_expected(engine: EngineThreads, tasks: list[InferenceTask], text: str) -> None:
    with pytest.raises(ServingError) as caught:
        infer(engine, likes(), *tasks)
    assert caught.value.message == text


def test_no_examples_are_refused_after_the_tasks(engine: EngineThreads) -> None:
    nothing = examples_of(examples_input())
    with pytest.raises(InvalidArgument, match=r"Input is empty\."):
        infer(engine, likes(), regress("half"), examples=nothing)
    with pytest.raises(InvalidArgument, match=r"Requested signature not found"):
        infer(engine, likes(), regress("half"), regress("nope"), examples=nothing)


def test_the_methods_name_is_looked_at_only_when_that_is_asked_for(engine: EngineThreads) -> None:
    assert len(infer(engine, likes(), regress("column"))) == 1
    with pytest.raises(InvalidArgument, match="Expected regression signature method_name to be"):
        infer(engine, likes(), regress("column"), check_method_name=True)


def test_examples_that_one_signature_refuses_fail_the_call(engine: EngineThreads) -> None:
    with pytest.raises(ExamplesRefused, match=r"Of the examples, examples\[0\] has x: int64\."):
        infer(engine, likes(), regress("half"), classify("labels"), examples=examples_of(examples_input(example(x=1))))


class Noting(Predict):
    """Notes how long each run may take."""

    def __init__(self, engine: EngineThreads) -> None:
        super().__init__(engine)
        self.timeouts: list[float | None] = []

    async def __call__(self, *arguments: Any) -> dict[str, Array]:
        self.timeouts.append(arguments[5])
        return await super().__call__(*arguments)


def test_a_deadline_is_for_all_tasks_together(engine: EngineThreads) -> None:
    noting = Noting(engine)
    with lease(likes()) as held:
        asyncio.run(MultiInference(noting)(held, [regress("half"), classify("scores")], TWO, 60.0))
    first, second = noting.timeouts
    assert first is not None
    assert second is not None
    assert 0 < second < first <= 60.0


def test_without_a_deadline_no_task_has_one(engine: EngineThreads) -> None:
    noting = Noting(engine)
    with lease(likes()) as held:
        asyncio.run(MultiInference(noting)(held, [regress("half"), classify("scores")], TWO, None))
    assert noting.timeouts == [None, None]


def test_a_deadline_that_has_passed_ends_the_call(engine: EngineThreads) -> None:
    with pytest.raises(DeadlineExceeded):
        infer(engine, likes(), regress("half"), timeout_seconds=0.0)
