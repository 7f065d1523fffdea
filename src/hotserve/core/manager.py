"""The manager: carries out what the reconciler decides, and lets requests find what has been loaded.

Threads: one for each load and each unload, no more of either than are allowed, and a timer for each version that is to
be loaded once more, all owned here; `close` ends them. Events come from them, from the source's thread, and from
whichever thread releases the last lease of a withdrawn version. `_lock` guards the reconciler and the queue of events;
it is held for microseconds and never while a platform works. Look-ups take no lock: see `ServedVersions`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from hotserve.background import BackgroundThreads
from hotserve.core.events import EventBus, Unobserved, WorkObserver
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.loader import Loader
from hotserve.core.reconciler import (
    Action,
    Announce,
    Aspired,
    Drained,
    Event,
    Loaded,
    LoadFailed,
    Publish,
    Reconciler,
    RetryDue,
    ScheduleRetry,
    StartLoad,
    StartUnload,
    Unloaded,
    Withdraw,
)
from hotserve.core.servable import Servable
from hotserve.core.served_versions import ServedVersions
from hotserve.core.source import AspiredVersion
from hotserve.core.states import State, VersionStatus
from hotserve.core.transition_policy import TransitionPolicy, preserve_availability
from hotserve.errors import Code, Internal, ServingError
from hotserve.spared_processor import SparedProcessor

logger = logging.getLogger(__name__)


class Manager(ServedVersions):
    """Owns the life of every version, and hands out leases."""

    def __init__(
        self,
        loader_for: Callable[[ServableId], Loader],
        events: EventBus | None = None,
        labels: Labels | None = None,
        load_threads: int = 2,
        unload_threads: int = 1,
        max_load_retries: int = 0,
        load_retry_seconds: float = 60.0,
        policy: TransitionPolicy = preserve_availability,
        observer: WorkObserver | None = None,
    ) -> None:
        """Makes a manager without models.

        Args:
            loader_for: Version -> the loader for it.
            events: Hears every change of state.
            labels: The version labels that `lease` resolves.
            load_threads: How many models may load at the same time.
            unload_threads: How many versions may unload at the same time.
            max_load_retries: How often a load that has failed is tried again with the same files.
            load_retry_seconds: The pause before each of these.
            policy: When the versions of a model change over.
            observer: Watches loads and unloads.
        """
        super().__init__(events, labels)
        self._observer = observer or Unobserved()
        self._loader_for = loader_for
        self._load_retry_seconds = load_retry_seconds
        self._timers: dict[ServableId, threading.Timer] = {}
        self._reconciler = Reconciler(max_load_retries, policy)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue: deque[Event] = deque()
        self._feeding = False
        self._closing = False
        self._handles: dict[ServableId, VersionHandle] = {}
        # At a start nothing is served yet, and all processors are there to load with.
        spared = SparedProcessor(self.serves_any)
        self._load_pool = BackgroundThreads(load_threads, "hotserve-load", spared)
        self._unload_pool = BackgroundThreads(unload_threads, "hotserve-unload", spared)

    # What sources call.

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        """See `AspiredTarget.set_aspired`; does nothing once `close` has begun."""
        with self._lock:
            if not self._closing:
                self._feed(Aspired(name, tuple(versions)))

    # What handlers call.

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        """The status of every version of a model ever seen, highest number first; empty for an unknown model."""
        with self._lock:
            return self._reconciler.status(name)

    def model_names(self) -> tuple[str, ...]:
        """The models that a source has ever spoken of, sorted."""
        with self._lock:
            return self._reconciler.names()

    def is_available(self, name: str) -> bool:
        """Whether some version of the model is AVAILABLE; no longer so from the moment its UNLOADING is announced."""
        with self._lock:
            return any(status.state is State.AVAILABLE for status in self._reconciler.status(name))

    def wait_settled(self, names: Sequence[str], timeout_seconds: float, *, patient: bool = False) -> bool:
        """Waits until no version of these models is loading or unloading, nor about to.

        Args:
            names: The models. One that no source has spoken of counts as settled.
            timeout_seconds: How long to wait at most.
            patient: Whether to wait for versions that are not complete yet, too, where a model has no other.

        Returns:
            Whether they settled in time.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: all(self._reconciler.is_settled(name, patient=patient) for name in names), timeout_seconds
            )

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Unloads everything and ends the threads; waits for loads under way, which cannot be interrupted.

        Args:
            timeout_seconds: How long to wait for loads and leases. What is still busy then unloads when it is not any
                more, on threads that stay for that.
        """
        with self._lock:
            self._closing = True
            names = self._reconciler.names()
            for name in names:
                self._feed(Aspired(name, ()))
            for timer in self._timers.values():
                timer.cancel()
        if not self.wait_settled(names, timeout_seconds):
            logger.warning("Some models were still busy %g s after the stop; leaving them.", timeout_seconds)
            return
        self._load_pool.shutdown()
        self._unload_pool.shutdown()

    # Carrying out.

    def _feed(self, event: Event) -> None:
        with self._lock:
            self._queue.append(event)
            if self._feeding:
                return  # An action of the event in hand has caused this one; its turn comes below, in order.
            self._feeding = True
            try:
                while self._queue:
                    for action in self._reconciler.handle(self._queue.popleft()):
                        self._carry_out(action)
            finally:
                self._feeding = False
                self._changed.notify_all()

    def _carry_out(self, action: Action) -> None:
        match action:
            case StartLoad(id, path):
                self._load_pool.submit(self._load, id, path)
            case ScheduleRetry(id, attempt):
                self._schedule_retry(id, attempt)
            case Publish(id):
                # In this order: a label that resolves leads to a version that look-ups find.
                self._show(self._handles[id])
                self.labels.on_available(id)
            case Withdraw(id):
                self._hide(id)
                self._handles[id].withdraw()
            case StartUnload(id):
                self._unload_pool.submit(self._unload, id, self._handles.pop(id).servable)
            case Announce(status):
                self.events.publish(status)

    def _schedule_retry(self, id: ServableId, attempt: int) -> None:
        logger.info("Servable version %s is loaded again in %g s", id, self._load_retry_seconds)
        if id in self._timers:
            self._timers[id].cancel()  # That of an earlier life, which ended before its time was over.
        timer = threading.Timer(self._load_retry_seconds, self._feed, [RetryDue(id, attempt)])
        timer.name = "hotserve-load-retry"
        timer.daemon = True
        self._timers[id] = timer
        timer.start()

    def _load(self, id: ServableId, path: Path) -> None:
        with self._lock:
            if not self._reconciler.is_aspired(id):
                # As in core/loader_harness.cc. A stop need not wait for loads that have not begun.
                reason = "the version was no longer aspired when its turn came"
                self._feed(LoadFailed(id, ServingError(f"Loading of servable cancelled: {reason}", Code.CANCELLED)))
                return
        logger.info("Loading servable version %s from %s", id, path)
        start = time.perf_counter()
        try:
            with self._observer.loading(id, path):
                servable = self._loader_for(id).load(path)
        except ServingError as error:
            logger.error("Loading servable: %s failed: %s", id, error)
            self._feed(LoadFailed(id, error))
        except BaseException as error:  # also SystemExit: on this thread it would end nothing, and be lost
            logger.exception("Loading servable: %s failed", id)
            self._feed(LoadFailed(id, Internal(f"The loader failed: {type(error).__name__}: {error}")))
        else:
            with self._lock:
                self._handles[id] = VersionHandle(id, servable, lambda drained: self._feed(Drained(drained)))
                self._feed(Loaded(id))
            logger.info("Successfully loaded servable version %s in %.0f ms", id, 1e3 * (time.perf_counter() - start))

    def _unload(self, id: ServableId, servable: Servable) -> None:
        try:
            with self._observer.unloading(id):
                servable.unload()
        except BaseException as error:  # as in `_load`
            logger.exception("Unloading servable %s failed", id)
            self._feed(Unloaded(id, Internal(f"Unloading failed: {type(error).__name__}: {error}")))
        else:
            logger.info("Done unloading servable version %s", id)
            self._feed(Unloaded(id))
