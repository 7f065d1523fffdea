"""TensorFlow's session of a version, which other engines stand in for: there only while it is needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hotserve.core.servable import Servable
from hotserve.errors import FailedPrecondition

logger = logging.getLogger(__name__)


class Reference:
    """A servable that is loaded when it is asked for, and let go when nobody uses it.

    `_changed` guards the rest; it is not held while anything loads, runs or unloads. `_loading` is held by the thread
    that loads.
    """

    def __init__(self, load: Callable[[], Servable], loaded: Servable | None = None) -> None:
        """Makes a reference.

        Args:
            load: Loads it; raises a `ServingError`.
            loaded: It, where it is loaded already.
        """
        self._load = load
        self._servable = loaded
        self._users = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether it is there just now."""
        return self._servable is not None

    @contextmanager
    def use(self) -> Iterator[Servable]:
        """The servable for the time of a block, loaded first if it is not there.

        Raises:
            ServingError: It cannot be loaded.
        """
        servable = self._begin()
        if servable is None:
            with self._loading:
                servable = self._begin()
                if servable is None:
                    loaded = self._load()
                    with self._changed:
                        if not self._is_closed:
                            self._servable = servable = loaded
                            self._users += 1
                    if servable is None:
                        loaded.unload()
                        raise FailedPrecondition("The version is unloaded.")
        try:
            yield servable
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def let_go(self, patience_seconds: float) -> bool:
        """Unloads it once nobody uses it; blocks until then.

        Args:
            patience_seconds: How long that may take; after that it stays.

        Returns:
            Whether it is gone.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._users == 0, patience_seconds):
                return False
            servable, self._servable = self._servable, None
        if servable is not None:
            servable.unload()
        return True

    def close(self) -> None:
        """Unloads it for ever. Nothing runs any more."""
        with self._changed:
            self._is_closed = True
            servable, self._servable = self._servable, None
        if servable is not None:
            servable.unload()

    def _begin(self) -> Servable | None:
        with self._changed:
            if self._servable is not None:
                self._users += 1
            return self._servable
