"""Contract 1.13: MultiInference."""

from __future__ import annotations

from typing import Any

from hotserve.protos import messages
from support.contract import Client, lines, model_spec

CLASSIFY, REGRESS, PREDICT = (f"tensorflow/serving/{verb}" for verb in ("classify", "regress", "predict"))


def task(
    signature: str, method: str, model: str | None = "examples", version: int | None = None
) -> messages.InferenceTask:
    """One task; without a `model_spec` if the model is None."""
    message = messages.InferenceTask(method_name=method)
    if model is not None:
        message.model_spec.CopyFrom(model_spec(model, signature=signature, version=version))
    return message


def request_of(*tasks: messages.InferenceTask, x: tuple[float, ...] = (1.0, 0.5)) -> messages.MultiInferenceRequest:
    message = messages.MultiInferenceRequest(tasks=tasks)
    for value in x:
        message.input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return message


def told(result: messages.InferenceResult) -> Any:
    if result.WhichOneof("result") == "regression_result":
        return [each.value for each in result.regression_result.regressions]
    return [[(each.label, each.score) for each in one.classes] for one in result.classification_result.classifications]


def test_results_are_in_task_order_each_by_its_method(client: Client) -> None:
    tasks = (task("flat", REGRESS), task("scores", CLASSIFY), task("column", REGRESS))
    results = client.call("MultiInference", request_of(*tasks)).results
    assert [told(result) for result in results] == [
        [1.0, 0.5],
        [[("", 1.0), ("", 2.0)], [("", 0.5), ("", 1.0)]],
        [1.0, 0.5],
    ]


def test_each_result_names_its_signature_and_the_version_that_answered(client: Client) -> None:
    results = client.call("MultiInference", request_of(task("flat", REGRESS), task("", CLASSIFY))).results
    assert [result.model_spec for result in results] == [
        model_spec("examples", version=7, signature="flat"),
        model_spec("examples", version=7, signature="serving_default"),
    ]


def test_the_first_task_says_which_version_answers_and_that_of_the_others_is_ignored(client: Client) -> None:
    (result,) = client.call("MultiInference", request_of(task("regress", REGRESS, "plus", version=1))).results
    assert told(result) == [2.0, 1.5]
    # No other version is asked for, also where it does not exist.
    request = request_of(task("flat", REGRESS), task("column", REGRESS, version=99))
    results = client.call("MultiInference", request).results
    assert [told(result) for result in results] == [[1.0, 0.5]] * 2


@lines(
    "tasks, code, text",
    {
        "no tasks": [[], "INVALID_ARGUMENT", "ModelSpec has no name specified."],
        "a first task without model_spec": [
            [task("", REGRESS, None)],
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ],
        "an unknown model": [
            [task("flat", REGRESS, "nope")],
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
        ],
        "an unknown version": [
            [task("flat", REGRESS, version=99)],
            "NOT_FOUND",
            "Servable not found for request: Specific(examples, 99)",
        ],
        "a later task with an empty model name": [
            [task("flat", REGRESS), task("column", REGRESS, "")],
            "INVALID_ARGUMENT",
            "Found ModelSpec with an empty model name.",
        ],
        "tasks naming different models": [
            [task("flat", REGRESS), task("regress_x_to_y", REGRESS, "half")],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ],
        "the same signature twice": [
            [task("scores", CLASSIFY), task("scores", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: scores",
        ],
        "the same signature twice, after defaulting": [
            [task("", CLASSIFY), task("serving_default", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ],
        "signature missing": [
            [task("zzz", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: zzz",
        ],
        "method_name of a task neither classify nor regress": [
            [task("scores", PREDICT)],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ],
        "no method_name": [[task("scores", "")], "UNIMPLEMENTED", "Unsupported signature method_name: "],
        "per-signature checks, as Classify": [
            [task("flat", REGRESS), task("other_output", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Expected classification signature outputs to contain at least one of",
        ],
        "per-signature checks, as Regress": [
            [task("scores", CLASSIFY), task("other_input_regress", REGRESS)],
            "INVALID_ARGUMENT",
            "No regression inputs found in SignatureDef: ",
        ],
        "the signature, before the method_name": [
            [task("zzz", PREDICT)],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: zzz",
        ],
        "task by task": [
            [task("scores", PREDICT), task("regress_x_to_y", REGRESS, "half")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ],
        "one bad answer fails the whole call": [
            [task("scores", CLASSIFY), task("double", REGRESS)],
            "INVALID_ARGUMENT",
            "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ],
    },
)
def test_a_call_that_is_refused(client: Client, tasks: list[messages.InferenceTask], code: str, text: str) -> None:
    refusal = client.refusal("MultiInference", request_of(*tasks))
    assert refusal[0] == code
    assert refusal[1].startswith(text)


def test_the_tasks_are_looked_at_before_the_input(client: Client) -> None:
    code, text = client.refusal("MultiInference", request_of(task("zzz", REGRESS), x=()))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Requested signature not found in model graph: zzz")


def test_input_is_empty(client: Client) -> None:
    code, text = client.refusal("MultiInference", request_of(task("flat", REGRESS), x=()))
    assert (code, text.split(".")[0]) == ("INVALID_ARGUMENT", "Input is empty")
