"""Counts what the requests of lanes have waited for and run in."""

from __future__ import annotations

from collections.abc import Sequence

from hotserve.batching.batch_queue import Closed
from hotserve.batching.gathering import PREDICT, Party
from hotserve.batching.guests import times_of
from hotserve.batching.lane import Lane, Task
from hotserve.batching.shared_run import SharedRun
from hotserve.observability.metrics import Metrics
from hotserve.observability.whole_runs import WholeRunCells


class LaneCounts:
    """Metrics, told in terms of lanes; of no effect without metrics."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics

    def came(self, lane: Lane, rows: int, inputs: int) -> None:
        """Counts a request with so many rows in each of so many inputs."""
        if self._metrics is not None and lane.rules.is_strict:
            self._metrics.batching.count_request(rows, inputs)

    def refused(self, lane: Lane, requests: int = 1) -> None:
        """Counts requests that were not let in."""
        cell = lane.refusals
        if cell is None:
            if self._metrics is None:
                return
            cells = self._metrics.batching.refused
            cell = lane.refusals = cells.cell(lane.id.name, lane.version, lane.signature_name)
        cell.number += requests

    def ran_at_once(self, lane: Lane, rows: int, seconds: float, api: str) -> None:
        """Counts a request that did not wait and ran alone."""
        metrics = self._metrics
        if metrics is None:
            return
        rules = lane.rules
        padding = rules.size_for(rows) - rows if rules.max_rows else 0
        microseconds = 1e6 * seconds
        if not padding and rows and not rules.is_strict:
            metrics.count_lone_run(_cells_of(metrics, lane, api), microseconds, rows)
            return
        name, version, signature = lane.id.name, lane.version, lane.signature_name
        metrics.count_run(name, version, signature, api, lane.runtime, microseconds)
        metrics.count_queue(name, version, signature, 0.0)
        metrics.count_graph_run(microseconds)
        if rules.max_rows:
            self._batch(metrics, lane, Closed.IDLE, rows, padding)
            if rules.is_strict:
                metrics.batching.count_queuing(0.0)

    def ran_gathered(self, lane: Lane, party: Party, started: float, seconds: float) -> None:
        """Counts requests that have gathered and shared a run, which began at `started` and took so many seconds."""
        if self._metrics is not None:
            cells = _cells_of(self._metrics, lane, PREDICT)
            _, came, _ = times_of(party.guests)
            self._metrics.count_shared_run(cells, started, seconds, party.rows, came)

    def ran(self, lane: Lane, tasks: Sequence[Task], reason: Closed, shared: SharedRun) -> None:
        """Counts a batch."""
        metrics = self._metrics
        if metrics is None or not shared.runs:
            return
        name, version, signature = lane.id.name, lane.version, lane.signature_name
        first = shared.runs[0]
        started = first.started
        waits = [1e6 * (started - task.queued) if task.queued < started else 0.0 for task in tasks]
        metrics.count_queues(name, version, signature, waits)
        if lane.rules.is_strict:
            for waited in waits:
                metrics.batching.count_queuing(waited)
        apis: dict[str, int] = {}
        for task, answer in zip(tasks, shared.answers, strict=True):
            if not isinstance(answer, BaseException):
                apis[task.api] = apis.get(task.api, 0) + 1
        # Of requests that were run again in smaller batches it is not kept which run was whose.
        microseconds = 1e6 * sum(run.seconds for run in shared.runs) / len(shared.runs)
        for api, requests in apis.items():
            metrics.count_run(name, version, signature, api, lane.runtime, microseconds, requests=requests)
        for run in shared.runs:
            metrics.count_graph_run(1e6 * run.seconds)
            if lane.rules.max_rows:
                self._batch(metrics, lane, reason, run.rows, run.padding)

    def _batch(self, metrics: Metrics, lane: Lane, reason: Closed, rows: int, padding: int) -> None:
        if rows == 0:
            return  # The original never answers such a request.
        metrics.batching.count_batch(
            lane.id.name,
            lane.version,
            lane.signature_name,
            reason._value_,  # `value` is looked up by a function of Python's, at each use
            rows,
            padding,
            is_session=lane.rules.is_strict,
        )


def _cells_of(metrics: Metrics, lane: Lane, api: str) -> WholeRunCells:
    cells = lane.cells_of(api)
    if cells is None:
        name, version, signature = lane.id.name, lane.version, lane.signature_name
        cells = metrics.whole_run_cells(
            name, version, signature, api, lane.runtime, could_share=lane.rules.max_rows > 0
        )
        lane.keep_cells(api, cells)
    return cells
