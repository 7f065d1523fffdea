"""Calls that come whole in what was read at once, and answers that leave in one piece: all their frames in one go.

`_calls.pyx` is the compiled twin of it; `http2_calls` chooses between the two.

Nearly every unary call is a few frames in a row whose header block the connection knows already. Here they are taken
together, and whatever is not just like that is left to `Http2Connection`, which takes frames one by one and means the
same.

Source: RFC 9113, section 6, for the frames; grpc/doc/PROTOCOL-HTTP2.md for the prefix of a message.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_frames import FRAME_HEAD, FRAME_HEAD_BYTES, LARGEST_NUMBER
from hotserve.wires.http2_headers import RequestHead

WholeCall = tuple[int, RequestHead, bytes, int]
"""A call: stream, header, message without its prefix, and how much of an answer its client takes on the stream.

A plain tuple, as there is one for each call.
"""

_PREFIX = Struct("!BI")
_PREFIX_BYTES: Final = 5
_MOST_BEGUN: Final = 64
"""How many calls may wait for their DATA at a time; more are left to the other road."""

_LAST_HEADERS: Final = frames.END_HEADERS | frames.END_STREAM
_ANSWER_HEAD = Struct("!BHBBI")
_DATA_HEAD = Struct("!BHBBIBI")


def read_calls(
    data: bytes,
    position: int,
    last_stream: int,
    heads: dict[bytes, RequestHead],
    most: int,
    window: int,
    send_window: int,
    largest: int,
) -> tuple[list[WholeCall], int, int, int, bool]:
    """Reads calls for as long as there is nothing else, up to where none of them is begun and not whole.

    Each is a HEADERS frame, and DATA with all of the message, not packed, and the end of the stream. Frames of several
    calls may alternate. After each, the window of the connection or of a stream whose DATA is still to come may be
    opened, as gRPC's C library does with every call.

    Args:
        data: What has come.
        position: Where a frame begins there.
        last_stream: The last stream that has begun.
        heads: What the header blocks mean that are known; calls are taken together if `takes_whole` says so.
        most: How many calls there may be.
        window: How much DATA there may be.
        send_window: How much of an answer clients take on a stream that begins.
        largest: The size of the largest DATA frame.

    Returns:
        The calls; where what follows them begins; how much DATA there was; by how much the window of the connection
        was opened, and whether that came last.
    """
    calls: list[WholeCall] = []
    whole: list[WholeCall] = []
    begun: dict[int, tuple[RequestHead, int]] = {}
    size = len(data)
    used = opened = 0
    may_open = False
    found = (whole, position, 0, 0, False)
    unpack = FRAME_HEAD.unpack_from
    while size - position >= FRAME_HEAD_BYTES:
        high, low, kind, flags, stream = unpack(data, position)
        length = high << 16 | low
        start = position + FRAME_HEAD_BYTES
        position = start + length
        if position > size:
            break
        if kind == frames.HEADERS:
            # The reserved bit makes a number too large, and is left to the other road.
            if flags != frames.END_HEADERS or not stream & 1 or not last_stream < stream <= LARGEST_NUMBER:
                break
            head = heads.get(data[start:position])
            if head is None or not head.takes_whole or len(begun) == _MOST_BEGUN:
                break
            if len(whole) + len(calls) + len(begun) >= most:
                break
            begun[stream] = (head, send_window)
            last_stream = stream
            may_open = True
        elif kind == frames.DATA:
            known = begun.pop(stream, None)
            used += length
            if (
                known is None
                or flags != frames.END_STREAM
                or not _PREFIX_BYTES <= length <= largest
                or used > window
                or _PREFIX.unpack_from(data, start) != (0, length - _PREFIX_BYTES)
                or known[0].content_length not in (None, length)
            ):
                break
            calls.append((stream, known[0], data[start + _PREFIX_BYTES : position], known[1]))
            may_open = True
            if not begun:
                whole += calls
                calls.clear()
                found = (whole, position, used, opened, False)
        elif kind == frames.WINDOW_UPDATE and may_open and length == 4:
            may_open = False
            increment = frames.read_number(data[start:position]) & LARGEST_NUMBER
            if not increment:
                break
            if stream:
                if stream not in begun or begun[stream][1] + increment > LARGEST_NUMBER:
                    break
                begun[stream] = (begun[stream][0], begun[stream][1] + increment)
            else:
                opened += increment
                if not begun:
                    found = (whole, position, used, opened, True)
        else:
            break
    return found


def answer_frames(stream: int, header: bytes, message: bytes, trailers: bytes) -> bytes:
    """All frames of an answer with one message, which is not packed.

    Args:
        stream: The number of its stream.
        header: The block that begins it.
        message: Without its prefix; small enough for a frame, with it.
        trailers: The block that ends it.
    """
    size = len(message)
    length = size + _PREFIX_BYTES
    return b"".join(
        (
            _ANSWER_HEAD.pack(0, len(header), frames.HEADERS, frames.END_HEADERS, stream),
            header,
            _DATA_HEAD.pack(length >> 16, length & 0xFFFF, frames.DATA, 0, stream, 0, size),
            message,
            _ANSWER_HEAD.pack(0, len(trailers), frames.HEADERS, _LAST_HEADERS, stream),
            trailers,
        )
    )
