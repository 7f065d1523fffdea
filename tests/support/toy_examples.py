"""A toy model that takes tf.Examples, and the requests for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hotserve.errors import InvalidArgument
from hotserve.protos import messages
from hotserve.tensors import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    REGRESS_METHOD,
    Array,
    DType,
    Signature,
    TensorSpec,
)
from support.in_process import ToyServable

CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
MULTI_INFERENCE = "/tensorflow.serving.PredictionService/MultiInference"

EXAMPLES = TensorSpec(DType.STRING, (None,), "tf_example:0")
FLOATS = TensorSpec(DType.FLOAT, (None,), "x:0")
ROWS = TensorSpec(DType.FLOAT, (None, None), "y:0")
LABELS = TensorSpec(DType.STRING, (None, None), "label:0")


def example(**features: Any) -> messages.Example:
    """An example with a float, an int or a bytes feature for each argument, by its Python type, or a list of them."""
    message = messages.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        kind = {float: "float_list", int: "int64_list", bytes: "bytes_list"}[type(values[0])]
        getattr(message.features.feature[name], kind).value.extend(values)
    return message


def examples_input(*examples: messages.Example, context: messages.Example | None = None) -> messages.Input:
    """The `input` of a request."""
    if context is None:
        return messages.Input(example_list=messages.ExampleList(examples=examples))
    return messages.Input(example_list_with_context=messages.ExampleListWithContext(examples=examples, context=context))


def likes() -> ToyServable:
    """Reads the float feature `x` of each example.

    Signatures: `likes` gives the classes `yes` and `no` with the scores x and 1 - x, `labels` only the classes,
    `scores` only the scores; `half` gives x / 2 as float [n], `column` as float [n,1]. The default one has outputs for
    both, so that it classifies and does not regress; `half_alone` takes floats and no examples.
    """

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        x = np.float32([_x(data) for data in inputs["inputs"]])
        labels = np.empty((len(x), 2), np.object_)
        labels[:] = [[b"yes", b"no"]] * len(x)
        scores = np.stack([x, 1 - x], axis=1)
        half = x / np.float32(2)
        return {"classes": labels, "scores": scores, "outputs": half[:, None] if signature == "column" else half}

    examples = {"inputs": EXAMPLES}
    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature(examples, {"classes": LABELS, "scores": ROWS}, CLASSIFY_METHOD),
            "labels": Signature(examples, {"classes": LABELS}, CLASSIFY_METHOD),
            "scores": Signature(examples, {"scores": ROWS}),
            "half": Signature(examples, {"outputs": FLOATS}, REGRESS_METHOD),
            "column": Signature(examples, {"outputs": ROWS}),
            "half_alone": Signature({"inputs": FLOATS}, {"outputs": FLOATS}, REGRESS_METHOD),
            "score_alone": Signature({"inputs": FLOATS}, {"scores": ROWS}, CLASSIFY_METHOD),
            "__saved_model_init_op": Signature({}, {"__saved_model_init_op": TensorSpec(DType.INVALID, None)}),
        },
        run,
    )


def _x(data: bytes) -> float:
    feature = messages.Example.FromString(data).features.feature.get("x")
    if feature is None or not feature.float_list.value:
        raise InvalidArgument("Feature: x (data type: float) is required but could not be found.")
    return feature.float_list.value[0]
