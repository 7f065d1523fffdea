"""Whether the rows of a signature are independent of each other, found out by running it.

A first dimension that is unknown everywhere is what a batch looks like, but a graph may still mix the rows: a softmax
over the first dimension, a normalisation over the batch, a sum. So before requests of different clients share a run,
different rows are run alone, together, and in another order; only where all answers agree are they let share.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from hotserve.core.servable import Servable
from hotserve.errors import ServingError
from hotserve.tensors import NUMPY_OF, Array, DType, Signature, TensorSpec

logger = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5
"""How far the same row's answers may be apart, in one run and in another: engines sum in another order in a batch.
The second is relative to the largest element of the output, or 1 if that is smaller."""

_SCALES = (1.0, 1000.0, -1000.0)
"""By what made-up numbers are multiplied where the shape is not a declared one."""

_ROWS = 3
_MAX_BYTES = 1 << 26
_SEED = 20_180

Inputs = Mapping[str, Array]


def has_rows(signature: Signature) -> bool:
    """Whether all inputs and outputs of a signature declare an unknown first dimension, and there are some of each."""
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs and signature.outputs) and all(spec.shape and spec.shape[0] is None for spec in specs)


def why_dependent(servable: Servable, name: str, samples: Sequence[Inputs] = ()) -> str:
    """Runs a signature to see whether its rows depend on each other.

    Args:
        servable: What runs it.
        name: The signature; `has_rows` is true of it.
        samples: Inputs that the signature is known to take, to be used in place of made-up ones where there are
            enough rows in them.

    Returns:
        Why rows may depend on each other, in words for the user; empty where they do not.
    """
    signature = servable.signatures[name]
    refusal = "its inputs cannot be made up"
    for rows in (_sampled_rows(samples), _made_up_rows(signature, 3), _made_up_rows(signature, 1)):
        if len(rows) < 2:
            continue
        try:
            return _compare(servable, name, list(signature.outputs), rows)
        except ServingError as error:
            refusal = f"it refuses made-up inputs ({error.message.splitlines()[0][:200] if error.message else error})"
    return f"whether its rows are independent cannot be tried: {refusal}"


def are_independent(servable: Servable, name: str, outputs: Sequence[str], rows: Mapping[str, TensorSpec]) -> bool:
    """Runs a signature to see whether its rows depend on each other where they have another shape than it declares.

    With numbers up to 1, and up to 1000 of either sign: what is no batch to the graph may be the row that it calculates
    with, and with small numbers alone a limit in it may hide that.

    Args:
        servable: What runs it.
        name: The signature.
        outputs: The output aliases that matter.
        rows: Input alias -> what a row is: its dtype, and its shape after the first dimension, which is 1.

    Returns:
        Whether different rows have the same answers together and alone; not if they are refused, or cannot be made up.
    """
    made_up = _made_up_rows(Signature(rows, {}), 1)
    scaled = ([{alias: _scaled(array, scale) for alias, array in row.items()} for row in made_up] for scale in _SCALES)
    try:
        return bool(made_up) and not any(_compare(servable, name, outputs, each) for each in scaled)
    except ServingError:
        return False


def _scaled(array: Array, scale: float) -> Array:
    """Numbers with a fraction times `scale`; others as they are."""
    return (array * scale).astype(array.dtype) if array.dtype.kind in "fc" else array


def _compare(servable: Servable, name: str, outputs: Sequence[str], rows: Sequence[Inputs]) -> str:
    alone = [servable.run(name, row, outputs) for row in rows]
    for order in (range(len(rows)), range(len(rows) - 1, -1, -1)):
        together = servable.run(name, {key: np.concatenate([rows[i][key] for i in order]) for key in rows[0]}, outputs)
        for alias in outputs:
            array = together[alias]
            if array.ndim == 0 or array.shape[0] != len(rows):
                return f"output {alias} has the shape {list(array.shape)} for {len(rows)} rows"
            for position, index in enumerate(order):
                if not agree(alone[index][alias], array[position : position + 1]):
                    return f"a row's output {alias} depends on the other rows of its batch"
    return ""


def agree(expected: Array, found: Array) -> bool:
    """Whether two answers are equal, for floating-point numbers within the tolerances of this module."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    if expected.dtype.kind in "OSUbiu":
        return bool(np.array_equal(expected, found))
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    expected, found = expected.astype(wide), found.astype(wide)
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    return bool(np.allclose(found, expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE * scale, equal_nan=True))


def _sampled_rows(samples: Sequence[Inputs]) -> list[Inputs]:
    """Different rows of the samples, all of the shape of the first one."""
    found: list[Inputs] = []
    for sample in samples:
        counts = {array.shape[0] if array.ndim else -1 for array in sample.values()}
        if len(counts) != 1 or -1 in counts:
            continue
        for index in range(counts.pop()):
            row = {name: array[index : index + 1] for name, array in sample.items()}
            if found and any(row[name].shape != array.shape for name, array in found[0].items()):
                continue
            if not any(all(np.array_equal(row[name], array) for name, array in other.items()) for other in found):
                found.append(row)
            if len(found) == _ROWS:
                return found
    return found


def _made_up_rows(signature: Signature, unknown: int) -> list[Inputs]:
    """Rows of numbers that differ from each other; none if they cannot be made."""
    if any(
        spec.shape is None
        or spec.dtype not in NUMPY_OF
        or prod(size or unknown for size in spec.shape[1:]) * NUMPY_OF[spec.dtype].itemsize > _MAX_BYTES
        for spec in signature.inputs.values()
    ):
        return []
    random = np.random.default_rng(_SEED)
    return [
        {name: _made_up(spec, unknown, random, row) for name, spec in signature.inputs.items()} for row in range(_ROWS)
    ]


def _made_up(spec: TensorSpec, unknown: int, random: np.random.Generator, row: int) -> Array:
    shape = (1, *(unknown if size is None else size for size in (spec.shape or ())[1:]))
    if spec.dtype is DType.STRING:
        words = np.empty(shape, dtype=object)
        words.reshape(-1)[:] = [b"%d" % (row + index) for index in range(words.size)]
        return words
    dtype = spec.dtype.numpy
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        # Small ones: an integer is often an index into a table, and a table has two rows at least.
        return ((random.integers(0, 2, shape) + row) % 2).astype(dtype)
    return random.uniform(0.0, 1.0, shape).astype(dtype)
