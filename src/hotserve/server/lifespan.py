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
from hotserve.server.farewell import drain
from hotserve.server.first_load import load_models
from hotserve.server.front import Front
from hotserve.wires.grpc_http2 import GrpcLimits

logger = logging.getLogger(__name__)

UNLOAD_SECONDS = 5.0
"""How long a stop waits for versions to unload. A load that has begun cannot be interrupted: it is left behind."""

REQUEST_LOG_SECONDS = 5.0
"""How long a stop waits for logged requests to be written."""


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
            await load_models(parts.source, parts.manager, [model.name for model in parts.models], self._stop)
            if not self._stop.is_set():
                parts.config_watch.start()
                await self._serve(endpoints, limits, on_ready)
        finally:
            loop_lag.stop()
            for endpoint in endpoints:
                endpoint.close()
            await asyncio.to_thread(self._close)

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
            await drain(front, parts.health, parts.health_service, self._options.drain_timeout_seconds)

    def _close(self) -> None:
        self._parts.config_watch.stop()
        self._parts.source.stop()
        self._parts.manager.close(UNLOAD_SECONDS)
        self._parts.engine_room.close()
        self._parts.engine.close()
        self._parts.request_log.close(REQUEST_LOG_SECONDS)
