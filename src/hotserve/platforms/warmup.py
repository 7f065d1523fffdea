"""Runs a version once before it serves, on made-up inputs: the first run is where engines prepare, and where they fail.

Versions that bring a file of recorded requests are warmed up with those instead: see `handlers/recorded_warmup.py`.
"""

from __future__ import annotations

import logging
import time
from math import prod
from pathlib import Path

import numpy as np

from hotserve.core.servable import Servable
from hotserve.errors import Code, ServingError
from hotserve.tensors import NUMPY_OF, Array, DType, Signature, TensorSpec

logger = logging.getLogger(__name__)

REFUSALS_OF_VALUES = frozenset({Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE})
"""What a sound model may answer to made-up values: zeros are no JPEG, and an empty string is no tf.Example."""

MAX_INPUT_BYTES = 1 << 28
"""Inputs that are declared larger than this are not made up."""


def warm_up(servable: Servable) -> None:
    """Runs every signature that has inputs once.

    Unknown dimensions are 1; values are the input's default, or else zero, False or an empty string. An input of
    unknown rank is a batch of one, or a scalar if that is refused. A signature without inputs is not run: it can only
    be one that changes or initialises something.

    Raises:
        ServingError: A signature fails in a way that has nothing to do with the values: a variable without a value, an
            operation that is not there.
    """
    for name, signature in sorted(servable.signatures.items()):
        if not signature.inputs or not signature.outputs:
            continue
        refusal = _run(servable, name, signature, unknown_rank=(1,))
        if refusal is not None and any(spec.shape is None for spec in signature.inputs.values()):
            refusal = _run(servable, name, signature, unknown_rank=())
        if refusal is not None:
            logger.info("Warm-up: signature %s refuses made-up values, which may be right: %s", name, refusal)


def warm_up_with_made_up_inputs(servable: Servable, path: Path) -> None:
    """As `warm_up`, whatever there is in the version folder."""
    warm_up(servable)


def no_warm_up(servable: Servable, path: Path) -> None:
    """Runs nothing: the first request finds out what the version can do."""


def made_up_inputs(signature: Signature, unknown_rank: tuple[int, ...] = (1,)) -> dict[str, Array] | None:
    """Inputs that fit a signature's types and shapes.

    Args:
        signature: The signature.
        unknown_rank: The shape of inputs whose rank is unknown.

    Returns:
        Input alias -> array; None if an input's type has no array form, or it is larger than `MAX_INPUT_BYTES`.
    """
    inputs: dict[str, Array] = {}
    for alias, spec in signature.inputs.items():
        value = signature.defaults.get(alias)
        if value is None:
            value = _made_up(spec, unknown_rank)
        if value is None:
            return None
        inputs[alias] = value
    return inputs


def _run(servable: Servable, name: str, signature: Signature, unknown_rank: tuple[int, ...]) -> ServingError | None:
    """Runs a signature; returns the refusal of the values, if there was one."""
    inputs = made_up_inputs(signature, unknown_rank)
    if inputs is None:
        logger.info("Warm-up leaves out signature %s: %s cannot be made up.", name, signature.describe_inputs())
        return None
    start = time.perf_counter()
    try:
        servable.run(name, inputs, list(signature.outputs))
    except ServingError as error:
        if error.code not in REFUSALS_OF_VALUES:
            raise ServingError(f"Warm-up of signature {name} failed: {error.message}", error.code) from error
        return error
    logger.debug("Warm-up: signature %s ran in %.0f ms", name, 1e3 * (time.perf_counter() - start))
    return None


def _made_up(spec: TensorSpec, unknown_rank: tuple[int, ...]) -> Array | None:
    dtype = NUMPY_OF.get(spec.dtype)
    shape = unknown_rank if spec.shape is None else tuple(1 if size is None else size for size in spec.shape)
    if dtype is None or prod(shape) * dtype.itemsize > MAX_INPUT_BYTES:
        return None
    return np.full(shape, b"", dtype=object) if spec.dtype is DType.STRING else np.zeros(shape, dtype)
