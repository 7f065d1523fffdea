"""Metrics of the life of versions: their states, loads and unloads, and what these do to the memory.

Versions come and go for years, and each has label values of its own. Of those that have ended the last few of each
model keep their cells, so that the last values are scraped and a failure is seen, and a bounded number of all models
together. The cells of older ones are dropped, and all cells of a model with the last of its versions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable
from hotserve.core.states import State, VersionStatus
from hotserve.errors import Code, ServingError
from hotserve.observability.instruments import Counter, Gauge, Histogram
from hotserve.observability.metrics import LATENCY_LIMITS_US, Metrics
from hotserve.observability.process_metrics import resident_bytes

KEPT_VERSIONS = 5
"""How many versions of a model that have ended keep their cells."""

KEPT_VERSIONS_OF_ALL_MODELS = 1000
"""How many of all models together do: lists of models change over the years, too."""

MLMD_FILE = Path("assets.extra", "mlmd_uuid")
"""Where a version names its entry in ML Metadata. Source: tensorflow_serving/servables/tensorflow/util.cc."""

RESTORE_STAGE = "restore_graph"
"""The original's name of the stage in which graph and variables are read. Engines initialise in the same call, so that
its other one, `init_graph`, cannot be told apart."""


class LifeMetrics:
    """Counts loads and unloads, from the threads that do them, and follows the states.

    `_lock` guards what is known of versions.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        memory: Callable[[], int] = resident_bytes,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Adds its metrics to those of the server.

        Args:
            metrics: Those of the server.
            memory: The resident memory of the process, in bytes.
            clock: Seconds, to measure by.
            wall_clock: Seconds since the epoch.
        """
        version = ("model_name", "version")
        self.load_attempt_count = Counter("/tensorflow/cc/saved_model/load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter("/tensorflow/cc/saved_model/load_latency", ("model_path",))
        self.load_latency_by_stage = Histogram(
            "/tensorflow/cc/saved_model/load_latency_by_stage", ("model_path", "stage"), LATENCY_LIMITS_US
        )
        self.mlmd_map = Gauge("/tensorflow/serving/mlmd_map", version)
        self.loads = Counter("hotserve_loads_total", ("model_name", "status"))
        self.load_duration = Histogram(
            "hotserve_load_duration_microseconds", ("model_name", "stage"), LATENCY_LIMITS_US
        )
        self.unloads = Counter("hotserve_unloads_total", ("model_name", "status"))
        self.unload_duration = Histogram("hotserve_unload_duration_microseconds", ("model_name",), LATENCY_LIMITS_US)
        self.load_memory = Gauge("hotserve_load_resident_bytes", version)
        self.unload_memory = Gauge("hotserve_unload_resident_bytes", version)
        self.loaded_at = Gauge("hotserve_version_loaded_timestamp_seconds", version)
        self.state = Gauge("hotserve_version_state", version)
        self.error = Gauge("hotserve_version_error", (*version, "code"))
        metrics.add_group(
            (
                self.load_attempt_count,
                self.load_latency,
                self.load_latency_by_stage,
                self.mlmd_map,
                self.loads,
                self.load_duration,
                self.unloads,
                self.unload_duration,
                self.load_memory,
                self.unload_memory,
                self.loaded_at,
                self.state,
                self.error,
            )
        )
        self._metrics = metrics
        self._memory = memory
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._paths: dict[ServableId, Path] = {}
        self._live: set[ServableId] = set()
        self._ended: dict[ServableId, None] = {}  # in the order in which they ended
        self._warm_up_seconds: dict[Path, float] = {}

    # What the manager and its loaders call.

    @contextmanager
    def loading(self, id: ServableId, path: Path) -> Iterator[None]:
        """See `WorkObserver.loading`."""
        with self._lock:
            self._paths[id] = path
        before, start = self._memory(), self._clock()
        code = Code.INTERNAL
        try:
            yield
            code = Code.OK
        except ServingError as error:
            code = error.code
            raise
        finally:
            self._count_load(id, path, code, self._clock() - start, self._memory() - before)

    def _count_load(self, id: ServableId, path: Path, code: Code, seconds: float, grown_bytes: int) -> None:
        warm_up_seconds = self._warm_up_seconds.pop(path, None)
        load_microseconds = 1e6 * (seconds - (warm_up_seconds or 0.0))
        folder, ok = str(path), code is Code.OK
        self.load_attempt_count.add(folder, "success" if ok else "fail")
        self.load_latency.add(folder, amount=round(load_microseconds))
        self.loads.add(id.name, code.name)
        if not ok:
            return
        self.load_latency_by_stage.observe(load_microseconds, folder, RESTORE_STAGE)
        self.load_duration.observe(load_microseconds, id.name, "load")
        if warm_up_seconds is not None:
            self.load_duration.observe(1e6 * warm_up_seconds, id.name, "warmup")
        version = str(id.version)
        self.load_memory.set(grown_bytes, id.name, version)
        self.loaded_at.set(round(self._wall_clock(), 3), id.name, version)
        if (path / MLMD_FILE).exists():
            self.mlmd_map.set(0, id.name, version)  # the original's page shows no text either

    def timed(self, warm_up: Callable[[Servable, Path], None]) -> Callable[[Servable, Path], None]:
        """The same warm-up; what it takes is told apart from the rest of the load."""

        def run(servable: Servable, path: Path) -> None:
            start = self._clock()
            try:
                warm_up(servable, path)
            finally:
                self._warm_up_seconds[path] = self._clock() - start

        return run

    def note_warm_up(self, path: Path, seconds: float) -> None:
        """Tells apart what a warm-up has taken that went on elsewhere, while the version in `path` was loading."""
        self._warm_up_seconds[path] = seconds

    @contextmanager
    def unloading(self, id: ServableId) -> Iterator[None]:
        """See `WorkObserver.unloading`."""
        before, start = self._memory(), self._clock()
        code = Code.INTERNAL
        try:
            yield
            code = Code.OK
        finally:
            self.unloads.add(id.name, code.name)
            self.unload_duration.observe(1e6 * (self._clock() - start), id.name)
            self.unload_memory.set(before - self._memory(), id.name, str(id.version))

    def on_status(self, status: VersionStatus) -> None:
        """Takes a new status into account; a listener of the event bus."""
        id, version = status.id, str(status.id.version)
        self.state.set(status.state, id.name, version)
        self.error.drop({"model_name": id.name, "version": version})
        if status.error is not None:
            self.error.set(1, id.name, version, status.error.code.name)
        with self._lock:
            if status.state is not State.END:
                self._ended.pop(id, None)
                self._live.add(id)
                return
            self._live.discard(id)
            self._ended.pop(id, None)
            self._ended[id] = None
            of_model = [ended for ended in self._ended if ended.name == id.name]
            over = of_model[:-KEPT_VERSIONS] or list(self._ended)[:-KEPT_VERSIONS_OF_ALL_MODELS]
            for old in over:
                self._forget(old)

    def _forget(self, id: ServableId) -> None:
        del self._ended[id]
        path = self._paths.pop(id, None)
        self._metrics.forget_version(id.name, str(id.version), "" if path is None else str(path))
        if not any(other.name == id.name for other in (*self._live, *self._ended)):
            self._metrics.forget_model(id.name)
