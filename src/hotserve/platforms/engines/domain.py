"""What a signature may be asked by way of another engine: inputs of the kind that has been examined, and no others.

An engine agrees with TensorFlow on what has been tried. An index beyond the table is an error in TensorFlow and a row
of zeros elsewhere; a huge number overflows in one order of additions and not in another. So the shapes and the range
of values that have been tried are kept, and what lies outside goes to TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hotserve.tensors import Array, Shape

_QUICK = "fd"
"""The letters that numpy has for float32 and float64. An object of `numpy.dtype` takes longer to find in a set than a
small array to be looked through."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of an input's values, both ends included; NaN is in no range.

    Attributes:
        lowest: The least value.
        highest: The greatest value.
        square: Of both ends, where zero is in the middle; otherwise below zero.
    """

    lowest: float
    highest: float
    square: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "square", self.highest * self.highest if self.lowest == -self.highest else -1)


@dataclass(frozen=True, slots=True)
class Domain:
    """The inputs of a signature that an engine may be given.

    Attributes:
        shapes: Input alias -> the shape that has been tried, `None` where several sizes of a dimension have.
        bounds: Input alias -> the range of its values; not of those inputs whose values may be anything.
        smallest_size: The smallest size that has been tried of dimensions, other than the first one, that may have
            several. A window that does not fit into a smaller one is an error in TensorFlow.
    """

    shapes: Mapping[str, Shape]
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    smallest_size: int = 1

    def contains(self, inputs: Mapping[str, Array]) -> bool:
        """Whether all of these arrays are of the kind."""
        return self.fits(inputs) and self.holds(inputs)

    def fits(self, inputs: Mapping[str, Array]) -> bool:
        """Whether the shapes of these arrays are.

        Arrays without elements never are, nor are arrays of different numbers of rows.
        """
        rows = 0
        for alias, shape in self.shapes.items():
            found = inputs[alias].shape
            if len(found) != len(shape) or 0 in found:
                return False
            for place, (size, wanted) in enumerate(zip(found, shape, strict=True)):
                if wanted is not None:
                    if wanted != size:
                        return False
                elif place:
                    if size < self.smallest_size:
                        return False
                elif size != (rows := rows or size):
                    return False
        return True

    def holds(self, inputs: Mapping[str, Array]) -> bool:
        """Whether the values of these arrays are."""
        for alias, bounds in self.bounds.items():
            array = inputs[alias]
            # The sum of the squares takes a quarter of the time of the least and the greatest, and mostly says enough:
            # no number is larger than its root. It is NaN where one number is. Unlike `dot`, `vdot` does not warn where
            # it overflows.
            if array.dtype.char in _QUICK and np.vdot(array, array) <= bounds.square:
                continue
            # Both comparisons are false for NaN.
            if not (array.min() >= bounds.lowest and array.max() <= bounds.highest):
                return False
        return True

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a file."""
        return {
            "shapes": {alias: list(shape) for alias, shape in self.shapes.items()},
            "bounds": {alias: [bounds.lowest, bounds.highest] for alias, bounds in self.bounds.items()},
            "smallest_size": self.smallest_size,
        }


def domain_from_json(value: Any) -> Domain:
    """Reads what `Domain.to_json` has made.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is something else.
    """
    return Domain(
        {str(alias): tuple(_size(size) for size in shape) for alias, shape in value["shapes"].items()},
        {str(alias): Bounds(_number(low), _number(high)) for alias, (low, high) in value["bounds"].items()},
        int(value["smallest_size"]),
    )


def _size(value: Any) -> int | None:
    return None if value is None else int(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
