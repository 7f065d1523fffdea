"""What all workers have counted, also those that are no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from hotserve.errors import Unavailable
from hotserve.observability.merged_metrics import MergedMetrics, Snapshot, lasting
from hotserve.workers.messages import Forget, ReadMetrics
from hotserve.workers.roster import Roster, Worker

logger = logging.getLogger(__name__)

_METRICS_SECONDS = 2.0
"""How long the page with the metrics waits for a worker; then the last numbers known of it are shown."""


class GroupMetrics:
    """The sum over all workers."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._departed = MergedMetrics()

    async def read(self) -> Sequence[Snapshot]:
        """Asks all workers, and adds up; on the event loop."""
        roster = self._roster
        await asyncio.gather(*(self._read_from(worker) for worker in roster.workers() if worker.is_set_up))
        with roster.changed:
            merged = MergedMetrics()
            merged.add(self._departed.snapshots())
            for worker in roster.workers():
                merged.add(worker.metrics)
        return merged.snapshots()

    def keep_those_of(self, worker: Worker) -> None:
        """Takes over what is known of a worker that has ended; `Roster.changed` is held."""
        self._departed.add(lasting(worker.metrics))

    def forget(self, model: str, version: str, model_path: str) -> None:
        """Has all drop the metrics of a version, or of a model where `version` is empty; from any thread."""
        with self._roster.changed:
            if version:
                self._departed.forget({"model_name": model, "version": version})
            else:
                self._departed.forget({"model_name": model})
                self._departed.forget({"model": model})
            if model_path:
                self._departed.forget({"model_path": model_path})
            self._roster.tell_all(Forget(model, version, model_path))

    async def _read_from(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(_METRICS_SECONDS):
                worker.metrics = await worker.channel.ask(ReadMetrics())
        except (TimeoutError, Unavailable):
            logger.info("Worker %d did not tell its metrics in time; the last known are shown", worker.place.number)
