"""Metrics of several processes as those of one: numbers are added up.

Gauges are added up as well: those that may not be have a label that tells the processes apart, or are common to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotserve.observability.instruments import (
    CommonGauge,
    Counter,
    Gauge,
    Histogram,
    HistogramCell,
    Instrument,
    Labels,
    ReadCounter,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One metric as it was at some moment, for another process.

    Attributes:
        kind: `Counter`, `ReadCounter`, `Gauge` or `Histogram`.
        name: Its internal name.
        labels: The names of its labels.
        limits: The limits of the buckets of a histogram.
        numbers: Label values -> the number; for a histogram, the sum of all values.
        counts: Label values -> the counts of the buckets, for a histogram.
    """

    kind: str
    name: str
    labels: tuple[str, ...]
    limits: tuple[float, ...]
    numbers: dict[Labels, float]
    counts: dict[Labels, list[int]]


_KINDS: dict[str, type[Counter] | type[Gauge]] = {
    "Counter": Counter,
    "Gauge": Gauge,
    "CommonGauge": CommonGauge,
    "ReadCounter": ReadCounter,
}


def take(instruments: Iterable[Instrument]) -> tuple[Snapshot, ...]:
    """The metrics as they are now."""
    return tuple(_snapshot(instrument) for instrument in instruments)


def _snapshot(instrument: Instrument) -> Snapshot:
    kind, name, labels = type(instrument).__name__, instrument.name, instrument.labels
    if isinstance(instrument, Histogram):
        cells = instrument.cells()
        return Snapshot(
            kind,
            name,
            labels,
            instrument.limits,
            {values: cell.total for values, cell in cells},
            {values: list(cell.counts) for values, cell in cells},
        )
    return Snapshot(kind, name, labels, (), dict(instrument.cells()), {})


class MergedMetrics:
    """Adds up what processes have counted."""

    def __init__(self) -> None:
        """Makes an empty sum."""
        self._instruments: dict[str, Instrument] = {}

    def add(self, snapshots: Iterable[Snapshot]) -> None:
        """Adds what one process has counted."""
        for snapshot in snapshots:
            instrument = self._instruments.get(snapshot.name)
            if instrument is None:
                instrument = self._instruments[snapshot.name] = _empty(snapshot)
            if isinstance(instrument, Histogram):
                for values, counts in snapshot.counts.items():
                    _add_counts(instrument.cell(*values), counts, snapshot.numbers[values])
            else:
                for values, number in snapshot.numbers.items():
                    cell = instrument.cell(*values)
                    is_common = isinstance(instrument, CommonGauge)
                    cell.number = max(cell.number, number) if is_common else cell.number + number

    def forget(self, values_of: dict[str, str]) -> None:
        """Drops the cells that have these label values; see `_Cells.drop`."""
        for instrument in self._instruments.values():
            instrument.drop(values_of)

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The sums, for another process."""
        return take(self._instruments.values())

    def instruments(self) -> Sequence[Instrument]:
        """The sums."""
        return tuple(self._instruments.values())


def lasting(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """What goes on to count after the process has ended: how often things happened, and not how they stand."""
    return tuple(snapshot for snapshot in snapshots if snapshot.kind in ("Counter", "Histogram"))


def _empty(snapshot: Snapshot) -> Instrument:
    if snapshot.kind == "Histogram":
        return Histogram(snapshot.name, snapshot.labels, snapshot.limits)
    return _KINDS[snapshot.kind](snapshot.name, snapshot.labels)


def _add_counts(cell: HistogramCell, counts: Sequence[int], total: float) -> None:
    for bucket, count in enumerate(counts):
        cell.counts[bucket] += count
    cell.total += total
