"""Runs of all of some requests, without padding: what counts them. Those of one request that did not wait are counted
many at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from hotserve.observability.instruments import HistogramCell, NumberCell, observe_many
from hotserve.observability.spans import observe_spans


class WholeRunCells:
    """The cells of such runs of one signature on behalf of one API; None where there is none to count in."""

    __slots__ = ("closed", "duration", "queue", "rows", "runtime_latency")

    def __init__(
        self,
        duration: HistogramCell,
        runtime_latency: HistogramCell | None,
        queue: HistogramCell,
        closed: NumberCell | None,
        rows: HistogramCell | None,
    ) -> None:
        self.duration = duration
        self.runtime_latency = runtime_latency
        self.queue = queue
        self.closed = closed
        self.rows = rows


def count_shared_run(
    cells: WholeRunCells,
    started: float,
    seconds: float,
    rows: int,
    came: list[float],
    limits: tuple[float, ...],
    size_limits: tuple[float, ...],
) -> None:
    """Counts a run that requests have shared.

    Args:
        cells: Of all of them.
        started: When it began, in seconds.
        seconds: What it took.
        rows: The rows of all.
        came: When each of them began to wait.
        limits: As in `count_lone_runs`.
        size_limits: The same.
    """
    requests = len(came)
    microseconds = 1e6 * seconds
    bucket = bisect_right(limits, microseconds)
    for cell in (cells.duration, cells.runtime_latency):
        if cell is not None:
            cell.counts[bucket] += requests
            cell.total += requests * microseconds
    observe_spans(came, started, (cells.queue,), limits)
    if cells.closed is not None:
        cells.closed.number += 1
    if cells.rows is not None:
        cells.rows.counts[bisect_right(size_limits, rows)] += 1
        cells.rows.total += rows


LoneRun = tuple[WholeRunCells, float, int]
"""A run: its cells, its microseconds, and its rows."""

GraphCells = tuple[NumberCell, NumberCell, HistogramCell]
"""How many runs there were of all graphs, what they took together, and how that is distributed."""


def count_lone_runs(
    runs: Sequence[LoneRun],
    graph: GraphCells,
    limits: tuple[float, ...],
    graph_limits: tuple[float, ...],
    size_limits: tuple[float, ...],
) -> None:
    """Counts runs.

    Args:
        runs: The runs, of any cells.
        graph: The cells of all runs.
        limits: The upper limits of the buckets of the cells' times, in microseconds.
        graph_limits: Those of `graph`.
        size_limits: Those of the cells' rows.
    """
    by_cells: dict[WholeRunCells, list[LoneRun]] = {}
    for run in runs:
        by_cells.setdefault(run[0], []).append(run)
    number, time, times = graph
    for cells, of_it in by_cells.items():
        _, microseconds, rows = zip(*of_it, strict=True)
        took = np.array((microseconds,))
        number.number += len(of_it)
        time.number += sum(microseconds)
        observe_many([(times,)], took, graph_limits)
        observe_many([(cells.duration, cells.runtime_latency)], took, limits)
        cells.queue.counts[0] += len(of_it)  # they waited for no time
        if cells.closed is not None:
            cells.closed.number += len(of_it)
            observe_many([(cells.rows,)], np.array((rows,)), size_limits)
