"""One processor that tasks beside the requests leave alone, and the threads of engines with them.

What wakes up on the processor of a busy thread may wait for milliseconds, however far behind that thread stands: until
the system looks at its next tick, or until the thread comes back from a long call into the system, such as one that
fills memory. Where one processor is left alone, what answers requests wakes up there. Unlike a priority, this can be
taken back without privileges: engines use all processors again when the tasks have ended.

Linux only; elsewhere, with one processor, and where the system refuses, nothing changes.

Source: sched_setaffinity(2).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_TASKS = Path("/proc/self/task")


class SparedProcessor:
    """Keeps tasks off a processor for as long as one of them goes on. `_lock` guards all of it, for 0.1 ms at a time.

    Attributes:
        is_wanted: Whether there is anything to leave a processor to.
    """

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        """Leaves all processors as they are.

        Args:
            is_wanted: See the attribute.
        """
        self.is_wanted = is_wanted
        self._lock = threading.Lock()
        self._tasks: set[int] = set()
        self._all: frozenset[int] = frozenset()
        self._rest: frozenset[int] = frozenset()

    def leave(self, task: int) -> None:
        """Has a task leave the processor alone, and with it all threads that are there and that Python has not started.

        Those that they start from now on do so as well. To be called again when others have started more.

        Args:
            task: The thread of the task, by the number that the system has for it.
        """
        if sys.platform != "linux":
            return
        with self._lock:
            if not self._tasks:
                # Of the main thread, which is never kept off.
                self._all = frozenset(os.sched_getaffinity(os.getpid()))
                self._rest = self._all - {min(self._all)}
            if not self._rest:
                return
            self._tasks.add(task)
            of_python = {thread.native_id for thread in threading.enumerate()}
            for each in {task} | (native_ids() - of_python):
                if _processors_of(each) == self._all:
                    _use(each, self._rest)

    def take_back(self, task: int) -> None:
        """Ends what `leave` has begun, when a task has ended; after the last one, all threads use all processors again.

        Threads that something else has bound to processors of their own stay there.

        Args:
            task: As above; one that has left nothing has nothing to take back.
        """
        with self._lock:
            if task not in self._tasks:
                return
            self._tasks.remove(task)
            if self._tasks:
                return
            for each in native_ids():
                if _processors_of(each) == self._rest:
                    _use(each, self._all)


def native_ids() -> frozenset[int]:
    """The threads of this process, by the numbers that the system has for them; none where it does not list them."""
    if sys.platform != "linux":
        return frozenset()
    try:
        return frozenset(int(entry.name) for entry in _TASKS.iterdir())
    except OSError:  # no /proc in a root of its own
        return frozenset()


def use_all() -> None:
    """Has the calling thread use all processors of the process, though a task may have started it that leaves one."""
    if sys.platform == "linux":
        _use(threading.get_native_id(), _processors_of(os.getpid()))


def _processors_of(native_id: int) -> frozenset[int]:
    try:
        return frozenset(os.sched_getaffinity(native_id))
    except OSError:
        return frozenset()  # it has ended just now


def _use(native_id: int, processors: frozenset[int]) -> None:
    try:
        os.sched_setaffinity(native_id, processors)
    except OSError as error:
        # It has ended, the processors have been taken away, or a sandbox forbids it: nothing depends on it.
        logger.debug("Thread %d stays on its processors: %s", native_id, error)
