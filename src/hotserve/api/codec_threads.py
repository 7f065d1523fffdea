"""Where large messages are read and written: beside the event loop, so that small requests are answered meanwhile.

A hand-over to a thread and back costs 70 to 300 us, so that messages which take less than a few of those to read stay
on the loop: `LARGE_BYTES` and `LARGE_TEXT_BYTES` are where it is worth it.

A thread helps only as far as the work on it lets go of the GIL. The codecs see to that: no call into C that holds it
takes more than some milliseconds, whatever the size of the message.

Threads: two pools, owned by `CodecThreads`, ended by `close`. So many messages are read or written at once; others wait
in its queue, where each is a request that a wire has let in, and leave it if their request is cancelled. Work that has
begun goes on without its request; a lease that it was given is shared, and released at its end. The threads of the
second pool wait for processes that read what takes long to read: no other message waits for one of these.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from hotserve.codecs.json_apart import ApartProcesses, ReadApart
from hotserve.core.handle import Lease
from hotserve.errors import Unavailable
from hotserve.tensors import Array

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES: Final = 1 << 20
"""From here on binary messages are read and written on a thread: copying a MiB takes up to a millisecond."""

LARGE_TEXT_BYTES: Final = 1 << 17
"""From here on JSON is read and written on a thread."""

LARGE_PACKED_BYTES: Final = 1 << 12
"""From here on packed messages are unpacked on a thread: a KiB may become a MiB."""

_THREADS: Final = 2
"""One large message does not hold up a second one; more would only wait for each other's processors and memory."""


class CodecThreads:
    """Runs what takes long about messages."""

    def __init__(self, threads: int = _THREADS) -> None:
        """Starts no thread yet.

        Args:
            threads: How many messages are read or written at once.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hotserve-codec")
        self._apart = _ApartThreads(threads)
        self._processes = ApartProcesses()

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Does work on a thread.

        Args:
            work: What to do. It may raise `ReadApart` for what has to go on in a process.
            arguments: For `work`.
            named: For `work`, too.

        Raises:
            Unavailable: `close` has been called, or the system has no thread left.
            BaseException: What `work` raises.
        """
        return await self._run(work, None, arguments, named)

    async def run_with(self, lease: Lease, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """As `run`, with a hold on a version until the work has ended, even if nobody waits for it any more.

        Args:
            lease: The version; stays the caller's.
            work: What to do.
            arguments: For `work`.
            named: For `work`, too.
        """
        return await self._run(work, lease.share(), arguments, named)

    async def _run(
        self, work: Callable[..., T], hold: Lease | None, arguments: tuple[object, ...], named: Mapping[str, object]
    ) -> T:
        try:
            return await _done_by(self._pool.submit, partial(work, *arguments, **named), hold)
        except ReadApart as apart:
            submit = partial(self._apart.submit, has_begun=apart.has_begun)
            read: T = await _done_by(submit, partial(apart.work, self._processes))
            return read

    def close(self) -> None:
        """Drops what waits and ends the threads once what they do has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._apart.close()
        self._processes.close()


class _ApartThreads:
    """The threads that wait for processes.

    They see first to bodies that have a process already: if many come at once, few of them have one, with all that it
    holds of them, and the others wait.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hotserve-apart")
        self._begun: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._new: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[[], T], *, has_begun: bool) -> Future[T]:
        """Has work done; raises `RuntimeError` as a pool does."""
        future: Future[T] = Future()
        entry = future, work
        waiting = self._begun if has_begun else self._new
        waiting.append(entry)
        try:
            self._pool.submit(self._work)
        except RuntimeError:
            with suppress(ValueError):  # a thread that there is has begun with it
                waiting.remove(entry)
            raise
        return future

    def _work(self) -> None:
        entry = None
        for waiting in (self._begun, self._new):
            if entry is None:
                with suppress(IndexError):
                    entry = waiting.popleft()
        if entry is None:
            return
        future, work = entry
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  # it is for whoever waits
                future.set_exception(error)
        del entry, future, work  # an error knows of this frame, and would keep the body with it

    def close(self) -> None:
        """Drops what waits, and ends the threads once what they do has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for waiting in (self._begun, self._new):
            for future, _ in tuple(waiting):
                future.cancel()


async def _done_by(
    submit: Callable[[Callable[[], T]], Future[T]], work: Callable[[], T], hold: Lease | None = None
) -> T:
    try:
        future = submit(work)
    except RuntimeError as error:
        if hold is not None:
            hold.release()
        raise Unavailable(f"No thread takes the message: {error}. Send the request again, later.") from error
    if hold is not None:
        future.add_done_callback(lambda _: hold.release())
    return await asyncio.wrap_future(future)


def size_of(tensors: Mapping[str, Array]) -> int:
    """About how many bytes the values of tensors take; strings count with their lengths."""
    size = 0
    for array in tensors.values():
        size += array.nbytes
        if array.dtype.hasobject:
            size += sum(len(value) for value in array.reshape(-1).tolist() if isinstance(value, bytes | str))
    return size
