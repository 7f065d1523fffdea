"""Floating-point numbers as the API writes them.

Source: TensorFlow Serving `util/json_tensor.cc`, WriteDecimal: six significant digits where they are enough to read
the same number back, else as many as its type may need, and always a mark that this is no integer.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from hotserve.tensors import Array, DType

# The % operator writes a number a third faster than format() does.
_SIX_DIGITS: Final = "%g"
# The C type that a number must survive, and a format that it does. The 16-bit types have no more than five digits.
_BEYOND_SIX_DIGITS: Final[Mapping[DType, tuple[str, str]]] = MappingProxyType(
    {DType.FLOAT: ("f", "%.9g"), DType.DOUBLE: ("d", "%.17g")}
)
_NOT_FINITE: Final[Mapping[str, str]] = MappingProxyType({"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"})


def float_texts(values: Array, dtype: DType) -> list[str]:
    """The text of each number: `1.0`, `0.1`, `0.333333343`, `1e+06`, `NaN`, `-Infinity`.

    Args:
        values: Numbers of any shape.
        dtype: Their type: float, double, half or bfloat16.

    Returns:
        One text for each number, last dimension fastest. NaN and the infinities are bare words, which strict JSON
        does not know and the API promises.
    """
    with np.errstate(invalid="ignore"):
        # A model may give signalling NaN, of which numpy would warn.
        doubles = values.ravel().astype(np.float64)
    numbers: list[float] = doubles.tolist()
    texts = [_SIX_DIGITS % number for number in numbers]
    if dtype in _BEYOND_SIX_DIGITS:
        typecode, precise = _BEYOND_SIX_DIGITS[dtype]
        # Reading a float by way of a double is exact here: no decimal of six digits lies so close to the middle
        # between two floats that the first rounding could mislead the second (all of them were tried).
        read_back = array(typecode, map(float, texts))
        texts = [
            text if back == number else precise % number
            for text, back, number in zip(texts, read_back, numbers, strict=True)
        ]
    marked = [text if "." in text or "e" in text else text + ".0" for text in texts]
    if np.isfinite(doubles).all():
        return marked
    return [_NOT_FINITE.get(text, mark) for text, mark in zip(texts, marked, strict=True)]
