"""Starts everything in order, and stops it in order.

Tasks and threads: the coroutine `Lifespan.run` owns the front with its connections, and has the source, the manager,
the engine and the request log start and end their own. All of it lives between the first and the last line of `run`.

Order of the start: bind the ports (a port in use is an error before anything is loaded), look for versions, load what
is there, and only then let clients connect, so that an open port means, as it does with TensorFlow Serving, that the
models answer. A model that is missing or not complete yet holds nothing back.

Order of the stop: not ready, and HTTP/1.1 answers say `Connection: close`, so that busy clients leave by themselves;
no new connections; requests in flight finish; the source stops; versions unload; the request log is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from hotserve.config.options import ServerOptions
from hotserve.observability.loop_lag import LoopLag
from hotserve.server.assemble import Parts
from hotserve.server.channel_arguments import configured_limits
from hotserve.server.endpoints import Endpoint, open_endpoints
from hotserve.server.front import Front
from hotserve.wires.grpc_http2 import GrpcLimits

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
"""How often the log says that models are still loading."""

_LOOK_UP_SECONDS = 0.5
"""How long a thread waits for models at once: a stop does not wait for more than that."""

_UNLOAD_SECONDS = 5.0
"""How long a stop waits for versions to unload. A load that has begun cannot be interrupted: it is left behind."""

_REQUEST_LOG_SECONDS = 5.0
"""How long a stop waits for logged requests to be written."""

_QUIET_SECONDS = 5.0
"""How long the start waits for folders that are not known to be complete yet.

A model that was saved just before the server is started has to be seen twice before it is loaded; clients that wait
for the port should find it.
"""

_FAREWELL_SECONDS = 0.2
"""How long busy HTTP/1.1 clients get to hear `Connection: close`, before idle connections are closed under them.

Without it a client that sends its next request just then loses it: 16 busy connections lost 16 requests at each stop,
and none with it.
"""


class Lifespan:
    """One run of a server."""

    def __init__(self, options: ServerOptions, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._stop = asyncio.Event()

    def request_stop(self) -> None:
        """Asks for the orderly stop; on the event loop."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serves until `request_stop`.

        Args:
            on_ready: Called once clients can connect.

        Raises:
            ConfigError: A port is in use, or the options contradict each other.
        """
        limits = configured_limits(self._options)
        endpoints = open_endpoints(self._options)
        parts = self._parts
        loop_lag = LoopLag(parts.metrics.loop_lag)
        try:
            loop_lag.start()
            parts.request_log.start()
            parts.source.start()
            await self._load_models()
            if not self._stop.is_set():
                parts.config_watch.start()
                await self._serve(endpoints, limits, on_ready)
        finally:
            loop_lag.stop()
            for endpoint in endpoints:
                endpoint.close()
            await asyncio.to_thread(self._close)

    async def _load_models(self) -> None:
        stopping = asyncio.ensure_future(self._stop.wait())
        loading = asyncio.ensure_future(self._until_settled())
        try:
            await asyncio.wait((stopping, loading), return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
        finally:
            stopping.cancel()
            loading.cancel()

    async def _until_settled(self) -> None:
        source, manager = self._parts.source, self._parts.manager
        names = [model.name for model in self._parts.models]
        await _wait_patiently(source.wait_first_look, lambda: f"Still looking for versions of {', '.join(names)}")
        clock = asyncio.get_running_loop().time
        quiet_from = clock() + _QUIET_SECONDS
        await _wait_patiently(
            lambda seconds: manager.wait_settled(names, seconds, patient=clock() < quiet_from),
            lambda: (
                "Still loading; not available yet: "
                + ", ".join(name for name in names if not manager.is_available(name))
            ),
        )

    async def _serve(self, endpoints: Sequence[Endpoint], limits: GrpcLimits, on_ready: Callable[[], None]) -> None:
        parts = self._parts
        front = Front(parts.rest, parts.grpc, endpoints, limits, asyncio.get_running_loop())
        try:
            await front.open()
            for endpoint in endpoints:
                logger.info(endpoint.announcement)
            on_ready()
            await self._stop.wait()
        finally:
            logger.info("Stopping: requests in flight may take up to %g s", self._options.drain_timeout_seconds)
            parts.health.stopping = True
            parts.health_service.notify()
            front.announce_end()
            await asyncio.sleep(_FAREWELL_SECONDS)
            await front.close(self._options.drain_timeout_seconds)

    def _close(self) -> None:
        self._parts.config_watch.stop()
        self._parts.source.stop()
        self._parts.manager.close(_UNLOAD_SECONDS)
        self._parts.engine.close()
        self._parts.request_log.close(_REQUEST_LOG_SECONDS)


async def _wait_patiently(wait: Callable[[float], bool], say: Callable[[], str]) -> None:
    """Waits, on threads, until `wait` returns True, and says now and then what for."""
    slices = 0
    while not await asyncio.to_thread(wait, _LOOK_UP_SECONDS):
        slices += 1
        if slices % (_PATIENCE_SECONDS // _LOOK_UP_SECONDS) == 0:
            logger.info(say())
