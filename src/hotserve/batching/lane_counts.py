"""Counts what the requests of lanes have waited for and run in."""

from __future__ import annotations

from collections.abc import Sequence

from hotserve.batching.batch_queue import Closed
from hotserve.batching.gathering import Party
from hotserve.batching.lane import Lane, Task
from hotserve.batching.shared_run import SharedRun
from hotserve.observability.metrics import Metrics


class LaneCounts:
    """Metrics, told in terms of lanes; of no effect without metrics."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics

    def came(self, lane: Lane, rows: int, inputs: int) -> None:
        """Counts a request with so many rows in each of so many inputs."""
        if self._metrics is not None and lane.rules.is_strict:
            self._metrics.batching.count_request(rows, inputs)

    def refused(self, lane: Lane) -> None:
        """Counts a request that was not let in."""
        if self._metrics is not None:
            self._metrics.batching.count_refused(lane.id.name, lane.version, lane.signature_name)

    def ran_at_once(self, lane: Lane, rows: int, seconds: float, api: str) -> None:
        """Counts a request that did not wait and ran alone."""
        metrics = self._metrics
        if metrics is None:
            return
        rules = lane.rules
        padding = rules.size_for(rows) - rows if rules.max_rows else 0
        if not padding and rows and not rules.is_strict:
            cells = lane.cells_of(api)
            if cells is None:
                cells = metrics.lone_run_cells(
                    lane.id.name, lane.version, lane.signature_name, api, lane.runtime, could_share=rules.max_rows > 0
                )
                lane.keep_cells(api, cells)
            metrics.count_lone_run(cells, 1e6 * seconds, rows)
            return
        self._run(metrics, lane, [api], [0.0], rows, padding, seconds)

    def ran_gathered(self, lane: Lane, party: Party, started: float, seconds: float) -> None:
        """Counts requests that have gathered and shared a run, which began at `started` and took so many seconds."""
        if self._metrics is None:
            return
        waits = [max(0.0, 1e6 * (started - guest.decoded)) for guest in party.guests]
        self._run(self._metrics, lane, [guest.clerk.api for guest in party.guests], waits, party.rows, 0, seconds)

    def _run(
        self,
        metrics: Metrics,
        lane: Lane,
        apis: Sequence[str],
        waits: Sequence[float],
        rows: int,
        padding: int,
        seconds: float,
    ) -> None:
        """Counts a run that went well: what the client of each request has called, and how long each has waited."""
        name, version, signature = lane.id.name, lane.version, lane.signature_name
        rules = lane.rules
        microseconds = 1e6 * seconds
        metrics.count_queues(name, version, signature, waits)
        for api in dict.fromkeys(apis):
            metrics.count_run(name, version, signature, api, lane.runtime, microseconds, requests=apis.count(api))
        metrics.count_graph_run(microseconds)
        if rules.max_rows:
            self._batch(metrics, lane, Closed.IDLE, rows, padding)
        if rules.is_strict:
            for waited in waits:
                metrics.batching.count_queuing(waited)

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
