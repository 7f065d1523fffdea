"""The supervisor: the process that directs workers and answers no requests itself.

It has all parts of a server that decide (the source, the manager, labels, reloads), with a loader that has the workers
load; the life of a version is the one of a single process, and what a step means is that all workers have taken it.

Tasks and threads: the coroutine `Supervisor.run` owns the group with its tasks, and a task that looks what the source
knows; it has the source and the manager start and end their own. All of it lives between the first and the last line of
`run`.

Order of the start: as in `lifespan.py`; the ports are bound here, so that one in use is an error at once, and kept
bound, and the workers bind them again and listen. Order of the stop: the workers answer what has come and stay; the
source stops; versions unload, in the workers; the workers write their request logs and end.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_reload import GrpcReload
from hotserve.config.model_config import ModelConfig
from hotserve.config.options import AUTO_WORKERS, ServerOptions
from hotserve.config.session_config import log_unused_config
from hotserve.core.ids import ServableId
from hotserve.errors import ConfigError, Internal
from hotserve.handlers.health import Health
from hotserve.handlers.reload_config import ConfigReloader
from hotserve.observability.instruments import Instrument
from hotserve.observability.life_metrics import LifeMetrics
from hotserve.observability.merged_metrics import MergedMetrics, Snapshot, take
from hotserve.observability.metrics import Metrics
from hotserve.observability.process_metrics import SUPERVISOR, ProcessMetrics, resident_bytes
from hotserve.observability.worker_gauges import WorkerGauges
from hotserve.platforms.by_content import check_platform
from hotserve.processors import usable_cpus
from hotserve.server.assemble import (
    LoaderFactory,
    SourceFactory,
    assemble_manager,
    assemble_model_gauges,
    configured_watch,
)
from hotserve.server.channel_arguments import configured_limits
from hotserve.server.endpoints import Endpoint, open_endpoints
from hotserve.server.first_load import load_models, wait_patiently
from hotserve.server.lifespan import UNLOAD_SECONDS
from hotserve.workers.group import WorkerGroup
from hotserve.workers.group_loader import GroupLoader
from hotserve.workers.launch import Launcher
from hotserve.workers.messages import ReadMetrics, ReloadConfig, SetUp, Sources
from hotserve.workers.sizing import choose, folder_bytes, memory_limit
from hotserve.workers.wanted import LoadFacts

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
"""How often the supervisor looks what the source knows; workers tell it to clients from then on."""


def check_workers(loader: LoaderFactory | None) -> None:
    """Refuses what cannot be had with workers.

    Raises:
        ConfigError: The loader cannot be imported by another process, or the system does not share ports.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("--workers: several processes cannot share a port on this system. Expected --workers=1.")
    try:
        pickle.dumps(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"loader: workers cannot have it, because they import it by its name: {error}. Expected a function of a"
            " module, or workers=1."
        ) from error
    if getattr(loader, "__module__", "") == "__main__":
        raise ConfigError(
            "loader: workers cannot have it, because the program that was started is another one to them. Expected a"
            " function of a module that it imports, or workers=1."
        )


class Supervisor:
    """One run of a server with workers.

    Attributes:
        manager: Knows the versions; hands out no lease that could be run.
    """

    def __init__(
        self,
        options: ServerOptions,
        models: Sequence[ModelConfig],
        source: SourceFactory,
        loader: LoaderFactory | None = None,
    ) -> None:
        """Makes all parts; nothing is started.

        Args:
            options: What the server is told.
            models: What it serves.
            source: Makes the source of versions.
            loader: As for `assemble`; workers import it by its name.

        Raises:
            ConfigError: A model asks for a platform that there is not, or a file that the options name is wrong.
        """
        log_unused_config(options)
        self._options = options
        self._models = tuple(models)
        self._loader = loader
        self._stop = asyncio.Event()
        self._group = WorkerGroup(self._set_up, self._answer, options.worker_timeout_seconds)
        self._metrics = Metrics(self._group.metrics.forget)
        self._life = LifeMetrics(self._metrics, memory=self._workers_bytes)
        ProcessMetrics(self._metrics, SUPERVISOR)
        WorkerGauges(
            self._metrics,
            wanted=lambda: self._group.size,
            listening=lambda: self._group.listening,
            restarts=lambda: self._group.restarts,
        )
        self._loaded: dict[Path, float | None] = {}
        configs = {model.name: self._checked(model) for model in models}
        self.manager = assemble_manager(
            options, models, lambda id: GroupLoader(self._group, id, configs[id.name], self._note), self._life
        )
        self.manager.events.subscribe(self._group.publish)
        self._source = source(self.manager, models)
        self.manager.problems = lambda: self._source.problems
        self._health = Health(self.manager, [model.name for model in models], self.manager.problems)
        assemble_model_gauges(self._metrics, self.manager, self._health, self._source)
        self._group.configure(models)
        reloader = ConfigReloader(
            models, configs, self._checked, self.manager, self._source, self._health, self._on_reloaded
        )
        self._reload = GrpcReload(reloader, self._metrics, self._read_metrics)
        self._config_watch = configured_watch(options, models, reloader)

    def request_stop(self) -> None:
        """Asks for the orderly stop; on the event loop."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serves until `request_stop`.

        Args:
            on_ready: Called once clients can connect.

        Raises:
            ConfigError: A port is in use, or the options contradict each other.
            ServingError: What keeps a worker from serving.
        """
        configured_limits(self._options)
        endpoints = open_endpoints(self._options)
        try:
            for endpoint in endpoints:
                endpoint.share()
            self._group.begin(Launcher({e.flag: e.bound for e in endpoints if e.file is not None}))
            serving = asyncio.create_task(self._serve(endpoints, on_ready))
            failing = asyncio.create_task(self._group.wait_failed())
            looking = asyncio.create_task(self._look_at_source())
            stopping = asyncio.create_task(self._wait_stop())
            try:
                await asyncio.wait((serving, failing, stopping), return_when=asyncio.FIRST_COMPLETED)
                for task in (failing, serving):
                    if task.done():
                        task.result()
            finally:
                for task in (serving, failing, looking, stopping):
                    task.cancel()
                await self._close()
        finally:
            for endpoint in endpoints:
                endpoint.close()

    async def _serve(self, endpoints: Sequence[Endpoint], on_ready: Callable[[], None]) -> None:
        count, cpus = self._options.workers, usable_cpus()
        if count == AUTO_WORKERS:
            self._group.resize(1, 1)  # loads alone, on one processor, so that it can be told how many to have
        else:
            self._group.resize(count, max(1, cpus // count))
            logger.info("Workers: %d, on %d processors", count, cpus)
        names = [model.name for model in self._models]
        await wait_patiently(self._group.wait_set_up, lambda: "Still starting workers")
        self._source.start()
        await load_models(self._source, self.manager, names, self._stop)
        if count == AUTO_WORKERS and not self._stop.is_set():
            self._choose_size(cpus)
        if self._stop.is_set():
            return
        for endpoint in endpoints:
            if endpoint.file is not None:
                endpoint.listen()
        self._group.let_listen()
        await wait_patiently(self._group.wait_listening, lambda: "Still waiting for workers to hold all models")
        if self._group.failure is not None:
            return
        for endpoint in endpoints:
            logger.info(endpoint.announcement)
        self._config_watch.start()
        on_ready()
        await self._stop.wait()

    async def _wait_stop(self) -> None:
        await self._stop.wait()

    def _choose_size(self, cpus: int) -> None:
        sizes = [folder_bytes(path) for path in self._loaded]
        sizing = choose(
            cpus,
            max((seconds for seconds in self._loaded.values() if seconds is not None), default=None),
            self._workers_bytes(),
            max(sizes, default=0),
            memory_limit(),
        )
        logger.info(
            "--workers=auto: %d, each with %d threads for a run: %s", sizing.workers, sizing.cpus, sizing.reason
        )
        self._group.resize(sizing.workers, sizing.cpus)

    async def _close(self) -> None:
        self._health.stopping = True
        if self._group.failure is None:
            await self._group.drain(self._options.drain_timeout_seconds)
        await asyncio.to_thread(self._config_watch.stop)
        await asyncio.to_thread(self._source.stop)
        if self._group.failure is None:
            await asyncio.to_thread(self.manager.close, UNLOAD_SECONDS)
        await self._group.end()
        # What waited for workers has been let go by their end.
        await asyncio.to_thread(self.manager.close, UNLOAD_SECONDS)

    # What the group and its workers ask.

    def _set_up(self, number: int) -> SetUp:
        level = logging.getLogger("hotserve").getEffectiveLevel()
        return SetUp(number, self._options, self._models, self._loader, level)

    async def _answer(self, question: Any) -> object:
        match question:
            case ReadMetrics():
                return await self._read_snapshots()
            case ReloadConfig(message, timeout_seconds):
                try:
                    return await self._reload.reload_config(GrpcRequest("", message, timeout_seconds))
                finally:
                    # Whoever is answered may go to any worker with the next request.
                    self._tell_sources()
                    await self._group.confirm()
            case _:
                raise Internal(f"the supervisor does not know what to answer to {type(question).__name__}")

    async def _read_snapshots(self) -> tuple[Snapshot, ...]:
        merged = MergedMetrics()
        merged.add(await self._group.metrics.read())
        merged.add(take(await self._metrics.read()))
        return merged.snapshots()

    async def _read_metrics(self) -> Sequence[Instrument]:
        merged = MergedMetrics()
        merged.add(await self._read_snapshots())
        return merged.instruments()

    def _on_reloaded(self, models: Sequence[ModelConfig]) -> None:
        self._models = tuple(models)
        self._group.configure(models)

    async def _look_at_source(self) -> None:
        while True:
            self._tell_sources()
            await asyncio.sleep(_LOOK_SECONDS)

    def _tell_sources(self) -> None:
        self._group.set_sources(Sources(self.manager.model_names(), dict(self._source.problems)))

    # What the manager needs.

    def _checked(self, model: ModelConfig) -> ModelConfig:
        if self._loader is None:
            check_platform(model.name, model.platform)
        return model

    def _note(self, id: ServableId, path: Path, facts: LoadFacts) -> None:
        if facts.warm_up_seconds is not None:
            self._life.note_warm_up(path, facts.warm_up_seconds)
        if self._group.size == 1:  # what `--workers=auto` goes by
            self._loaded[path] = facts.run_seconds

    def _workers_bytes(self) -> int:
        return sum(resident_bytes(Path("/proc", str(pid))) for pid in self._group.pids)
