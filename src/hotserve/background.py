"""Work beside the requests: on threads of its own, which give way to those that answer.

Threads: one for each task, and one that starts them, owned by `BackgroundThreads`. None is used again, because a thread
that has given way once cannot take that back without privileges, and what it starts from then on gives way as well: the
threads that an engine starts with a session should not. Each ends with its task, the starter after `shutdown`; tasks
that wait by then never start. `run_apart` has a thread for a part of a task, and waits for it. `give_way_behind` has
one look for the threads of an engine, for a second at most.

A task that gives way may also leave one processor to others: see `spared_processor.py`.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from hotserve.spared_processor import SparedProcessor, native_ids

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

NICENESS = 10
"""How far behind others a thread stands that has given way: where both want the same processor it has a tenth of it.

Source: sched(7); the weights are in kernel/sched/core.c of Linux, sched_prio_to_weight.
"""

_OF_PROCESS = os.getpriority(os.PRIO_PROCESS, 0)
"""How far behind others all of this process stands, as it was started."""

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.0005


class _BackgroundThread(threading.Thread):
    """A thread that may give way."""

    def __init__(self, work: Callable[[], None], name: str, spared: SparedProcessor | None, *, daemon: bool) -> None:
        """Makes one.

        Args:
            work: What it does.
            name: Its name.
            spared: What it leaves alone once it has given way.
            daemon: Whether the end of the process does not wait for it.
        """
        super().__init__(name=name, daemon=daemon)
        self.spared = spared
        self._work = work
        self._giving_way = threading.Lock()
        self._is_over = False

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            self._work()
        finally:
            with self._giving_way:
                self._is_over = True
            if self.spared is not None:
                self.spared.take_back(threading.get_native_id())

    def stand_behind(self, native_id: int) -> None:
        """Gives way, from whichever thread; `native_id` is this one's. Of no effect once its work is done."""
        with self._giving_way:
            if self._is_over:  # nobody would take back what it leaves
                return
            # What is more than the system has counts as the most.
            os.setpriority(os.PRIO_PROCESS, native_id, _OF_PROCESS + NICENESS)
            if self.spared is not None:
                self.spared.leave(native_id)


def give_way() -> None:
    """Puts the calling thread behind all others of this process that want a processor, until it ends.

    Does nothing on a thread that is not of `BackgroundThreads`, which may have other work to come, and where the system
    has no priorities of single threads (other than Linux).
    """
    thread = threading.current_thread()
    if sys.platform == "linux" and isinstance(thread, _BackgroundThread):
        thread.stand_behind(threading.get_native_id())


def give_way_behind(threads: int) -> None:
    """As `give_way`, once the calling thread has started some more threads, which are to be as urgent as it is now.

    For one long call into an engine that first starts its threads and then works. Threads that others start meanwhile
    count, too: at worst, the engine's last ones give way with the caller. If so many do not come within a second, the
    caller stays as it is.

    Args:
        threads: How many; none is the same as `give_way`.
    """
    thread = threading.current_thread()
    if threads <= 0 or sys.platform != "linux" or not isinstance(thread, _BackgroundThread):
        give_way()
        return
    native_id, before = threading.get_native_id(), native_ids()

    def look() -> None:
        own = threading.get_native_id()
        end = time.monotonic() + _LOOK_SECONDS
        while thread.is_alive() and time.monotonic() < end:
            if len(native_ids() - before - {own}) >= threads:
                with suppress(ProcessLookupError):  # it has ended just now
                    thread.stand_behind(native_id)
                return
            time.sleep(_PAUSE_SECONDS)

    try:
        threading.Thread(target=look, name=f"{thread.name}-behind", daemon=True).start()
    except RuntimeError as error:
        logger.debug("%s does not give way: %s", thread.name, error)


def run_apart(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Runs a part of a task on a thread of its own, which may give way, and waits for it.

    What the caller starts afterwards, such as the threads of an engine, is as urgent as the caller still is.

    Args:
        work: The part.
        arguments: For `work`.
        named: For `work`, too.

    Raises:
        RuntimeError: The system has no thread left.
        BaseException: What `work` raises.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - it is raised by `run_apart`
            future.set_exception(error)

    caller = threading.current_thread()
    spared = caller.spared if isinstance(caller, _BackgroundThread) else None
    _BackgroundThread(run, f"{caller.name}-apart", spared, daemon=True).start()
    return future.result()


class BackgroundThreads:
    """Runs tasks, no more than so many at once, in the order in which they come."""

    def __init__(self, threads: int, name: str, spared: SparedProcessor | None = None) -> None:
        """Starts no thread yet.

        Args:
            threads: How many tasks may run at the same time, at least 1.
            name: What the names of the threads begin with.
            spared: What the tasks leave alone that come when that is wanted, from when they give way.
        """
        self._spared = spared
        self._most = max(1, threads)
        self._name = name
        self._changed = threading.Condition()
        self._running = 0
        self._waiting: deque[tuple[Callable[[], None], SparedProcessor | None]] = deque()
        self._starter: threading.Thread | None = None
        self._closed = False

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Runs `work(*arguments)` on a thread; what it raises is logged.

        Raises:
            RuntimeError: `shutdown` has been called, or the system has no thread left.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name}: no more work is taken")
            if self._starter is None:
                starter = threading.Thread(target=self._start_all, name=f"{self._name}-starter", daemon=True)
                starter.start()
                self._starter = starter
            spared = self._spared if self._spared is not None and self._spared.is_wanted() else None
            self._waiting.append((lambda: work(*arguments), spared))
            self._changed.notify_all()

    def shutdown(self) -> None:
        """Takes no more work and drops what waits; returns at once, whatever runs."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _start_all(self) -> None:
        """Starts the threads: one that has given way would have the next ones begin where it stands."""
        for number in itertools.count():
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._waiting and self._running < self._most))
                if self._closed:
                    return
                work, spared = self._waiting.popleft()
                self._running += 1
            try:
                # No daemon, as the starter is: the end of the process has to know of what still runs.
                name = f"{self._name}_{number}"
                _BackgroundThread(partial(self._run, work), name, spared, daemon=False).start()
            except RuntimeError as error:
                logger.warning(
                    "%s: the system has no thread for a task, which holds the others up: %s", self._name, error
                )
                self._run(work)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:  # also SystemExit: whoever waits for the task is told by what it does, and by the log
            logger.exception("A task of %s has failed", self._name)
        with self._changed:
            self._running -= 1
            self._changed.notify_all()
