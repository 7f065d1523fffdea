"""Keeps worker processes: starts them, sees to it that they answer, and starts them again when they have ended.

Tasks: for each place in the group one that starts its process, again and again, until `end`; one for each process that
asks it from time to time whether it still answers, ended with the process; and one for each process that is replaced.
Processes end with their connection, or are killed.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from hotserve.errors import Internal, ServingError, Unavailable
from hotserve.workers.channel import Channel
from hotserve.workers.launch import Launcher, describe_end
from hotserve.workers.messages import Confirm, Finish, SetUp
from hotserve.workers.roster import Place, Roster, Worker

logger = logging.getLogger(__name__)

QUICK_SECONDS = 10.0
"""A worker that ends sooner than that after it was started is started again with a pause, from the second time on."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0

MAX_FAILED_STARTS = 3
"""As often as that in a row a worker may end before it can be told to load anything; then the server ends."""

END_SECONDS = 5.0
"""How long a process may take for what it does at its end."""

_LONGEST_BEAT_SECONDS = 5.0


class Keeping(Protocol):
    """Who hears of the workers, on the event loop."""

    def hear(self, worker: Worker, message: object) -> None:
        """Takes what a worker reports."""
        ...

    def take_in(self, worker: Worker) -> None:
        """A worker can be told things from now on."""
        ...

    def let_go(self, worker: Worker, how: str, is_expected: bool) -> None:
        """A worker has ended; `Roster.changed` is held.

        Args:
            worker: Which.
            how: How its process has ended, in words.
            is_expected: Whether it was asked to.
        """
        ...


class Keeper:
    """Keeps the processes of a roster."""

    def __init__(
        self,
        roster: Roster,
        keeping: Keeping,
        make_set_up: Callable[[int], SetUp],
        answer: Callable[[Any], Awaitable[object]],
        timeout_seconds: float,
    ) -> None:
        """Starts nothing yet.

        Args:
            roster: Where they stand.
            keeping: Hears of them.
            make_set_up: Number of a worker -> the first thing that it is asked.
            answer: Answers what workers ask.
            timeout_seconds: For how long a worker may not answer until it is killed; 0 for ever.
        """
        self._roster = roster
        self._keeping = keeping
        self._make_set_up = make_set_up
        self._answer = answer
        self._timeout_seconds = timeout_seconds
        self._cpus = 1
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def begin(self, launcher: Launcher) -> None:
        """Says how workers are started, on the running loop; before anything else."""
        self._loop = asyncio.get_running_loop()
        self._launcher = launcher

    def resize(self, count: int, cpus: int) -> None:
        """Has so many workers from now on; those that there are are replaced where `cpus` is not what they have."""
        roster = self._roster
        with roster.changed:
            if cpus != self._cpus:
                for worker in roster.workers():
                    worker.is_replaced = True
                    retiring = self._loop.create_task(self._retire(worker))
                    self._retiring.add(retiring)
                    retiring.add_done_callback(self._retiring.discard)
            self._cpus = cpus
            for number in range(len(roster.places), count):
                place = Place(number)
                roster.places.append(place)
                task = self._tasks[place] = self._loop.create_task(self._keep(place))
                task.add_done_callback(self._on_kept)

    async def end(self) -> None:
        """Ends all processes; `Roster.is_ending` is set."""
        for worker in self._roster.workers():
            _dismiss(worker)
        for place, task in self._tasks.items():
            # Those that wait before the next start have nothing to wait for.
            if not task.done() and place.worker is None:
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _keep(self, place: Place) -> None:
        roster = self._roster
        while not roster.is_ending and roster.failure is None:
            worker = self._new_worker(place)
            start = self._loop.time()
            beats: asyncio.Task[None] | None = None
            try:
                worker.process = await self._launcher.launch(worker.channel, self._cpus)
                await worker.channel.ask(self._make_set_up(place.number))
                self._take_in(worker)
                if self._timeout_seconds:
                    beats = self._loop.create_task(self._watch(worker, worker.process))
            except OSError as error:
                self._not_started(place, error)
                await asyncio.sleep(pause_seconds(place.quick_ends))
                continue
            except Unavailable:
                if not roster.is_ending:
                    logger.error("Worker %d has ended before it could serve", place.number)
            except ServingError as error:
                logger.error("Worker %d cannot be set up: %s", place.number, error)
                if place.restarts == 0:
                    roster.fail(error)
                _dismiss(worker)
            await worker.ended.wait()
            if beats is not None:
                beats.cancel()
            code = await asyncio.to_thread(_wait_end, worker.process)
            self._let_go(worker, describe_end(code), self._loop.time() - start)
            if not roster.is_ending and roster.failure is None:
                place.restarts += not worker.is_replaced
                await asyncio.sleep(pause_seconds(place.quick_ends))

    def _on_kept(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # the edge: a place that nobody keeps would be waited for without end
            logger.error("A worker is no longer kept", exc_info=error)
            self._roster.fail(Internal(f"{type(error).__name__}: {error}"))

    def _new_worker(self, place: Place) -> Worker:
        ended = asyncio.Event()
        channel = Channel(self._loop, lambda message: self._keeping.hear(worker, message), self._answer, ended.set)
        worker = Worker(place, channel, ended)
        with self._roster.changed:
            place.worker = worker
        return worker

    def _not_started(self, place: Place, error: OSError) -> None:
        """The system has no process, no file or no memory left; where there was a worker before, it may have again."""
        with self._roster.changed:
            place.worker = None
            place.quick_ends += 1
            self._roster.changed.notify_all()
        if place.restarts == 0:
            self._roster.fail(ServingError(f"Worker {place.number} cannot be started: {error}"))
        else:
            pause = pause_seconds(place.quick_ends)
            logger.error("Worker %d cannot be started, which is tried again in %g s: %s", place.number, pause, error)

    def _take_in(self, worker: Worker) -> None:
        worker.place.failed_starts = 0
        self._keeping.take_in(worker)

    async def _watch(self, worker: Worker, process: subprocess.Popen[bytes]) -> None:
        """Kills a worker whose event loop answers no more: clients would connect to it and wait for ever."""
        # In two halves: should this process have been held up itself, the first one may be over by then, and the answer
        # not read.
        half = self._timeout_seconds / 2
        missed = 0
        while missed < 2:
            try:
                async with asyncio.timeout(half):
                    await worker.channel.ask(Confirm())
            except TimeoutError:
                missed += 1
                continue
            except Unavailable:
                return
            missed = 0
            await asyncio.sleep(min(_LONGEST_BEAT_SECONDS, half))
        logger.error(
            "Worker %d, process %d, has not answered for %g s: its event loop is held up. It is killed;"
            " --worker_timeout_seconds says after how long",
            worker.place.number,
            process.pid,
            self._timeout_seconds,
        )
        process.kill()

    def _let_go(self, worker: Worker, how: str, lived_seconds: float) -> None:
        place, roster = worker.place, self._roster
        with roster.changed:
            place.worker = None
            is_expected = roster.is_ending or worker.is_replaced or roster.failure is not None
            self._keeping.let_go(worker, how, is_expected)
            if not is_expected:
                place.quick_ends = place.quick_ends + 1 if lived_seconds < QUICK_SECONDS else 0
                place.failed_starts += not worker.is_set_up
            roster.changed.notify_all()
        if is_expected:
            return
        logger.error(
            "Worker %d %s after %.1f s; it is started again%s",
            place.number,
            how,
            lived_seconds,
            f" in {pause:g} s" if (pause := pause_seconds(place.quick_ends)) else "",
        )
        if place.failed_starts >= MAX_FAILED_STARTS:
            roster.fail(
                ServingError(
                    f"Worker {place.number} {how} before it could serve, {place.failed_starts} times in a row."
                    " Its lines in the log say why; --workers=1 serves without workers."
                )
            )

    async def _retire(self, worker: Worker) -> None:
        if worker.is_set_up:
            await self._roster.ask(worker, Finish(), 2 * END_SECONDS)
        _dismiss(worker)


def pause_seconds(failures: int) -> float:
    """The pause before the next try after so many failures in a row; none after the first."""
    if failures < 2:
        return 0.0
    return float(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (failures - 2)))


def _dismiss(worker: Worker) -> None:
    """Ends a worker; one that was never set up holds nothing, and would take the end for that of the server."""
    if worker.process is not None and not worker.is_set_up:
        worker.process.kill()
    worker.channel.close()


def _wait_end(process: subprocess.Popen[bytes] | None) -> int:
    """Waits for a process whose connection has ended; kills it if that takes long."""
    assert process is not None
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
