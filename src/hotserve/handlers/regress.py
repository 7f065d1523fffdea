"""Regress: examples in, one value for each out.

Source: tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotserve.codecs.inference_results import Regressed
from hotserve.errors import InvalidArgument
from hotserve.handlers.examples import INPUTS, ExampleMethod, outputs_text
from hotserve.protos import messages
from hotserve.tensors import REGRESS_METHOD, Array, DType, Signature, dtype_of_array, shape_text

OUTPUTS = "outputs"


def _outputs_of(signature: Signature) -> Sequence[str]:
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise InvalidArgument(f"No regression inputs found in SignatureDef: {outputs_text(signature)}")
    if OUTPUTS not in signature.outputs:
        raise InvalidArgument(f"No regression outputs found in SignatureDef: {outputs_text(signature)}")
    return [OUTPUTS]


def _result_of(outputs: Mapping[str, Array], wanted: Sequence[str], examples: int) -> Regressed:
    if len(outputs) != len(wanted):
        raise InvalidArgument("Expected output_tensors and output_tensor_names to have the same size")
    values = outputs.get(OUTPUTS)
    if values is None:
        raise InvalidArgument(f"Could not find output tensor '{OUTPUTS}'")
    if values.ndim != 1 and (values.ndim != 2 or values.shape[1] != 1):
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {shape_text(values.shape)}"
        )
    if len(values) != examples:
        raise InvalidArgument(f"Input batch size did not match output batch size: {examples} vs. {len(values)}")
    came = dtype_of_array(values)
    if came is not DType.FLOAT:
        raise InvalidArgument(
            f"Expected output Tensor of {messages.DataType.Name(DType.FLOAT)}.  Got: {messages.DataType.Name(came)}"
        )
    return Regressed(values.reshape(-1))


REGRESS = ExampleMethod(
    verb="Regress",
    method_name=REGRESS_METHOD,
    noun="regression",
    outputs_needed=f"one output, {OUTPUTS}: float [?] or [?,1], with a value for each example",
    outputs_of=_outputs_of,
    result_of=_result_of,
)
