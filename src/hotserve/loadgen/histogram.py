"""Latencies in memory of a fixed size, however many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PRECISION_BITS: Final = 8
_EXACT_BELOW: Final = 1 << _PRECISION_BITS
_MAX_BITS: Final = 44
"""Values of more bits than these (4.8 hours in nanoseconds) are counted as the largest value of so many bits."""

_LARGEST: Final = (1 << _MAX_BITS) - 1
_CELLS: Final = (_MAX_BITS - _PRECISION_BITS + 2) << (_PRECISION_BITS - 1)

RELATIVE_ERROR: Final = 1 / (1 << _PRECISION_BITS)
"""How far a percentile may be from the value that it stands for, as a part of that value: 0.4 %."""


class Histogram:
    """Counts of whole numbers, in cells that are as wide as the numbers are large.

    Numbers below 256 have a cell each. From there on each power of two is cut into 128 cells, and a percentile is the
    middle of its cell: at most `RELATIVE_ERROR` of it away from the number that was recorded. Minimum, maximum and
    mean are exact.

    Attributes:
        count: How many numbers were recorded.
        total: Their sum.
        smallest: The smallest of them; 0 without any.
        largest: The largest of them; 0 without any.
    """

    __slots__ = ("_cells", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self._cells = [0] * _CELLS
        self.count = 0
        self.total = 0
        self.smallest = 0
        self.largest = 0

    def record(self, value: int) -> None:
        """Takes in a number; one below 0 counts as 0."""
        if value < _EXACT_BELOW:
            value = max(value, 0)
            cell = value
        else:
            kept = min(value, _LARGEST)
            shift = kept.bit_length() - _PRECISION_BITS
            cell = (shift << (_PRECISION_BITS - 1)) + (kept >> shift)
        self._cells[cell] += 1
        if value > self.largest:
            self.largest = value
        if value < self.smallest or not self.count:
            self.smallest = value
        self.count += 1
        self.total += value

    def record_all(self, values: NDArray[np.int64]) -> None:
        """Takes in numbers, as `record` does each of them.

        Args:
            values: One dimension, of any length.
        """
        if not values.size:
            return
        kept: NDArray[Any] = np.clip(values, 0, _LARGEST)
        # Exact: numbers of so few bits are floating-point numbers too, and the exponent is how many bits they have.
        shifts = np.maximum(np.frexp(kept.astype(np.float64))[1] - _PRECISION_BITS, 0)
        cells, counts = np.unique((shifts << (_PRECISION_BITS - 1)) + (kept >> shifts), return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._cells[cell] += count
        values = np.maximum(values, 0)
        smallest = int(values.min())
        self.smallest = min(self.smallest, smallest) if self.count else smallest
        self.largest = max(self.largest, int(values.max()))
        self.count += values.size
        self.total += int(values.sum())

    def merge(self, other: Histogram) -> None:
        """Takes in all numbers of another one."""
        if not other.count:
            return
        self._cells = [mine + theirs for mine, theirs in zip(self._cells, other._cells, strict=True)]
        self.smallest = min(self.smallest, other.smallest) if self.count else other.smallest
        self.largest = max(self.largest, other.largest)
        self.count += other.count
        self.total += other.total

    @property
    def mean(self) -> float:
        """The mean; NaN without any number."""
        return self.total / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The number that `percent` of all numbers do not exceed, by nearest rank; NaN without any number."""
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """The same for several, which are given in ascending order."""
        if not self.count:
            return [math.nan] * len(percents)
        found: list[float] = []
        seen = 0
        cells = self._filled()
        middle = 0.0
        for percent in percents:
            # The product is rounded before it is rounded up: 99.9 % of 1000 are 999, and not one more.
            rank = min(self.count, max(1, math.ceil(round(percent / 100 * self.count, 6))))
            while seen < rank:
                middle, here = next(cells)
                seen += here
            found.append(float(min(max(middle, self.smallest), self.largest)))
        return found

    def above(self, value: int) -> int:
        """How many numbers are larger than `value`, but for those that share its cell."""
        return sum(count for middle, count in self._filled() if middle > value * (1 + RELATIVE_ERROR))

    def _filled(self) -> Iterator[tuple[float, int]]:
        """The middle and the count of every cell that has any, from the smallest."""
        half = _EXACT_BELOW >> 1
        for cell, count in enumerate(self._cells):
            if not count:
                continue
            shift = max(0, (cell >> (_PRECISION_BITS - 1)) - 1)
            low = (cell - shift * half) << shift
            yield low + ((1 << shift) - 1) / 2, count
