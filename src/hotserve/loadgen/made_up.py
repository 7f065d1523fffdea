"""Inputs for a model that nobody has given any for: of the dtypes and shapes that its signature declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from hotserve.errors import InvalidArgument
from hotserve.tensors import NUMPY_OF, Array, DType, Signature, TensorSpec

_SEED: Final = 20160216
_TEXT: Final = b"hotserve"
_MAX_BYTES: Final = 1 << 30


def make_inputs(
    signature: Signature, rows: int = 1, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Array]:
    """Makes an array for each input.

    Floats are random between 0 and 1, whole numbers 0 or 1, strings all the same; the same in each run.

    Args:
        signature: Says the dtypes and shapes.
        rows: The size of the first dimension of inputs where it is free. Other dimensions that are free are 1.
        shapes: Input -> shape, where that should be another.

    Raises:
        InvalidArgument: There is no input of a name in `shapes`; a shape does not fit; no input has a free first
            dimension, and `rows` is not 1; the arrays would take more than 1 GiB; a dtype has no values.
    """
    shapes = shapes or {}
    for alias in shapes:
        if alias not in signature.inputs:
            raise InvalidArgument(f"--shape names the input {alias}. Expected one of: {signature.describe_inputs()}.")
    taken = {
        alias: shapes[alias] if alias in shapes else _shape(spec, rows) for alias, spec in signature.inputs.items()
    }
    if rows != 1 and not any(shape[:1] == (rows,) for shape in taken.values()):
        raise InvalidArgument(
            f"--rows={rows}: no input has a free first dimension: {signature.describe_inputs()}. Leave --rows out."
        )
    random = np.random.default_rng(_SEED)
    return {alias: _values(alias, spec, taken[alias], random) for alias, spec in signature.inputs.items()}


def _shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    if spec.shape is None:
        return (rows,)
    return tuple(size if size is not None else rows if place == 0 else 1 for place, size in enumerate(spec.shape))


def _values(alias: str, spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if not spec.accepts(shape):
        raise InvalidArgument(f"--shape={alias}={','.join(map(str, shape))} does not fit {alias}: {spec}.")
    dtype = NUMPY_OF.get(spec.dtype)
    if dtype is None:
        raise InvalidArgument(
            f"Input {alias} is of type {spec.dtype.label}, for which no values can be made up. Give some with --data."
        )
    count = int(np.prod(shape, dtype=object))
    if count * dtype.itemsize > _MAX_BYTES:
        raise InvalidArgument(f"Input {alias} would be larger than 1 GiB: {spec}. Give smaller --rows or --shape.")
    if spec.dtype is DType.STRING:
        strings = np.empty(count, object)
        strings[:] = [_TEXT] * count
        return strings.reshape(shape)
    if dtype.kind in "biu":
        return random.integers(0, 2, shape).astype(dtype)
    values: Any = random.random(shape, np.float32)
    return np.asarray(values).astype(dtype)
