"""Whether another engine's answer is TensorFlow's.

Shapes and types have to be equal; integers, booleans and strings as well, and NaN has to stand where NaN stands.
Floating-point numbers may differ by what another order of additions makes of them: by `relative` of the number itself,
and by `of_largest` of the largest finite number of the same output, in this answer or in those to ordinary inputs,
because a sum that comes out small has the rounding errors of its large terms. There is no fixed absolute tolerance: an
output whose numbers are all tiny is held to its own scale. What is denormal counts as zero: TensorFlow flushes such
numbers, other engines do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from hotserve.tensors import Array


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers of one type may be apart.

    Attributes:
        relative: In parts of the expected number.
        of_largest: In parts of the largest finite number of the output.
        smallest: Differences below this are none: the smallest normal number of the type.
    """

    relative: float
    of_largest: float
    smallest: float


TOLERANCES: Final[Mapping[str, Tolerance]] = MappingProxyType(
    {
        "float32": Tolerance(1e-4, 1e-5, 1.2e-38),
        "float64": Tolerance(1e-9, 1e-10, 2.3e-308),
        "float16": Tolerance(4e-3, 1e-3, 6.2e-5),
        "bfloat16": Tolerance(3e-2, 8e-3, 1.2e-38),
        "complex64": Tolerance(1e-4, 1e-5, 1.2e-38),
        "complex128": Tolerance(1e-9, 1e-10, 2.3e-308),
    }
)
"""By numpy's name of the type; what is not here has to be equal."""


NO_NUMBERS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an answer is from the expected one.

    Attributes:
        of_tolerance: The largest difference, in parts of what is allowed there: up to 1 the answers agree. Infinite
            where shapes, types, or things that have to be equal differ.
        absolute: The largest difference between two finite numbers.
        where: Which element it is and what is there, in words for the user; empty where there is no difference.
    """

    of_tolerance: float = 0.0
    absolute: float = 0.0
    where: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the answers are the same, within the tolerance."""
        return self.of_tolerance <= 1.0


def compare(
    expected: Mapping[str, Array], found: Mapping[str, Array], largest: Mapping[str, float] = NO_NUMBERS
) -> Difference:
    """Compares two answers.

    Args:
        expected: Output alias -> TensorFlow's array.
        found: Output alias -> the engine's.
        largest: Output alias -> the largest finite number that it has had so far, as `largest_of` tells it.

    Returns:
        The worst difference of all outputs, with the largest absolute one of them.
    """
    if expected.keys() != found.keys():
        return Difference(np.inf, 0.0, f"the outputs are {sorted(found)}, expected {sorted(expected)}")
    worst, absolute = Difference(), 0.0
    for alias, array in expected.items():
        difference = compare_arrays(array, found[alias], largest.get(alias, 0.0))
        absolute = max(absolute, difference.absolute)
        if difference.of_tolerance > worst.of_tolerance:
            worst = Difference(difference.of_tolerance, 0.0, f"output {alias}: {difference.where}")
    return Difference(worst.of_tolerance, absolute, worst.where)


def compare_arrays(expected: Array, found: Array, largest: float = 0.0) -> Difference:
    """Compares two arrays; see `compare`."""
    if expected.shape != found.shape:
        return Difference(np.inf, 0.0, f"its shape is {list(found.shape)}, expected {list(expected.shape)}")
    if expected.dtype != found.dtype:
        return Difference(np.inf, 0.0, f"its type is {found.dtype}, expected {expected.dtype}")
    tolerance = TOLERANCES.get(expected.dtype.name)
    if tolerance is None:
        unequal = np.flatnonzero(np.asarray(expected != found).reshape(-1))
        if not unequal.size:
            return Difference()
        return Difference(np.inf, 0.0, _place(expected, found, int(unequal[0])))
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    want, got = expected.astype(wide).reshape(-1), found.astype(wide).reshape(-1)
    finite = np.isfinite(want) & np.isfinite(got)
    with np.errstate(invalid="ignore"):
        special = np.flatnonzero(~finite & ~((want == got) | (np.isnan(want) & np.isnan(got))))
    if special.size:
        return Difference(np.inf, 0.0, _place(expected, found, int(special[0])))
    if not finite.any():
        return Difference()
    size = np.abs(np.where(finite, want, 0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(np.where(finite, got - want, 0.0))
        allowed = (
            tolerance.relative * size + tolerance.of_largest * max(largest, float(size.max())) + tolerance.smallest
        )
        parts = apart / allowed
    position = int(np.argmax(parts))
    return Difference(float(parts[position]), float(apart.max()), _place(expected, found, position))


def largest_of(answer: Mapping[str, Array]) -> dict[str, float]:
    """The largest finite absolute number of each output of floating-point numbers."""
    found = {}
    for alias, array in answer.items():
        if array.dtype.name in TOLERANCES:
            numbers = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
            finite = numbers[np.isfinite(numbers)]
            found[alias] = float(finite.max()) if finite.size else 0.0
    return found


def _place(expected: Array, found: Array, position: int) -> str:
    index = [int(place) for place in np.unravel_index(position, expected.shape)]
    return f"element {index} is {found.reshape(-1)[position]!r}, expected {expected.reshape(-1)[position]!r}"
