"""Arrays of numbers and flags as nested JSON lists.

`compiled_lists` and `plain_lists` do the same, byte for byte; `number_lists` is the faster one that there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from hotserve.codecs import compiled
from hotserve.codecs.compiled import CODES, EXTENSION, LETTERS
from hotserve.codecs.json_numbers import float_texts
from hotserve.tensors import Array, DType

_FLOATING: Final = frozenset({DType.FLOAT, DType.DOUBLE, DType.HALF, DType.BFLOAT16})
_INTEGERS: Final = frozenset(CODES) - _FLOATING - {DType.BOOL}

PIECE_ELEMENTS: Final = 1 << 16
"""How many numbers are written at once where there are many."""

WRITTEN: Final = _FLOATING | _INTEGERS | {DType.BOOL}
"""The types that can be written."""


def compiled_lists(array: Array, dtype: DType, by_row: bool) -> list[str]:
    """Writes an array by the extension: see `plain_lists`."""
    # An array's own dtype is looked up in a fraction of the time.
    code, digits = LETTERS.get(array.dtype) or CODES.get(dtype), 17
    if code is None:
        with np.errstate(invalid="ignore"):
            # A model may give signalling NaN, of which numpy would warn.
            array = array.astype(np.float64)
        # The 16-bit types have no more than five digits.
        code, digits = CODES[DType.DOUBLE], 6
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    assert EXTENSION is not None, "who calls this has looked"
    return EXTENSION.nested_texts(array, code, digits, by_row)


def plain_lists(array: Array, dtype: DType, by_row: bool) -> list[str]:
    """Writes an array.

    Args:
        array: Numbers or flags of any shape.
        dtype: Their type, one of `WRITTEN`.
        by_row: Whether to write each value of the first dimension by itself; otherwise all of them in one text.

    Returns:
        As many texts as there are rows, or one: numbers as `json_numbers` says, in lists as deep as the array.
    """
    return nested(_element_texts(array, dtype), array.shape, by_row)


number_lists: Final[Callable[[Array, DType, bool], list[str]]] = compiled_lists if compiled.IS_USED else plain_lists


def number_pieces(array: Array, dtype: DType) -> Iterator[str]:
    """What `number_lists` writes as one text, in pieces, none of which holds the GIL for long; the last is a bracket.

    Args:
        array: More than `PIECE_ELEMENTS`.
        dtype: As for `plain_lists`.
    """
    rows_at_once = PIECE_ELEMENTS * len(array) // array.size
    yield "["
    if rows_at_once:
        for start in range(0, len(array), rows_at_once):
            text = number_lists(array[start : start + rows_at_once], dtype, False)[0]
            yield f", {text[1:-1]}" if start else text[1:-1]
    else:
        for index, row in enumerate(array):
            if index:
                yield ", "
            yield from number_pieces(row, dtype)
    yield "]"


def nested(texts: list[str], shape: tuple[int, ...], by_row: bool) -> list[str]:
    """Elements in lists, of this shape: all in one text, or a text for each value of the first dimension."""
    for axis in range(len(shape) - 1, by_row - 1, -1):
        size = shape[axis]
        lists = range(math.prod(shape[:axis]))
        texts = [f"[{', '.join(texts[i * size : (i + 1) * size])}]" for i in lists]
    return texts


def _element_texts(array: Array, dtype: DType) -> list[str]:
    if dtype in _FLOATING:
        return float_texts(array, dtype)
    elements: list[Any] = array.ravel().tolist()
    if dtype in _INTEGERS:
        return list(map(str, elements))
    return ["true" if element else "false" for element in elements]
