"""Classify: examples in, classes with labels and scores out.

Source: tensorflow_serving/servables/tensorflow/classifier.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hotserve.codecs.inference_results import Classified
from hotserve.errors import InvalidArgument
from hotserve.handlers.examples import INPUTS, ExampleMethod, outputs_text
from hotserve.protos import messages
from hotserve.tensors import CLASSIFY_METHOD, Array, DType, Signature, dtype_of_array, shape_text

CLASSES = "classes"
SCORES = "scores"


def _outputs_of(signature: Signature) -> Sequence[str]:
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise InvalidArgument(f"Expected one or two output Tensors, found {len(signature.outputs)}.")
    if INPUTS not in signature.inputs:
        raise InvalidArgument(f"No classification inputs found in SignatureDef: {outputs_text(signature)}")
    wanted = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not wanted:
        raise InvalidArgument(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}".'
            f" Signature was: {outputs_text(signature)}"
        )
    return wanted


def _result_of(outputs: Mapping[str, Array], wanted: Sequence[str], examples: int) -> Classified:
    if len(outputs) != len(wanted):
        raise InvalidArgument(f"Expected {len(wanted)} output tensor(s).  Got: {len(outputs)}")
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    if classes is not None:
        _check(CLASSES, classes, DType.STRING, examples)
    if scores is not None:
        _check(SCORES, scores, DType.FLOAT, examples)
    if classes is None:
        assert scores is not None, "one of the two is always wanted"
        return Classified(np.full(scores.shape, b"", np.object_), scores)
    if scores is None:
        return Classified(classes, np.zeros(classes.shape, np.float32))
    if scores.shape != classes.shape:
        raise InvalidArgument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return Classified(classes, scores)


def _check(alias: str, array: Array, dtype: DType, examples: int) -> None:
    if array.ndim != 2:
        raise InvalidArgument(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}: output {alias}"
        )
    came = dtype_of_array(array)
    if came is not dtype:
        raise InvalidArgument(
            f"Expected {alias} Tensor of {messages.DataType.Name(dtype)}. Got: {messages.DataType.Name(came)}"
        )
    if len(array) != examples:
        raise InvalidArgument(f"Expected {alias} output batch size of {examples}. Got: {len(array)}")


CLASSIFY = ExampleMethod(
    verb="Classify",
    method_name=CLASSIFY_METHOD,
    noun="classification",
    outputs_needed=f"the output {CLASSES}: string [?,?] or {SCORES}: float [?,?] or both, with a row for each example",
    outputs_of=_outputs_of,
    result_of=_result_of,
)
