"""PredictRequest to arrays, arrays to PredictResponse: over gRPC, and over REST for those who send protobuf there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hotserve.api.grpc_calls import answering_spec
from hotserve.codecs.tensor_proto import TensorDecodeError, decode_tensor, serialize_tensor
from hotserve.core.handle import Lease
from hotserve.errors import InvalidArgument
from hotserve.handlers.checks import check_input_names
from hotserve.protos import messages
from hotserve.tensors import Array, Signature


def decode_inputs(message: Any, signature: Signature, inputs: dict[str, Array]) -> None:
    """Reads the tensors of a PredictRequest.

    Args:
        message: The request.
        signature: The inputs of what is called.
        inputs: Gets them, input alias -> array; where one cannot be read, those before it are there.

    Raises:
        InvalidArgument: The names do not fit the signature, or a tensor cannot be read.
    """
    check_input_names(signature, message.inputs)
    for alias in message.inputs:
        try:
            inputs[alias] = decode_tensor(message.inputs[alias])
        except TensorDecodeError as error:
            raise InvalidArgument(f"tensor parsing error: {alias}: {error.message}") from error


def encode_response(
    lease: Lease,
    signature_name: str,
    signature: Signature,
    answer: Mapping[str, Array],
    outputs: Sequence[str],
    as_content: bool,
) -> bytes:
    """Writes a serialized PredictResponse.

    Args:
        lease: The version that answers.
        signature_name: What was called.
        signature: Its outputs.
        answer: Output alias -> array.
        outputs: Those that are wanted.
        as_content: Whether tensors are sent as raw bytes, in `tensor_content`.
    """
    response = messages.PredictResponse(model_spec=answering_spec(lease, signature_name))
    for alias in outputs:
        serialized = serialize_tensor(answer[alias], signature.outputs[alias].dtype, as_content)
        response.outputs[alias].MergeFromString(serialized)
    return response.SerializeToString()
