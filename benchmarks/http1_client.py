"""One HTTP/1.1 connection that is kept alive: as little work as a client can do, so that servers get the processor."""

from __future__ import annotations

import asyncio
import re
from typing import cast

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class StatusError(ValueError):
    """An answer is an error.

    Attributes:
        status: The status of HTTP, or that of gRPC.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"expected an answer, got status {status}: {text}")
        self.status = status


class Http1Connection(asyncio.Protocol):
    """Posts one body after the other to one path."""

    def __init__(self, authority: str, path: str, content_type: str = "application/json") -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {authority}\r\naccept: */*\r\ncontent-type: {content_type}\r\n"
        ).encode()
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None

    async def call(self, body: bytes) -> bytes:
        """Sends one request; returns the body of the answer.

        Raises:
            ConnectionError: The server has hung up.
            StatusError: The status is not 200.
            ValueError: The answer has no content-length.
        """
        assert self._transport is not None, "call() before the connection is made"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not say that they are

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"the server has closed the connection ({exc or 'in order'})"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        # The head and the first of the two line ends after it: every header has a line end on both sides.
        length = _CONTENT_LENGTH.search(self._received, 0, head_end + 2)
        if length is None:
            self._fail(ValueError(f"expected a content-length, got {bytes(self._received[:head_end])!r}"))
            return
        end = head_end + len(_HEAD_END) + int(length[1])
        if len(self._received) < end:
            return
        head, body = bytes(self._received[:head_end]), bytes(self._received[head_end + len(_HEAD_END) : end])
        del self._received[:end]
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(StatusError(int(head.split(b" ")[1]), f"{head[:500]!r}, {body[:500]!r}"))
            return
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
