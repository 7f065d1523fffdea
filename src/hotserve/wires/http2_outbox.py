"""What an HTTP/2 connection has to send: replies, and answers as far as the windows of the client let them through.

What waits is bounded. Small answers are written down as they come, so that many leave in one piece; once a good deal
waits to be fetched, answers stay with their streams, which are open as long, and counted.

Source: RFC 9113, sections 5.2 and 6.9 for the windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_frames import FRAME_HEAD, FRAME_HEAD_BYTES, LARGEST_NUMBER, frame_head
from hotserve.wires.http2_headers import TABLE_SIZE_ZERO
from hotserve.wires.http2_stream import Stream

EAGER_BYTES: Final = 1 << 18
"""How much waits to be fetched at most before answers stay with their streams."""

_PROGRESS_BYTES: Final = 256
"""Less than this is no progress: a client could open its window byte by byte."""

_LAST_HEADERS: Final = frames.END_HEADERS | frames.END_STREAM


def _nobody(*about: object) -> None:
    """Hears of nothing."""


class Outbox:
    """Everything that is to be sent on one connection.

    Attributes:
        max_frame_bytes: The payload of the largest frame that the client takes.
        unsent_replies: How many replies have not been fetched.
        unsent_answers: How many small answers have not been. The client cannot know of them yet.
        data_sent: How much of the bodies of answers has been fetched that were not small.
        window: How much of the bodies of answers the client takes on the connection.
        written: What is to be sent next, in order.
        written_bytes: The bytes of that.
        ready: Number -> stream, of those that have something that may go then, in the order of their turns.
        table_size_due: Whether the next block has to tell the client about the header table.
    """

    __slots__ = (
        "_on_answered",
        "_on_progress",
        "_starved",
        "_table_size_sent",
        "data_sent",
        "max_frame_bytes",
        "ready",
        "table_size_due",
        "unsent_answers",
        "unsent_replies",
        "window",
        "written",
        "written_bytes",
    )

    def __init__(self, on_progress: Callable[[], None], on_answered: Callable[[Stream], None]) -> None:
        """Starts with nothing.

        Args:
            on_progress: Called when a body has moved on.
            on_answered: Called when all of an answer has been written down; its stream is to be dropped then.
        """
        self.max_frame_bytes = frames.SMALLEST_MAX_FRAME
        self.unsent_replies = 0
        self.unsent_answers = 0
        self.data_sent = 0
        self._on_progress = on_progress
        self._on_answered = on_answered
        self.window = frames.FIRST_WINDOW
        self.written: list[bytes] = []
        self.written_bytes = 0
        self.ready: dict[int, Stream] = {}
        self._starved: dict[int, Stream] = {}  # these wait for the window of the connection
        self.table_size_due = False
        self._table_size_sent = False

    @property
    def has_output(self) -> bool:
        """Whether `take` would return something."""
        return bool(self.written or self.ready)

    # Of the connection.

    def put(self, frame: bytes) -> None:
        """Sends a frame before everything that comes later."""
        self.written.append(frame)
        self.written_bytes += len(frame)

    def reply(self, frame: bytes) -> None:
        """Sends a frame that the client has asked for."""
        self.unsent_replies += 1
        self.put(frame)

    def open_window(self, increment: int) -> bool:
        """The client takes so much more on the connection; False if that is more than there can be."""
        self.window += increment
        self.ready.update(self._starved)
        self._starved.clear()
        return self.window <= LARGEST_NUMBER

    def shrink_table(self) -> None:
        """The client makes its header table smaller. Ours was always empty; it still wants to be told."""
        self.table_size_due = not self._table_size_sent

    def close(self) -> None:
        """Says that nothing is sent any more, so that nobody need be told of anything."""
        self._on_progress = self._on_answered = _nobody

    # Of streams.

    def answer(self, stream: Stream, header: bytes, body: tuple[bytes, ...], trailers: bytes) -> None:
        """Sends a whole answer; no trailers if they are empty."""
        size = sum(map(len, body))
        if (
            size > stream.send_window
            or size > self.window
            or size > self.max_frame_bytes
            or self.written_bytes + size > EAGER_BYTES
            or self.table_size_due
            or not trailers
        ):
            self.add_header(stream, header)
            for part in body:
                self.add_data(stream, part)
            self.add_end(stream, trailers)
            return
        number = stream.number
        self.window -= size
        self.put(
            b"".join(
                (
                    FRAME_HEAD.pack(0, len(header), frames.HEADERS, frames.END_HEADERS, number),
                    header,
                    FRAME_HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, number),
                    *body,
                    FRAME_HEAD.pack(0, len(trailers), frames.HEADERS, _LAST_HEADERS, number),
                    trailers,
                )
            )
        )
        self.unsent_answers += 1
        self._on_progress()
        self._on_answered(stream)

    def fail_call(self, stream_id: int, trailers: bytes) -> bool:
        """Sends a whole answer of gRPC that is an error, in a block that is header and trailers in one.

        Returns:
            Whether it could be written down at once; if not, nothing has happened. Nobody is called.
        """
        if self.written_bytes + len(trailers) > EAGER_BYTES or self.table_size_due:
            return False
        self.put(frame_head(frames.HEADERS, _LAST_HEADERS, stream_id, len(trailers)) + trailers)
        self.unsent_answers += 1
        return True

    def room_for_answers(self, size: int) -> int:
        """How many whole answers of so many bytes can be written down at once, with `put_answers`."""
        return 0 if self.table_size_due else max(0, EAGER_BYTES - self.written_bytes) // size

    def put_answers(self, answers: list[bytes]) -> None:
        """Sends whole answers that have no body."""
        self.written += answers
        self.written_bytes += sum(map(len, answers))
        self.unsent_answers += len(answers)

    def add_header(self, stream: Stream, block: bytes) -> None:
        """Begins an answer."""
        stream.header = block
        self.mark(stream)

    def add_data(self, stream: Stream, data: bytes) -> None:
        """Goes on with it."""
        if data:
            stream.waiting.append(data)
            stream.waiting_bytes += len(data)
            self.mark(stream)

    def add_end(self, stream: Stream, trailers: bytes) -> None:
        """Ends it, without trailers if they are empty."""
        stream.trailers = trailers
        self.mark(stream)

    def mark(self, stream: Stream) -> None:
        """Notes that a stream has something to send, if it has."""
        if stream.waiting_bytes and stream.header is None:
            is_ready = stream.send_window > 0 and stream.number not in self._starved
        else:
            is_ready = stream.header is not None or stream.trailers is not None
        if is_ready:
            self.ready[stream.number] = stream

    def drop(self, stream: Stream) -> None:
        """Sends nothing more of a stream."""
        self.ready.pop(stream.number, None)
        self._starved.pop(stream.number, None)

    def drop_all(self) -> None:
        """Sends nothing more of any stream."""
        self.ready.clear()
        self._starved.clear()

    # Out.

    def take(self, room: int) -> bytes:
        """What is to be sent next; nothing if there is nothing.

        Args:
            room: About how many bytes at most. Replies and small answers come whatever it is; as they wait only while
                nobody calls this, there are never many. If there are fewer, there is nothing more to be sent.
        """
        if not self.ready:
            written = self.written
            if not written:
                return b""
            self.written = []
            self.written_bytes = self.unsent_replies = self.unsent_answers = 0
            return written[0] if len(written) == 1 else b"".join(written)
        out: list[bytes | memoryview]
        out, self.written = list(self.written), []
        left = room - self.written_bytes
        self.written_bytes = self.unsent_replies = self.unsent_answers = 0
        while self.ready and left > 0:
            number, stream = next(iter(self.ready.items()))
            del self.ready[number]
            left -= self._take_of(stream, left, out)
        # What ended with the last pieces, such as a reset of a stream that was answered before its request was whole.
        out += self.written
        self.written.clear()
        self.written_bytes = 0
        return b"".join(out)

    def _take_of(self, stream: Stream, room: int, out: list[bytes | memoryview]) -> int:
        """Takes a piece of one answer; returns its size."""
        taken = 0
        if stream.header is not None:
            block, stream.header = self._with_table_size(stream.header), None
            out += (frame_head(frames.HEADERS, frames.END_HEADERS, stream.number, len(block)), block)
            taken = FRAME_HEAD_BYTES + len(block)
        if stream.waiting_bytes:
            taken += self._take_data_of(stream, room, out)
        if stream.waiting_bytes:
            self.mark(stream)
        elif stream.trailers is not None:
            block = self._with_table_size(stream.trailers) if stream.trailers else b""
            head = (frames.HEADERS, _LAST_HEADERS) if block else (frames.DATA, frames.END_STREAM)
            out += (frame_head(*head, stream.number, len(block)), block)
            taken += FRAME_HEAD_BYTES + len(block)
            self._on_answered(stream)
        return taken

    def _take_data_of(self, stream: Stream, room: int, out: list[bytes | memoryview]) -> int:
        if self.window <= 0:
            self._starved[stream.number] = stream
            return 0
        data, begin = stream.waiting[0], stream.waiting_from
        size = min(len(data) - begin, stream.send_window, self.window, self.max_frame_bytes, max(room, 1))
        if size <= 0:
            return 0
        end = begin + size
        out += (frame_head(frames.DATA, 0, stream.number, size), memoryview(data)[begin:end])
        if end == len(data):
            del stream.waiting[0]
            stream.waiting_from = 0
        else:
            stream.waiting_from = end
        stream.waiting_bytes -= size
        stream.send_window -= size
        self.window -= size
        self.data_sent += size
        if size >= _PROGRESS_BYTES or not stream.waiting_bytes:
            self._on_progress()
        return FRAME_HEAD_BYTES + size

    def _with_table_size(self, block: bytes) -> bytes:
        if not self.table_size_due:
            return block
        self.table_size_due, self._table_size_sent = False, True
        return TABLE_SIZE_ZERO + block
