"""The gRPC wire on a loop and a thread of its own, with real sockets, for clients of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import CallRoad
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.server.loop import runner
from hotserve.wires.grpc_call import Services
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire
from support.http2 import END_STREAM, GOAWAY, HEADERS, RST_STREAM, START, Frame
from support.in_process import PATIENCE

T = TypeVar("T")

ECHO, WAIT, FAIL, COUNT, CHAT = (f"/test.Service/{name}" for name in ("Echo", "Wait", "Fail", "Count", "Chat"))


class TestServices:
    """Methods whose ends a test decides about.

    Attributes:
        cancelled: How many calls have been cancelled while they waited.
        waiting: How many wait now.
        read: How many messages `Chat` has read.
        roads: Where calls are handed in first.
    """

    __test__ = False

    def __init__(self) -> None:
        self.cancelled = 0
        self.waiting = 0
        self.read = 0
        self.sent = 0
        self.timeouts: list[float | None] = []
        self.roads: dict[str, CallRoad] = {}
        self._go_on = asyncio.Event()

    @property
    def streaming(self) -> Mapping[str, Callable[[GrpcRequest], AsyncGenerator[bytes, None]]]:
        return {COUNT: self._count}

    @property
    def bidirectional(self) -> Mapping[str, Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]]:
        return {CHAT: self._chat}

    def go_on(self) -> None:
        """Ends what waits; on the loop."""
        self._go_on.set()

    async def call(self, request: GrpcRequest) -> bytes:
        self.timeouts.append(request.timeout_seconds)
        if request.path == ECHO:
            return request.message
        if request.path == WAIT:
            await self._wait()
            return request.message
        if request.path == FAIL:
            if request.message == b"refuse":
                raise InvalidArgument("bad: ä % \n end ")
            raise ValueError("a fault of the service")
        raise Unimplemented(f"Method not found: {request.path}.")

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await self._go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1

    async def _count(self, request: GrpcRequest) -> AsyncGenerator[bytes, None]:
        """As many answers of 10 kB as the message says; `wait` waits after the first."""
        yield b"first" if request.message == b"wait" else bytes(10_000)
        if request.message == b"wait":
            await self._wait()
            return
        for _ in range(int(request.message) - 1):
            self.sent += 1
            yield bytes(10_000)

    async def _chat(self, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Answers each message with the same; `wait` waits before the next is read."""
        async for message in messages:
            self.read += 1
            if message == b"wait":
                await self._wait()
            yield message


class RunningWire:
    """A context manager.

    Attributes:
        port: Where it listens on 127.0.0.1.
        wire: The wire; to be touched on its loop only, see `on_loop`.
    """

    wire: GrpcWire
    port: int

    def __init__(
        self,
        services: Services | None = None,
        limits: GrpcLimits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        unix: Path | None = None,
    ) -> None:
        """Makes it.

        Args:
            services: What answers; None for `TestServices`.
            limits: What clients may do.
            tls: How the port is secured.
            unix: Where it listens instead of a port.
        """
        self._services = services
        self._limits = limits or GrpcLimits()
        self._tls = tls
        self._unix = unix
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def target(self) -> str:
        """As grpcio wants it."""
        return f"127.0.0.1:{self.port}" if self._unix is None else f"unix:{self._unix}"

    @property
    def services(self) -> TestServices:
        assert isinstance(self.wire.services, TestServices)
        return self.wire.services

    def on_loop(self, function: Callable[[], T]) -> T:
        """Calls a function on the loop of the wire, and waits for what it returns."""

        async def call() -> T:
            return function()

        return self.run(call())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop of the wire."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def drain(self) -> None:
        """Stops as a server does, and waits until all connections are gone."""
        self.on_loop(self._server.close)
        self.on_loop(self.wire.begin_drain)
        assert self.run(self.wire.wait_idle(PATIENCE))

    def __enter__(self) -> RunningWire:
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with runner() as loop_runner:
            loop_runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.wire = GrpcWire(self._services or TestServices(), self._limits, self._loop)
        if self._unix is None:
            self._server = await self._loop.create_server(self.wire.protocol, "127.0.0.1", 0, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]
        else:
            self._server = await self._loop.create_unix_server(self.wire.protocol, str(self._unix))
        self._started.set()
        await self._stop.wait()
        self._server.close()
        self.wire.abort()
        assert await self.wire.wait_idle(PATIENCE)


class RawClient:
    """A socket that sends whatever it is told, and reads frames; a context manager."""

    def __init__(self, wire: RunningWire, start: bytes = START) -> None:
        self.socket = socket.create_connection(("127.0.0.1", wire.port), PATIENCE)
        self._unread = bytearray()
        self.frames: list[Frame] = []
        self.send(start)

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def read_frame(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        while True:
            if len(self._unread) >= 9:
                end = 9 + int.from_bytes(self._unread[:3], "big")
                if len(self._unread) >= end:
                    head, payload = self._unread[:9], bytes(self._unread[9:end])
                    del self._unread[:end]
                    frame = Frame(head[3], head[4], int.from_bytes(head[5:9], "big"), payload)
                    self.frames.append(frame)
                    return frame
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not part:
                return None
            self._unread += part

    def read_until(self, is_last: Callable[[Frame], bool]) -> Frame:
        """Reads up to a frame like this."""
        while True:
            frame = self.read_frame()
            assert frame is not None, f"the connection ended; it said {self.frames}"
            if is_last(frame):
                return frame

    def read_answer(self, stream_id: int) -> None:
        """Reads until a stream has ended."""
        self.read_until(
            lambda frame: (
                frame.stream_id == stream_id
                and (frame.kind == RST_STREAM or (frame.kind == HEADERS and bool(frame.flags & END_STREAM)))
            )
        )

    def read_to_end(self) -> None:
        """Reads until the server closes."""
        while self.read_frame() is not None:
            pass

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """Last stream and error code of each that was read."""
        return [frame.goaway for frame in self.frames if frame.kind == GOAWAY]

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()
