"""Metrics of the configured models, looked up when somebody asks: which answer, and whose storage does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hotserve.core.served_versions import ServedVersions
from hotserve.core.states import State
from hotserve.observability.instruments import Gauge
from hotserve.observability.metrics import Metrics


class ModelGauges:
    """Keeps them up to date; a model that is no longer configured is left out."""

    def __init__(
        self,
        metrics: Metrics,
        manager: ServedVersions,
        *,
        is_ready: Callable[[], bool],
        names: Callable[[], Sequence[str]],
        problems: Callable[[], Mapping[str, str]],
        last_looks: Callable[[], Mapping[str, float]],
    ) -> None:
        """Adds its metrics to those of the server.

        Args:
            metrics: Those of the server.
            manager: Knows the versions.
            is_ready: Whether the server is ready for requests.
            names: The configured models.
            problems: Model name -> why its storage cannot be used just now.
            last_looks: Model name -> when its storage was last read, in seconds since the epoch.
        """
        self.ready = Gauge("hotserve_ready", ())
        self.available = Gauge("hotserve_versions_available", ("model_name",))
        self.source_problem = Gauge("hotserve_source_problem", ("model_name",))
        self.last_look = Gauge("hotserve_source_last_look_timestamp_seconds", ("model_name",))
        self._manager = manager
        self._is_ready = is_ready
        self._names = names
        self._problems = problems
        self._last_looks = last_looks
        metrics.add_group((self.ready, self.available, self.source_problem, self.last_look), self.refresh)

    def refresh(self) -> None:
        """Looks everything up."""
        names, problems, last_looks = self._names(), self._problems(), self._last_looks()
        self.ready.set(self._is_ready())
        self.available.replace({(name,): self._available(name) for name in names})
        self.source_problem.replace({(name,): name in problems for name in names})
        self.last_look.replace({(name,): round(last_looks[name], 3) for name in names if name in last_looks})

    def _available(self, name: str) -> int:
        return sum(status.state is State.AVAILABLE for status in self._manager.status(name))
