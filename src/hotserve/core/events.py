"""Who listens to the life of versions, and who watches the work on them: logs, metrics, health."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from hotserve.core.ids import ServableId
from hotserve.core.states import VersionStatus

logger = logging.getLogger(__name__)

Listener = Callable[[VersionStatus], None]


class EventBus:
    """Hands every new status to every listener, in order.

    Listeners are called in the thread that caused the event, under the manager's lock: they must be quick, must not
    block, and must not call the manager. One that raises is logged; it stops neither the others nor the life cycle.
    """

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener; the function returned removes it again."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def publish(self, status: VersionStatus) -> None:
        """Tells every listener."""
        for listener in self._listeners:
            try:
                listener(status)
            except Exception:  # a listener's fault must not leave a version half-way between two states
                logger.exception("A listener failed on %s %s", status.id, status.state.name)


class WorkObserver(Protocol):
    """Watches loads and unloads, on the threads that do them: the work is done within what its methods return.

    It sees the errors of the work, and must neither hide them nor raise any of its own.
    """

    def loading(self, id: ServableId, path: Path) -> AbstractContextManager[None]:
        """Watches one attempt to load a version, warm-up included."""
        ...

    def unloading(self, id: ServableId) -> AbstractContextManager[None]:
        """Watches a version give back what it holds."""
        ...


class Unobserved:
    """A `WorkObserver` that does not look."""

    def loading(self, id: ServableId, path: Path) -> AbstractContextManager[None]:
        """See `WorkObserver.loading`."""
        return nullcontext()

    def unloading(self, id: ServableId) -> AbstractContextManager[None]:
        """See `WorkObserver.unloading`."""
        return nullcontext()
