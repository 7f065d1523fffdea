"""PredictRequest to arrays, arrays to PredictResponse: over gRPC, and over REST for those who send protobuf there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from hotserve.api.grpc_calls import answering_spec, parse
from hotserve.codecs.compiled import messages_of_rows
from hotserve.codecs.cut_tensors import CONTENT_NUMBER, CutValues, cut_tensors, delimited_head
from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import (
    TensorDecodeError,
    decode_tensor,
    serialize_tensor,
    serialize_tensor_in_parts,
    serialized_head,
)
from hotserve.codecs.wire import length_delimited, read_varint32
from hotserve.core.handle import Lease
from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument
from hotserve.handlers.checks import check_input_names
from hotserve.protos import messages
from hotserve.tensors import Array, DType, Signature

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
    parts: list[bytes] = []
    for alias in _in_map_order(tuple(outputs)) if len(outputs) > 1 else outputs:
        array = answer[alias]
        dtype = signature.outputs[alias].dtype
        fixed = _head_of_fixed(alias, dtype, array.shape, as_content)
        if fixed is not None and fixed[1] == array.dtype:
            parts += (fixed[0], array.tobytes())
        else:
            tensor = serialize_tensor(array, dtype, as_content)
            parts += (_entry_head(alias, len(tensor)), tensor)
    parts.append(_serialized_spec(lease.id.name, lease.id.version, signature_name))
    return b"".join(parts)


def encode_responses(
    lease: Lease,
    signature_name: str,
    signature: Signature,
    answers: Mapping[str, Array],
    outputs: Sequence[str],
    as_content: bool,
    starts: list[int],
    counts: list[int],
) -> list[bytes]:
    """Writes the PredictResponses of several requests, whose rows stand in the same arrays; see `encode_response`.

    Args:
        lease: As in `encode_response`; and what follows.
        signature_name: The same.
        signature: The same.
        answers: Output alias -> array, each with the rows as its first dimension.
        outputs: As in `encode_response`.
        as_content: The same.
        starts: Where the rows of each request begin; there is one, at least.
        counts: How many it has.
    """
    if len(outputs) == 1:
        alias = outputs[0]
        array, dtype = answers[alias], signature.outputs[alias].dtype
        tail = array.shape[1:]
        data = array.tobytes()
        row_bytes = len(data) // max(1, len(array))
        spec = _serialized_spec(lease.id.name, lease.id.version, signature_name)
        if counts.count(counts[0]) == len(counts):  # most often, and soon written
            fixed = _head_of_fixed(alias, dtype, (counts[0], *tail), as_content)
            if fixed is not None and fixed[1] == array.dtype:
                return messages_of_rows(fixed[0], data, spec, starts, row_bytes, counts[0])
        heads: dict[int, bytes] = {}
        for count in set(counts):
            fixed = _head_of_fixed(alias, dtype, (count, *tail), as_content)
            if fixed is None or fixed[1] != array.dtype:
                break
            heads[count] = fixed[0]
        else:
            written: list[bytes] = []
            for count, alike in groupby(zip(counts, starts, strict=True), itemgetter(0)):
                those = [start for _, start in alike]
                written += messages_of_rows(heads[count], data, spec, those, row_bytes, count)
            return written
    return [
        encode_response(
            lease,
            signature_name,
            signature,
            {alias: array[start : start + count] for alias, array in answers.items()},
            outputs,
            as_content,
        )
        for start, count in zip(starts, counts, strict=True)
    ]


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
        parts += (_entry_head(alias, sum(map(len, tensor))), *tensor)
    return b"".join((*parts, _serialized_spec(lease.id.name, lease.id.version, signature_name)))


def _entry_head(alias: str, size: int) -> bytes:
    """What stands before the tensor, of so many bytes, of an entry of `outputs`."""
    head = length_delimited(_KEY, alias.encode()) + delimited_head(_VALUE, size)
    return delimited_head(_OUTPUTS, len(head) + size) + head


# A server answers in few shapes, for few signatures: what is the same in their answers is worth remembering.


@lru_cache(maxsize=1024)
def _head_of_fixed(
    alias: str, dtype: DType, shape: tuple[int, ...], as_content: bool
) -> tuple[bytes, np.dtype[Any]] | None:
    """All that stands before the values of an output; None where it depends on them, or there are none.

    Returns:
        It, and the dtype of the array whose bytes are the values.
    """
    layout = LAYOUTS.get(dtype)
    if layout is None or dtype is DType.STRING or not (as_content or layout.wire.kind == "f") or 0 in shape:
        return None
    number = CONTENT_NUMBER if as_content else layout.number
    head = serialized_head(dtype, shape) + delimited_head(number, prod(shape) * layout.numpy.itemsize)
    return _entry_head(alias, len(head) + prod(shape) * layout.numpy.itemsize) + head, layout.numpy


@lru_cache(maxsize=1024)
def _serialized_spec(model: str, version: int, signature_name: str) -> bytes:
    """The `model_spec` of an answer, as the end of a message."""
    spec = answering_spec(ServableId(model, version), signature_name)
    return bytes(messages.PredictResponse(model_spec=spec).SerializeToString())


@lru_cache(maxsize=1024)
def _in_map_order(aliases: tuple[str, ...]) -> tuple[str, ...]:
    """Aliases in the order in which protobuf writes the entries of a map that they were put into in this order."""
    response = messages.PredictResponse()
    for alias in aliases:
        response.outputs[alias].SetInParent()
    # To go through the map in Python would give another order.
    data = response.SerializeToString()
    order: list[str] = []
    position = 0
    while position < len(data):
        size, begin = read_varint32(data, position + 1)  # behind the tag
        order += messages.PredictResponse.FromString(data[position : begin + size]).outputs
        position = begin + size
    return tuple(order)
