from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hotserve.errors import Code, ServingError
from hotserve.protos import messages
from hotserve.tensors import CLASSIFY_METHOD, DEFAULT_SIGNATURE, PREDICT_METHOD, REGRESS_METHOD
from support.in_process import GrpcAnswer, InProcess, adder
from support.toy_examples import CLASSIFY, MULTI_INFERENCE, REGRESS, example, examples_input, likes

TWO = examples_input(example(x=0.25), example(x=1.0))
ERROR = ServingError("it will not load")


@pytest.fixture
def apis() -> Iterator[InProcess]:
    models: dict[str, Any] = {"likes": {3: likes(), 4: likes()}, "m": {1: adder(1)}, "broken": {1: ERROR}}
    with InProcess(models, labels={"likes": {"stable": 3}}) as running:
        yield running


def spec(name: str = "likes", signature: str = "", version: int | None = None, label: str | None = None) -> Any:
    message = messages.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


def task(signature: str, method: str, **of: Any) -> messages.InferenceTask:
    return messages.InferenceTask(model_spec=spec(signature=signature, **of), method_name=method)


def request(path: str, model_spec: Any, examples: messages.Input | None = TWO) -> Any:
    kind = {CLASSIFY: messages.ClassificationRequest, REGRESS: messages.RegressionRequest}[path]
    return kind(model_spec=model_spec, input=examples)


def classes(result: messages.ClassificationResult) -> list[list[tuple[str, float]]]:
    return [[(each.label, each.score) for each in one.classes] for one in result.classifications]


def values(result: messages.RegressionResult) -> list[float]:
    return [each.value for each in result.regressions]


def assert_refused(answer: GrpcAnswer, code: Code, text: str) -> str:
    assert answer.error is not None
    assert (answer.error.code, answer.error.message[: len(text)]) == (code, text)
    return answer.error.message


def classified(apis: InProcess, model_spec: Any, examples: messages.Input = TWO) -> messages.ClassificationResponse:
    answer = apis.call(CLASSIFY, request(CLASSIFY, model_spec, examples))
    assert answer.error is None, answer.error
    return messages.ClassificationResponse.FromString(answer.message)


# Classify and Regress.


@pytest.mark.parametrize(
    ("signature", "result"),
    [
        ("", [[("yes", 0.25), ("no", 0.75)], [("yes", 1.0), ("no", 0.0)]]),
        ("labels", [[("yes", 0.0), ("no", 0.0)]] * 2),
        ("scores", [[("", 0.25), ("", 0.75)], [("", 1.0), ("", 0.0)]]),
    ],
)
def test_classify_gives_the_classes_of_each_example(apis: InProcess, signature: str, result: Any) -> None:
    assert classes(classified(apis, spec(signature=signature)).result) == result


@pytest.mark.parametrize("signature", ["half", "column"])
def test_regress_gives_a_value_for_each_example(apis: InProcess, signature: str) -> None:
    answer = apis.call(REGRESS, request(REGRESS, spec(signature=signature)))
    response = messages.RegressionResponse.FromString(answer.message)
    assert values(response.result) == [0.125, 0.5]
    assert response.model_spec == spec(signature=signature, version=4)


def test_the_context_is_part_of_every_example(apis: InProcess) -> None:
    examples = examples_input(example(), example(x=1.0), context=example(x=0.5))
    assert classes(classified(apis, spec(signature="scores"), examples).result) == [
        [("", 0.5), ("", 0.5)],
        [("", 1.0), ("", 0.0)],
    ]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (spec(), spec(version=4, signature="serving_default")),
        (spec(version=3), spec(version=3, signature="serving_default")),
        (spec(label="stable", signature="labels"), spec(version=3, signature="labels")),
    ],
)
def test_an_answer_names_the_version_and_the_signature_and_never_the_label(
    apis: InProcess, asked: Any, answered: Any
) -> None:
    assert classified(apis, asked).model_spec == answered


@pytest.mark.parametrize("path", [CLASSIFY, REGRESS])
@pytest.mark.parametrize(
    ("model_spec", "code", "text"),
    [
        (None, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (spec(""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (spec(label="zzz"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: zzz"),
        (spec("nope"), Code.NOT_FOUND, "Servable not found for request: Latest(nope)"),
        (spec("broken"), Code.NOT_FOUND, "Servable not found for request: Latest(broken)"),
        (spec(version=77), Code.NOT_FOUND, "Servable not found for request: Specific(likes, 77)"),
        (spec(signature="nope"), Code.INVALID_ARGUMENT, "No signature was found with the name: nope"),
        (spec(signature="__saved_model_init_op"), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
    ],
)
def test_a_model_or_a_signature_that_there_is_not_is_refused(
    apis: InProcess, path: str, model_spec: Any, code: Code, text: str
) -> None:
    assert_refused(apis.call(path, request(path, model_spec)), code, text)


@pytest.mark.parametrize(("path", "signature"), [(CLASSIFY, ""), (REGRESS, "half")])
@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(None, id="no input"),
        pytest.param(messages.Input(), id="no list"),
        pytest.param(examples_input(), id="an empty list"),
        pytest.param(examples_input(context=example(x=1.0)), id="an empty list with a context"),
    ],
)
def test_a_request_without_examples_is_refused(
    apis: InProcess, path: str, signature: str, examples: messages.Input | None
) -> None:
    answer = apis.call(path, request(path, spec(signature=signature), examples))
    assert_refused(answer, Code.INVALID_ARGUMENT, "Input is empty.")


@pytest.mark.parametrize(
    ("path", "verb", "fitting"),
    [(CLASSIFY, "Classify", "labels, scores, serving_default"), (REGRESS, "Regress", "column, half")],
)
def test_a_signature_that_does_not_fit_is_answered_with_those_that_do(
    apis: InProcess, path: str, verb: str, fitting: str
) -> None:
    text = assert_refused(
        apis.call(path, request(path, spec(signature="nope"))), Code.INVALID_ARGUMENT, "No signature was found"
    )
    assert text.endswith(f"{verb} signatures available in likes version 4: {fitting}.")


def test_a_refusal_of_the_model_describes_the_examples(apis: InProcess) -> None:
    answer = apis.call(CLASSIFY, request(CLASSIFY, spec(), examples_input(example(x=1.0), example(x=1))))
    text = assert_refused(answer, Code.INVALID_ARGUMENT, "Feature: x (data type: float) is required")
    assert text.endswith("Of the examples, examples[0] has x: float; examples[1] has x: int64.")


@pytest.mark.parametrize("path", [CLASSIFY, REGRESS, MULTI_INFERENCE])
def test_bytes_that_are_no_message_are_an_internal_error_as_in_the_original(apis: InProcess, path: str) -> None:
    assert_refused(apis.call(path, b"\xff"), Code.INTERNAL, "The 1 bytes received are no tensorflow.serving.")


# MultiInference.


def multi(apis: InProcess, *tasks: messages.InferenceTask, examples: messages.Input | None = TWO) -> GrpcAnswer:
    return apis.call(MULTI_INFERENCE, messages.MultiInferenceRequest(tasks=tasks, input=examples))


def test_several_signatures_answer_for_the_same_examples(apis: InProcess) -> None:
    answer = multi(apis, task("half", REGRESS_METHOD), task("", CLASSIFY_METHOD))
    first, second = messages.MultiInferenceResponse.FromString(answer.message).results
    assert first.WhichOneof("result") == "regression_result"
    assert values(first.regression_result) == [0.125, 0.5]
    assert first.model_spec == spec(signature="half", version=4)
    assert second.WhichOneof("result") == "classification_result"
    assert classes(second.classification_result) == [[("yes", 0.25), ("no", 0.75)], [("yes", 1.0), ("no", 0.0)]]
    assert second.model_spec == spec(signature="serving_default", version=4)


@pytest.mark.parametrize("of", [{"version": 3}, {"label": "stable"}])
def test_the_first_task_names_the_version_for_all(apis: InProcess, of: dict[str, Any]) -> None:
    answer = multi(apis, task("half", REGRESS_METHOD, **of), task("column", REGRESS_METHOD, version=77))
    results = messages.MultiInferenceResponse.FromString(answer.message).results
    assert [result.model_spec.version.value for result in results] == [3, 3]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([], Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            [messages.InferenceTask(method_name=REGRESS_METHOD)],
            Code.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        ([task("half", REGRESS_METHOD, name="")], Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            [task("half", REGRESS_METHOD, name="nope")],
            Code.NOT_FOUND,
            "Servable not found for request: Latest(nope)",
        ),
        (
            [task("half", REGRESS_METHOD, label="zzz")],
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: zzz",
        ),
        (
            [task("half", REGRESS_METHOD), messages.InferenceTask(method_name=CLASSIFY_METHOD)],
            Code.INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
        (
            [task("half", REGRESS_METHOD), task("", CLASSIFY_METHOD, name="m")],
            Code.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        ([task("half", REGRESS_METHOD)] * 2, Code.INVALID_ARGUMENT, "Duplicate evaluation of signature: half"),
        (
            [task("nope", REGRESS_METHOD)],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: nope",
        ),
        (
            [task("half", PREDICT_METHOD)],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        ([task("labels", REGRESS_METHOD)], Code.INVALID_ARGUMENT, "No regression outputs found in SignatureDef: "),
    ],
)
def test_one_wrong_task_fails_the_call(
    apis: InProcess, tasks: list[messages.InferenceTask], code: Code, text: str
) -> None:
    assert_refused(multi(apis, *tasks), code, text)


def test_several_signatures_without_examples_are_refused(apis: InProcess) -> None:
    assert_refused(multi(apis, task("half", REGRESS_METHOD), examples=None), Code.INVALID_ARGUMENT, "Input is empty.")


# What is counted.


@pytest.mark.parametrize(
    ("path", "model_spec", "cell"),
    [
        (CLASSIFY, spec(), ("likes", "4", DEFAULT_SIGNATURE, "Classify", "GRPC", "OK")),
        (REGRESS, spec(signature="half", version=3), ("likes", "3", "half", "Regress", "GRPC", "OK")),
        (REGRESS, spec(), ("likes", "4", DEFAULT_SIGNATURE, "Regress", "GRPC", "INVALID_ARGUMENT")),
        (CLASSIFY, spec("nope"), ("nope", "", "", "Classify", "GRPC", "NOT_FOUND")),
        (CLASSIFY, None, ("", "", "", "Classify", "GRPC", "INVALID_ARGUMENT")),
    ],
)
def test_classify_and_regress_are_counted_as_requests_and_their_examples_are_not(
    apis: InProcess, path: str, model_spec: Any, cell: tuple[str, str, str, str, str, str]
) -> None:
    apis.call(path, request(path, model_spec))
    assert list(apis.metrics.requests.cells()) == [(cell, 1)]
    assert list(apis.metrics.request_count.cells()) == [((cell[0], cell[5]), 1)]
    latencies = [labels for labels, _ in apis.metrics.request_latency.cells()]
    assert latencies == ([(cell[0], cell[3], "GRPC")] if cell[5] == "OK" else [])
    assert list(apis.metrics.request_example_count_total.cells()) == []


def test_the_examples_of_multi_inference_are_counted_and_the_request_is_where_the_original_counts_none(
    apis: InProcess,
) -> None:
    for number in (2, 1, 3):
        examples = examples_input(*[example(x=1.0)] * number)
        assert multi(apis, task("half", REGRESS_METHOD), task("", CLASSIFY_METHOD), examples=examples).error is None
    assert multi(apis, task("nope", REGRESS_METHOD)).error is not None
    assert list(apis.metrics.request_count.cells()) == []
    assert dict(apis.metrics.requests.cells()) == {
        ("likes", "4", "", "MultiInference", "GRPC", "INVALID_ARGUMENT"): 1,
        ("likes", "4", "", "MultiInference", "GRPC", "OK"): 3,
    }
    assert list(apis.metrics.request_example_count_total.cells()) == [(("likes",), 6)]
    ((labels, cell),) = apis.metrics.request_example_counts.cells()
    assert labels == ("likes",)
    # Limits are exclusive: 1 is in the bucket up to 2, 2 and 3 are in the one up to 4.
    assert (cell.counts[:4], cell.total) == ([0, 1, 2, 0], 6.0)
