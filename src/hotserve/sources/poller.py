"""Polls the base paths of all models.

Threads: one, owned by `Poller`, ended by `stop`. All file access happens on it, so that a storage that hangs delays
nothing but the next look. `_wake` ends its sleep; `_lock` guards the list of models that it is to take up next, and
`_first_look_done` with it. `set_models`, `problems`, `last_looks` and `wait_first_look` are for other threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from hotserve.core.source import AspiredTarget
from hotserve.sources.folder import MissingParts, ModelFolder, WatchedModel
from hotserve.sources.storage import Storage

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""The longest pause between two looks while a version is on its way in."""


class Poller:
    """Tells a target, again and again, which versions are aspired."""

    def __init__(
        self,
        models: Sequence[WatchedModel],
        target: AspiredTarget,
        storage: Storage,
        missing_parts: MissingParts,
        poll_wait_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Makes a poller; `start` begins.

        Args:
            models: What to look for.
            target: Whom to tell.
            storage: Where to look.
            missing_parts: Says what a version folder lacks to be a whole model; None for nothing.
            poll_wait_seconds: The pause between two looks. 0: list the versions once, and follow only those until
                they are complete. Negative: never look.
            clock: Seconds since the epoch.
        """
        self._storage = storage
        self._missing_parts = missing_parts
        self._clock = clock
        self._folders = tuple(self._folder_of(model) for model in models)
        self._target = target
        self._poll_wait_seconds = poll_wait_seconds
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._next_models: tuple[WatchedModel, ...] | None = None
        self._listed: set[str] = set()
        self._first_look_done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hotserve-poller", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first look is immediate."""
        if self._poll_wait_seconds < 0:
            logger.warning(
                "--file_system_poll_wait_seconds=%g: the file system is never polled, so no model will be found",
                self._poll_wait_seconds,
            )
            self._first_look_done.set()
            return
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; waits for a look under way."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def set_models(self, models: Sequence[WatchedModel]) -> None:
        """Looks for these models from now on, at once; returns before that, and may be called from any thread.

        A model left out is unloaded. One whose base path stays is not looked at anew; one whose new base path is
        missing keeps what it serves until that appears.
        """
        if self._poll_wait_seconds < 0:
            logger.warning("The file system is never polled, so the new list of models changes nothing that is loaded")
            return
        with self._lock:
            self._next_models = tuple(models)
            self._first_look_done.clear()
        self._wake.set()

    def wait_first_look(self, timeout_seconds: float) -> bool:
        """Waits until every model of the last list has been looked at once; returns whether that was so in time."""
        return self._first_look_done.wait(timeout_seconds)

    @property
    def problems(self) -> Mapping[str, str]:
        """Model name -> why its base path cannot be used just now."""
        return {folder.model.name: problem for folder in self._folders if (problem := folder.problem)}

    @property
    def last_looks(self) -> Mapping[str, float]:
        """Model name -> when its base path was last read, in seconds since the epoch; not of those that never were."""
        return {folder.model.name: folder.last_look for folder in self._folders if folder.last_look}

    def look(self) -> None:
        """One look at every model; a model whose storage fails holds back nothing but itself."""
        with self._lock:
            models, self._next_models = self._next_models, None
        if models is not None:
            self._take_up(models)
        for folder in self._folders:
            if self._stopping:
                return
            try:
                self._look_at(folder)
            except Exception:  # one model's fault must not end the polling of the others
                logger.exception("Looking for versions of %s failed; trying again", folder.model.name)
        with self._lock:
            if self._next_models is None:
                self._first_look_done.set()

    def _take_up(self, models: Sequence[WatchedModel]) -> None:
        before = {folder.model.name: folder for folder in self._folders}
        self._folders = tuple(self._kept_or_new(model, before.pop(model.name, None)) for model in models)
        for name in before:
            self._listed.discard(name)
            self._target.set_aspired(name, ())

    def _kept_or_new(self, model: WatchedModel, before: ModelFolder | None) -> ModelFolder:
        if before is None or before.model.base_path != model.base_path:
            self._listed.discard(model.name)
            return self._folder_of(model)
        if before.model.policy != model.policy:
            self._listed.discard(model.name)
            before.set_policy(model.policy)
        return before

    def _folder_of(self, model: WatchedModel) -> ModelFolder:
        return ModelFolder(model, self._storage, self._missing_parts, self._clock)

    def _look_at(self, folder: ModelFolder) -> None:
        name = folder.model.name
        once = self._poll_wait_seconds == 0
        if once and name in self._listed:
            if not folder.is_pending:
                return
        elif not folder.find():
            return
        self._target.set_aspired(name, folder.aspired())
        self._listed.add(name)

    def _pause_seconds(self) -> float | None:
        pending = any(folder.is_pending for folder in self._folders)
        if self._poll_wait_seconds == 0:
            return SETTLE_SECONDS if pending or len(self._listed) < len(self._folders) else None
        return min(self._poll_wait_seconds, SETTLE_SECONDS) if pending else self._poll_wait_seconds

    def _run(self) -> None:
        while True:
            self._wake.clear()
            # Looked at after it: whoever wakes this thread has said before what for.
            if self._stopping:
                return
            self.look()
            self._wake.wait(self._pause_seconds())
