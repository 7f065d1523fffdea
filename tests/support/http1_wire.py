"""The HTTP/1.1 wire before a toy API, on a loop and a thread of its own, and sockets to attack it with."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.gathered import Road
from hotserve.wires.http1 import Http1Wire, no_road
from hotserve.wires.http1_limits import Http1Limits

T = TypeVar("T")
PATIENCE_SECONDS = 30.0
MAX_MESSAGE_BYTES = 1_000_000


class ToyApi:
    """Says what it got. `/wait` answers when told to, `/turn` after a turn of the loop, `/big/N` with N bytes."""

    def __init__(self) -> None:
        self.requests: list[RestRequest] = []
        self.cancelled = 0
        self.waiting = 0
        self.go = asyncio.Event()

    async def handle(self, request: RestRequest) -> RestResponse:
        self.requests.append(request)
        path = request.path
        if path == "/turn":
            await asyncio.sleep(0)
        elif path == "/wait":
            self.waiting += 1
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        elif path == "/fail":
            raise RuntimeError("a fault")
        elif path == "/bad-header":
            return RestResponse(200, b"{}", headers={"x-bad": "a\r\nset-cookie: b"})
        elif path == "/headers":
            return RestResponse(429, b"{}", "text/plain", {"access-control-allow-origin": "*", "vary": "Origin"})
        elif path.startswith("/big/"):
            return RestResponse(200, b"x" * int(path[5:]), "application/octet-stream")
        said = [
            request.method,
            path,
            dict(request.headers),
            len(request.body),
            hashlib.sha256(request.body).hexdigest(),
        ]
        return RestResponse(200, json.dumps(said).encode())

    def refuse_body(self, request: RestRequest) -> RestResponse:
        return RestResponse(413, json.dumps(["refused", request.method, request.path]).encode())


class WireServer:
    """A context manager.

    Attributes:
        wire: What is under test.
        api: What it hands requests to.
        address: Where it listens: a port on 127.0.0.1, or the path of a Unix socket.
    """

    def __init__(
        self,
        limits: Http1Limits | None = None,
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        unix_path: str | None = None,
        encryption: ssl.SSLContext | None = None,
        http2_factory: Callable[[], asyncio.Protocol] | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
        road_of: Callable[[str, str, Mapping[str, str]], Road | None] = no_road,
    ) -> None:
        self.api = ToyApi()
        self.address: int | str = unix_path or 0
        self.faults: list[dict[str, Any]] = []
        self._encryption = encryption
        self._loop = new_loop()
        self._loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self.wire = Http1Wire(
            self.api,
            self._loop,
            max_message_bytes=max_message_bytes,
            limits=limits,
            http2_factory=http2_factory,
            road_of=road_of,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> WireServer:
        self._thread.start()
        self.do(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self.do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()
        if error[0] is None:
            assert self.faults == []

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs it on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """Calls it on the server's loop."""

        async def called() -> T:
            return function()

        return self.do(called())

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Waits until the condition, looked at on the server's loop, holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.call(condition):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.002)

    def connect(self) -> socket.socket:
        if isinstance(self.address, str):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE_SECONDS)
            client.connect(self.address)
            return client
        return socket.create_connection(("127.0.0.1", self.address), PATIENCE_SECONDS)

    def exchange(self, *pieces: bytes) -> bytes:
        """Sends the pieces one by one, each once the one before has been read; all that comes back until the end."""
        with self.connect() as client:
            # A server that has enough hangs up; what it says comes all the same.
            with contextlib.suppress(ConnectionError):
                for number, piece in enumerate(pieces):
                    if number:
                        self.do(asyncio.sleep(0.002))
                    client.sendall(piece)
            return read_to_end(client)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        if isinstance(self.address, str):
            self._server = await self._loop.create_unix_server(self.wire, self.address)
            return
        self._server = await self._loop.create_server(self.wire, "127.0.0.1", 0, ssl=self._encryption)
        self.address = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        self.wire.abort()
        assert await self.wire.wait_idle(PATIENCE_SECONDS)


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the server closes; a reset ends it as well."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := client.recv(1 << 20):
            received += data
    return bytes(received)


@dataclass(frozen=True)
class Answer:
    """One answer; header names in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def said(self) -> Any:
        """What the toy API said."""
        return json.loads(self.body)


def answers(data: bytes, *methods: str) -> list[Answer]:
    """Reads answers but `100 Continue`; `methods` are those of the requests, if any is HEAD."""
    return list(_answers(data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""), methods))


def _answers(data: bytes, methods: tuple[str, ...]) -> Iterator[Answer]:
    number = 0
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"expected an answer, got {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ([^\r\n]+)", first)
        assert match, first
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if methods[number : number + 1] == ("HEAD",) else int(headers["content-length"])
        assert len(data) >= length, "the body is cut off"
        yield Answer(int(match[1]), match[2], headers, data[:length])
        data = data[length:]
        number += 1
