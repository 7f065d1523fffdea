"""The usual predict body, read in a short cut: one list of numbers under `instances` or `inputs`, and nothing else.

Such a body is nearly all of the work of a REST server: a picture is thousands of numbers in nested lists. Here the
brackets are taken out before the standard library reads the numbers, so that it makes one flat list, and no list for
each of a picture's pixels. The shape is told from the brackets and commas that are left when the numbers are removed.
For 9 KB (28 x 28 x 1) that takes half of what `parse_document` and `decode_predict` take together.

Whatever is not exactly of this form is left to those two, which also have the words for what is wrong with it. Where
the package was installed with a compiler, `json_compiled_body` does this and more, in a tenth of the time.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from hotserve.codecs.json_request import PredictInputs
from hotserve.codecs.json_tensor import MAX_RANK, array_of
from hotserve.tensors import Array, DType, Signature

_BEGINNING = re.compile(
    rb'[ \t\n\r]*\{[ \t\n\r]*(?:"signature_name"[ \t\n\r]*:[ \t\n\r]*"([ !#-\[\]-~]*)"[ \t\n\r]*,[ \t\n\r]*)?'
    rb'"(instances|inputs)"[ \t\n\r]*:[ \t\n\r]*(?=\[)'
)
_WHITE_SPACE = b" \t\n\r"
_IN_NUMBERS = b"0123456789+-.eE"
_TO_ZERO = bytes.maketrans(_IN_NUMBERS, b"0" * len(_IN_NUMBERS))
_WITHOUT_BRACKETS = bytes.maketrans(b"[]", b"  ")

_SMALLEST = 512
"""Smaller bodies are read faster the ordinary way."""

_LARGEST_KEPT = 1 << 16
"""The shapes of skeletons up to so many bytes are remembered; a client repeats its shape in every request."""

_INTEGERS = frozenset({DType.INT64, DType.INT32, DType.INT16, DType.INT8, DType.UINT8, DType.UINT64, DType.UINT32})


@dataclass(frozen=True, slots=True)
class PlainBody:
    """A body of this form.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
        row_format: Whether the numbers stand under `instances`.
        numbers: All of them, row by row; `int` where the token was an integer.
        shape: How they are nested.
    """

    signature_name: str
    row_format: bool
    numbers: list[Any]
    shape: tuple[int, ...]

    def decode(self, signature: Signature) -> PredictInputs | None:
        """The tensor; None where `decode_predict` has to look.

        Args:
            signature: What is called.
        """
        if len(signature.inputs) != 1:
            return None
        ((alias, spec),) = signature.inputs.items()
        values = _array(self.numbers, spec.dtype, self.shape)
        return None if values is None else PredictInputs({alias: values}, self.row_format)


def read_plain_body(body: bytes) -> PlainBody | None:
    """Reads a body; None where it is not exactly of this form, be it right or wrong."""
    beginning = _BEGINNING.match(body)
    if beginning is None or len(body) < _SMALLEST:
        return None
    nested = body[beginning.end() :].rstrip(_WHITE_SPACE)
    if not nested.endswith(b"}"):
        return None
    nested = nested[:-1]
    # Every character of a number becomes a 0, so that what is neither number nor nesting remains to be seen.
    marked = nested.translate(_TO_ZERO, _WHITE_SPACE)
    skeleton = marked.translate(None, b"0")
    shape = _remembered_shape(skeleton) if len(skeleton) <= _LARGEST_KEPT else _shape_of(skeleton)
    if shape is None or _has_misplaced_numbers(marked):
        return None
    try:
        numbers = json.loads(b"[" + nested.translate(_WITHOUT_BRACKETS) + b"]")
    except ValueError:
        return None
    if len(numbers) != prod(shape):
        return None
    name, key = beginning.groups()
    return PlainBody((name or b"").decode("ascii"), key == b"instances", numbers, shape)


def _array(numbers: list[Any], dtype: DType, shape: tuple[int, ...]) -> Array | None:
    try:
        if dtype is DType.FLOAT:
            # Refuses what is no float32 (1e39): that becomes infinite, which is for the other path to do.
            return np.frombuffer(struct.pack(f"={len(numbers)}f", *numbers), np.float32).reshape(shape)
        if dtype is DType.DOUBLE:
            values: Array = np.frombuffer(struct.pack(f"={len(numbers)}d", *numbers)).reshape(shape)
            return values if np.isfinite(values).all() else None
        if dtype in _INTEGERS and set(map(type, numbers)) == {int}:
            return array_of(numbers, dtype, shape)
    except (OverflowError, struct.error):
        pass
    return None


def _has_misplaced_numbers(marked: bytes) -> bool:
    """Whether a number stands on the wrong side of a bracket, as in `[1[2]]`; it would move into the list beside it."""
    characters = np.frombuffer(marked, np.uint8)
    left, right = characters[:-1], characters[1:]
    zero, opening, closing = b"0[]"
    return bool((((left == zero) & (right == opening)) | ((left == closing) & (right == zero))).any())


def _shape_of(skeleton: bytes) -> tuple[int, ...] | None:
    """The shape of a regular nested list, by its brackets and commas; None for one that is not regular."""
    rank = len(skeleton) - len(skeleton.lstrip(b"["))
    if rank > MAX_RANK:
        return None
    shape: list[int] = []
    counted = 1
    for closing in range(1, rank + 1):
        # So many elements stand before the first place where `closing` lists end at once.
        end = skeleton.find(b"]" * closing)
        elements = skeleton.count(b",", 0, end) + 1
        if end < 0 or elements % counted:
            return None
        shape.insert(0, elements // counted)
        counted = elements
    return tuple(shape) if skeleton == _skeleton(shape) else None


_remembered_shape = lru_cache(maxsize=64)(_shape_of)


def _skeleton(shape: list[int]) -> bytes:
    """The brackets and commas of a nested list of this shape."""
    text = b""
    for size in reversed(shape):
        text = b"[" + b",".join([text] * size) + b"]"
    return text
