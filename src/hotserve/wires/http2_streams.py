"""The streams of one HTTP/2 connection: which are open, which have been given up, and which may still be named.

Source: RFC 9113, section 5.1.
"""

from __future__ import annotations

from typing import Final

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import LARGEST_NUMBER, ErrorCode
from hotserve.wires.http2_inflow import Inflow
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_stream import Stream

_MOST_ABANDONED: Final = 1024
"""How many streams are remembered whose clients may not know yet that they have been reset."""


class Streams:
    """All of them.

    Attributes:
        open: Number -> stream, of requests that came frame by frame, or whose answer could not leave at once.
        whole: Number -> how much of an answer its client takes, of calls that came whole: all there is to know of them.
        given_up: Those that were reset while they were worked on, which goes on.
        last_begun: The last one that a client has begun.
        last_taken: None after it is taken any more.
        first_window: How much of an answer clients take on a stream that begins.
        most: How many requests there may be at a time.
        abandoned: Those on which frames may still come from a client that does not know of their end.
    """

    __slots__ = (
        "_inflow",
        "_outbox",
        "_stream_window",
        "abandoned",
        "first_window",
        "given_up",
        "last_begun",
        "last_taken",
        "most",
        "open",
        "whole",
    )

    def __init__(self, limits: Http2Limits, outbox: Outbox, inflow: Inflow) -> None:
        """Starts without any.

        Args:
            limits: How many there may be, and how much may come on each.
            outbox: Has what is to be sent of their answers.
            inflow: Has room for what comes of their requests.
        """
        self.open: dict[int, Stream] = {}
        self.whole: dict[int, int] = {}
        self.given_up: dict[int, None] = {}  # no set, which is four times as large when it is empty
        self.last_begun = 0
        self.last_taken = LARGEST_NUMBER
        self.first_window = frames.FIRST_WINDOW
        self.abandoned: dict[int, None] = {}
        self.most = limits.max_concurrent_streams
        self._stream_window = limits.stream_window_bytes
        self._outbox = outbox
        self._inflow = inflow

    def room(self) -> int:
        """How many more requests may begin; those that were given up and those whose client cannot know of the answer
        count as well."""
        # No property: a method costs a third of one where this is asked for every call.
        at_work = len(self.open) + len(self.whole) + len(self.given_up) + self._outbox.unsent_answers
        return self.most - at_work

    def begin(self, number: int, ended: bool, expected: int | None) -> None:
        """Opens a stream.

        Args:
            number: Its number.
            ended: Whether all of the request has come.
            expected: How large its body is said to be; None if nothing is said.
        """
        stream = self.open[number] = Stream(number, self.first_window, self._stream_window, expected)
        stream.remote_ended = ended

    def find(self, number: int) -> Stream | None:
        """What is known of a stream; None if it is not open."""
        window = self.whole.pop(number, None)
        if window is None:
            return self.open.get(number)
        stream = self.open[number] = Stream(number, window, self._stream_window, None)
        stream.remote_ended = True
        return stream

    def close(self, stream: Stream) -> None:
        """Ends a stream, with what waits to be sent of it and what of it takes room."""
        del self.open[stream.number]
        self._outbox.drop(stream)
        if stream.untaken:
            self._inflow.take(stream.untaken)

    def close_all(self) -> None:
        """Ends all of them, because the connection ends."""
        self.open.clear()
        self.whole.clear()
        self.given_up.clear()
        self.abandoned.clear()
        self._outbox.drop_all()

    def abandon(self, number: int) -> None:
        """Ends a stream whose client may go on with its request, until it knows."""
        if len(self.abandoned) >= _MOST_ABANDONED:
            del self.abandoned[next(iter(self.abandoned))]
        self.abandoned[number] = None

    def forget(self, number: int) -> None:
        """The client has ended a stream that was abandoned, too."""
        self.abandoned.pop(number, None)

    def change_first_window(self, size: int) -> None:
        """Sets how much of an answer the client takes on streams that begin; it takes as much more on those there are.

        Raises:
            Http2Failure: It is more than a window can be.
        """
        change, self.first_window = size - self.first_window, size
        for stream in self.open.values():
            stream.send_window += change
            if stream.send_window > LARGEST_NUMBER:
                raise _too_large(stream.number)
            self._outbox.mark(stream)
        for number, window in self.whole.items():
            self.whole[number] = window + change
            if window + change > LARGEST_NUMBER:
                raise _too_large(number)

    def check_begun(self, number: int, name: str) -> None:
        """Looks whether a frame may name a stream.

        Raises:
            Http2Failure: It has not begun.
        """
        if number == 0:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"{name} without a stream")
        if not number & 1 or self.last_begun < number <= self.last_taken:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {number}, which has not begun")

    def check_closed(self, number: int, ended: bool) -> None:
        """Looks whether DATA or HEADERS may come on a stream that is not open.

        Args:
            number: The stream.
            ended: Whether this is the last frame of its request.

        Raises:
            Http2Failure: They may not.
        """
        if number in self.abandoned:
            if ended:
                del self.abandoned[number]
            return
        if number > self.last_taken:
            return
        if number > self.last_begun or not number & 1:
            raise Http2Failure(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {number}, which has not begun")
        raise Http2Failure(ErrorCode.STREAM_CLOSED, f"a frame on stream {number}, which has ended")


def _too_large(number: int) -> Http2Failure:
    return Http2Failure(ErrorCode.FLOW_CONTROL_ERROR, f"the window of stream {number} is too large")
