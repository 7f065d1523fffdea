"""Calls that come whole in what was read at once, and answers that leave in one piece: all their frames in one go.

`_calls.pyx` is the compiled twin of it; `http2_calls` chooses between the two.

Nearly every unary call is a few frames in a row whose header block the connection knows already. Here they are taken
together, and whatever is not just like that is left to `Http2Connection`, which takes frames one by one and means the
same.

Source: RFC 9113, section 6, for the frames; grpc/doc/PROTOCOL-HTTP2.md for the prefix of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final

from hotserve.wires import http2_frames as frames
from hotserve.wires.http2_frames import FRAME_HEAD, FRAME_HEAD_BYTES, LARGEST_NUMBER
from hotserve.wires.http2_headers import RequestHead

WholeCall = tuple[int, RequestHead, bytes, int]
"""A call: stream, header, message without its prefix, and how much of an answer its client takes on the stream.

A plain tuple, as there is one for each call.
"""

Refusing = tuple[RequestHead, Callable[[bytes], bool], bytes, int]
"""Which calls are refused as they are read: the header that they have, whether a message is one of theirs, the block
that is their whole answer, and how many there may be.
"""

Unusual = tuple[int, int, list[tuple[int, int]], list[bytes], int]
"""What else was read: by how much the window of the connection was opened; how many frames that lead to nothing have
come since the last call; streams that were reset, each of which was one of the calls or was known, and the error codes;
the answers to calls that were refused; and the bytes of their messages, with their prefixes.
"""

Taken = tuple[list[WholeCall], int, int, int, Unusual | None]
"""What was read: the calls; where what follows begins; how much DATA there was; the last stream that has begun; and
what else was read, which mostly is nothing.
"""

_PREFIX = Struct("!BI")
_PREFIX_BYTES: Final = 5
_MOST_BEGUN: Final = 64
"""How many calls may wait for their DATA at a time; more are left to the other road."""

_MOST_AT_ONCE: Final = 256
"""How many calls, and how many streams that were reset, are read at once; the rest can be read right afterwards."""

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
    most_opened: int,
    largest: int,
    known: Mapping[int, int],
    elsewhere: Mapping[int, object],
    most_resets: int,
    refusing: Refusing | None,
) -> Taken:
    """Reads calls for as long as there is nothing else, up to where none of them is begun and not whole.

    Each is a HEADERS frame, and DATA with all of the message, not packed, and the end of the stream. Frames of several
    calls may alternate. After each, the window of the connection or of a stream whose DATA is still to come may be
    opened, as gRPC's C library does with every call. Streams may be reset wherever no call is begun and not whole.

    Args:
        data: What has come.
        position: Where a frame begins there.
        last_stream: The last stream that has begun.
        heads: What the header blocks mean that are known; calls are taken together if `takes_whole` says so.
        most: How many calls there may be, those that are refused among them.
        window: How much DATA there may be.
        send_window: How much of an answer clients take on a stream that begins.
        most_opened: By how much the window of the connection may be opened.
        largest: The size of the largest DATA frame.
        known: The streams of calls that were read before, and are not answered.
        elsewhere: Streams whose frames are left to the other road.
        most_resets: How many streams may be reset that are known, or among these calls; less than 0 to leave all
            frames that reset streams to the other road.
        refusing: Calls that are not wanted; None if all are.
    """
    calls: list[WholeCall] = []
    whole: list[WholeCall] = []
    begun: dict[int, tuple[RequestHead, int]] = {}
    resets: dict[int, int] = {}
    numbers: set[int] = set()
    answers: list[bytes] = []
    refused_head, is_refused, block, most_refused = refusing or (None, bool, b"", 0)
    size = len(data)
    used = opened = idle = refused = refused_bytes = 0
    may_open = False
    found = (position, 0, 0, last_stream, 0, 0, 0)
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
            if len(whole) + len(calls) + refused + len(begun) >= min(most, _MOST_AT_ONCE):
                break
            begun[stream] = (head, send_window)
            last_stream = stream
            may_open = True
        elif kind == frames.DATA:
            opening = begun.pop(stream, None)
            used += length
            if (
                opening is None
                or flags != frames.END_STREAM
                or not _PREFIX_BYTES <= length <= largest
                or used > window
                or _PREFIX.unpack_from(data, start) != (0, length - _PREFIX_BYTES)
                or opening[0].content_length not in (None, length)
            ):
                break
            message = data[start + _PREFIX_BYTES : position]
            if opening[0] is refused_head and refused < most_refused and is_refused(message):
                answers.append(frames.frame_head(frames.HEADERS, _LAST_HEADERS, stream, len(block)) + block)
                refused += 1
                refused_bytes += length
            else:
                calls.append((stream, opening[0], message, opening[1]))
                numbers.add(stream)
            may_open = True
            idle = 0
            if not begun:
                whole += calls
                calls.clear()
                found = (position, used, opened, last_stream, idle, refused, refused_bytes)
        elif kind == frames.RST_STREAM and length == 4:
            if begun or not stream & 1 or stream > last_stream or stream in elsewhere or most_resets < 0:
                break
            if stream not in resets and (stream in numbers or stream in known):
                if len(resets) >= min(most_resets, _MOST_AT_ONCE):
                    break
                resets[stream] = frames.read_number(data[start:position])
            else:
                idle += 1
            may_open = False
            found = (position, used, opened, last_stream, idle, refused, refused_bytes)
        elif kind == frames.WINDOW_UPDATE and may_open and length == 4:
            may_open = False
            increment = frames.read_number(data[start:position]) & LARGEST_NUMBER
            if not increment:
                break
            if stream:
                if stream not in begun or begun[stream][1] + increment > LARGEST_NUMBER:
                    break
                begun[stream] = (begun[stream][0], begun[stream][1] + increment)
            elif opened + increment > most_opened:
                break
            else:
                opened += increment
                idle += 1
                if not begun:
                    found = (position, used, opened, last_stream, idle, refused, refused_bytes)
        else:
            break
    ended, used, opened, last_stream, idle, refused, refused_bytes = found
    unusual = (opened, idle, list(resets.items()), answers[:refused], refused_bytes)
    return whole, ended, used, last_stream, unusual if opened or idle or resets or refused else None


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
