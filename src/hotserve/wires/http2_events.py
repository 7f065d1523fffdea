"""What comes out of an HTTP/2 connection: one small object for each thing that its client has done."""

from __future__ import annotations

from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_headers import RequestHead

# Not dataclasses, and not frozen: two or three of these are made for each call, and a frozen one costs three times as
# much.


class RequestReceived:
    """A client has begun a request.

    Attributes:
        stream_id: The number of its stream.
        head: Its header; the same object for the same bytes, as long as that can be.
        ended: Whether that is all of it.
    """

    __slots__ = ("ended", "head", "stream_id")

    def __init__(self, stream_id: int, head: RequestHead, ended: bool) -> None:
        self.stream_id = stream_id
        self.head = head
        self.ended = ended

    def __repr__(self) -> str:
        return f"RequestReceived({self.stream_id}, {self.head!r}, ended={self.ended})"


class DataReceived:
    """A part of the body of a request has come, or its end alone.

    Attributes:
        stream_id: The number of the stream.
        data: The part, without padding.
        ended: Whether it is the last one.
    """

    __slots__ = ("data", "ended", "stream_id")

    def __init__(self, stream_id: int, data: bytes, ended: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.ended = ended

    def __repr__(self) -> str:
        return f"DataReceived({self.stream_id}, {self.data!r}, ended={self.ended})"


class HeaderTooLarge:
    """A client has begun a request whose header is over the limit, and not so far over it that the connection ends.

    Attributes:
        stream_id: The number of its stream.
        size: The size of the header, as SETTINGS_MAX_HEADER_LIST_SIZE counts.
    """

    __slots__ = ("size", "stream_id")

    def __init__(self, stream_id: int, size: int) -> None:
        self.stream_id = stream_id
        self.size = size

    def __repr__(self) -> str:
        return f"HeaderTooLarge({self.stream_id}, {self.size})"


class StreamReset:
    """A stream has ended before its time: the client has given up, or has done what ends it.

    Attributes:
        stream_id: The number of the stream.
        code: The error code, as it came or as it was sent; clients may send numbers that mean nothing.
        by_client: Whether it is the client that ended it.
    """

    __slots__ = ("by_client", "code", "stream_id")

    def __init__(self, stream_id: int, code: int, by_client: bool) -> None:
        self.stream_id = stream_id
        self.code = code
        self.by_client = by_client

    def __repr__(self) -> str:
        return f"StreamReset({self.stream_id}, {self.code}, by_client={self.by_client})"


class PingAnswered:
    """The client has answered a PING of ours.

    Attributes:
        payload: Its eight bytes.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __repr__(self) -> str:
        return f"PingAnswered({self.payload!r})"


class ConnectionFailed:
    """The client has broken the protocol: GOAWAY is among what is to be sent, and nothing more is taken.

    Attributes:
        code: The error code that it says.
        reason: What the client has done.
    """

    __slots__ = ("code", "reason")

    def __init__(self, code: ErrorCode, reason: str) -> None:
        self.code = code
        self.reason = reason

    def __repr__(self) -> str:
        return f"ConnectionFailed({self.code!r}, {self.reason!r})"


Event = RequestReceived | DataReceived | HeaderTooLarge | StreamReset | PingAnswered | ConnectionFailed
