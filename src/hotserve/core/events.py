"""Who listens to the life of versions: logs, metrics, health."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
