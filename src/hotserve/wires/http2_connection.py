"""The server's end of one HTTP/2 connection: bytes in and events out, calls in and bytes out.

No socket, no loop, no clock: whoever has them hands over what has come, asks what is to be sent, and says what time it
is. A connection that breaks the protocol ends with the error that the protocol has for it. One that keeps to it and
still wants no more than to keep the server busy ends, too: see `Http2Limits`.

Here bytes become frames, and calls that come whole are taken together; what any other frame does is in
`http2_incoming`.

Source: RFC 9113. Numbers of sections in the comments are its.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hotserve.api.grpc_framing import PREFIX_BYTES, frame_parts
from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_calls import Refusing, Unusual, WholeCall, answer_frames, read_calls
from hotserve.wires.http2_events import ConnectionFailed, Event, RequestReceived, StreamReset
from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import FRAME_HEAD, FRAME_HEAD_BYTES, LARGEST_NUMBER, PREFACE, ErrorCode
from hotserve.wires.http2_headers import HeaderReader, RequestHead
from hotserve.wires.http2_incoming import Incoming
from hotserve.wires.http2_inflow import Inflow
from hotserve.wires.http2_known_blocks import KnownBlocks
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import EAGER_BYTES, Outbox
from hotserve.wires.http2_patience import Patience
from hotserve.wires.http2_stream import Stream
from hotserve.wires.http2_streams import Streams

Refused = tuple[RequestHead, Callable[[bytes], bool], bytes]
"""Calls that are refused as they are read: the header that they have, whether a message is one of theirs, and the block
that is their whole answer."""


class Http2Connection:
    """One connection; see the module.

    Attributes:
        failed: Whether it has ended with an error.
        is_held: Whether something has come that is to be read with `go_on`.
        refused_calls: How many calls were refused as they were read, and not counted by `take_refused`.
        take_output: What is to be sent next; see `Outbox.take`.
        given_up: The streams that wait for `release`; to be read only.
    """

    __slots__ = (
        "_greeted",
        "_heads",
        "_incoming",
        "_inflow",
        "_largest_whole",
        "_max_frame_bytes",
        "_needed",
        "_outbox",
        "_patience",
        "_refused",
        "_refused_bytes",
        "_streams",
        "_takes_whole",
        "_unread",
        "failed",
        "given_up",
        "is_held",
        "refused_calls",
        "take_output",
    )

    def __init__(
        self, limits: Http2Limits, largest_message: int = 0, blocks: KnownBlocks[RequestHead] | None = None
    ) -> None:
        """Starts a connection; what is to be sent first can be had at once.

        Args:
            limits: What the client may ask for.
            largest_message: The largest message of gRPC that is handed over as a `WholeCall` where it comes so; 0 for
                none.
            blocks: What the headers of other connections with the same limits have meant.
        """
        self.failed = False
        self.is_held = False
        self.refused_calls = self._refused_bytes = 0
        self._refused: Refused | None = None
        self._max_frame_bytes = limits.max_frame_bytes
        # Received, and not read yet.
        self._unread = bytearray()
        self._needed = 1
        self._greeted = False
        self._patience = Patience(limits)
        self._outbox = Outbox(self._patience.idle_frames.restore, self._answered)
        self.take_output = self._outbox.take
        self._inflow = Inflow(limits, self._outbox)
        self._streams = Streams(limits, self._outbox, self._inflow)
        self.given_up: Mapping[int, None] = self._streams.given_up
        headers = HeaderReader(limits.max_header_list_bytes, blocks)
        self._heads = headers.known
        self._incoming = Incoming(self._streams, self._inflow, self._outbox, self._patience, headers)
        largest = min(limits.max_frame_bytes, limits.stream_window_bytes, largest_message + PREFIX_BYTES)
        self._largest_whole = largest if largest_message and limits.idle_frames else 0
        self._takes_whole = self._largest_whole > 0
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

    # What is known.

    @property
    def open_streams(self) -> int:
        """How many requests have come and are not answered, all of the answer handed over."""
        return len(self._streams.open) + len(self._streams.whole)

    @property
    def settled(self) -> bool:
        """Whether the client has said what a client says first."""
        return self._incoming.is_settled

    @property
    def is_ended(self) -> bool:
        """Whether `end` was called, all answers are handed over, and so is everything else."""
        return self._streams.last_taken != LARGEST_NUMBER and not self.open_streams and not self._outbox.has_output

    @property
    def has_output(self) -> bool:
        """Whether `take_output` would return something."""
        outbox = self._outbox
        return bool(outbox.written or outbox.ready)

    @property
    def has_room(self) -> bool:
        """Whether more requests may begin; those whose answers have not been handed over count, too."""
        return self._streams.room() > 0

    @property
    def data_sent(self) -> int:
        """How much of the bodies of answers has been handed over."""
        return self._outbox.data_sent

    @property
    def is_stalled(self) -> bool:
        """Whether answers wait for the client to open its windows."""
        streams = self._streams.open
        return bool(streams) and not self.has_output and any(stream.waiting_bytes for stream in streams.values())

    def waiting_bytes(self, stream_id: int) -> int:
        """How much of an answer has not been handed over yet; 0 for a stream that is closed."""
        stream = self._streams.open.get(stream_id)
        return 0 if stream is None else stream.waiting_bytes

    # Bytes in.

    def receive(self, data: bytes, now: float, refused: Refused | None = None) -> list[Event | WholeCall]:
        """Takes what has come.

        It stops behind a header that has not come before, so that it is known whether calls that say the same are
        wanted whole, and where there is no room for more calls before those that it has read are answered. Then
        `is_held`, and `go_on` is to be called before this is called again.

        Args:
            data: The next bytes of the client.
            now: Seconds of a clock that never goes back.
            refused: Calls that are not wanted: they are answered as they are read, where they come whole, and nobody
                hears of them but by their number.

        Returns:
            What they mean, in order, but for calls and ends of streams that were read together: the former come before
            the latter. `ConnectionFailed` is the last event that a connection has.
        """
        self._refused = refused
        incoming = self._incoming
        events = incoming.events = []
        self._patience.now = now
        try:
            if self._takes_whole and incoming.is_regular and not self._unread:
                position = self._read_calls(data, 0, -1)
                if position == len(data):
                    return events
                data = data[position:]
            self._receive(data)
        except Http2Failure as failure:
            self._fail(failure)
        finally:
            del incoming.events  # a connection that is idle keeps nothing of what came last
        return events

    def go_on(self, now: float, refused: Refused | None = None) -> list[Event | WholeCall]:
        """Takes what is held; as `receive`."""
        data = bytes(self._unread)
        self._unread.clear()
        self.is_held = False
        return self.receive(data, now, refused)

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
        """Reads all frames that are whole; returns where the first one begins that is not, or that is held."""
        size = len(data)
        position = 0
        if not self._greeted:
            if not data.startswith(PREFACE):
                if PREFACE.startswith(data):
                    return 0
                raise Http2Failure(ErrorCode.PROTOCOL_ERROR, "expected the preface of HTTP/2")
            self._greeted = True
            position = len(PREFACE)
        largest, incoming = self._max_frame_bytes, self._incoming
        unpack = FRAME_HEAD.unpack_from
        while size - position >= FRAME_HEAD_BYTES:
            high, low, kind, flags, stream_id = unpack(data, position)
            if (kind == frames.HEADERS or kind == frames.RST_STREAM) and self._takes_whole and incoming.is_regular:
                most_resets = -1 if self._streams.abandoned else int(self._patience.resets.left)
                after = self._read_calls(data, position, most_resets)
                if after != position:
                    position = after
                    continue
                has_news = incoming.events or self.refused_calls
                if has_news and kind == frames.HEADERS and self._streams.room() <= 0:
                    self.is_held = True
                    break
            length = high << 16 | low
            if length > largest:
                raise Http2Failure(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes; the limit is {largest}")
            start = position + FRAME_HEAD_BYTES
            position = start + length
            if position > size:
                self._needed = FRAME_HEAD_BYTES + length
                return start - FRAME_HEAD_BYTES
            incoming.take(kind, flags, stream_id & LARGEST_NUMBER, data[start:position])
            if kind == frames.HEADERS and self._takes_whole and self._is_new(incoming.events):
                self.is_held = position < size
                break
        self._needed = FRAME_HEAD_BYTES
        return position

    @staticmethod
    def _is_new(events: list[Event | WholeCall]) -> bool:
        """Whether the last request has a header that nobody has looked at: the next ones may be like it."""
        last = events[-1] if events else None
        return type(last) is RequestReceived and last.head.note is None

    def _read_calls(self, data: bytes, position: int, most_resets: int) -> int:
        """Takes what comes in whole calls; returns where it ends.

        The same as if each frame were read by itself, the window of the connection apart: it is opened by what all of
        them take, together.

        Args:
            data: What has come.
            position: Where a frame begins there.
            most_resets: How many streams may be reset; less than 0 to leave frames that reset streams for later.
        """
        streams, inflow, outbox = self._streams, self._inflow, self._outbox
        whole, refused = streams.whole, self._refused
        # Most clients have one call under way on a connection: to ask what there is would take longer than to look.
        is_idle = not (whole or streams.open or streams.given_up or outbox.unsent_answers)
        calls, position, used, streams.last_begun, unusual = read_calls(
            data,
            position,
            streams.last_begun,
            self._heads,
            streams.most if is_idle else streams.room(),
            inflow.window,
            streams.first_window,
            LARGEST_NUMBER - outbox.window,
            self._largest_whole,
            whole,
            streams.open,
            most_resets,
            None if refused is None else self._refusing(refused),
        )
        if used:
            inflow.window -= used
            inflow.taken += used
            if inflow.taken >= inflow.half_window:
                inflow.take(0)
            idle_frames = self._patience.idle_frames
            idle_frames.left = idle_frames.most
            self._incoming.events += calls
            for number, _, _, window in calls:
                whole[number] = window
        if unusual is not None:
            self._take_unusual(unusual)
        return position

    def _take_unusual(self, unusual: Unusual) -> None:
        opened, idle, resets, answers, refused_bytes = unusual
        streams, patience = self._streams, self._patience
        if answers:
            self._outbox.put_answers(answers)
            patience.resets.earn(len(answers))
            self.refused_calls += len(answers)
            self._refused_bytes += refused_bytes
        if resets:
            patience.count_reset(len(resets))
            for number, code in resets:
                del streams.whole[number]
                streams.given_up[number] = None
                self._incoming.events.append(StreamReset(number, code, by_client=True))
        if idle:
            patience.count_idle_frame(idle)
        if opened:
            self._outbox.open_window(opened)

    def take_refused(self) -> tuple[int, int]:
        """How many calls were refused as they were read since this was asked, and the bytes of their messages."""
        calls, size = self.refused_calls, self._refused_bytes
        self.refused_calls = self._refused_bytes = 0
        return calls, size - calls * PREFIX_BYTES

    def _refusing(self, refused: Refused) -> Refusing:
        head, is_refused, block = refused
        return head, is_refused, block, self._outbox.room_for_answers(FRAME_HEAD_BYTES + len(block))

    # Ends.

    def close(self) -> None:
        """Is called when nothing is sent and nothing comes any more: lets go of what would keep it in memory."""
        self._outbox.close()

    def _fail(self, failure: Http2Failure) -> None:
        self.failed = True
        self._incoming.stop()
        self._streams.close_all()
        self._unread.clear()
        last = min(self._streams.last_begun, self._streams.last_taken)
        self._outbox.put(frames.goaway_frame(last, failure.code, failure.reason))
        self._incoming.events.append(ConnectionFailed(failure.code, failure.reason))

    def _answered(self, stream: Stream) -> None:
        self._streams.close(stream)
        self._patience.resets.earn()
        if not stream.remote_ended:
            # Section 8.1: a whole answer before a whole request; the rest of it need not be sent.
            self._streams.abandon(stream.number)
            self._outbox.put(frames.rst_stream_frame(stream.number, ErrorCode.NO_ERROR))

    # Calls in.

    def release(self, stream_id: int) -> None:
        """Says that no work goes on any more for a stream that was reset: until then it counts as a request.

        Without that, a client could have any number of requests worked on, by giving up each at once.
        """
        self._streams.given_up.pop(stream_id, None)

    def take(self, stream_id: int, size: int) -> None:
        """Says that so much of a body needs no room any more, so that the client may send as much again."""
        stream = self._streams.find(stream_id)
        if stream is not None:  # what was left was taken when it closed
            self._inflow.take_of(stream, size)

    def answer(self, stream_id: int, header: bytes, body: tuple[bytes, ...], trailers: bytes) -> None:
        """Sends a whole answer; one that is small goes out in one piece. Nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            header: A block of `encode_block`.
            body: All of the body, in parts.
            trailers: A block of `encode_block`; empty for an answer without trailers.
        """
        stream = self._streams.find(stream_id)
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
        whole, outbox = self._streams.whole, self._outbox
        size = len(message) + PREFIX_BYTES
        # As `Outbox.answer` of a stream: here, because this is done for nearly every call.
        if (
            size <= whole.get(stream_id, -1)
            and size <= outbox.window
            and size <= outbox.max_frame_bytes
            and outbox.written_bytes + size <= EAGER_BYTES
            and not outbox.table_size_due
        ):
            del whole[stream_id]
            written = answer_frames(stream_id, header, message, trailers)
            outbox.window -= size
            outbox.written.append(written)
            outbox.written_bytes += len(written)
            outbox.unsent_answers += 1
            patience = self._patience
            patience.idle_frames.left = patience.idle_frames.most
            resets = patience.resets
            if resets.left < resets.most:
                resets.earn()
            return
        self.answer(stream_id, header, frame_parts(message, pack=False), trailers)

    def fail_call(self, stream_id: int, trailers: bytes) -> None:
        """Sends a whole answer of gRPC that is an error. Nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            trailers: A block of `encode_block`, which is the header as well.
        """
        whole = self._streams.whole
        if stream_id in whole and self._outbox.fail_call(stream_id, trailers):
            del whole[stream_id]
            patience = self._patience
            patience.idle_frames.left = patience.idle_frames.most
            if patience.resets.left < patience.resets.most:
                patience.resets.earn()
            return
        self.finish(stream_id, trailers)

    def send_header(self, stream_id: int, block: bytes) -> None:
        """Begins an answer; nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            block: A block of `encode_block`.
        """
        stream = self._streams.find(stream_id)
        if stream is not None:
            self._outbox.add_header(stream, block)

    def send_data(self, stream_id: int, data: bytes) -> None:
        """Goes on with an answer that has begun; nothing happens on a stream that is closed.

        Whoever sends more than a client takes waits until `waiting_bytes` is small.
        """
        stream = self._streams.find(stream_id)
        if stream is not None:
            self._outbox.add_data(stream, data)

    def finish(self, stream_id: int, trailers: bytes) -> None:
        """Ends an answer, after all of its data; nothing happens on a stream that is closed.

        Args:
            stream_id: The stream.
            trailers: A block of `encode_block`, which is the header as well if there was none.
        """
        stream = self._streams.find(stream_id)
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
        streams = self._streams
        if not self.failed and streams.last_taken == LARGEST_NUMBER:
            streams.last_taken = streams.last_begun
            self._takes_whole = False
            self._outbox.put(frames.goaway_frame(streams.last_taken, ErrorCode.NO_ERROR))
