"""One gRPC call on an HTTP/2 connection, once all of its request is there: from its message to its last trailer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Protocol

from hotserve.api.codec_threads import CodecThreads
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import CallRoad
from hotserve.errors import Code, DeadlineExceeded, Internal, ServingError
from hotserve.wires.eager import Pending, start
from hotserve.wires.grpc_heads import OK_TRAILERS, CallHead, ErrorAnswers, error_answer
from hotserve.wires.http2_connection import Http2Connection

logger = logging.getLogger(__name__)


class Services(Protocol):
    """What answers calls: `hotserve.api.grpc_services.GrpcServices`, or the like of it."""

    @property
    def streaming(self) -> Mapping[str, Callable[[GrpcRequest], AsyncGenerator[bytes, None]]]:
        """Methods that answer one message with several."""
        ...

    @property
    def roads(self) -> Mapping[str, CallRoad]:
        """The path of a method -> where calls of it are handed in first."""
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
    error_answers: ErrorAnswers

    def send_soon(self) -> None:
        """Sends what the connection has for its client, at the end of this turn of the loop at the latest."""
        ...

    async def wait_sent(self, stream_id: int) -> None:
        """Waits until little of an answer is left to be sent."""
        ...

    def call_ended(self, call: Call) -> None:
        """No work goes on for this call any more."""
        ...

    def call_waits(self, call: Call) -> None:
        """A call that had gathered with others has to wait for its answer after all."""
        ...


class Call:
    """A call with one message, which is there, and an answer with one, which is not packed.

    Attributes:
        stream_id: The number of its stream.
        deadline: When its client stops waiting, by the clock of the loop; None for never.
        is_over: Whether its client has the end of the answer, or wants none.
        deadline_tick: What `Deadlines.add` said; None if it was not asked.
        pending: What goes on with it while it waits; None if it does not.
    """

    __slots__ = ("_carrier", "_head", "deadline", "deadline_tick", "is_over", "pending", "stream_id")

    def __init__(self, carrier: Carrier, stream_id: int, head: CallHead, now: float) -> None:
        self.stream_id = stream_id
        self.deadline = None if head.timeout_seconds is None else now + head.timeout_seconds
        self.deadline_tick: int | None = None
        self.pending: Pending | None = None
        self._carrier = carrier
        self._head = head
        self.is_over = False

    @property
    def waits_since(self) -> float | None:
        """When a part of its request came last; None if all of it has, or if it may take its time."""
        return None

    def perform(self, message: bytes) -> None:
        """Makes the call; if it has to wait, `pending` is set afterwards, or it is on a road.

        Args:
            message: What it sends, unpacked.
        """
        road = self._head.road
        is_late = self.deadline is not None and self.deadline <= self._carrier.loop.time()
        if road is None or is_late or not road.take(message, self, self._head.timeout_seconds):
            self._run(self._carrier.services.call(self._request(message)), self._answered)

    def is_refused(self, message: bytes) -> bool:
        """Refuses the call if too many like it wait; see `Road.refusal`. Returns whether it did."""
        road = self._head.road
        error = None if road is None else road.refusal(message, len(message), self._head.timeout_seconds)
        if error is None:
            return False
        self.refuse(error)
        return True

    def _request(self, message: bytes) -> GrpcRequest:
        timeout = None if self.deadline is None else max(0.0, self.deadline - self._carrier.loop.time())
        return GrpcRequest(self._head.path, message, timeout)

    def _run(self, work: Coroutine[Any, Any, Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self.pending = start(work, self._carrier.loop, done)

    # What a road calls.

    def answer(self, body: bytes) -> None:
        """See `Client.answer`."""
        if not self.is_over:
            self.is_over = True
            self._carrier.http2.answer_call(self.stream_id, self._head.header, body, OK_TRAILERS)
        self._carrier.call_ended(self)

    def refuse(self, error: ServingError) -> None:
        """See `Client.refuse`."""
        if not self.is_over:
            self.is_over = True
            self._carrier.http2.fail_call(self.stream_id, self._carrier.error_answers.block(error))
        self._forget()

    def go_on(self, message: bytes, work: Callable[[GrpcRequest], Coroutine[Any, Any, bytes]]) -> None:
        """See `Client.go_on`."""
        if self.is_over:
            return  # the client has given up
        self._run(work(self._request(message)), self._answered)
        if self.pending is None:
            self._forget()
        else:
            self._carrier.call_waits(self)

    # The answer.

    def _answered(self, message: bytes | None, error: BaseException | None) -> None:
        if message is None or error is not None:
            self._ended(None, error)
            return
        if not self.is_over:
            self.is_over = True
            self._carrier.http2.answer_call(self.stream_id, self._head.header, message, OK_TRAILERS)
        if self.pending is not None:
            self._carrier.call_ended(self)

    def _ended(self, _: object, error: BaseException | None) -> None:
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
        self.is_over = True
        if self.pending is None:
            self._forget()
        else:
            self.pending.cancel()

    def _end(self, error: ServingError | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        if error is not None and error.code in (Code.INTERNAL, Code.UNKNOWN):
            logger.warning("Answering a call with %s", error)
        self._write_end(error)

    def _write_end(self, error: ServingError | None) -> None:
        """Ends the answer, with an error or without a message."""
        http2 = self._carrier.http2
        if error is None:
            http2.send_header(self.stream_id, self._head.header)
        http2.finish(self.stream_id, OK_TRAILERS if error is None else error_answer(error))

    def _forget(self) -> None:
        self._carrier.call_ended(self)
