"""How much of the bodies of requests a client may still send, on its connection and on each stream.

Source: RFC 9113, sections 5.2 and 6.9.
"""

from __future__ import annotations

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_stream import Stream


class Inflow:
    """The windows for what comes.

    Attributes:
        window: How much may come on the connection.
        taken: How much has come and needs no room any more since the client was last told.
        half_window: So much of it is worth telling.
    """

    __slots__ = ("_outbox", "_stream_half", "half_window", "taken", "window")

    def __init__(self, limits: Http2Limits, outbox: Outbox) -> None:
        """Starts with all windows as the client is told at the beginning.

        Args:
            limits: The sizes of the windows.
            outbox: Where the client is told that they open.
        """
        self.window = limits.connection_window_bytes
        self.taken = 0
        self.half_window = limits.connection_window_bytes >> 1
        self._stream_half = limits.stream_window_bytes >> 1
        self._outbox = outbox

    def receive(self, size: int) -> None:
        """Takes into account that so much has come.

        Raises:
            Http2Failure: There was no room for it.
        """
        if size > self.window:
            raise Http2Failure(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window of the connection takes")
        self.window -= size

    def take(self, size: int) -> None:
        """Says that so much of what came needs no room on the connection any more."""
        self.taken += size
        if self.taken >= self.half_window:
            self.window += self.taken
            self._outbox.put(frames.window_update_frame(0, self.taken))
            self.taken = 0

    def take_of(self, stream: Stream, size: int) -> None:
        """Says that so much of a body needs no room any more, neither on its stream."""
        stream.untaken -= size
        self.take(size)
        if stream.remote_ended:
            return
        stream.taken += size
        if stream.taken >= self._stream_half:
            stream.receive_window += stream.taken
            self._outbox.put(frames.window_update_frame(stream.number, stream.taken))
            stream.taken = 0
