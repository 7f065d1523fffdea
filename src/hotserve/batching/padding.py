"""Many requests' arrays into one, and one answer into many.

Source: MergeInputTensors and SplitOutputTensors in tensorflow_serving/batching/batching_session.cc, AddPadding in
tensorflow_serving/batching/batching_util.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hotserve.batching.options import BatchRules
from hotserve.errors import FailedPrecondition, InvalidArgument
from hotserve.tensors import Array, Signature

Inputs = Mapping[str, Array]

_MAX_PADDED_RANK = 6


def rows_of(inputs: Inputs) -> int:
    """The number of rows of a request: the size of the first dimension of all its inputs.

    Raises:
        InvalidArgument: There are no inputs, one has no dimension, or their first dimensions differ.
    """
    rows = -1
    for name, array in inputs.items():
        if not array.ndim:
            raise InvalidArgument(
                "Batching Run() input tensors must have at least one dimension, the first of which counts the rows;"
                f" input {name} is a scalar. The model cannot be called like this while --enable_batching is set."
            )
        if rows >= 0 and array.shape[0] != rows:
            sizes = ", ".join(f"{name} has {array.shape[0]}" for name, array in inputs.items() if array.ndim)
            raise InvalidArgument(f"Batching Run() input tensors must have equal 0th-dimension size: {sizes}.")
        rows = array.shape[0]
    if rows < 0:
        raise InvalidArgument(
            "Batching Run() must have at least one input tensor. A signature without inputs cannot be called while"
            " --enable_batching is set."
        )
    return rows


def checked_rows(inputs: Inputs, rules: BatchRules) -> int:
    """As `rows_of`, within the limit of the rules.

    Raises:
        InvalidArgument: As `rows_of`; or there are more rows than a request may have.
    """
    rows = rows_of(inputs)
    if rows > rules.max_request_rows:
        raise InvalidArgument(
            f"Task size {rows} is larger than maximum input batch size {rules.max_request_rows}. Send fewer rows in a"
            " request, or raise max_batch_size in the batching parameters."
        )
    return rows


def key_of(inputs: Inputs, pads: bool) -> tuple[object, ...]:
    """What requests must have in common to share a run: dtypes and shapes, of which the first dimension is free.

    Args:
        inputs: The arrays of a request, each with a dimension at least.
        pads: Whether the other dimensions are free as well, because they are padded.

    Raises:
        InvalidArgument: An input has too many dimensions to be padded.
    """
    if not pads:
        return tuple((name, array.dtype.num, array.shape[1:]) for name, array in sorted(inputs.items()))
    for name, array in inputs.items():
        if array.ndim > _MAX_PADDED_RANK:
            raise InvalidArgument(
                f"Only tensors with rank from 1 to 6 can be padded. Input {name} has rank {array.ndim}, and"
                " pad_variable_length_inputs is set."
            )
    # An empty array has no element to be padded with: it goes with those of its own shape.
    return tuple(
        (name, array.dtype.num, array.ndim if array.size else array.shape[1:]) for name, array in sorted(inputs.items())
    )


def merge(requests: Sequence[Inputs], rows: int, size: int, rules: BatchRules) -> dict[str, Array]:
    """One set of inputs from those of several requests.

    Args:
        requests: Inputs of requests with the same `key_of`.
        rows: How many rows they have together.
        size: How many rows the result shall have; the rows beyond `rows` are copies of the first row of the last
            request.
        rules: Whether and how dimensions other than the first are padded.

    Returns:
        Input alias -> array of `size` rows.
    """
    if len(requests) == 1 and size == rows:
        return dict(requests[0])
    merged = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        if rules.pads and any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
            inner = tuple(map(max, zip(*(array.shape[1:] for array in arrays), strict=True)))
            arrays = [_padded(array, inner, rules.pad_value) for array in arrays]
        if size > rows:
            arrays.extend([arrays[-1][:1]] * (size - rows))
        merged[name] = np.concatenate(arrays)
    return merged


def check_outputs(outputs: Mapping[str, Array], size: int) -> None:
    """Refuses an answer that cannot be divided among requests.

    Args:
        outputs: Output alias -> array.
        size: The number of rows that were run.

    Raises:
        FailedPrecondition: An output has no dimension, or not `size` rows.
    """
    for name, array in outputs.items():
        if not array.ndim:
            raise FailedPrecondition(
                f"Batched output tensor has 0 dimensions: output {name}. Without --enable_batching the signature can be"
                " called."
            )
        if array.shape[0] != size:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input"
                f" tensors: output {name} has {array.shape[0]}, for {size} rows. Without --enable_batching the"
                " signature can be called."
            )


def divide(
    outputs: Mapping[str, Array], counts: Sequence[int], requests: Sequence[Inputs], signature: Signature, pads: bool
) -> list[dict[str, Array]]:
    """One answer for each request, without the rows and the elements that are padding.

    An element of an output is padding where the output's dimension is declared unknown and has the size that one of
    the inputs was padded to, and the request's own inputs say which size it has without that. The original leaves such
    elements in.

    Args:
        outputs: Output alias -> array with a row for each row that was run.
        counts: The number of rows of each request.
        requests: The inputs of each request.
        signature: What was run.
        pads: Whether inputs were padded in dimensions other than the first.

    Returns:
        For each request, output alias -> array; views of `outputs`.
    """
    answers = []
    start = 0
    sizes = _padded_sizes(requests, signature) if pads else {}
    for count, request in zip(counts, requests, strict=True):
        stop = start + count
        answer = {name: array[start:stop] for name, array in outputs.items()}
        if sizes:
            own = _own_sizes(request, sizes)
            answer = {name: _unpadded(name, array, own, signature) for name, array in answer.items()}
        answers.append(answer)
        start = stop
    return answers


def _padded(array: Array, inner: tuple[int, ...], value: float | None) -> Array:
    if array.shape[1:] == inner:
        return array
    fill = array.reshape(-1)[0] if value is None else b"" if array.dtype.kind in "OSU" else value
    padded = np.full((array.shape[0], *inner), fill, dtype=array.dtype)
    padded[tuple(map(slice, array.shape))] = array
    return padded


def _padded_sizes(requests: Sequence[Inputs], signature: Signature) -> dict[tuple[str, int], int]:
    """(input, dimension) -> its size in the batch, for all that are declared unknown; none if nothing was padded."""
    sizes = {}
    differ = False
    for name, first in requests[0].items():
        declared = signature.inputs[name].shape
        for axis in range(1, first.ndim):
            if declared is not None and len(declared) == first.ndim and declared[axis] is not None:
                continue
            found = {request[name].shape[axis] for request in requests}
            differ = differ or len(found) > 1
            sizes[name, axis] = max(found)
    return sizes if differ else {}


def _own_sizes(request: Inputs, padded: Mapping[tuple[str, int], int]) -> dict[int, int]:
    """Size in the batch -> the request's own, where all inputs of that size agree."""
    own: dict[int, set[int]] = {}
    for (name, axis), size in padded.items():
        own.setdefault(size, set()).add(request[name].shape[axis])
    return {size: found.pop() for size, found in own.items() if len(found) == 1}


def _unpadded(name: str, array: Array, own: Mapping[int, int], signature: Signature) -> Array:
    declared = signature.outputs[name].shape
    if declared is None or len(declared) != array.ndim:
        return array
    cuts = [slice(None)]
    for axis in range(1, array.ndim):
        size = array.shape[axis]
        cuts.append(slice(own.get(size, size)) if declared[axis] is None else slice(None))
    return array[tuple(cuts)]
