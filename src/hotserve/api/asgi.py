"""The one ASGI application that carries both APIs, for embedding in a server that speaks ASGI.

gRPC on ASGI is HTTP/2 with five bytes of framing and a trailer, so that the same application answers both: a request
whose content type is `application/grpc` is a call, anything else is REST.

Source: ASGI 3.0 HTTP & WebSocket message format, with the http.response.trailers extension.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.api.grpc_framing import (
    PREFIX_BYTES,
    Frames,
    frame,
    is_grpc,
    packs_answers,
    parse_timeout,
    too_large,
    trailers_of,
    unframe,
)
from hotserve.api.grpc_services import GrpcServices
from hotserve.api.rest import RestApi
from hotserve.codecs.json_response import encode_error
from hotserve.errors import Code, DeadlineExceeded, Internal, ServingError

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_Arrived = asyncio.Queue[bytes | ServingError | None]
"""The messages of a stream; at its end None, or what is wrong with it."""


_NO_TRAILERS = (
    "A gRPC call needs HTTP/2 and a client that takes trailers (te: trailers); this one came without. REST requests"
    " have the content type application/json."
)


class _Gone(Exception):
    """The client has left before its request was whole."""


class _TooLarge(Exception):
    """The body is over the limit; `size` is how much of it had come."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class AsgiApp:
    """Translates ASGI events to calls of the two APIs, and back."""

    def __init__(
        self, rest: RestApi, grpc: GrpcServices, max_message_bytes: int, is_stopping: Callable[[], bool]
    ) -> None:
        """Makes the application.

        Args:
            rest: Answers REST.
            grpc: Answers gRPC.
            max_message_bytes: The largest body.
            is_stopping: Whether HTTP/1.1 clients are to be told that their connection ends with this answer.
        """
        self._rest = rest
        self._grpc = grpc
        self._max_message_bytes = max_message_bytes
        self._is_stopping = is_stopping

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: HTTP status 403
            return
        if scope["type"] != "http":
            # As the specification asks of an application without the lifespan protocol.
            raise NotImplementedError(f"hotserve speaks HTTP, not {scope['type']}")
        headers = _headers(scope)
        try:
            if not is_grpc(headers.get("content-type")):
                await self._rest_exchange(scope, headers, receive, send)
            elif "http.response.trailers" in (scope.get("extensions") or {}):
                await self._call(scope, headers, receive, send)
            else:
                await self.send_rest(scope, send, RestResponse(400, encode_error(_NO_TRAILERS)))
        except (_Gone, OSError):  # servers raise an OSError when an answer comes after its client has gone
            logger.debug("The client of %s %s left before it had its answer", scope["method"], scope["path"])

    # REST.

    async def _rest_exchange(self, scope: Message, headers: dict[str, str], receive: Receive, send: Send) -> None:
        # Where a server does not hand over the path as it came, its own decoding is undone.
        path = (scope.get("raw_path") or b"").decode("latin-1") or quote(scope["path"], safe="/:")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        request = RestRequest(scope["method"], path, headers)
        try:
            body = await _read_body(receive, self._max_message_bytes)
        except _TooLarge as error:
            logger.info("%s %s: the body is too large (%d bytes had come)", request.method, request.path, error.size)
            await self.send_rest(scope, send, self._rest.refuse_body(request))
            return
        await self.send_rest(scope, send, await self._rest.handle(replace(request, body=body)))

    async def send_rest(self, scope: Message, send: Send, response: RestResponse) -> None:
        """Sends an answer to a REST request."""
        headers = [
            (b"content-type", response.content_type.encode("latin-1")),
            (b"content-length", str(len(response.body)).encode()),
        ]
        headers += [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        if self._is_stopping() and scope["http_version"].startswith("1"):
            # The client sends its next request elsewhere, instead of into a connection that is about to close.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    # gRPC.

    async def _call(self, scope: Message, headers: dict[str, str], receive: Receive, send: Send) -> None:
        reply = _GrpcReply(send, pack=packs_answers(headers.get("grpc-encoding")))
        try:
            timeout_seconds = parse_timeout(headers.get("grpc-timeout"))
            encoding = headers.get("grpc-encoding", "identity")
            conversation = self._grpc.bidirectional.get(scope["path"])
            if conversation is not None:
                arrived: _Arrived = asyncio.Queue(1)
                frames = Frames(encoding, self._max_message_bytes)
                answering = reply.all_of(conversation(_taken(arrived)))
                await _until_gone(answering, _hand_on(receive, frames, arrived), timeout_seconds)
                return
            body = await _read_body(receive, self._max_message_bytes + PREFIX_BYTES)
            message = unframe(body, encoding, self._max_message_bytes)
            request = GrpcRequest(scope["path"], message, timeout_seconds)
            await _until_gone(self._perform(request, reply), _wait_until_gone(receive), timeout_seconds)
        except _TooLarge as error:
            await reply.end(too_large(error.size - PREFIX_BYTES, self._max_message_bytes))
        except ServingError as error:
            await reply.end(error)
        except (_Gone, OSError):
            raise
        except Exception as error:  # the edge: a fault of ours must reach the client as a status
            logger.exception("%s failed", scope["path"])
            await reply.end(Internal(f"{type(error).__name__}: {error}. This is a fault of the server; see its log."))

    async def _perform(self, request: GrpcRequest, reply: _GrpcReply) -> None:
        stream = self._grpc.streaming.get(request.path)
        if stream is None:
            await reply.message(await self._grpc.call(request))
        else:
            await reply.all_of(stream(request))
            return
        await reply.end(None)


class _GrpcReply:
    """Sends the headers once, any number of messages, and the trailers once."""

    def __init__(self, send: Send, pack: bool) -> None:
        self._send = send
        self._pack = pack
        self._started = False

    async def message(self, message: bytes) -> None:
        await self._start()
        body = frame(message, pack=self._pack)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def all_of(self, answers: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(answers):
            async for message in answers:
                await self.message(message)
        await self.end(None)

    async def end(self, error: ServingError | None) -> None:
        await self._start()
        if error is not None and error.code in (Code.INTERNAL, Code.UNKNOWN):
            logger.warning("Answering a call with %s", error)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        await self._send({"type": "http.response.trailers", "headers": trailers_of(error), "more_trailers": False})

    async def _start(self) -> None:
        if self._started:
            return
        self._started = True
        headers = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip")]
        if self._pack:
            headers.append((b"grpc-encoding", b"gzip"))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})


def _headers(scope: Message) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _TooLarge(size)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _until_gone(
    answering: Coroutine[Any, Any, None], watching: Coroutine[Any, Any, None], timeout_seconds: float | None
) -> None:
    """Answers beside a watch on the client: whoever hangs up has no further interest in the answer."""
    work = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(watching)
    try:
        await asyncio.wait((work, gone), timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        elif gone.done():
            gone.result()
        else:
            raise DeadlineExceeded("Deadline exceeded: the client's deadline passed before there was an answer.")
    finally:
        work.cancel()
        gone.cancel()


async def _hand_on(receive: Receive, frames: Frames, arrived: _Arrived) -> None:
    """Hands messages on as they come, no faster than they are taken; returns when the client has gone."""
    try:
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            for message in frames.feed(event.get("body", b"")):
                await arrived.put(message)
            more = event.get("more_body", False)
        frames.finish()
        await arrived.put(None)
    except ServingError as error:
        await arrived.put(error)
    await _wait_until_gone(receive)


async def _taken(arrived: _Arrived) -> AsyncGenerator[bytes, None]:
    while (message := await arrived.get()) is not None:
        if isinstance(message, ServingError):
            raise message
        yield message


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
