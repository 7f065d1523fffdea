"""Metrics of worker processes, where there are several, looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Callable

from hotserve.observability.instruments import Gauge, ReadCounter
from hotserve.observability.metrics import Metrics


class WorkerGauges:
    """Keeps them up to date."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        wanted: Callable[[], int],
        listening: Callable[[], int],
        restarts: Callable[[], int],
    ) -> None:
        """Adds its metrics to those of the server.

        Args:
            metrics: Those of the server.
            wanted: How many workers there should be.
            listening: How many of them clients can connect to.
            restarts: How many have been started in the place of one that ended.
        """
        self.wanted = Gauge("hotserve_workers", ())
        self.listening = Gauge("hotserve_workers_listening", ())
        self.restarts = ReadCounter("hotserve_worker_restarts_total", ())
        self._read = ((self.wanted, wanted), (self.listening, listening), (self.restarts, restarts))
        metrics.add_group((self.wanted, self.listening, self.restarts), self.refresh)

    def refresh(self) -> None:
        """Looks everything up."""
        for gauge, read in self._read:
            gauge.set(read())
