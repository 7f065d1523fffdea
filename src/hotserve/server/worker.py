"""A worker: the process that answers requests where there are several; started by `workers/launch.py`.

    python -m hotserve.server.worker CHANNEL [FLAG=SOCKET ...]

It holds what the supervisor tells it to hold, and ends when the supervisor does. SIGTERM and SIGINT it leaves to the
supervisor: they come to all processes of a terminal or a service at once, and the supervisor lets requests finish.

Tasks and threads: the event loop, with the front and the channel on it; the manager, the engine and the request log
start and end their own. All of it ends with `_run`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_services import GrpcServices
from hotserve.api.health_service import HealthService
from hotserve.api.rest import RestApi
from hotserve.batching.scheduler import EngineThreads
from hotserve.child_python import end_with_parent
from hotserve.config.model_config import ModelConfig
from hotserve.config.options import AUTO_WORKERS
from hotserve.core.servable import Servable
from hotserve.errors import Internal
from hotserve.handlers.health import Health
from hotserve.observability.instruments import Instrument
from hotserve.observability.logs import configure_logging
from hotserve.observability.loop_lag import LoopLag
from hotserve.observability.merged_metrics import MergedMetrics, take
from hotserve.observability.metrics import Metrics
from hotserve.observability.process_metrics import ProcessMetrics
from hotserve.observability.request_log import RequestLog, RequestLogConfig, SampledRequestLog
from hotserve.platforms.by_content import WarmUp
from hotserve.server.assemble import (
    assemble_apis,
    assemble_inference,
    configured_labels,
    load_threads,
    logged_models,
    unload_threads,
)
from hotserve.server.channel_arguments import configured_limits
from hotserve.server.endpoints import open_endpoints
from hotserve.server.engine_room import EngineRoomOnDemand
from hotserve.server.farewell import drain
from hotserve.server.front import Front
from hotserve.server.lifespan import REQUEST_LOG_SECONDS
from hotserve.server.long_lived import keep_for_good
from hotserve.server.loop import runner
from hotserve.workers.channel import Channel
from hotserve.workers.following_manager import FollowingManager, LoadedVersion
from hotserve.workers.launch import LEFT_TO_SUPERVISOR
from hotserve.workers.messages import (
    Configured,
    Confirm,
    Drain,
    Finish,
    Forget,
    HaveAnswered,
    Listen,
    Load,
    Open,
    ReadMetrics,
    ReloadConfig,
    SetUp,
    Sources,
    Statuses,
    Unload,
)
from hotserve.workers.sizing import slowest_run_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A worker, taken apart."""

    set_up: SetUp
    manager: FollowingManager
    engine: EngineThreads
    engine_room: EngineRoomOnDemand
    health: Health
    health_service: HealthService
    metrics: Metrics
    request_log: RequestLog
    rest: RestApi
    grpc: GrpcServices
    loop_lag: LoopLag


class Worker:
    """One run of a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Mapping[str, socket.socket]) -> None:
        """Begins nothing yet.

        Args:
            loop: The running loop.
            shared: Flag -> the socket for it that all workers share.
        """
        self.channel = Channel(loop, self._hear, self._answer, self._on_end)
        self.ended = asyncio.Event()
        self._loop = loop
        self._shared = shared
        self._parts: _Parts | None = None
        self._front: Front | None = None
        self._sources = Sources()
        self._warm_up_seconds: dict[Path, float] = {}
        self._is_finished = False

    @property
    def _set_up(self) -> _Parts:
        if self._parts is None:
            raise Internal("a worker was told something before it was set up")
        return self._parts

    def _on_end(self) -> None:
        if not self._is_finished:
            # The supervisor is gone: nobody would tell this process what to serve, or to stop.
            logger.error("The supervisor has ended, and this worker with it")
            logging.shutdown()
            os._exit(1)
        self.ended.set()

    # What the supervisor says.

    def _hear(self, message: object) -> None:
        parts = self._set_up
        match message:
            case Load(id, path, model):
                parts.manager.load(id, path, model)
            case Open(id):
                parts.manager.open(id)
            case Unload(id):
                parts.manager.unload(id)
            case Statuses(statuses):
                parts.manager.set_statuses(statuses)
            case HaveAnswered(ids):
                for id in ids:
                    parts.manager.labels.on_available(id)
            case Sources():
                self._sources = message
                parts.manager.set_model_names(message.model_names)
            case Configured(models):
                self._configure(models)
            case Forget(model, version, model_path):
                if version:
                    parts.metrics.forget_version(model, version, model_path)
                else:
                    parts.metrics.forget_model(model)

    async def _answer(self, question: object) -> object:
        match question:
            case SetUp():
                self._parts = self._assemble(question)
                keep_for_good()
                self._parts.request_log.start()
                self._parts.loop_lag.start()
            case Confirm():
                pass  # All that came before it has been heard.
            case Listen():
                await self._listen()
            case ReadMetrics():
                return take(await self._set_up.metrics.read())
            case Drain(timeout_seconds):
                parts = self._set_up
                if self._front is not None:
                    await drain(self._front, parts.health, parts.health_service, timeout_seconds)
            case Finish():
                await self._finish()
            case _:
                raise Internal(f"a worker does not know what to answer to {type(question).__name__}")
        return None

    def _assemble(self, set_up: SetUp) -> _Parts:
        configure_logging(set_up.log_level, f"worker {set_up.number}: ")
        options, models = set_up.options, set_up.models
        metrics = Metrics()
        ProcessMetrics(metrics, f"worker {set_up.number}")
        inference = assemble_inference(options, metrics, self._timed, set_up.loader)

        def load(model: ModelConfig, path: Path) -> LoadedVersion:
            try:
                servable = inference.make_loader(model).load(path)
            finally:
                warm_up_seconds = self._warm_up_seconds.pop(path, None)
            measured = slowest_run_seconds(servable) if options.workers == AUTO_WORKERS else None
            return LoadedVersion(servable, warm_up_seconds, measured)

        manager = FollowingManager(
            load, self.channel.tell, configured_labels(options, models), load_threads(options), unload_threads(options)
        )
        manager.problems = lambda: self._sources.problems
        health = Health(manager, [model.name for model in models], manager.problems)
        health_service = HealthService(health, manager.events)
        request_log = SampledRequestLog(
            _own_logs(models, set_up.number), metrics, max_file_bytes=options.request_log_max_file_bytes
        )
        rest, grpc = assemble_apis(
            options,
            manager,
            inference.engine,
            health,
            health_service,
            metrics,
            request_log,
            self._reload_config,
            self._read_all_metrics,
        )
        return _Parts(
            set_up=set_up,
            manager=manager,
            engine=inference.engine,
            engine_room=inference.engine_room,
            health=health,
            health_service=health_service,
            metrics=metrics,
            request_log=request_log,
            rest=rest,
            grpc=grpc,
            loop_lag=LoopLag(metrics.loop_lag),
        )

    def _timed(self, warm_up: WarmUp) -> WarmUp:
        def run(servable: Servable, path: Path) -> None:
            start = time.perf_counter()
            try:
                warm_up(servable, path)
            finally:
                self._warm_up_seconds[path] = time.perf_counter() - start

        return run

    def _configure(self, models: Sequence[ModelConfig]) -> None:
        parts = self._set_up
        before = parts.health.model_names
        for model in models:
            parts.manager.labels.configure(model.name, model.version_labels)
        names = [model.name for model in models]
        for name in set(before).difference(names):
            parts.manager.labels.remove(name)
        parts.health.set_models(names)
        parts.request_log.configure(_own_logs(models, parts.set_up.number))
        parts.health_service.notify()

    async def _listen(self) -> None:
        parts = self._set_up
        options = parts.set_up.options
        endpoints = open_endpoints(options, ports_are_shared=True, unix=self._shared.get("grpc_socket_path"))
        self._front = Front(parts.rest, parts.grpc, endpoints, configured_limits(options), self._loop)
        await self._front.open()

    async def _finish(self) -> None:
        parts = self._set_up
        parts.loop_lag.stop()
        parts.manager.close()
        await asyncio.to_thread(parts.engine_room.close)
        parts.engine.close()
        await asyncio.to_thread(parts.request_log.close, REQUEST_LOG_SECONDS)
        self._is_finished = True

    # What handlers ask, and the supervisor knows.

    async def _reload_config(self, request: GrpcRequest) -> bytes:
        answer = await self.channel.ask(ReloadConfig(request.message, request.timeout_seconds))
        return bytes(answer)

    async def _read_all_metrics(self) -> Sequence[Instrument]:
        merged = MergedMetrics()
        merged.add(await self.channel.ask(ReadMetrics()))
        return merged.instruments()


def _own_logs(models: Sequence[ModelConfig], number: int) -> Mapping[str, RequestLogConfig]:
    """How requests are logged: each worker has files of its own, whose names say which."""
    return {
        name: replace(config, prefix=config.prefix.with_name(f"{config.prefix.name}-worker{number}"))
        for name, config in logged_models(models).items()
    }


async def _run(connection: socket.socket, shared: Mapping[str, socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(loop, shared)
    await loop.create_connection(lambda: worker.channel, sock=connection)
    await worker.ended.wait()


def main(arguments: Sequence[str]) -> None:
    """The program."""
    for number in LEFT_TO_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_SUPERVISOR)
    end_with_parent()  # also if the event loop is held up just then
    channel, *shared = arguments
    sockets = {}
    for word in shared:
        flag, _, file = word.partition("=")
        sockets[flag] = _socket(file)
    with runner() as running:
        running.run(_run(_socket(channel), sockets))
    logging.shutdown()
    # Threads that nothing can interrupt, such as a load, are left behind.
    os._exit(0)


def _socket(file: str) -> socket.socket:
    taken_over = socket.socket(fileno=int(file))
    taken_over.setblocking(False)
    return taken_over


if __name__ == "__main__":
    main(sys.argv[1:])
