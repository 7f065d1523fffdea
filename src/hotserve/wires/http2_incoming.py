"""What each frame of an HTTP/2 client does: to the streams, to what is to be sent, and which events it makes.

Source: RFC 9113. Numbers of sections in the comments are its.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hpack import HPACKError, OversizedHeaderListError

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_calls import WholeCall
from hotserve.wires.http2_events import (
    DataReceived,
    Event,
    HeaderTooLarge,
    PingAnswered,
    RequestReceived,
    StreamReset,
)
from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import LARGEST_NUMBER, ErrorCode
from hotserve.wires.http2_headers import HeaderReader, HeaderTooLargeError, MalformedRequest
from hotserve.wires.http2_inflow import Inflow
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_patience import Patience
from hotserve.wires.http2_stream import Stream
from hotserve.wires.http2_streams import Streams

_MOST_CONTINUATIONS: Final = 64
"""More parts than these has no header that is meant to be read."""


class Incoming:
    """Takes the frames of one client, whole and in order.

    Attributes:
        events: What they mean; whoever hands frames over sets it, and reads it afterwards. There only meanwhile.
        is_settled: Whether the client has said what a client says first.
        is_regular: Whether the next frame may be any: the client has said that, and no header is unfinished.
    """

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_stream",
        "_continuations",
        "_headers",
        "_inflow",
        "_outbox",
        "_patience",
        "_streams",
        "events",
        "is_regular",
        "is_settled",
    )

    def __init__(
        self, streams: Streams, inflow: Inflow, outbox: Outbox, patience: Patience, headers: HeaderReader
    ) -> None:
        """Has seen no frame yet.

        Args:
            streams: Those of the connection.
            inflow: Its room for what comes.
            outbox: Has what is to be sent.
            patience: How much may lead to nothing.
            headers: Reads header blocks.
        """
        self.events: list[Event | WholeCall]
        self.is_settled = False
        self.is_regular = False
        self._streams = streams
        self._inflow = inflow
        self._outbox = outbox
        self._patience = patience
        self._headers = headers
        # A header that comes in parts.
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = self._continuations = 0

    def take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Takes a frame.

        Args:
            kind: Its type.
            flags: Its flags.
            stream_id: Its stream, without the reserved bit.
            payload: What it carries.

        Raises:
            Http2Failure: It ends the connection.
        """
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "a header is not finished before the next frame")
        if not self.is_settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self.is_settled = self.is_regular = True
        handler = _HANDLERS.get(kind)
        if handler is None:
            self._patience.count_idle_frame()
        else:
            handler(self, flags, stream_id, payload)

    def stop(self) -> None:
        """Drops what has come of a header, because the connection has failed."""
        self._block = None
        self.is_regular = False

    # Bodies.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "DATA without a stream")
        inflow, length = self._inflow, len(payload)
        inflow.receive(length)
        data = _unpadded(payload) if flags & frames.PADDED else payload
        ended = bool(flags & frames.END_STREAM)
        stream = self._streams.find(stream_id)
        if stream is None:
            inflow.take(length)
            self._patience.count_idle_frame()
            self._streams.check_closed(stream_id, ended)
            return
        if stream.remote_ended:
            inflow.take(length)
            self._end_by_error(stream, ErrorCode.STREAM_CLOSED)
            return
        if length > stream.receive_window:
            inflow.take(length)
            self._end_by_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.receive_window -= length
        stream.untaken += length
        if len(data) != length:
            inflow.take_of(stream, length - len(data))
        if data:
            self._patience.idle_frames.restore()
        elif not ended:
            self._patience.count_idle_frame()
            return
        self._body(stream, data, ended)

    def _body(self, stream: Stream, data: bytes, ended: bool) -> None:
        if stream.expected is not None:
            stream.expected -= len(data)
            if stream.expected < 0 or (ended and stream.expected):
                self._end_by_error(stream, ErrorCode.PROTOCOL_ERROR)
                return
        stream.remote_ended = ended
        self.events.append(DataReceived(stream.number, data, ended))

    # Headers.

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}; a client's are odd")
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._header_block(stream_id, flags, payload)
            return
        self._check_block_size(len(payload))
        self._block = bytearray(payload)
        self.is_regular = False
        self._block_stream, self._block_flags, self._continuations = stream_id, flags, 0

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._continuations += 1
        if self._continuations > _MOST_CONTINUATIONS:
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header in too many parts")
        self._check_block_size(len(self._block) + len(payload))
        self._block += payload
        if flags & frames.END_HEADERS:
            block, self._block = bytes(self._block), None
            self.is_regular = True
            self._header_block(stream_id, self._block_flags, block)

    def _check_block_size(self, size: int) -> None:
        if size > self._headers.max_block_bytes:
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header far over the limit")

    def _header_block(self, stream_id: int, flags: int, block: bytes) -> None:
        self._check_block_size(len(block))
        ended = bool(flags & frames.END_STREAM)
        streams = self._streams
        stream = streams.find(stream_id)
        try:
            if stream is not None:
                self._trailers(stream, ended, block)
            elif stream_id <= streams.last_begun:
                self._headers.skip(block)
                self._patience.count_idle_frame()
                streams.check_closed(stream_id, ended)
            elif stream_id > streams.last_taken:
                # The client will learn from GOAWAY that this one was not taken, and send it elsewhere.
                self._headers.skip(block)
                self._patience.count_idle_frame()
            else:
                streams.last_begun = stream_id
                self._request(stream_id, ended, block)
        except OversizedHeaderListError as error:
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header far over the limit") from error
        except HPACKError as error:
            # Without hpack's words, which may have the address of a piece of memory.
            raise Http2Failure(ErrorCode.COMPRESSION_ERROR, "a header that HPACK cannot read") from error

    def _request(self, stream_id: int, ended: bool, block: bytes) -> None:
        too_large = 0
        try:
            head = self._headers.read_request(block)
        except HeaderTooLargeError as error:
            too_large = error.size
        except MalformedRequest:
            self._refuse(stream_id, ended, ErrorCode.PROTOCOL_ERROR)
            return
        if self._streams.room() <= 0:
            self._refuse(stream_id, ended, ErrorCode.REFUSED_STREAM)
            return
        expected = None if too_large else head.content_length
        if ended and expected:
            self._refuse(stream_id, ended, ErrorCode.PROTOCOL_ERROR)
            return
        self._streams.begin(stream_id, ended, expected)
        self._patience.idle_frames.restore()
        if too_large:
            self.events.append(HeaderTooLarge(stream_id, too_large))
        else:
            self.events.append(RequestReceived(stream_id, head, ended))

    def _trailers(self, stream: Stream, ended: bool, block: bytes) -> None:
        if stream.remote_ended or not ended:
            self._headers.skip(block)
            code = ErrorCode.STREAM_CLOSED if stream.remote_ended else ErrorCode.PROTOCOL_ERROR
            self._end_by_error(stream, code)
            return
        try:
            self._headers.read_trailers(block)
        except (MalformedRequest, HeaderTooLargeError):
            self._end_by_error(stream, ErrorCode.PROTOCOL_ERROR)
            return
        self._body(stream, b"", ended=True)

    # Of single streams.

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        self._patience.count_idle_frame()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        streams = self._streams
        streams.check_begun(stream_id, "RST_STREAM")
        if len(payload) != 4:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        stream = streams.find(stream_id)
        if stream is None:
            streams.forget(stream_id)
            self._patience.count_idle_frame()
            return
        self._patience.count_reset()
        streams.close(stream)
        streams.given_up[stream_id] = None
        self.events.append(StreamReset(stream_id, frames.read_number(payload), by_client=True))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
        increment = frames.read_number(payload) & LARGEST_NUMBER
        self._patience.count_idle_frame()
        if stream_id == 0:
            if increment == 0:
                raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            if not self._outbox.open_window(increment):
                raise Http2Failure(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
            return
        self._streams.check_begun(stream_id, "WINDOW_UPDATE")
        stream = self._streams.find(stream_id)
        if stream is None:
            return
        stream.send_window += increment
        if increment == 0:
            self._end_by_error(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window > LARGEST_NUMBER:
            self._end_by_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            self._outbox.mark(stream)

    # Of the connection.

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._patience.count_idle_frame()
        if flags & frames.ACK:
            if payload:
                raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            return
        if len(payload) % 6:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        first_window = self._streams.first_window
        for number, value in frames.read_settings(payload):
            if number == frames.HEADER_TABLE_SIZE:
                if value < frames.FIRST_HEADER_TABLE_BYTES:
                    self._outbox.shrink_table()
            elif number == frames.ENABLE_PUSH and value > 1:
                raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}")
            elif number == frames.INITIAL_WINDOW_SIZE:
                if value > LARGEST_NUMBER:
                    raise Http2Failure(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}")
                first_window = value
            elif number == frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_MAX_FRAME <= value <= frames.LARGEST_MAX_FRAME:
                    raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}")
                self._outbox.max_frame_bytes = value
        if first_window != self._streams.first_window:
            # Once a frame, however often it names the window: there may be thousands of settings, and hundreds of
            # streams.
            self._streams.change_first_window(first_window)
        self._reply(frames.SETTINGS_ACK)

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        self._patience.count_idle_frame()
        if flags & frames.ACK:
            self.events.append(PingAnswered(payload))
        else:
            self._reply(frames.ping_frame(payload, ack=True))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self._patience.count_idle_frame()  # what the client has begun, it still waits for

    def _reply(self, frame: bytes) -> None:
        self._patience.check_replies(self._outbox.unsent_replies)
        self._outbox.reply(frame)

    # Ends of streams.

    def _refuse(self, stream_id: int, ended: bool, code: ErrorCode) -> None:
        self._patience.count_reset()
        if not ended:
            self._streams.abandon(stream_id)
        self._reply(frames.rst_stream_frame(stream_id, code))

    def _end_by_error(self, stream: Stream, code: ErrorCode) -> None:
        self._patience.count_reset()
        self._streams.close(stream)
        if not stream.remote_ended:
            self._streams.abandon(stream.number)
        self._reply(frames.rst_stream_frame(stream.number, code))
        self._streams.given_up[stream.number] = None
        self.events.append(StreamReset(stream.number, code, by_client=False))


_HANDLERS: Final[Mapping[int, Callable[[Incoming, int, int, bytes], None]]] = {
    frames.DATA: Incoming._on_data,
    frames.HEADERS: Incoming._on_headers,
    frames.PRIORITY: Incoming._on_priority,
    frames.RST_STREAM: Incoming._on_rst_stream,
    frames.SETTINGS: Incoming._on_settings,
    frames.PUSH_PROMISE: Incoming._on_push_promise,
    frames.PING: Incoming._on_ping,
    frames.GOAWAY: Incoming._on_goaway,
    frames.WINDOW_UPDATE: Incoming._on_window_update,
    frames.CONTINUATION: Incoming._on_continuation,
}


def _unpadded(payload: bytes) -> bytes:
    padding = payload[0] if payload else len(payload)
    if padding >= len(payload):
        raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "more padding than there is payload")
    return payload[1 : len(payload) - padding]
