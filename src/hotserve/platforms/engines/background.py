"""Examines versions that serve already, one after the other, and has them switch to what was found.

Threads: one, begun with the first version that is to be examined and owned here; `close` ends it, and the process of
the examination that is under way, and waits a moment for what they clear away. `_lock` guards what waits and which
process runs; it is held for microseconds.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hotserve.platforms.engines.examination import end_process
from hotserve.spared_processor import use_all

logger = logging.getLogger(__name__)

_END_SECONDS = 2.0
"""How long `close` waits for the thread, which may be making an engine ready just then."""


class Work(Protocol):
    """What is to be done for one version."""

    def __call__(self, starting: Callable[[subprocess.Popen[str]], None], given_up: Callable[[], bool]) -> None:
        """Does it; blocks.

        Args:
            starting: To be told the process that does the examining, which is then killed where it is given up.
            given_up: Whether it is of no use any more.
        """
        ...


class Ticket:
    """One version's place among those that wait."""

    def __init__(self, owner: BackgroundExaminations, work: Work) -> None:
        self._owner = owner
        self.work = work
        self.is_cancelled = False
        self.process: subprocess.Popen[str] | None = None

    def cancel(self) -> None:
        """Does not begin it, or ends it."""
        self._owner.cancel(self)


class BackgroundExaminations:
    """A queue of versions, and the thread that takes care of them."""

    def __init__(self) -> None:
        """Begins nothing yet."""
        self._lock = threading.Lock()
        self._come = threading.Condition(self._lock)
        self._waiting: deque[Ticket] = deque()
        self._running: Ticket | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a version is being examined, or waits for it."""
        return self._running is not None or bool(self._waiting)

    def submit(self, work: Work) -> Ticket:
        """Has it done when its turn comes; never after `close`."""
        ticket = Ticket(self, work)
        with self._come:
            if not self._is_closed:
                self._waiting.append(ticket)
                if self._thread is None:
                    # A daemon: the end of the process does not wait for it longer than `close` does.
                    self._thread = threading.Thread(target=self._run, name="hotserve-examine", daemon=True)
                    self._thread.start()
                self._come.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """See `Ticket.cancel`."""
        with self._lock:
            ticket.is_cancelled = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            process = ticket.process
        if process is not None:
            end_process(process)

    def close(self) -> None:
        """Ends the thread, and the process that it waits for; blocks until then, for a few seconds at most."""
        with self._come:
            self._is_closed = True
            self._waiting.clear()
            running = self._running
            self._come.notify()
        if running is not None:
            self.cancel(running)
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        use_all()  # a process would have no more for good, and time engines on these
        while True:
            with self._come:
                self._come.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                ticket = self._running = self._waiting.popleft()
            try:
                ticket.work(lambda process, ticket=ticket: self._started(ticket, process), self._given_up(ticket))  # type: ignore[misc]
            except Exception:  # what goes wrong with one version is no reason to leave the others
                logger.exception("An examination of engines failed")
            finally:
                with self._lock:
                    self._running = None
                    ticket.process = None

    def _given_up(self, ticket: Ticket) -> Callable[[], bool]:
        return lambda: ticket.is_cancelled or self._is_closed

    def _started(self, ticket: Ticket, process: subprocess.Popen[str]) -> None:
        with self._lock:
            ticket.process = process
            is_late = ticket.is_cancelled or self._is_closed
        if is_late:
            end_process(process)
