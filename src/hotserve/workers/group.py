"""All workers, as the supervisor sees them: has them take every step of a version's life together.

What should be held is said once, in `Wanted`: a worker that is started late, or again, is told the same, and lets
clients connect only when it holds everything that the others answer with.

Tasks and threads: those of the keeper, and one for each worker that is asked to let clients connect. Messages come on
the event loop; loads and unloads wait on threads of the manager, for `Roster.changed`, which guards all that is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.states import VersionStatus
from hotserve.errors import ServingError, Unavailable
from hotserve.workers.group_metrics import GroupMetrics
from hotserve.workers.keeper import END_SECONDS, Keeper, pause_seconds
from hotserve.workers.launch import Launcher
from hotserve.workers.messages import (
    Configured,
    Confirm,
    Drain,
    Finish,
    Listen,
    Load,
    LoadEnded,
    Open,
    Opened,
    SetUp,
    Sources,
    Statuses,
    Unload,
    Unloaded,
)
from hotserve.workers.roster import Roster, Worker
from hotserve.workers.wanted import LoadFacts, Wanted, WantedVersion

logger = logging.getLogger(__name__)

_CONFIRM_SECONDS = 10.0


class WorkerGroup:
    """Tells all workers the same, and knows how far they are.

    Attributes:
        metrics: What they have counted.
    """

    def __init__(
        self,
        make_set_up: Callable[[int], SetUp],
        answer: Callable[[Any], Awaitable[object]],
        worker_timeout_seconds: float = 0.0,
    ) -> None:
        """Makes a group without workers.

        Args:
            make_set_up: Number of a worker -> the first thing that it is asked.
            answer: Answers what workers ask.
            worker_timeout_seconds: For how long a worker may not answer until it is killed; 0 for ever.
        """
        self._roster = Roster()
        self._changed = self._roster.changed
        self.metrics = GroupMetrics(self._roster)
        self._keeper = Keeper(self._roster, self, make_set_up, answer, worker_timeout_seconds)
        self._wanted = Wanted()
        self._unload_errors: dict[ServableId, ServingError] = {}
        self._may_listen = False
        self._listening: set[asyncio.Task[None]] = set()

    # The life of the group, on the event loop.

    def begin(self, launcher: Launcher) -> None:
        """Says how workers are started, on the running loop; before anything else."""
        self._loop = asyncio.get_running_loop()
        self._keeper.begin(launcher)

    def resize(self, count: int, cpus: int) -> None:
        """Has so many workers from now on; those that there are are replaced where `cpus` is not what they have.

        Args:
            count: How many; not fewer than there are.
            cpus: How many processors each of them may count on.
        """
        self._keeper.resize(count, cpus)

    @property
    def failure(self) -> ServingError | None:
        """Why the group cannot go on; None while it can."""
        return self._roster.failure

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return len(self._roster.places)

    @property
    def listening(self) -> int:
        """How many of them clients can connect to."""
        return sum(place.listens for place in self._roster.places)

    @property
    def restarts(self) -> int:
        """How many processes have been started in the place of one that ended."""
        return sum(place.restarts for place in self._roster.places)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that there are."""
        with self._changed:
            return tuple(worker.process.pid for worker in self._roster.workers() if worker.process)

    async def wait_failed(self) -> None:
        """Waits until the group cannot go on.

        Raises:
            ServingError: Why.
        """
        await self._roster.wait_failed()

    def let_listen(self) -> None:
        """Lets clients connect to each worker once it holds everything."""
        self._may_listen = True
        self._advance_all()

    def wait_set_up(self, timeout_seconds: float) -> bool:
        """Waits until every worker can be told things, or the group has failed; returns whether that was in time."""
        return self._roster.wait(timeout_seconds, lambda worker: worker.is_set_up)

    def wait_listening(self, timeout_seconds: float) -> bool:
        """Waits until clients can connect to all workers, or the group has failed; returns whether that was in time."""
        return self._roster.wait(timeout_seconds, lambda worker: worker.listens)

    async def drain(self, timeout_seconds: float) -> None:
        """Has all workers take no more connections and answer what has come."""
        self._may_listen = False
        await self._roster.ask_all(Drain(timeout_seconds), timeout_seconds + END_SECONDS)

    async def end(self) -> None:
        """Ends all workers, in order as far as they let it."""
        with self._changed:
            self._roster.is_ending = True
            self._changed.notify_all()
        await self._roster.ask_all(Finish(), 2 * END_SECONDS)
        await self._keeper.end()

    # What the manager's threads call, by way of the loader.

    def load(self, id: ServableId, path: Path, model: ModelConfig) -> LoadFacts:
        """Has all workers load a version, and lets requests find it once all of them have; blocks.

        Returns:
            What is known of the load.

        Raises:
            ServingError: What the first worker says that could not; by then none of them holds it.
        """
        roster = self._roster
        with self._changed:
            version = self._wanted.versions[id] = WantedVersion(id, path, model)
            self._unload_errors.pop(id, None)  # of an earlier life, which ended with a load that failed
            for worker in roster.workers():
                if worker.is_set_up:
                    _tell_load(worker, version)
            self._changed.wait_for(lambda: roster.is_ending or version.error is not None or self._is_loaded(id))
            if version.error is None and not self._is_loaded(id):
                version.error = Unavailable("The server stops.")
            if version.error is not None:
                self._give_back(id)
                raise version.error
            version.open = True
            self._wanted.have_answered[id] = None
            for worker in roster.workers():
                if id in worker.loaded:
                    worker.channel.tell(Open(id))
            self._changed.wait_for(lambda: roster.is_ending or self._is_open(id))
            return version.facts

    def unload(self, id: ServableId) -> None:
        """Has all workers unload a version once its requests are answered; blocks.

        Raises:
            ServingError: What a worker says that could not.
        """
        with self._changed:
            self._give_back(id)
            error = self._unload_errors.pop(id, None)
        if not self._roster.is_ending:
            self._loop.call_soon_threadsafe(self._advance_all)
        if error is not None:
            raise error

    def _is_loaded(self, id: ServableId) -> bool:
        counted_on = self._roster.counted_on()
        return bool(counted_on) and all(worker is not None and id in worker.loaded for worker in counted_on)

    def _is_open(self, id: ServableId) -> bool:
        return all(id in worker.opened for worker in self._roster.workers() if id in worker.loaded)

    def _give_back(self, id: ServableId) -> None:
        roster = self._roster
        self._wanted.versions.pop(id, None)
        for worker in roster.workers():
            if id in worker.told:
                worker.channel.tell(Unload(id))
        self._changed.wait_for(lambda: roster.is_ending or all(id not in worker.told for worker in roster.workers()))

    # What all workers are told, from any thread.

    def publish(self, status: VersionStatus) -> None:
        """Tells a new status; a listener of the event bus."""
        with self._changed:
            self._wanted.statuses[status.id] = status
            self._roster.tell_all(Statuses((status,)))

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Tells the list of models."""
        with self._changed:
            self._wanted.models = tuple(models)
            self._roster.tell_all(Configured(self._wanted.models))

    def set_sources(self, sources: Sources) -> None:
        """Tells what the source knows, where that is new."""
        with self._changed:
            if sources != self._wanted.sources:
                self._wanted.sources = sources
                self._roster.tell_all(sources)

    async def confirm(self) -> None:
        """Waits until all that has been told is in effect in every worker."""
        await self._roster.ask_all(Confirm(), _CONFIRM_SECONDS)

    # What the keeper calls, on the event loop.

    def take_in(self, worker: Worker) -> None:
        """See `Keeping.take_in`."""
        with self._changed:
            worker.is_set_up = True
            for message in self._wanted.said_so_far():
                worker.channel.tell(message)
            for version in self._wanted.in_order():
                _tell_load(worker, version)
            self._changed.notify_all()
        self._advance(worker)

    def let_go(self, worker: Worker, how: str, is_expected: bool) -> None:
        """See `Keeping.let_go`."""
        self.metrics.keep_those_of(worker)
        if is_expected:
            return
        for id in worker.told - worker.loaded:
            version = self._wanted.versions.get(id)
            if version is not None and not version.open:
                version.blame(worker.place.number, how)

    def hear(self, worker: Worker, message: object) -> None:
        """See `Keeping.hear`."""
        with self._changed:
            match message:
                case LoadEnded():
                    self._on_load_ended(worker, message)
                case Opened(id):
                    worker.opened.add(id)
                case Unloaded(id, error):
                    for versions in (worker.told, worker.loaded, worker.opened):
                        versions.discard(id)
                    if error is not None:
                        self._unload_errors[id] = error
            self._changed.notify_all()
        self._advance(worker)

    def _on_load_ended(self, worker: Worker, end: LoadEnded) -> None:
        version = self._wanted.versions.get(end.id)
        if end.error is None:
            worker.loaded.add(end.id)
            if version is not None:
                version.facts = version.facts.with_those_of(end)
                if version.open:
                    worker.channel.tell(Open(end.id))
            return
        worker.told.discard(end.id)
        if version is None:
            return
        if not version.open:
            version.error = version.error or end.error
            return
        # The others answer with it: this one stays apart until it can, too.
        failures = worker.failed_loads[end.id] = worker.failed_loads.get(end.id, 0) + 1
        pause = pause_seconds(failures + 1)
        text = "Worker %d cannot load %s, with which others answer; clients do not reach it. Again in %g s: %s"
        logger.error(text, worker.place.number, end.id, pause, end.error)
        self._loop.call_later(pause, self._load_again, worker, end.id)

    def _load_again(self, worker: Worker, id: ServableId) -> None:
        with self._changed:
            version = self._wanted.versions.get(id)
            if version is not None and worker.place.worker is worker and id not in worker.told:
                _tell_load(worker, version)

    # Letting clients in, on the event loop.

    def _advance_all(self) -> None:
        for worker in self._roster.workers():
            self._advance(worker)

    def _advance(self, worker: Worker) -> None:
        """Lets clients connect to a worker that holds all that is answered with."""
        with self._changed:
            if not self._may_listen or not worker.is_set_up or worker.asked_to_listen or self._roster.is_ending:
                return
            if not all(version.id in worker.opened for version in self._wanted.versions.values() if version.open):
                return
            worker.asked_to_listen = True
        task = self._loop.create_task(self._listen(worker))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def _listen(self, worker: Worker) -> None:
        try:
            await worker.channel.ask(Listen())
        except Unavailable:
            return  # It has ended; the next one is asked anew.
        except ServingError as error:
            self._roster.fail(error)
            return
        logger.info("Worker %d, process %d, serves", worker.place.number, worker.process.pid if worker.process else 0)
        with self._changed:
            worker.listens = True
            self._changed.notify_all()


def _tell_load(worker: Worker, version: WantedVersion) -> None:
    worker.told.add(version.id)
    worker.channel.tell(Load(version.id, version.path, version.model))
