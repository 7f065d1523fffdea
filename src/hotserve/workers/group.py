"""All workers, as the supervisor sees them: what each of them holds, and what all of them should.

What should be held is said once, in `_versions`: a worker that is started late, or again, is told the same, and lets
clients connect only when it holds everything that the others answer with.

Tasks and threads: one task for each worker, which starts its process, and starts it again when it has ended, until
`end`. Messages come on the event loop; loads and unloads wait on threads of the manager. `_changed` guards all that is
known here, and is held for microseconds.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.states import VersionStatus
from hotserve.errors import Internal, ServingError, Unavailable
from hotserve.observability.merged_metrics import MergedMetrics, Snapshot, lasting
from hotserve.workers.channel import Channel
from hotserve.workers.launch import Launcher, describe_end
from hotserve.workers.messages import (
    Configured,
    Confirm,
    Drain,
    Finish,
    Forget,
    HaveAnswered,
    Listen,
    Load,
    LoadEnded,
    Open,
    Opened,
    ReadMetrics,
    SetUp,
    Sources,
    Statuses,
    Unload,
    Unloaded,
)

logger = logging.getLogger(__name__)

QUICK_SECONDS = 10.0
"""A worker that ends sooner than that after it was started is started again with a pause, from the second time on."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0

MAX_FAILED_STARTS = 3
"""As often as that in a row a worker may end before it can be told to load anything; then the server ends."""

MAX_DEATHS_IN_LOAD = 2
"""A version during whose load as many workers have ended is taken for the cause."""

_METRICS_SECONDS = 2.0
"""How long the page with the metrics waits for a worker; then the last numbers known of it are shown."""

_CONFIRM_SECONDS = 10.0
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What is known of a load that went well, of the slowest worker each; None where it was not measured.

    Attributes:
        warm_up_seconds: How long the warm-up took.
        run_seconds: How long a run of the slowest signature takes.
    """

    warm_up_seconds: float | None = None
    run_seconds: float | None = None

    def with_those_of(self, end: LoadEnded) -> LoadFacts:
        """These and those of one more worker."""
        return LoadFacts(_larger(self.warm_up_seconds, end.warm_up_seconds), _larger(self.run_seconds, end.run_seconds))


@dataclass(slots=True)
class _Version:
    """A version that the workers should hold.

    Attributes:
        open: Whether requests may find it.
        error: Why some worker cannot load it, while it is not open.
        deaths: How many workers have ended while they loaded it.
        facts: What is known of its loads.
    """

    id: ServableId
    path: Path
    model: ModelConfig
    open: bool = False
    error: ServingError | None = None
    deaths: int = 0
    facts: LoadFacts = field(default_factory=LoadFacts)


@dataclass(slots=True, eq=False)
class _Worker:
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

    place: _Place
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
class _Place:
    """The place of a worker in the group, which its processes take one after the other.

    Attributes:
        number: From 0.
        worker: The process; None between two of them.
        quick_ends: How many processes in a row have ended quickly.
        failed_starts: How many in a row have ended before they were set up.
        restarts: How many have been started in the place of one that ended.
    """

    number: int
    worker: _Worker | None = None
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


class WorkerGroup:
    """Keeps the workers, and tells them the same.

    Attributes:
        failure: Why the group cannot go on; None while it can.
    """

    def __init__(self, make_set_up: Callable[[int], SetUp], answer: Callable[[Any], Awaitable[object]]) -> None:
        """Makes a group without workers.

        Args:
            make_set_up: Number of a worker -> the first thing that it is asked.
            answer: Answers what workers ask.
        """
        self.failure: ServingError | None = None
        self._make_set_up = make_set_up
        self._answer = answer
        self._changed = threading.Condition()
        self._places: list[_Place] = []
        self._versions: dict[ServableId, _Version] = {}
        self._unload_errors: dict[ServableId, ServingError] = {}
        self._statuses: dict[ServableId, VersionStatus] = {}
        self._have_answered: dict[ServableId, None] = {}
        self._models: tuple[ModelConfig, ...] = ()
        self._sources = Sources()
        self._departed = MergedMetrics()
        self._may_listen = False
        self._ending = False
        self._cpus = 1
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()

    # The life of the group, on the event loop.

    def begin(self, launcher: Launcher) -> None:
        """Says how workers are started, on the running loop; before anything else."""
        self._loop = asyncio.get_running_loop()
        self._failed = asyncio.Event()
        self._launcher = launcher

    def resize(self, count: int, cpus: int) -> None:
        """Has so many workers from now on; those that there are are replaced where `cpus` is not what they have.

        Args:
            count: How many; not fewer than there are.
            cpus: How many processors each of them may count on.
        """
        with self._changed:
            if cpus != self._cpus:
                for place in self._places:
                    if place.worker is not None:
                        place.worker.is_replaced = True
                        self._start(self._retire(place.worker))
            self._cpus = cpus
            for number in range(len(self._places), count):
                place = _Place(number)
                self._places.append(place)
                self._tasks.append(self._loop.create_task(self._keep(place)))

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return len(self._places)

    @property
    def listening(self) -> int:
        """How many of them clients can connect to."""
        return sum(place.listens for place in self._places)

    @property
    def restarts(self) -> int:
        """How many processes have been started in the place of one that ended."""
        return sum(place.restarts for place in self._places)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that there are."""
        with self._changed:
            return tuple(p.worker.process.pid for p in self._places if p.worker is not None and p.worker.process)

    async def wait_failed(self) -> None:
        """Waits until the group cannot go on.

        Raises:
            ServingError: Why.
        """
        await self._failed.wait()
        assert self.failure is not None
        raise self.failure

    def let_listen(self) -> None:
        """Lets clients connect to each worker once it holds everything."""
        self._may_listen = True
        self._advance_all()

    def wait_set_up(self, timeout_seconds: float) -> bool:
        """Waits until every worker can be told things, or the group has failed; returns whether that was in time."""
        return self._wait(timeout_seconds, lambda worker: worker.is_set_up)

    def wait_listening(self, timeout_seconds: float) -> bool:
        """Waits until clients can connect to all workers, or the group has failed; returns whether that was in time."""
        return self._wait(timeout_seconds, lambda worker: worker.listens)

    async def drain(self, timeout_seconds: float) -> None:
        """Has all workers take no more connections and answer what has come."""
        self._may_listen = False
        await self._ask_all(Drain(timeout_seconds), timeout_seconds + _END_SECONDS)

    async def end(self) -> None:
        """Ends all workers, in order as far as they let it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        await self._ask_all(Finish(), 2 * _END_SECONDS)
        for worker in self._workers():
            worker.channel.close()
        for task in self._tasks:
            # Those that wait before the next start have nothing to wait for.
            if not task.done() and not self._has_process(task):
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _has_process(self, task: asyncio.Task[None]) -> bool:
        return self._places[self._tasks.index(task)].worker is not None

    def _wait(self, timeout_seconds: float, holds: Callable[[_Worker], bool]) -> bool:
        def all_hold() -> bool:
            counted_on = [place for place in self._places if place.is_counted_on]
            return self.failure is not None or (
                bool(counted_on) and all(place.worker is not None and holds(place.worker) for place in counted_on)
            )

        with self._changed:
            return self._changed.wait_for(all_hold, timeout_seconds)

    # What the manager's threads call, by way of the loader.

    def load(self, id: ServableId, path: Path, model: ModelConfig) -> LoadFacts:
        """Has all workers load a version, and lets requests find it once all of them have; blocks.

        Returns:
            What is known of the load.

        Raises:
            ServingError: What the first worker says that could not; by then none of them holds it.
        """
        with self._changed:
            version = self._versions[id] = _Version(id, path, model)
            for worker in self._workers():
                if worker.is_set_up:
                    self._tell_load(worker, version)
            self._changed.wait_for(lambda: self._ending or version.error is not None or self._is_loaded(id))
            if version.error is None and not self._is_loaded(id):
                version.error = Unavailable("The server stops.")
            if version.error is not None:
                self._give_back(id)
                raise version.error
            version.open = True
            self._have_answered[id] = None
            for worker in self._workers():
                if id in worker.loaded:
                    worker.channel.tell(Open(id))
            self._changed.wait_for(lambda: self._ending or self._is_open(id))
            return version.facts

    def unload(self, id: ServableId) -> None:
        """Has all workers unload a version once its requests are answered; blocks.

        Raises:
            ServingError: What a worker says that could not.
        """
        with self._changed:
            self._give_back(id)
            error = self._unload_errors.pop(id, None)
        if not self._ending:
            self._loop.call_soon_threadsafe(self._advance_all)
        if error is not None:
            raise error

    def _is_loaded(self, id: ServableId) -> bool:
        counted_on = [place.worker for place in self._places if place.is_counted_on]
        return bool(counted_on) and all(worker is not None and id in worker.loaded for worker in counted_on)

    def _is_open(self, id: ServableId) -> bool:
        return all(id in worker.opened for worker in self._workers() if id in worker.loaded)

    def _give_back(self, id: ServableId) -> None:
        self._versions.pop(id, None)
        for worker in self._workers():
            if id in worker.told:
                worker.channel.tell(Unload(id))
        self._changed.wait_for(lambda: self._ending or all(id not in worker.told for worker in self._workers()))

    # What all workers are told, from any thread.

    def publish(self, status: VersionStatus) -> None:
        """Tells a new status; a listener of the event bus."""
        with self._changed:
            self._statuses[status.id] = status
            self._tell_all(Statuses((status,)))

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Tells the list of models."""
        with self._changed:
            self._models = tuple(models)
            self._tell_all(Configured(self._models))

    def set_sources(self, sources: Sources) -> None:
        """Tells what the source knows, where that is new."""
        with self._changed:
            if sources != self._sources:
                self._sources = sources
                self._tell_all(sources)

    def forget(self, model: str, version: str, model_path: str) -> None:
        """Tells that the metrics of a version, or of a model, are to be dropped."""
        with self._changed:
            if version:
                self._departed.forget({"model_name": model, "version": version})
            else:
                self._departed.forget({"model_name": model})
                self._departed.forget({"model": model})
            if model_path:
                self._departed.forget({"model_path": model_path})
            self._tell_all(Forget(model, version, model_path))

    async def confirm(self) -> None:
        """Waits until all that has been told is in effect in every worker."""
        await self._ask_all(Confirm(), _CONFIRM_SECONDS)

    async def read_metrics(self) -> Sequence[Snapshot]:
        """What all workers have counted, also those that are no more."""
        await asyncio.gather(*(self._read_metrics_of(worker) for worker in self._workers() if worker.is_set_up))
        with self._changed:
            merged = MergedMetrics()
            merged.add(self._departed.snapshots())
            for worker in self._workers():
                merged.add(worker.metrics)
        return merged.snapshots()

    async def _read_metrics_of(self, worker: _Worker) -> None:
        try:
            async with asyncio.timeout(_METRICS_SECONDS):
                worker.metrics = await worker.channel.ask(ReadMetrics())
        except (TimeoutError, Unavailable):
            logger.info("Worker %d did not tell its metrics in time; the last known are shown", worker.place.number)

    async def _ask_all(self, question: object, timeout_seconds: float) -> None:
        asked = (self._ask(worker, question, timeout_seconds) for worker in self._workers() if worker.is_set_up)
        await asyncio.gather(*asked)

    async def _ask(self, worker: _Worker, question: object, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await worker.channel.ask(question)
        except TimeoutError:
            logger.warning("Worker %d does not answer: %s", worker.place.number, type(question).__name__)
        except Unavailable:
            pass  # It has ended: there is nothing that it could do.

    def _tell_all(self, message: object) -> None:
        for worker in self._workers():
            if worker.is_set_up:
                worker.channel.tell(message)

    def _tell_load(self, worker: _Worker, version: _Version) -> None:
        worker.told.add(version.id)
        worker.channel.tell(Load(version.id, version.path, version.model))

    def _workers(self) -> list[_Worker]:
        return [place.worker for place in self._places if place.worker is not None]

    # One worker, on the event loop.

    async def _keep(self, place: _Place) -> None:
        while not self._ending and self.failure is None:
            worker = self._new_worker(place)
            start = self._loop.time()
            try:
                worker.process = await self._launcher.launch(worker.channel, self._cpus)
                await worker.channel.ask(self._make_set_up(place.number))
                self._take_in(worker)
            except OSError as error:
                place.worker = None
                self._fail(ServingError(f"Worker {place.number} cannot be started: {error}"))
                return
            except Unavailable:
                logger.error("Worker %d has ended before it could serve", place.number)
            except ServingError as error:
                logger.error("Worker %d cannot be set up: %s", place.number, error)
                if place.restarts == 0:
                    self._fail(error)
                worker.channel.close()
            await worker.ended.wait()
            code = await asyncio.to_thread(_wait_end, worker.process)
            self._let_go(worker, describe_end(code), self._loop.time() - start)
            if not self._ending and self.failure is None:
                place.restarts += not worker.is_replaced
                await asyncio.sleep(_pause_seconds(place.quick_ends))

    def _new_worker(self, place: _Place) -> _Worker:
        ended = asyncio.Event()
        channel = Channel(self._loop, lambda message: self._hear(worker, message), self._answer, ended.set)
        worker = _Worker(place, channel, ended)
        with self._changed:
            place.worker = worker
        return worker

    def _take_in(self, worker: _Worker) -> None:
        with self._changed:
            worker.is_set_up = True
            worker.place.failed_starts = 0
            worker.channel.tell(Statuses(tuple(self._statuses.values())))
            worker.channel.tell(HaveAnswered(tuple(self._have_answered)))
            worker.channel.tell(self._sources)
            worker.channel.tell(Configured(self._models))
            for version in sorted(self._versions.values(), key=lambda version: not version.open):
                self._tell_load(worker, version)
            self._changed.notify_all()
        self._advance(worker)

    def _let_go(self, worker: _Worker, how: str, lived_seconds: float) -> None:
        place = worker.place
        with self._changed:
            place.worker = None
            self._departed.add(lasting(worker.metrics))
            is_expected = self._ending or worker.is_replaced or self.failure is not None
            if not is_expected:
                self._blame(worker, how)
                place.quick_ends = place.quick_ends + 1 if lived_seconds < QUICK_SECONDS else 0
                place.failed_starts += not worker.is_set_up
            self._changed.notify_all()
        if is_expected:
            return
        logger.error(
            "Worker %d %s after %.1f s; it is started again%s",
            place.number,
            how,
            lived_seconds,
            f" in {pause:g} s" if (pause := _pause_seconds(place.quick_ends)) else "",
        )
        if place.failed_starts >= MAX_FAILED_STARTS:
            self._fail(
                ServingError(
                    f"Worker {place.number} {how} before it could serve, {place.failed_starts} times in a row."
                    " Its lines in the log say why; --workers=1 serves without workers."
                )
            )

    def _blame(self, worker: _Worker, how: str) -> None:
        for id in worker.told - worker.loaded:
            version = self._versions.get(id)
            if version is None or version.open:
                continue
            version.deaths += 1
            if version.deaths >= MAX_DEATHS_IN_LOAD:
                version.error = Internal(
                    f"Worker {worker.place.number} {how} while it loaded the version, as another had before. A model"
                    " can end its process by an operation that fails there, or by taking all memory."
                )

    def _hear(self, worker: _Worker, message: object) -> None:
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

    def _on_load_ended(self, worker: _Worker, end: LoadEnded) -> None:
        version = self._versions.get(end.id)
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
        pause = _pause_seconds(failures + 1)
        text = "Worker %d cannot load %s, with which others answer; clients do not reach it. Again in %g s: %s"
        logger.error(text, worker.place.number, end.id, pause, end.error)
        self._loop.call_later(pause, self._load_again, worker, end.id)

    def _load_again(self, worker: _Worker, id: ServableId) -> None:
        with self._changed:
            version = self._versions.get(id)
            if version is not None and worker.place.worker is worker and id not in worker.told:
                self._tell_load(worker, version)

    def _advance_all(self) -> None:
        for worker in self._workers():
            self._advance(worker)

    def _advance(self, worker: _Worker) -> None:
        """Lets clients connect to a worker that holds all that is answered with; on the loop."""
        with self._changed:
            if not self._may_listen or not worker.is_set_up or worker.asked_to_listen or self._ending:
                return
            if not all(version.id in worker.opened for version in self._versions.values() if version.open):
                return
            worker.asked_to_listen = True
        self._start(self._listen(worker))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _retire(self, worker: _Worker) -> None:
        if worker.is_set_up:
            await self._ask(worker, Finish(), 2 * _END_SECONDS)
        worker.channel.close()

    async def _listen(self, worker: _Worker) -> None:
        try:
            await worker.channel.ask(Listen())
        except Unavailable:
            return  # It has ended; the next one is asked anew.
        except ServingError as error:
            self._fail(error)
            return
        logger.info("Worker %d, process %d, serves", worker.place.number, worker.process.pid if worker.process else 0)
        with self._changed:
            worker.listens = True
            self._changed.notify_all()

    def _fail(self, error: ServingError) -> None:
        with self._changed:
            if self.failure is None:
                self.failure = error
            self._changed.notify_all()
        self._failed.set()


def _pause_seconds(quick_ends: int) -> float:
    if quick_ends < 2:
        return 0.0
    return float(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (quick_ends - 2)))


def _wait_end(process: subprocess.Popen[bytes] | None) -> int:
    """Waits for a process whose connection has ended; kills it if that takes long."""
    assert process is not None
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _larger(one: float | None, other: float | None) -> float | None:
    known = [seconds for seconds in (one, other) if seconds is not None]
    return max(known, default=None)
