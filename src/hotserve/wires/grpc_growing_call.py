"""A gRPC call whose request comes in parts, or has several messages, or whose answer has or is packed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from hotserve.api.codec_threads import LARGE_BYTES, LARGE_PACKED_BYTES, LARGE_TEXT_BYTES
from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_framing import Frames, frame, frame_parts, unframe
from hotserve.errors import ServingError
from hotserve.wires.grpc_call import Call, Carrier
from hotserve.wires.grpc_heads import OK_TRAILERS, CallHead, error_trailers
from hotserve.wires.grpc_inbox import Inbox
from hotserve.wires.grpc_message import MessageParts


class GrowingCall(Call):
    """One call, from its header on.

    Attributes:
        complete: Whether all of its request has come.
    """

    __slots__ = ("_framed", "_inbox", "_parts", "_progress_at", "_started", "complete")

    def __init__(self, carrier: Carrier, stream_id: int, head: CallHead, now: float) -> None:
        super().__init__(carrier, stream_id, head, now)
        self.complete = False
        self._progress_at = now
        self._parts: MessageParts | None = None
        self._inbox: Inbox | None = None  # of a call that began with its header
        self._framed: tuple[bytes, bytes] | None = None  # the answer, where packing it takes long
        self._started = False  # whether the header of the answer has gone

    @property
    def waits_since(self) -> float | None:
        # A conversation may take its time between messages.
        return None if self.complete or self._inbox is not None else self._progress_at

    # The request.

    def begin(self) -> None:
        """Begins what need not wait for the message."""
        conversation = self._carrier.services.bidirectional.get(self._head.path)
        if conversation is not None:
            frames = Frames(self._head.encoding, self._carrier.max_message_bytes)
            self._inbox = Inbox(frames, self._carrier.loop, self._take)
            self._run(self._send_all(conversation(self._inbox)), self._ended)

    def feed(self, data: bytes, ended: bool, now: float) -> None:
        """Takes a part of the request."""
        self.complete = ended
        self._progress_at = now
        if self._inbox is not None:
            self._inbox.feed(data, ended)
            return
        carrier, encoding = self._carrier, self._head.encoding
        carrier.http2.take(self.stream_id, len(data))
        try:
            if self._parts is None:
                if ended and (len(data) < LARGE_PACKED_BYTES or (encoding != "gzip" and len(data) < LARGE_BYTES)):
                    self.perform(unframe(data, encoding, carrier.max_message_bytes))
                    return
                self._parts = MessageParts(encoding, carrier.max_message_bytes)
            self._parts.add(data)
            if ended:
                parts, self._parts = self._parts, None
                if parts.is_large:
                    self._run(self._join_and_call(parts), self._answered)
                else:
                    self.perform(parts.message())
        except ServingError as error:
            self._end(error)
            self._forget()

    def _take(self, size: int) -> None:
        self._carrier.http2.take(self.stream_id, size)
        self._carrier.send_soon()

    # The answer.

    def perform(self, message: bytes) -> None:
        stream = self._carrier.services.streaming.get(self._head.path)
        if stream is not None:
            self._run(self._send_all(stream(self._request(message))), self._ended)
        elif self._head.pack:
            self._run(self._call_and_pack(self._request(message)), self._answered)
        elif not self.is_refused(message):
            super().perform(message)

    async def _join_and_call(self, parts: MessageParts) -> bytes:
        message = await self._carrier.codec_threads.run(parts.message)
        parts.clear()
        return await self._call_and_pack(self._request(message))

    async def _call_and_pack(self, request: GrpcRequest) -> bytes:
        message = await self._carrier.services.call(request)
        if self._head.pack and len(message) >= LARGE_TEXT_BYTES:
            self._framed = await self._carrier.codec_threads.run(frame_parts, message, pack=True)
        return message

    def _answered(self, message: bytes | None, error: BaseException | None) -> None:
        if message is None or error is not None:
            self._ended(None, error)
            return
        if not self.is_over:
            self.is_over = True
            body = self._framed or frame_parts(message, pack=self._head.pack)
            self._carrier.http2.answer(self.stream_id, self._head.header, body, OK_TRAILERS)
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

    def _write_end(self, error: ServingError | None) -> None:
        if self._started:
            trailers = OK_TRAILERS if error is None else error_trailers(error)
            self._carrier.http2.finish(self.stream_id, trailers)
        else:
            super()._write_end(error)

    def _forget(self) -> None:
        self._parts = None
        super()._forget()
