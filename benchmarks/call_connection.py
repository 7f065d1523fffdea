"""The clients of `hotserve bench` on asyncio, for programs that do other things beside their calls."""

from __future__ import annotations

import asyncio
from typing import cast

from workloads import Workload

from hotserve.loadgen.exchange import Answer, BrokenAnswer, Client, Request
from hotserve.loadgen.grpc_client import GrpcClient
from hotserve.loadgen.http1_client import Http1Client


class StatusError(ValueError):
    """An answer is an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"expected an answer, got status {answer.error}: {answer.body[:500]!r}")


class CallConnection(asyncio.Protocol):
    """One connection, and one call after the other of the same kind."""

    def __init__(self, client: Client, path: str, content_type: str = "application/json") -> None:
        """Begins without a transport.

        Args:
            client: What speaks on it; one that nobody has used.
            path: What to post to, or the full name of the method.
            content_type: Of the body of an HTTP request.
        """
        self._client = client
        self._path = path
        self._content_type = content_type
        self._settled = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None

    async def call(self, body: bytes) -> bytes:
        """Sends one request; returns the body of the answer.

        Raises:
            ConnectionError: The server has hung up, or has sent what is no answer.
            StatusError: The answer is an error.
        """
        assert self._transport is not None, "call() before the connection is made"
        await self._settled
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._client.request(Request(self._path, body, self._content_type)))
        return await self._answer

    def close(self) -> None:
        """Hangs up; a call that waits for its answer fails."""
        assert self._transport is not None, "close() before the connection is made"
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not say that they are
        self._transport.write(self._client.opening())
        self._look_whether_settled()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"the server has closed the connection ({exc or 'in order'})"))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            answer = self._client.receive(data)
        except BrokenAnswer as error:
            self._fail(ConnectionError(str(error)))
            self._transport.close()
            return
        if self._client.has_reply:
            self._transport.write(self._client.reply())
            self._look_whether_settled()
        if answer is None or self._answer is None or self._answer.done():
            return
        if answer.error:
            self._answer.set_exception(StatusError(answer))
        else:
            self._answer.set_result(answer.body)

    def _look_whether_settled(self) -> None:
        if self._client.is_settled and not self._settled.done():
            self._settled.set_result(None)

    def _fail(self, error: Exception) -> None:
        for waiting in (self._settled, self._answer):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)


async def connect(work: Workload, wire: str, host: str, port: int) -> CallConnection:
    """Opens a connection for the requests of a workload."""
    authority = f"{host}:{port}"

    def connection() -> CallConnection:
        client: Client = Http1Client(authority) if wire == "rest" else GrpcClient(authority)
        return CallConnection(client, work.path, work.content_type)

    _, made = await asyncio.get_running_loop().create_connection(connection, host, port)
    return made
