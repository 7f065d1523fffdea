"""What metrics are made of: counters, gauges and histograms, each with a cell for every set of label values.

Any thread may count. Adding to a cell takes no lock, which would cost more than all the rest: in `x.number += n` there
is no call and no loop, and only there does CPython let another thread go on. Cells are made and dropped under a lock.
Whoever counts on a request's path asks for a cell once and keeps it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Labels = tuple[str, ...]
"""The values of an instrument's labels, in the order of their names."""

Cell = TypeVar("Cell")


class NumberCell:
    """The number of one set of label values."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: float = 0


class HistogramCell:
    """The counts of one set of label values.

    Attributes:
        counts: How many values fell into each bucket; the last is everything from the last limit on.
        total: The sum of all values.
    """

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


def _nothing() -> None:
    """What has to be done before cells are read that are always up to date."""


@cache
def bounds_of(limits: tuple[float, ...]) -> NDArray[np.float64]:
    """The limits of buckets as an array, made once."""
    return np.array(limits)


def observe_many(
    cells: Sequence[Sequence[HistogramCell | None]], values: NDArray[Any], limits: tuple[float, ...]
) -> None:
    """Counts values in cells that have the same limits.

    Args:
        cells: For each row of the values the cells that all of it is counted in; None for nowhere.
        values: The values, shape [rows, n].
        limits: The upper limits of the buckets of all cells, ascending.
    """
    buckets = bounds_of(limits).searchsorted(values, "right")
    for theirs, placed, total in zip(cells, buckets, values.sum(1).tolist(), strict=True):
        counts = np.bincount(placed).tolist()
        for cell in theirs:
            if cell is not None:
                for bucket, number in enumerate(counts):
                    if number:
                        cell.counts[bucket] += number
                cell.total += total


class _Cells(Generic[Cell]):
    """Label values -> cell.

    Attributes:
        before_read: Called before all cells are read, to count what has only been noted until then.
    """

    def __init__(self, name: str, labels: Sequence[str], new_cell: Callable[[], Cell]) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._new_cell = new_cell
        self.before_read: Callable[[], None] = _nothing
        self._cells: dict[Labels, Cell] = {}
        self._lock = threading.Lock()

    def cell(self, *values: str) -> Cell:
        """The cell of these label values, made where there is none.

        A cell that has been dropped may still be written to; nobody reads it any more.
        """
        cell = self._cells.get(values)
        if cell is None:
            with self._lock:
                cell = self._cells.setdefault(values, self._new_cell())
        return cell

    def drop(self, values_of: Mapping[str, str]) -> None:
        """Removes the cells that have these values; none where the instrument lacks one of the labels.

        Args:
            values_of: Label -> value.
        """
        if not all(label in self.labels for label in values_of):
            return
        wanted = [(self.labels.index(label), value) for label, value in values_of.items()]
        with self._lock:
            self._cells = {
                values: cell
                for values, cell in self._cells.items()
                if any(values[place] != value for place, value in wanted)
            }

    def _sorted(self) -> list[tuple[Labels, Cell]]:
        self.before_read()
        return sorted(self._cells.copy().items(), key=lambda item: item[0])


class Counter(_Cells[NumberCell]):
    """A number that only grows, per set of label values."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Declares a counter.

        Args:
            name: The internal name; see `prometheus.render` for how it is exported.
            labels: The names of its labels.
        """
        super().__init__(name, labels, NumberCell)

    def add(self, *values: str, amount: int = 1) -> None:
        """Adds to the cell of these label values."""
        self.cell(*values).number += amount

    def cells(self) -> list[tuple[Labels, int]]:
        """Label values -> number, as of now."""
        return [(values, int(cell.number)) for values, cell in self._sorted()]


class Gauge(_Cells[NumberCell]):
    """A number that is what it is just now, per set of label values."""

    kind = "gauge"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Declares a gauge; for the arguments see `Counter`."""
        super().__init__(name, labels, NumberCell)

    def set(self, number: float, *values: str) -> None:
        """Sets the cell of these label values."""
        self.cell(*values).number = number

    def cells(self) -> list[tuple[Labels, float]]:
        """Label values -> number, as of now."""
        return [(values, cell.number) for values, cell in self._sorted()]

    def replace(self, numbers: Mapping[Labels, float]) -> None:
        """Sets these cells, and removes all others."""
        cells = {}
        for values, number in numbers.items():
            cells[values] = NumberCell()
            cells[values].number = number
        with self._lock:
            self._cells = cells


class ReadCounter(Gauge):
    """A number that only grows and is kept by somebody else, such as processor time: it is set to what they say."""

    kind = "counter"


class CommonGauge(Gauge):
    """A number that is the same in every process that has it: of several workers the largest is shown, not the sum."""


class Histogram(_Cells[HistogramCell]):
    """How values are distributed, per set of label values. Limits are exclusive, as in TensorFlow's monitoring."""

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        """Declares a histogram.

        Args:
            name: The internal name.
            labels: The names of its labels.
            limits: The upper limits of the buckets, ascending; a value equal to a limit counts in the next one.
        """
        super().__init__(name, labels, lambda: HistogramCell(len(self.limits) + 1))
        self.limits = tuple(limits)

    def observe(self, value: float, *values: str) -> None:
        """Counts a value in the cell of these label values."""
        cell = self.cell(*values)
        bucket = bisect_right(self.limits, value)
        cell.counts[bucket] += 1
        cell.total += value

    def cells(self) -> list[tuple[Labels, HistogramCell]]:
        """Label values -> counts, as of now."""
        return self._sorted()


Instrument = Counter | Gauge | Histogram
