"""What metrics are made of: counters, gauges and histograms, each with a cell for every set of label values.

Every write takes the instrument's lock, so that any thread may count. Whoever counts on a request's path takes a cell
with `cell` once, keeps it, and writes to it under a lock of his own.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

Labels = tuple[str, ...]
"""The values of an instrument's labels, in the order of their names."""


class Counter:
    """A number that only grows, per set of label values."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Declares a counter.

        Args:
            name: The internal name; see `prometheus.render` for how it is exported.
            labels: The names of its labels.
        """
        self.name = name
        self.labels = tuple(labels)
        self._cells: dict[Labels, int] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, amount: int = 1) -> None:
        """Adds to the cell of these label values."""
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + amount

    def cells(self) -> Iterable[tuple[Labels, int]]:
        """Label values -> number, as of now."""
        return sorted(self._cells.copy().items())

    def drop(self, is_over: Callable[[Labels], bool]) -> None:
        """Removes the cells whose label values `is_over` is true of."""
        with self._lock:
            self._cells = {values: number for values, number in self._cells.items() if not is_over(values)}


class Gauge:
    """A number that is what it is just now, per set of label values."""

    kind = "gauge"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Declares a gauge; for the arguments see `Counter`."""
        self.name = name
        self.labels = tuple(labels)
        self._cells: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def set(self, number: float, *values: str) -> None:
        """Sets the cell of these label values."""
        with self._lock:
            self._cells[values] = number

    def add(self, number: float, *values: str) -> None:
        """Adds to the cell of these label values; `number` may be negative."""
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + number

    def cells(self) -> Iterable[tuple[Labels, float]]:
        """Label values -> number, as of now."""
        return sorted(self._cells.copy().items())

    def drop(self, is_over: Callable[[Labels], bool]) -> None:
        """Removes the cells whose label values `is_over` is true of."""
        with self._lock:
            self._cells = {values: number for values, number in self._cells.items() if not is_over(values)}


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


class Histogram:
    """How values are distributed, per set of label values. Limits are exclusive, as in TensorFlow's monitoring."""

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        """Declares a histogram.

        Args:
            name: The internal name.
            labels: The names of its labels.
            limits: The upper limits of the buckets, ascending; a value equal to a limit counts in the next one.
        """
        self.name = name
        self.labels = tuple(labels)
        self.limits = tuple(limits)
        self._cells: dict[Labels, HistogramCell] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *values: str) -> None:
        """Counts a value in the cell of these label values."""
        cell = self.cell(*values)
        bucket = bisect_right(self.limits, value)
        with self._lock:
            cell.counts[bucket] += 1
            cell.total += value

    def cell(self, *values: str) -> HistogramCell:
        """The cell of these label values, made where there is none; to keep, and to write to under the writer's lock.

        A cell that `drop` has removed may still be written to; nobody reads it any more.
        """
        cell = self._cells.get(values)
        if cell is None:
            with self._lock:
                cell = self._cells.setdefault(values, HistogramCell(len(self.limits) + 1))
        return cell

    def cells(self) -> Iterable[tuple[Labels, HistogramCell]]:
        """Label values -> counts, as of now."""
        return sorted(self._cells.copy().items(), key=lambda item: item[0])

    def drop(self, is_over: Callable[[Labels], bool]) -> None:
        """Removes the cells whose label values `is_over` is true of."""
        with self._lock:
            self._cells = {values: cell for values, cell in self._cells.items() if not is_over(values)}


Instrument = Counter | Gauge | Histogram
