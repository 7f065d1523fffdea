"""The usual predict bodies, read by the extension: numbers, flags, strings and base64 objects, with or without names.

As `json_plain_body`, which takes fewer forms, this leaves whatever is unusual to `json_document` and `json_request`,
which have the words for what is wrong: unequal lists, escapes, empty lists, null, a number that does not fit its type,
a name that comes up twice.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np

from hotserve.codecs.compiled import CODES, EXTENSION, Place, Values
from hotserve.codecs.json_request import PredictInputs
from hotserve.tensors import Array, DType, Signature

_PIECE: Final = 1 << 14
"""How many strings are made in one go."""

_BY_WAY_OF_DOUBLE: Final = frozenset({DType.HALF, DType.BFLOAT16})


class CompiledBody:
    """A body of such a form.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
        key: All of it but its values: see `Values.key`.
        values: What the extension has read.
    """

    __slots__ = ("key", "signature_name", "values")

    def __init__(self, values: Values) -> None:
        self.values = values
        self.key = values.key
        self.signature_name = self.key[0]

    @property
    def aliases(self) -> tuple[str | None, ...]:
        """The inputs that it names, in their order; None for one without a name."""
        return self.values.names

    def decode(self, signature: Signature) -> PredictInputs | None:
        """The tensors; None where `decode_predict` has to look.

        Args:
            signature: What is called.
        """
        values = self.values
        names = values.names
        inputs = signature.inputs
        if names[0] is None:
            if len(inputs) != 1:
                return None
            places = dict.fromkeys(inputs, 0)
        else:
            places = {name: i for i, name in enumerate(names) if name is not None}
            # Columns may have names that are no inputs, rows may not.
            if not inputs or not places.keys() >= inputs.keys() or (values.row_format and len(places) > len(inputs)):
                return None
        arrays: dict[str, Array] = {}
        for name, spec in inputs.items():
            array = _array(values, places[name], spec.dtype)
            if array is None:
                return None
            arrays[name] = array
        return PredictInputs(arrays, values.row_format)

    def decode_known(self, places: Sequence[Place]) -> PredictInputs | None:
        """What `decode` has given before for a body with this key; None where `decode` has to look.

        Args:
            places: What was known of its arrays then.
        """
        content = self.values.content
        arrays: dict[str, Array] = {}
        for alias, index, shape, dtype, letter in places:
            data = content(index, letter) if letter else None
            if data is None:
                return None
            arrays[alias] = np.ndarray(shape, dtype, data)
        return PredictInputs(arrays, self.key[1])


def read_compiled_body(data: bytes) -> CompiledBody | None:
    """Reads a body; None where it is not of such a form, be it right or wrong."""
    assert EXTENSION is not None, "who calls this has looked"
    values = EXTENSION.read_values(data)
    return None if values is None else CompiledBody(values)


def _array(values: Values, index: int, dtype: DType) -> Array | None:
    shape = values.shapes[index]
    array: Array
    code = CODES.get(dtype)
    if code is not None:
        array = np.empty(shape, dtype.numpy)
        return array if values.store(index, array, code) else None
    if dtype in _BY_WAY_OF_DOUBLE:
        array = np.empty(shape, np.float64)
        if not values.store(index, array, CODES[DType.DOUBLE]):
            return None
        with np.errstate(over="ignore"):
            return array.astype(dtype.numpy)
    if dtype is DType.STRING:
        return _strings(values, index, shape)
    return None


def _strings(values: Values, index: int, shape: tuple[int, ...]) -> Array | None:
    """The strings of a column, a piece at a time, so that many of them do not hold the GIL for long."""
    array = np.empty(prod(shape), np.object_)
    for first in range(0, max(1, len(array)), _PIECE):
        piece = values.strings(index, first, _PIECE)
        if piece is None:
            return None
        try:
            array[first : first + _PIECE] = [
                binascii.a2b_base64(text, strict_mode=True) if is_base64 else text for text, is_base64 in piece
            ]
        except ValueError:
            # The other alphabet, white space, or no base64 at all.
            return None
    return array.reshape(shape)
