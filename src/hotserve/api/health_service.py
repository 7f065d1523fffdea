"""The standard gRPC health service.

Source: grpc/doc/health-checking.md. `Watch` sends the status at once, then whenever it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from google.protobuf.message import DecodeError

from hotserve.api.exchange import GrpcRequest
from hotserve.core.events import EventBus
from hotserve.core.states import VersionStatus
from hotserve.errors import Internal, NotFound
from hotserve.handlers.health import SERVICES, Health
from hotserve.protos import messages

_UNKNOWN, _SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = range(4)


class HealthService:
    """Answers for the server (services as `SERVICES` lists them) and for each model (its name as the service)."""

    def __init__(self, health: Health, events: EventBus) -> None:
        """Makes the service.

        Args:
            health: What is true now.
            events: Says when that may have changed.
        """
        self._health = health
        self._events = events
        self._watchers: set[Callable[[], None]] = set()

    async def check(self, request: GrpcRequest) -> bytes:
        """`Check`: the status now.

        Raises:
            NotFound: There is no such service.
        """
        service = _service(request)
        serving = self._health.is_serving(service)
        if serving is None:
            raise NotFound(
                f"unknown service: {service!r}. Services: {', '.join(repr(name) for name in SERVICES)}, and each"
                " configured model by its name."
            )
        return _answer(_SERVING if serving else _NOT_SERVING)

    async def watch(self, request: GrpcRequest) -> AsyncGenerator[bytes, None]:
        """`Watch`: the status now and after every change, until the client goes or the server stops."""
        service = _service(request)
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        def on_event(status: VersionStatus) -> None:
            wake()

        unsubscribe = self._events.subscribe(on_event)
        self._watchers.add(wake)
        last = None
        try:
            while True:
                changed.clear()
                # Before the status: a stop that comes while an answer is on its way still has to be told.
                stopping = self._health.stopping
                serving = self._health.is_serving(service)
                status = _SERVICE_UNKNOWN if serving is None else _SERVING if serving else _NOT_SERVING
                if status != last:
                    last = status
                    yield _answer(status)
                if stopping:
                    return
                await changed.wait()
        finally:
            unsubscribe()
            self._watchers.discard(wake)

    def notify(self) -> None:
        """Makes every watcher look again, when `Health.stopping` or its models have changed; from any thread."""
        for wake in tuple(self._watchers):
            wake()


def _service(request: GrpcRequest) -> str:
    try:
        return str(messages.HealthCheckRequest.FromString(request.message).service)
    except DecodeError as error:
        raise Internal(f"The bytes received are no grpc.health.v1.HealthCheckRequest: {error}") from error


def _answer(status: int) -> bytes:
    return bytes(messages.HealthCheckResponse(status=status).SerializeToString())
