"""Which workers there are, and what is known of each: the one place that all parts of the group read and write.

Threads: none. `Roster.changed` guards all that is known here; it is held for microseconds, by the event loop and by the
manager's threads, and whoever waits for a change waits on it.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from hotserve.core.ids import ServableId
from hotserve.errors import ServingError, Unavailable
from hotserve.observability.merged_metrics import Snapshot
from hotserve.workers.channel import Channel

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Worker:
    """One process.

    Attributes:
        place: Where it stands in the group.
        channel: The connection to it.
        ended: Set when the connection is no more.
        process: It; None until it has been started.
        is_set_up: Whether it can be told things.
        told: The versions that it has been told to load, and not reported as gone.
        loaded: Those of them that it has loaded.
        opened: Those of them that requests find.
        failed_loads: Version -> how often this process could not load it though others answer with it.
        asked_to_listen: Whether it has been told to let clients connect.
        listens: Whether it does.
        is_replaced: Whether it ends because it was asked to.
        metrics: The last numbers known of it.
    """

    place: Place
    channel: Channel
    ended: asyncio.Event
    process: subprocess.Popen[bytes] | None = None
    is_set_up: bool = False
    told: set[ServableId] = field(default_factory=set)
    loaded: set[ServableId] = field(default_factory=set)
    opened: set[ServableId] = field(default_factory=set)
    failed_loads: dict[ServableId, int] = field(default_factory=dict)
    asked_to_listen: bool = False
    listens: bool = False
    is_replaced: bool = False
    metrics: tuple[Snapshot, ...] = ()


@dataclass(slots=True, eq=False)
class Place:
    """The place of a worker in the group, which its processes take one after the other.

    Attributes:
        number: From 0.
        worker: The process; None between two of them.
        quick_ends: How many processes in a row have ended quickly.
        failed_starts: How many in a row have ended before they were set up.
        restarts: How many have been started in the place of one that ended.
    """

    number: int
    worker: Worker | None = None
    quick_ends: int = 0
    failed_starts: int = 0
    restarts: int = 0

    @property
    def is_counted_on(self) -> bool:
        """Whether new versions wait for it: not where its processes end again and again and clients reach none."""
        return self.quick_ends < 2 or (self.worker is not None and self.worker.asked_to_listen)

    @property
    def listens(self) -> bool:
        """Whether clients can connect to it."""
        return self.worker is not None and self.worker.listens


class Roster:
    """The workers.

    Attributes:
        changed: Held to read or write what follows; notified when it has changed.
        places: Of the workers, by their numbers.
        is_ending: Whether all of them are to end.
        failure: Why the group cannot go on; None while it can.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.places: list[Place] = []
        self.is_ending = False
        self.failure: ServingError | None = None
        self._failed = asyncio.Event()

    def workers(self) -> list[Worker]:
        """Those that there are just now."""
        return [place.worker for place in self.places if place.worker is not None]

    def counted_on(self) -> list[Worker | None]:
        """Those that new versions wait for; None for each that is to be started again."""
        return [place.worker for place in self.places if place.is_counted_on]

    def wait(self, timeout_seconds: float, holds: Callable[[Worker], bool]) -> bool:
        """Waits until something holds for every worker that is counted on, or the group has failed; blocks.

        Returns:
            Whether that was in time.
        """

        def all_hold() -> bool:
            counted_on = self.counted_on()
            return self.failure is not None or (
                bool(counted_on) and all(worker is not None and holds(worker) for worker in counted_on)
            )

        with self.changed:
            return self.changed.wait_for(all_hold, timeout_seconds)

    def fail(self, error: ServingError) -> None:
        """Says why the group cannot go on; the first reason counts. On the event loop."""
        with self.changed:
            if self.failure is None:
                self.failure = error
            self.changed.notify_all()
        self._failed.set()

    async def wait_failed(self) -> None:
        """Waits until the group cannot go on.

        Raises:
            ServingError: Why.
        """
        await self._failed.wait()
        assert self.failure is not None
        raise self.failure

    # Speaking to them.

    def tell_all(self, message: object) -> None:
        """Tells all that can be told things; `changed` is held, so that none is set up meanwhile."""
        for worker in self.workers():
            if worker.is_set_up:
                worker.channel.tell(message)

    async def ask_all(self, question: object, timeout_seconds: float) -> None:
        """Asks all that can be asked, and waits until they have answered or have ended, or the time is over."""
        asked = (self.ask(worker, question, timeout_seconds) for worker in self.workers() if worker.is_set_up)
        await asyncio.gather(*asked)

    async def ask(self, worker: Worker, question: object, timeout_seconds: float) -> None:
        """The same of one."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await worker.channel.ask(question)
        except TimeoutError:
            logger.warning("Worker %d does not answer: %s", worker.place.number, type(question).__name__)
        except Unavailable:
            pass  # It has ended: there is nothing that it could do.
