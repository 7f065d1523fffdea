"""One gRPC call on an HTTP/2 connection, from its header to its last trailer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from hotserve.api.codec_threads import LARGE_BYTES, LARGE_PACKED_BYTES, LARGE_TEXT_BYTES, CodecThreads
from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_framing import Frames, frame, frame_parts, unframe
from hotserve.errors import Code, DeadlineExceeded, Internal, ServingError
from hotserve.wires.eager import Pending, start
from hotserve.wires.grpc_heads import OK_TRAILERS, CallHead, error_answer, error_trailers
from hotserve.wires.grpc_inbox import Inbox
from hotserve.wires.grpc_message import MessageParts
from hotserve.wires.http2_connection import Http2Connection

logger = logging.getLogger(__name__)


class Services(Protocol):
    """What answers calls: `hotserve.api.grpc_services.GrpcServices`, or the like of it."""

    @property
    def streaming(self) -> Mapping[str, Callable[[GrpcRequest], AsyncGenerator[bytes, None]]]:
        """Methods that answer one message with several."""
        ...

    @property
    def bidirectional(self) -> Mapping[str, Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]]:
        """Methods that answer several messages with several."""
        ...

    def call(self, request: GrpcRequest) -> Coroutine[Any, Any, bytes]:
        """Answers one message with one; raises `ServingError` for any other method, too."""
        ...


class Carrier(Protocol):
    """The connection, as far as a call needs it."""

    services: Services
    max_message_bytes: int
    http2: Http2Connection
    loop: asyncio.AbstractEventLoop
    codec_threads: CodecThreads

    def send_soon(self) -> None:
        """Sends what the connection has for its client, at the end of this turn of the loop at the latest."""
        ...

    async def wait_sent(self, stream_id: int) -> None:
        """Waits until little of an answer is left to be sent."""
        ...

    def call_ended(self, call: Call) -> None:
        """No work goes on for this call any more."""
        ...


class Call:
    """One call.

    Attributes:
        stream_id: The number of its stream.
        deadline: When its client stops waiting, by the clock of the loop; None for never.
        deadline_tick: What `Deadlines.add` said; None if it was not asked.
        complete: Whether all of its request has come.
        progress_at: When a part of its request came last.
    """

    __slots__ = (
        "_carrier",
        "_framed",
        "_head",
        "_inbox",
        "_over",
        "_parts",
        "_started",
        "_task",
        "complete",
        "deadline",
        "deadline_tick",
        "progress_at",
        "stream_id",
    )

    def __init__(self, carrier: Carrier, stream_id: int, head: CallHead, now: float) -> None:
        self.stream_id = stream_id
        self.deadline = None if head.timeout_seconds is None else now + head.timeout_seconds
        self.deadline_tick: int | None = None
        self.complete = False
        self.progress_at = now
        self._carrier = carrier
        self._head = head
        self._parts: MessageParts | None = None
        self._inbox: Inbox | None = None
        self._task: Pending | None = None
        self._framed: tuple[bytes, bytes] | None = None  # the answer, where packing it takes long
        self._started = False  # whether the header of the answer has gone
        self._over = False  # whether its client has the end of the answer, or wants none

    @property
    def is_conversation(self) -> bool:
        """Whether it began with its header, and may take its time between messages."""
        return self._inbox is not None

    # The request.

    def begin(self) -> None:
        """Begins what need not wait for the message."""
        conversation = self._carrier.services.bidirectional.get(self._head.path)
        if conversation is not None:
            frames = Frames(self._head.encoding, self._carrier.max_message_bytes)
            self._inbox = Inbox(frames, self._carrier.loop, self._take)
            self._run(self._send_all(conversation(self._inbox)), self._streamed)

    def feed(self, data: bytes, ended: bool, now: float) -> None:
        """Takes a part of the request."""
        self.complete = ended
        self.progress_at = now
        if self._inbox is not None:
            self._inbox.feed(data, ended)
            return
        carrier, encoding = self._carrier, self._head.encoding
        carrier.http2.take(self.stream_id, len(data))
        try:
            if self._parts is None:
                if ended and (len(data) < LARGE_PACKED_BYTES or (encoding != "gzip" and len(data) < LARGE_BYTES)):
                    self._perform(unframe(data, encoding, carrier.max_message_bytes))
                    return
                self._parts = MessageParts(encoding, carrier.max_message_bytes)
            self._parts.add(data)
            if ended:
                parts, self._parts = self._parts, None
                if parts.is_large:
                    self._run(self._join_and_call(parts), self._answered)
                else:
                    self._perform(parts.message())
        except ServingError as error:
            self._end(error)
            self._forget()

    def _take(self, size: int) -> None:
        self._carrier.http2.take(self.stream_id, size)
        self._carrier.send_soon()

    # The answer.

    def _perform(self, message: bytes) -> None:
        carrier = self._carrier
        request = self._request(message)
        stream = carrier.services.streaming.get(request.path)
        if stream is not None:
            self._run(self._send_all(stream(request)), self._streamed)
        elif self._head.pack:
            self._run(self._call_and_pack(request), self._answered)
        else:
            self._run(carrier.services.call(request), self._answered)

    def _request(self, message: bytes) -> GrpcRequest:
        timeout = None if self.deadline is None else max(0.0, self.deadline - self._carrier.loop.time())
        return GrpcRequest(self._head.path, message, timeout)

    async def _join_and_call(self, parts: MessageParts) -> bytes:
        message = await self._carrier.codec_threads.run(parts.message)
        parts.clear()
        return await self._call_and_pack(self._request(message))

    async def _call_and_pack(self, request: GrpcRequest) -> bytes:
        message = await self._carrier.services.call(request)
        if self._head.pack and len(message) >= LARGE_TEXT_BYTES:
            self._framed = await self._carrier.codec_threads.run(frame_parts, message, pack=True)
        return message

    def _run(self, work: Coroutine[Any, Any, Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self._task = start(work, self._carrier.loop, done)

    def _answered(self, message: bytes | None, error: BaseException | None) -> None:
        if message is None or error is not None:
            self._streamed(None, error)
            return
        if not self._over:
            self._over = True
            prefix, message = self._framed or frame_parts(message, pack=self._head.pack)
            self._carrier.http2.answer(self.stream_id, self._head.header, (prefix, message), OK_TRAILERS)
        self._forget()

    async def _send_all(self, answers: AsyncGenerator[bytes, None]) -> None:
        carrier = self._carrier
        async with aclosing(answers):
            async for message in answers:
                if not self._started:
                    self._started = True
                    carrier.http2.send_header(self.stream_id, self._head.header)
                carrier.http2.send_data(self.stream_id, frame(message, pack=self._head.pack))
                carrier.send_soon()
                await carrier.wait_sent(self.stream_id)
                await asyncio.sleep(0)  # thousands of questions may be there already: others want their turn

    def _streamed(self, _: object, error: BaseException | None) -> None:
        if error is None or isinstance(error, ServingError):
            self._end(error)
        elif isinstance(error, asyncio.CancelledError):
            self._end(ServingError("The call was cancelled.", Code.CANCELLED))
        else:  # the edge: a fault of ours must reach the client as a status
            logger.error("%s failed", self._head.path, exc_info=error)
            self._end(Internal(f"{type(error).__name__}: {error}. This is a fault of the server; see its log."))
        self._forget()

    # Ends.

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline_tick = None
        self.fail(DeadlineExceeded("Deadline exceeded: the client's deadline passed before there was an answer."))

    def fail(self, error: ServingError) -> None:
        """Answers with an error, whatever goes on."""
        self._end(error)
        self._carrier.send_soon()
        self.cancel()

    def cancel(self) -> None:
        """Stops working on it: nobody wants the answer."""
        self._over = True
        if self._task is None:
            self._forget()
        else:
            self._task.cancel()

    def _end(self, error: ServingError | None) -> None:
        if self._over:
            return
        self._over = True
        http2, stream_id = self._carrier.http2, self.stream_id
        if error is None:
            if not self._started:
                http2.send_header(stream_id, self._head.header)
            http2.finish(stream_id, OK_TRAILERS)
        else:
            if error.code in (Code.INTERNAL, Code.UNKNOWN):
                logger.warning("Answering a call with %s", error)
            http2.finish(stream_id, error_trailers(error) if self._started else error_answer(error))

    def _forget(self) -> None:
        self._parts = None
        self._carrier.call_ended(self)
