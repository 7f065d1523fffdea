"""The server's end of one HTTP/2 connection: bytes in and events out, calls in and bytes out.

No socket, no loop, no clock: whoever has them hands over what has come, asks what is to be sent, and says what time it
is. A connection that breaks the protocol ends with the error that the protocol has for it. One that keeps to it and
still wants no more than to keep the server busy ends, too: see `Http2Limits`.

Source: RFC 9113. Numbers of sections in the comments are its.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hpack import HPACKError, OversizedHeaderListError

from hotserve.api.grpc_framing import PREFIX_BYTES, frame_parts
from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_calls import WholeCall, read_calls
from hotserve.wires.http2_events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeaderTooLarge,
    PingAnswered,
    RequestReceived,
    StreamReset,
)
from hotserve.wires.http2_frames import FRAME_HEAD, FRAME_HEAD_BYTES, LARGEST_NUMBER, PREFACE, ErrorCode
from hotserve.wires.http2_headers import HeaderReader, HeaderTooLargeError, MalformedRequest
from hotserve.wires.http2_limits import Allowance, Http2Limits
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_stream import Stream

_KIND: Final = 3
"""Where the type of a frame stands in it."""

_MOST_CONTINUATIONS: Final = 64
"""More parts than these has no header that is meant to be read."""

_MOST_ABANDONED: Final = 1024
"""How many streams are remembered whose clients may not know yet that they have been reset."""


class _Failure(Exception):
    """The connection has to end."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Http2Connection:
    """One connection; see the module.

    Attributes:
        failed: Whether it has ended with an error.
        take_output: What is to be sent next; see `Outbox.take`.
    """

    def __init__(self, limits: Http2Limits, largest_message: int = 0) -> None:
        """Starts a connection; what is to be sent first can be had at once.

        Args:
            limits: What the client may ask for.
            largest_message: The largest message of gRPC that is handed over as a `WholeCall` where it comes so; 0 for
                none.
        """
        self.failed = False
        self._limits = limits
        self._headers = HeaderReader(limits.max_header_list_bytes)
        self._heads = self._headers.known
        self._idle_frames = Allowance(limits.idle_frames, limits.idle_frames_per_second)
        self._resets = Allowance(limits.resets, limits.resets_per_second)
        self._now = 0.0
        self._events: list[Event | WholeCall] = []
        # Received, and not read yet.
        self._unread = bytearray()
        self._needed = 1
        self._greeted = False
        self._settled = False
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = self._continuations = 0
        # Streams.
        self._streams: dict[int, Stream] = {}
        # Calls that came whole, and how much of an answer their clients take: all that there is to know of them.
        self._whole: dict[int, int] = {}
        largest = min(limits.max_frame_bytes, limits.stream_window_bytes, largest_message + PREFIX_BYTES)
        self._largest_whole = largest if largest_message and limits.idle_frames else 0
        self._is_regular = False  # whether the next frame may begin a call that is taken whole
        self._most_streams = limits.max_concurrent_streams
        self._abandoned: dict[int, None] = {}
        self._given_up: set[int] = set()
        self._last_stream = 0
        self._last_taken = LARGEST_NUMBER
        # Flow control.
        self._receive_window = limits.connection_window_bytes
        self._half_window = limits.connection_window_bytes >> 1
        self._taken = 0
        self._first_send_window = frames.FIRST_WINDOW
        self._outbox = Outbox(self._idle_frames.restore, self._answered)
        self.take_output = self._outbox.take
        self._outbox.put(
            frames.settings_frame(
                {
                    frames.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    frames.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    frames.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    frames.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
        )
        if limits.connection_window_bytes > frames.FIRST_WINDOW:
            self._outbox.put(frames.window_update_frame(0, limits.connection_window_bytes - frames.FIRST_WINDOW))
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # What is known.

    @property
    def open_streams(self) -> int:
        """How many requests have come and are not answered, all of the answer handed over."""
        return len(self._streams) + len(self._whole)

    @property
    def settled(self) -> bool:
        """Whether the client has said what a client says first."""
        return self._settled

    @property
    def is_ended(self) -> bool:
        """Whether `end` was called, all answers are handed over, and so is everything else."""
        return self._last_taken != LARGEST_NUMBER and not self.open_streams and not self._outbox.has_output

    @property
    def has_output(self) -> bool:
        """Whether `take_output` would return something."""
        return self._outbox.has_output

    @property
    def data_sent(self) -> int:
        """How much of the bodies of answers has been handed over."""
        return self._outbox.data_sent

    @property
    def is_stalled(self) -> bool:
        """Whether answers wait for the client to open its windows."""
        return not self.has_output and any(stream.waiting_bytes for stream in self._streams.values())

    def waiting_bytes(self, stream_id: int) -> int:
        """How much of an answer has not been handed over yet; 0 for a stream that is closed."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.waiting_bytes

    # Bytes in.

    def receive(self, data: bytes, now: float) -> list[Event | WholeCall]:
        """Takes what has come.

        Args:
            data: The next bytes of the client.
            now: Seconds of a clock that never goes back.

        Returns:
            What they mean, in order. `ConnectionFailed` is the last event that a connection has.
        """
        events = self._events = []
        self._now = now
        try:
            if self._is_regular and not self._unread:
                position = self._read_calls(data, 0)
                if position == len(data):
                    return events
                data = data[position:]
            self._receive(data)
        except _Failure as failure:
            self._fail(failure)
        return events

    def _receive(self, data: bytes) -> None:
        if self.failed:
            return
        if self._unread:
            self._unread += data
            if len(self._unread) < self._needed:
                return
            data = bytes(self._unread)
            self._unread.clear()
        position = self._read(data)
        if position < len(data):
            self._unread += memoryview(data)[position:]

    def _read(self, data: bytes) -> int:
        """Reads all frames that are whole; returns where the first one begins that is not."""
        size = len(data)
        position = 0
        if not self._greeted:
            if not data.startswith(PREFACE):
                if PREFACE.startswith(data):
                    return 0
                raise _Failure(ErrorCode.PROTOCOL_ERROR, "expected the preface of HTTP/2")
            self._greeted = True
            position = len(PREFACE)
        largest = self._limits.max_frame_bytes
        unpack = FRAME_HEAD.unpack_from
        while size - position >= FRAME_HEAD_BYTES:
            if self._is_regular and data[position + _KIND] == frames.HEADERS:
                after = self._read_calls(data, position)
                if after != position:
                    position = after
                    continue
            high, low, kind, flags, stream_id = unpack(data, position)
            length = high << 16 | low
            if length > largest:
                raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes; the limit is {largest}")
            start = position + FRAME_HEAD_BYTES
            position = start + length
            if position > size:
                self._needed = FRAME_HEAD_BYTES + length
                return start - FRAME_HEAD_BYTES
            self._read_frame(kind, flags, stream_id & LARGEST_NUMBER, data[start:position])
        self._needed = FRAME_HEAD_BYTES
        return position

    def _read_calls(self, data: bytes, position: int) -> int:
        """Takes what comes in whole calls; returns where it ends.

        The same as if each frame were read by itself, the window of the connection apart: it is opened by what all of
        them take, together.
        """
        outbox = self._outbox
        calls, position, used, opened, opened_last = read_calls(
            data,
            position,
            self._last_stream,
            self._heads,
            self._most_streams - len(self._streams) - len(self._whole) - len(self._given_up) - outbox.unsent_answers,
            self._receive_window,
            self._first_send_window,
            self._largest_whole,
        )
        if not calls:
            return position
        self._events += calls
        for number, _, _, window in calls:
            self._whole[number] = window
        self._last_stream = calls[-1][0]
        self._receive_window -= used
        self._taken += used
        if self._taken >= self._half_window:
            self._open_connection()
        idle_frames = self._idle_frames
        idle_frames.left = idle_frames.most
        if opened:
            if opened_last:
                self._count_idle_frame()
            if not outbox.open_window(opened):
                raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
        return position

    def _stream(self, stream_id: int) -> Stream | None:
        """What is known of a stream; None if it is not open."""
        window = self._whole.pop(stream_id, None)
        if window is None:
            return self._streams.get(stream_id)
        stream = self._streams[stream_id] = Stream(stream_id, window, self._limits.stream_window_bytes, None)
        stream.remote_ended = True
        return stream

    def _read_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "a header is not finished before the next frame")
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise _Failure(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settled = True
            self._is_regular = self._largest_whole > 0
        handler = self._handlers.get(kind)
        if handler is None:
            self._count_idle_frame()
        else:
            handler(flags, stream_id, payload)

    # Frames.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "DATA without a stream")
        length = len(payload)
        if length > self._receive_window:
            raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window of the connection takes")
        self._receive_window -= length
        data = _unpadded(payload) if flags & frames.PADDED else payload
        ended = bool(flags & frames.END_STREAM)
        stream = self._stream(stream_id)
        if stream is None:
            self._take_of_connection(length)
            self._count_idle_frame()
            self._on_closed(stream_id, ended)
            return
        if stream.remote_ended:
            self._take_of_connection(length)
            self._end_by_error(stream, ErrorCode.STREAM_CLOSED)
            return
        if length > stream.receive_window:
            self._take_of_connection(length)
            self._end_by_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.receive_window -= length
        stream.untaken += length
        if len(data) != length:
            self.take(stream_id, length - len(data))
        if data:
            self._idle_frames.restore()
        elif not ended:
            self._count_idle_frame()
            return
        self._body(stream, data, ended)

    def _body(self, stream: Stream, data: bytes, ended: bool) -> None:
        if stream.expected is not None:
            stream.expected -= len(data)
            if stream.expected < 0 or (ended and stream.expected):
                self._end_by_error(stream, ErrorCode.PROTOCOL_ERROR)
                return
        stream.remote_ended = ended
        self._events.append(DataReceived(stream.number, data, ended))

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}; a client's are odd")
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise _Failure(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._header_block(stream_id, flags, payload)
            return
        self._check_block_size(len(payload))
        self._block = bytearray(payload)
        self._is_regular = False
        self._block_stream, self._block_flags, self._continuations = stream_id, flags, 0

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._continuations += 1
        if self._continuations > _MOST_CONTINUATIONS:
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header in too many parts")
        self._check_block_size(len(self._block) + len(payload))
        self._block += payload
        if flags & frames.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._is_regular = self._largest_whole > 0 and self._last_taken == LARGEST_NUMBER
            self._header_block(stream_id, self._block_flags, block)

    def _check_block_size(self, size: int) -> None:
        if size > self._headers.max_block_bytes:
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header far over the limit")

    def _header_block(self, stream_id: int, flags: int, block: bytes) -> None:
        self._check_block_size(len(block))
        ended = bool(flags & frames.END_STREAM)
        stream = self._stream(stream_id)
        try:
            if stream is not None:
                self._trailers(stream, ended, block)
            elif stream_id <= self._last_stream:
                self._headers.skip(block)
                self._count_idle_frame()
                self._on_closed(stream_id, ended)
            elif stream_id > self._last_taken:
                # The client will learn from GOAWAY that this one was not taken, and send it elsewhere.
                self._headers.skip(block)
                self._count_idle_frame()
            else:
                self._last_stream = stream_id
                self._request(stream_id, ended, block)
        except OversizedHeaderListError as error:
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "a header far over the limit") from error
        except HPACKError as error:
            raise _Failure(ErrorCode.COMPRESSION_ERROR, f"a header that cannot be read: {error}") from error

    def _request(self, stream_id: int, ended: bool, block: bytes) -> None:
        too_large = 0
        try:
            head = self._headers.read_request(block)
        except HeaderTooLargeError as error:
            too_large = error.size
        except MalformedRequest:
            self._refuse(stream_id, ended, ErrorCode.PROTOCOL_ERROR)
            return
        at_work = len(self._streams) + len(self._whole) + len(self._given_up) + self._outbox.unsent_answers
        if at_work >= self._most_streams:
            self._refuse(stream_id, ended, ErrorCode.REFUSED_STREAM)
            return
        expected = None if too_large else head.content_length
        if ended and expected:
            self._refuse(stream_id, ended, ErrorCode.PROTOCOL_ERROR)
            return
        stream = Stream(stream_id, self._first_send_window, self._limits.stream_window_bytes, expected)
        stream.remote_ended = ended
        self._streams[stream_id] = stream
        self._idle_frames.restore()
        if too_large:
            self._events.append(HeaderTooLarge(stream_id, too_large))
        else:
            self._events.append(RequestReceived(stream_id, head, ended))

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

    def _on_closed(self, stream_id: int, ended: bool) -> None:
        """DATA or HEADERS on a stream that is not open."""
        if stream_id in self._abandoned:
            if ended:
                del self._abandoned[stream_id]
            return
        if stream_id > self._last_taken:
            return
        if stream_id > self._last_stream or not stream_id & 1:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {stream_id}, which has not begun")
        raise _Failure(ErrorCode.STREAM_CLOSED, f"a frame on stream {stream_id}, which has ended")

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        self._count_idle_frame()

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_begun(stream_id, "RST_STREAM")
        if len(payload) != 4:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        stream = self._stream(stream_id)
        if stream is None:
            self._abandoned.pop(stream_id, None)
            self._count_idle_frame()
            return
        self._count_reset()
        self._close(stream)
        self._given_up.add(stream_id)
        self._events.append(StreamReset(stream_id, frames.read_number(payload), by_client=True))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._count_idle_frame()
        if flags & frames.ACK:
            if payload:
                raise _Failure(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            return
        if len(payload) % 6:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        first_window = self._first_send_window
        for number, value in frames.read_settings(payload):
            if number == frames.HEADER_TABLE_SIZE:
                if value < frames.FIRST_HEADER_TABLE_BYTES:
                    self._outbox.shrink_table()
            elif number == frames.ENABLE_PUSH and value > 1:
                raise _Failure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}")
            elif number == frames.INITIAL_WINDOW_SIZE:
                if value > LARGEST_NUMBER:
                    raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}")
                first_window = value
            elif number == frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_MAX_FRAME <= value <= frames.LARGEST_MAX_FRAME:
                    raise _Failure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}")
                self._outbox.max_frame_bytes = value
        if first_window != self._first_send_window:
            self._change_first_window(first_window)
        self._reply(frames.SETTINGS_ACK)

    def _change_first_window(self, size: int) -> None:
        # Once a frame, however often it names the window: there may be thousands of settings, and hundreds of streams.
        change, self._first_send_window = size - self._first_send_window, size
        for stream in self._streams.values():
            stream.send_window += change
            if stream.send_window > LARGEST_NUMBER:
                raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, f"the window of stream {stream.number} is too large")
            self._outbox.mark(stream)
        for number, window in self._whole.items():
            self._whole[number] = window + change
            if window + change > LARGEST_NUMBER:
                raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, f"the window of stream {number} is too large")

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise _Failure(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        self._count_idle_frame()
        if flags & frames.ACK:
            self._events.append(PingAnswered(payload))
        else:
            self._reply(frames.ping_frame(payload, ack=True))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self._count_idle_frame()  # what the client has begun, it still waits for

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Failure(ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
        increment = frames.read_number(payload) & LARGEST_NUMBER
        self._count_idle_frame()
        if stream_id == 0:
            if increment == 0:
                raise _Failure(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            if not self._outbox.open_window(increment):
                raise _Failure(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
            return
        self._check_begun(stream_id, "WINDOW_UPDATE")
        stream = self._stream(stream_id)
        if stream is None:
            return
        stream.send_window += increment
        if increment == 0:
            self._end_by_error(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window > LARGEST_NUMBER:
            self._end_by_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            self._outbox.mark(stream)

    def _check_begun(self, stream_id: int, name: str) -> None:
        if stream_id == 0:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, f"{name} without a stream")
        if not stream_id & 1 or self._last_stream < stream_id <= self._last_taken:
            raise _Failure(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which has not begun")

    # What clients may not do too often.

    def _count_idle_frame(self) -> None:
        if not self._idle_frames.spend(self._now):
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that lead to nothing")

    def _count_reset(self) -> None:
        if not self._resets.spend(self._now):
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many streams that were reset")

    def _reply(self, frame: bytes) -> None:
        if self._outbox.unsent_replies >= self._limits.unsent_replies:
            raise _Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to reply to, and no replies read")
        self._outbox.reply(frame)

    # Ends.

    def _refuse(self, stream_id: int, ended: bool, code: ErrorCode) -> None:
        self._count_reset()
        if not ended:
            self._abandon(stream_id)
        self._reply(frames.rst_stream_frame(stream_id, code))

    def _end_by_error(self, stream: Stream, code: ErrorCode) -> None:
        self._count_reset()
        self._reset(stream, code)
        self._given_up.add(stream.number)
        self._events.append(StreamReset(stream.number, code, by_client=False))

    def _reset(self, stream: Stream, code: ErrorCode) -> None:
        self._close(stream)
        if not stream.remote_ended:
            self._abandon(stream.number)
        self._reply(frames.rst_stream_frame(stream.number, code))

    def _abandon(self, stream_id: int) -> None:
        if len(self._abandoned) >= _MOST_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]
        self._abandoned[stream_id] = None

    def _close(self, stream: Stream) -> None:
        del self._streams[stream.number]
        self._outbox.drop(stream)
        if stream.untaken:
            self._take_of_connection(stream.untaken)

    def _fail(self, failure: _Failure) -> None:
        self.failed = True
        self._is_regular = False
        self._streams.clear()
        self._whole.clear()
        self._given_up.clear()
        self._abandoned.clear()
        self._outbox.drop_all()
        self._unread.clear()
        self._block = None
        self._outbox.put(frames.goaway_frame(min(self._last_stream, self._last_taken), failure.code, failure.reason))
        self._events.append(ConnectionFailed(failure.code, failure.reason))

    def _answered(self, stream: Stream) -> None:
        self._close(stream)
        self._resets.earn()
        if not stream.remote_ended:
            # Section 8.1: a whole answer before a whole request; the rest of it need not be sent.
            self._abandon(stream.number)
            self._outbox.put(frames.rst_stream_frame(stream.number, ErrorCode.NO_ERROR))

    # Calls in.

    def release(self, stream_id: int) -> None:
        """Says that no work goes on any more for a stream that was reset: until then it counts as a request.

        Without that, a client could have any number of requests worked on, by giving up each at once.
        """
        self._given_up.discard(stream_id)

    def take(self, stream_id: int, size: int) -> None:
        """Says that so much of a body needs no room any more, so that the client may send as much again."""
        stream = self._stream(stream_id)
        if stream is None:  # what was left was taken when it closed
            return
        stream.untaken -= size
        self._take_of_connection(size)
        if stream.remote_ended:
            return
        stream.taken += size
        if stream.taken >= self._limits.stream_window_bytes >> 1:
            stream.receive_window += stream.taken
            self._outbox.put(frames.window_update_frame(stream_id, stream.taken))
            stream.taken = 0

    def _take_of_connection(self, size: int) -> None:
        self._taken += size
        if self._taken >= self._half_window:
            self._open_connection()

    def _open_connection(self) -> None:
        self._receive_window += self._taken
        self._outbox.put(frames.window_update_frame(0, self._taken))
        self._taken = 0

    def answer(self, stream_id: int, header: bytes, body: tuple[bytes, ...], trailers: bytes) -> None:
        """Sends a whole answer; one that is small goes out in one piece. Nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            header: A block of `encode_block`.
            body: All of the body, in parts.
            trailers: A block of `encode_block`; empty for an answer without trailers.
        """
        stream = self._stream(stream_id)
        if stream is not None:
            self._outbox.answer(stream, header, body, trailers)

    def answer_call(self, stream_id: int, header: bytes, message: bytes, trailers: bytes) -> None:
        """Sends a whole answer of gRPC, whose message is not packed. Nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            header: A block of `encode_block`.
            message: Without its prefix.
            trailers: A block of `encode_block`.
        """
        window = self._whole.get(stream_id)
        if window is not None and self._outbox.answer_call(stream_id, window, header, message, trailers):
            del self._whole[stream_id]
            idle_frames, resets = self._idle_frames, self._resets
            idle_frames.left = idle_frames.most
            if resets.left < resets.most:
                resets.earn()
            return
        self.answer(stream_id, header, frame_parts(message, pack=False), trailers)

    def send_header(self, stream_id: int, block: bytes) -> None:
        """Begins an answer; nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            block: A block of `encode_block`.
        """
        stream = self._stream(stream_id)
        if stream is not None:
            self._outbox.add_header(stream, block)

    def send_data(self, stream_id: int, data: bytes) -> None:
        """Goes on with an answer that has begun; nothing happens on a stream that is closed.

        Whoever sends more than a client takes waits until `waiting_bytes` is small.
        """
        stream = self._stream(stream_id)
        if stream is not None:
            self._outbox.add_data(stream, data)

    def finish(self, stream_id: int, trailers: bytes) -> None:
        """Ends an answer, after all of its data; nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            trailers: A block of `encode_block`, which is the header as well if there was none.
        """
        stream = self._stream(stream_id)
        if stream is not None:
            self._outbox.add_end(stream, trailers)

    def ping(self, payload: bytes) -> None:
        """Asks the client for a sign of life: eight bytes, which `PingAnswered` has again."""
        self._outbox.put(frames.ping_frame(payload, ack=False))

    def announce_end(self, payload: bytes) -> None:
        """Says that the connection is about to end, and asks whether the client knows; requests are still taken.

        Args:
            payload: What `PingAnswered` has, once it does.

        Source: RFC 9113, section 6.8, for why GOAWAY comes twice.
        """
        self._outbox.put(frames.goaway_frame(LARGEST_NUMBER, ErrorCode.NO_ERROR))
        self.ping(payload)

    def end(self) -> None:
        """Takes no more requests, and says so; those that there are go on."""
        if not self.failed and self._last_taken == LARGEST_NUMBER:
            self._last_taken = self._last_stream
            self._is_regular = False
            self._outbox.put(frames.goaway_frame(self._last_taken, ErrorCode.NO_ERROR))


def _unpadded(payload: bytes) -> bytes:
    padding = payload[0] if payload else len(payload)
    if padding >= len(payload):
        raise _Failure(ErrorCode.PROTOCOL_ERROR, "more padding than there is payload")
    return payload[1 : len(payload) - padding]
