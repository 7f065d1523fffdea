"""PredictRequest to arrays, arrays to PredictResponse: over gRPC, and over REST for those who send protobuf there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from hotserve.api.grpc_calls import answering_spec, parse
from hotserve.codecs.cut_tensors import CutValues, cut_tensors, delimited_head
from hotserve.codecs.tensor_proto import (
    TensorDecodeError,
    decode_tensor,
    serialize_tensor,
    serialize_tensor_in_parts,
)
from hotserve.codecs.wire import length_delimited
from hotserve.core.handle import Lease
from hotserve.errors import InvalidArgument
from hotserve.handlers.checks import check_input_names
from hotserve.protos import messages
from hotserve.tensors import Array, Signature

NONE_CUT: Final[Mapping[str, CutValues]] = MappingProxyType({})

_OUTPUTS, _KEY, _VALUE = 1, 1, 2
"""The numbers of `PredictResponse.outputs`, and of the key and the value of its entries."""


def parse_predict(data: bytes) -> tuple[Any, Mapping[str, CutValues]]:
    """Reads a large PredictRequest.

    Returns:
        The request, and what was cut out of its inputs, by their alias.

    Raises:
        Internal: The bytes are none.
    """
    cut = cut_tensors(data)
    if cut is None:
        return parse(messages.PredictRequest, data), NONE_CUT
    rest, values = cut
    return parse(messages.PredictRequest, rest), values


def decode_inputs(
    message: Any, signature: Signature, inputs: dict[str, Array], cut: Mapping[str, CutValues] = NONE_CUT
) -> None:
    """Reads the tensors of a PredictRequest.

    Args:
        message: The request.
        signature: The inputs of what is called.
        inputs: Gets them, input alias -> array; where one cannot be read, those before it are there.
        cut: What `parse_predict` has cut out.

    Raises:
        InvalidArgument: The names do not fit the signature, or a tensor cannot be read.
    """
    check_input_names(signature, message.inputs)
    for alias in message.inputs:
        try:
            inputs[alias] = decode_tensor(message.inputs[alias], cut.get(alias) if cut else None)
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


def encode_large_response(
    lease: Lease,
    signature_name: str,
    signature: Signature,
    answer: Mapping[str, Array],
    outputs: Sequence[str],
    as_content: bool,
) -> bytes:
    """As `encode_response`, for a thread: by hand, because protobuf would hold the GIL while it copies twice."""
    parts: list[bytes] = []
    for alias in outputs:
        tensor = serialize_tensor_in_parts(answer[alias], signature.outputs[alias].dtype, as_content)
        size = sum(map(len, tensor))
        head = length_delimited(_KEY, alias.encode()) + delimited_head(_VALUE, size)
        parts += (delimited_head(_OUTPUTS, len(head) + size), head, *tensor)
    rest = messages.PredictResponse(model_spec=answering_spec(lease, signature_name))
    return b"".join((*parts, rest.SerializeToString()))
