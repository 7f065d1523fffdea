"""What a worker has in place of the manager: it does what the supervisor says, and knows what the supervisor knows.

Threads: one for each load and each unload, owned here; `close` ends them. Commands come on the event loop. `_lock`
guards the versions; it is held for microseconds and never while a platform works.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hotserve.background import BackgroundThreads
from hotserve.config.model_config import ModelConfig
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.servable import Servable
from hotserve.core.served_versions import ServedVersions
from hotserve.core.states import State, VersionStatus
from hotserve.errors import Internal, ServingError
from hotserve.spared_processor import SparedProcessor
from hotserve.workers.channel import plain
from hotserve.workers.messages import LoadEnded, Opened, Unloaded

logger = logging.getLogger(__name__)

Report = LoadEnded | Opened | Unloaded


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that has been loaded and warmed up.

    Attributes:
        servable: What answers.
        warm_up_seconds: As in `LoadEnded`.
        run_seconds: As in `LoadEnded`.
    """

    servable: Servable
    warm_up_seconds: float | None = None
    run_seconds: float | None = None


class FollowingManager(ServedVersions):
    """Loads, shows and unloads versions as it is told; the states are those that the supervisor has published."""

    def __init__(
        self,
        load: Callable[[ModelConfig, Path], LoadedVersion],
        report: Callable[[Report], None],
        labels: Labels,
        load_threads: int,
        unload_threads: int,
    ) -> None:
        """Makes one without versions.

        Args:
            load: Loads a version of a model and warms it up, on a load thread; raises a `ServingError`.
            report: Tells the supervisor; from any thread.
            labels: The version labels that `lease` resolves.
            load_threads: How many versions may load at the same time.
            unload_threads: How many may unload at the same time.
        """
        super().__init__(labels=labels)
        self._load = load
        self._report = report
        self._lock = threading.Lock()
        self._handles: dict[ServableId, VersionHandle] = {}
        # What waits for its load or loads; and what of it is to be given back then.
        self._loading: set[ServableId] = set()
        self._unwanted: set[ServableId] = set()
        self._shown: set[ServableId] = set()
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._names: tuple[str, ...] = ()
        # At a start nothing is served yet, and all processors are there to load with.
        spared = SparedProcessor(self.serves_any)
        self._load_pool = BackgroundThreads(load_threads, "hotserve-load", spared)
        self._unload_pool = BackgroundThreads(unload_threads, "hotserve-unload", spared)

    # What the supervisor says, on the event loop.

    def load(self, id: ServableId, path: Path, model: ModelConfig) -> None:
        """Loads a version in the background; ends with the report `LoadEnded`."""
        with self._lock:
            self._loading.add(id)
        self._load_pool.submit(self._run_load, id, path, model)

    def open(self, id: ServableId) -> None:
        """Lets requests find a version that has been loaded; ends with the report `Opened`."""
        with self._lock:
            handle = self._handles[id]
            self._shown.add(id)
            # In this order: a label that resolves leads to a version that look-ups find.
            self._show(handle)
        self.labels.on_available(id)
        self._report(Opened(id))

    def unload(self, id: ServableId) -> None:
        """Hides a version and unloads it when its last request is answered; ends with the report `Unloaded`.

        A load that is under way cannot be interrupted: its version is given back when it has ended. Of one that has
        just failed there is nothing to give back, and the report of that is on its way.
        """
        with self._lock:
            handle = self._handles.get(id)
            if handle is None:
                if id in self._loading:
                    self._unwanted.add(id)
                return
            if id in self._shown:
                self._shown.remove(id)
                self._hide(id)
        handle.withdraw()

    def set_statuses(self, statuses: Iterable[VersionStatus]) -> None:
        """Takes over what the supervisor has published, and publishes it here."""
        for status in statuses:
            with self._lock:
                self._statuses.setdefault(status.id.name, {})[status.id.version] = status
            self.events.publish(status)

    def set_model_names(self, names: Iterable[str]) -> None:
        """Takes over the models that the source has ever spoken of."""
        self._names = tuple(names)

    def close(self) -> None:
        """Ends the threads once what runs on them has ended."""
        self._load_pool.shutdown()
        self._unload_pool.shutdown()

    # What handlers call.

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        """See `ServedVersions.status`."""
        with self._lock:
            known = self._statuses.get(name, {})
            return tuple(known[version] for version in sorted(known, reverse=True))

    def model_names(self) -> tuple[str, ...]:
        """See `ServedVersions.model_names`."""
        with self._lock:
            return tuple(sorted({*self._names, *self._statuses}))

    def is_available(self, name: str) -> bool:
        """See `ServedVersions.is_available`."""
        return any(status.state is State.AVAILABLE for status in self.status(name))

    # Carrying out.

    def _run_load(self, id: ServableId, path: Path, model: ModelConfig) -> None:
        with self._lock:
            if id in self._unwanted:
                self._unwanted.remove(id)
                self._loading.discard(id)
                self._report(Unloaded(id))
                return
        try:
            loaded = self._load(model, path)
        except ServingError as error:
            self._end_load(LoadEnded(id, plain(error)))
        except BaseException as error:  # also SystemExit: on this thread it would end nothing, and be lost
            logger.exception("Loading servable: %s failed", id)
            self._end_load(LoadEnded(id, Internal(f"The loader failed: {type(error).__name__}: {error}")))
        else:
            handle = VersionHandle(id, loaded.servable, self._on_drained)
            self._end_load(LoadEnded(id, None, loaded.warm_up_seconds, loaded.run_seconds), handle)

    def _end_load(self, end: LoadEnded, handle: VersionHandle | None = None) -> None:
        with self._lock:
            unwanted = end.id in self._unwanted
            self._unwanted.discard(end.id)
            self._loading.discard(end.id)
            if handle is not None:
                self._handles[end.id] = handle
        if not unwanted:
            self._report(end)
        elif handle is not None:
            handle.withdraw()
        else:
            self._report(Unloaded(end.id))

    def _on_drained(self, id: ServableId) -> None:
        with self._lock:
            servable = self._handles.pop(id).servable
        try:
            self._unload_pool.submit(self._run_unload, id, servable)
        except RuntimeError:
            logger.info("%s is left behind: the worker ends", id)

    def _run_unload(self, id: ServableId, servable: Servable) -> None:
        try:
            servable.unload()
        except BaseException as error:  # as in `_run_load`
            logger.exception("Unloading servable %s failed", id)
            self._report(Unloaded(id, Internal(f"Unloading failed: {type(error).__name__}: {error}")))
        else:
            self._report(Unloaded(id))
