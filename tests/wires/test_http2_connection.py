"""The rules of RFC 9113, one after the other: what is legal gives events, what is not gives the error it says."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.wires.http2_connection import Http2Connection
from hotserve.wires.http2_events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeaderTooLarge,
    PingAnswered,
    RequestReceived,
    StreamReset,
)
from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_headers import encode_block
from hotserve.wires.http2_limits import Http2Limits
from support.http2 import (
    ACK,
    CALL,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    START,
    WINDOW_UPDATE,
    Frame,
    answer_on,
    block,
    data,
    frame,
    goaway,
    headers,
    parse,
    rst_stream,
    settings,
    window_update,
    with_value,
    without,
)

ROOM = 1 << 20
LARGEST = 2**31 - 1

HEADER = encode_block([(b":status", b"200")])
TRAILERS = encode_block([(b"grpc-status", b"0")])


class Server:
    """A connection with what it has sent so far, and without a clock unless a test has one."""

    def __init__(self, limits: Http2Limits | None = None, start: bytes = START) -> None:
        self.http2 = Http2Connection(limits or Http2Limits())
        self.sent: list[Frame] = []
        self.receive(start)

    def receive(self, *parts: bytes, now: float = 0.0) -> list[Event]:
        """The events of these bytes; what there is to send is taken afterwards."""
        events = self.http2.receive(b"".join(parts), now)
        self.read()
        return events

    def read(self) -> list[Frame]:
        """What has become ready to be sent."""
        new = parse(self.http2.take_output(ROOM))
        self.sent += new
        return new

    def resets(self) -> list[tuple[int, ErrorCode]]:
        return [(found.stream_id, ErrorCode(found.number)) for found in self.sent if found.kind == RST_STREAM]

    def answer(self, stream_id: int, body: bytes = b"body") -> None:
        self.http2.answer(stream_id, HEADER, (body,), TRAILERS)


def said(events: Sequence[Event]) -> list[str]:
    """Events in short, without the parts in which a body came."""
    found: list[tuple[str, int, bytes, bool]] = []
    for event in events:
        match event:
            case RequestReceived():
                found.append(
                    (f"request {event.head.path} {sorted(event.head.headers)}", event.stream_id, b"", event.ended)
                )
            case DataReceived():
                if found and found[-1][:2] == ("data", event.stream_id):
                    found[-1] = ("data", event.stream_id, found[-1][2] + event.data, event.ended)
                else:
                    found.append(("data", event.stream_id, event.data, event.ended))
            case _:
                found.append((repr(event), 0, b"", False))
    return [repr(one) for one in found]


def failure(events: Sequence[Event]) -> ErrorCode | None:
    """The error that ended the connection, which must be the last event."""
    codes = [event.code for event in events if isinstance(event, ConnectionFailed)]
    assert len(codes) <= 1
    if codes:
        assert isinstance(events[-1], ConnectionFailed)
        return codes[0]
    return None


# What is legal.


def test_it_speaks_first_and_says_its_limits() -> None:
    limits = Http2Limits(max_concurrent_streams=7, max_header_list_bytes=9999, max_frame_bytes=20000)
    first, update = parse(Http2Connection(limits).take_output(ROOM))
    said = dict(struct.iter_unpack("!HI", first.payload))
    assert (first.kind, said) == (SETTINGS, {3: 7, 4: 8 << 20, 5: 20000, 6: 9999})
    assert (update.kind, update.stream_id, update.number) == (WINDOW_UPDATE, 0, (16 << 20) - 65535)


def test_settings_are_acknowledged() -> None:
    assert Frame(SETTINGS, ACK, 0, b"") in Server(start=PREFACE + settings((99, 1))).sent


def test_a_request_comes_with_its_header_and_its_body_and_is_answered() -> None:
    server = Server()
    request, body = server.receive(headers(1), data(1, b"question", end=True))
    assert isinstance(request, RequestReceived)
    assert (request.stream_id, request.head.method, request.head.path) == (1, "POST", "/toy.Service/Method")
    assert request.head.headers == {"content-type": "application/grpc", "te": "trailers"}
    assert isinstance(body, DataReceived)
    assert (body.stream_id, body.data, body.ended) == (1, b"question", True)
    server.answer(1)
    answer = answer_on(1, server.read())
    assert (answer.header, answer.body, answer.trailers) == ({":status": "200"}, b"body", {"grpc-status": "0"})
    assert answer.ended
    assert server.http2.open_streams == 0


def test_padding_and_priorities_are_put_aside() -> None:
    server = Server()
    fields = bytes([4]) + b"\0\0\0\0\x10" + block() + b"pads"
    flags = END_HEADERS | PADDED | HAS_PRIORITY
    events = server.receive(
        frame(PRIORITY, 0, 1, b"\0\0\0\x03\x10"),
        frame(HEADERS, flags, 1, fields),
        frame(DATA, PADDED | END_STREAM, 1, b"\x03question\0\0\0"),
    )
    assert said(events)[1] == repr(("data", 1, b"question", True))


def test_a_header_may_come_in_parts() -> None:
    server = Server()
    whole = block()
    events = server.receive(
        frame(HEADERS, 0, 1, whole[:5]),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, whole[5:]),
        data(1, b"x", end=True),
    )
    assert said(events) == said(Server().receive(headers(1), data(1, b"x", end=True)))


def test_trailers_of_a_client_end_its_request() -> None:
    server = Server()
    _, body, end = server.receive(headers(1), data(1, b"x"), headers(1, [("x-more", "1")], end=True))
    assert isinstance(body, DataReceived)
    assert isinstance(end, DataReceived)
    assert [(body.data, body.ended), (end.data, end.ended)] == [(b"x", False), (b"", True)]


def test_frames_of_unknown_types_settings_with_unknown_numbers_and_the_goaway_of_a_client_change_nothing() -> None:
    server = Server()
    server.receive(frame(0xBE, 0xFF, 3, b"what"), settings((4711, 5)), goaway())
    assert len(server.receive(headers(1, end=True))) == 1


def test_a_ping_is_answered_with_its_own_bytes() -> None:
    server = Server()
    server.receive(frame(PING, 0, 0, b"12345678"))
    assert server.sent[-1] == Frame(PING, ACK, 0, b"12345678")


def test_the_answer_to_our_ping_is_an_event() -> None:
    server = Server()
    server.http2.ping(b"are you?")
    assert server.read() == [Frame(PING, 0, 0, b"are you?")]
    (event,) = server.receive(frame(PING, ACK, 0, b"are you?"))
    assert isinstance(event, PingAnswered)
    assert event.payload == b"are you?"


def test_a_client_that_gives_up_is_an_event_and_its_answer_goes_nowhere() -> None:
    server = Server()
    _, event = server.receive(headers(1), rst_stream(1, 8))
    assert isinstance(event, StreamReset)
    assert (event.stream_id, event.code, event.by_client) == (1, 8, True)
    server.answer(1)
    assert server.read() == []


def test_frames_that_cross_with_the_end_of_a_stream_are_put_aside() -> None:
    server = Server()
    server.receive(headers(1))
    server.http2.finish(1, TRAILERS)
    assert [(found.kind, found.flags) for found in server.read()] == [
        (HEADERS, END_HEADERS | END_STREAM),
        (RST_STREAM, 0),
    ]
    assert server.resets() == [(1, ErrorCode.NO_ERROR)]
    late = server.receive(data(1, b"late"), window_update(1, 5), data(1, b"later", end=True), rst_stream(1))
    assert late == []


def test_a_block_that_is_repeated_follows_the_table_of_its_sender() -> None:
    # An index names the newest entry of the table, whatever that is by now.
    server = Server()
    newest = b"\xbe"
    base = block(without(":path"))[0:0]

    def adding(path: str) -> bytes:
        return b"\x44" + bytes([len(path)]) + path.encode()

    rest = b"\x83\x86"
    paths = []
    for stream_id, said_path in ((1, adding("/a/b")), (3, newest), (5, newest), (7, adding("/c/d")), (9, newest)):
        (event,) = server.receive(headers(stream_id, base + rest + said_path, end=True))
        assert isinstance(event, RequestReceived)
        paths.append(event.head.path)
    assert paths == ["/a/b", "/a/b", "/a/b", "/c/d", "/c/d"]


def test_the_same_bytes_give_the_same_head_as_long_as_the_table_stays() -> None:
    server = Server()
    first, second = server.receive(headers(1, end=True), headers(3, end=True))
    assert isinstance(first, RequestReceived)
    assert isinstance(second, RequestReceived)
    assert first.head is second.head


def test_a_client_that_shrinks_the_header_table_hears_that_ours_is_empty() -> None:
    server = Server(start=PREFACE + settings((HEADER_TABLE_SIZE, 0)))
    server.receive(headers(1, end=True), headers(3, end=True))
    server.answer(1)
    server.answer(3)
    blocks = [found.payload for found in server.read() if found.kind == HEADERS]
    assert blocks == [b"\x20" + HEADER, TRAILERS, HEADER, TRAILERS]


# Flow control.


def test_an_answer_waits_for_the_window_of_its_stream() -> None:
    server = Server(start=PREFACE + settings((INITIAL_WINDOW_SIZE, 3)))
    server.receive(headers(1, end=True))
    server.answer(1, b"abcdefgh")
    assert answer_on(1, server.read()).body == b"abc"
    assert server.http2.is_stalled
    server.receive(window_update(1, 2))
    assert server.sent[-1].payload == b"de"
    server.receive(settings((INITIAL_WINDOW_SIZE, 6)))
    answer = answer_on(1, server.sent)
    assert (answer.body, answer.ended) == (b"abcdefgh", True)


def test_answers_share_the_window_of_the_connection() -> None:
    server = Server(start=PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 20)))
    server.receive(headers(1, end=True), headers(3, end=True), headers(5, end=True))
    server.answer(1, b"a" * 60000)
    server.answer(3, b"b" * 60000)
    server.read()
    assert sum(len(found.payload) for found in server.sent if found.kind == DATA) == 65535
    server.http2.finish(5, TRAILERS)
    assert answer_on(5, server.read()).ended, "what has no body waits for nothing"
    server.receive(window_update(0, 60000))
    for stream_id, letter in ((1, b"a"), (3, b"b")):
        answer = answer_on(stream_id, server.sent)
        assert (answer.body, answer.ended) == (letter * 60000, True)


def test_a_window_that_shrinks_under_an_answer_may_go_below_zero() -> None:
    server = Server(start=PREFACE + settings((INITIAL_WINDOW_SIZE, 10)))
    server.receive(headers(1, end=True))
    server.answer(1, b"x" * 20)
    server.read()
    server.receive(settings((INITIAL_WINDOW_SIZE, 0)), window_update(1, 10))
    assert len(answer_on(1, server.sent).body) == 10
    server.receive(window_update(1, 10))
    assert len(answer_on(1, server.sent).body) == 20


def test_large_answers_come_in_turns_and_in_frames_that_the_client_takes() -> None:
    server = Server(start=PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 20)) + window_update(0, 1 << 20))
    server.receive(headers(1, end=True), headers(3, end=True))
    server.answer(1, b"a" * 40000)
    server.answer(3, b"b" * 40000)
    pieces = [(found.stream_id, len(found.payload)) for found in server.read() if found.kind == DATA]
    assert pieces == [(1, 16384), (3, 16384), (1, 16384), (3, 16384), (1, 7232), (3, 7232)]


def test_no_more_is_handed_over_than_there_is_room_for() -> None:
    server = Server(
        start=PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 20), (MAX_FRAME_SIZE, 1 << 20)) + window_update(0, 1 << 20)
    )
    server.receive(headers(1, end=True))
    server.answer(1, b"a" * 500_000)
    first = server.http2.take_output(10_000)
    assert 9_000 < len(first) < 11_000
    server.sent += parse(first)
    server.read()
    assert answer_on(1, server.sent).body == b"a" * 500_000


def test_windows_are_opened_again_once_half_of_them_was_taken() -> None:
    limits = Http2Limits(stream_window_bytes=65536, connection_window_bytes=1 << 17)
    server = Server(limits)
    server.receive(headers(1))
    for _ in range(4):
        server.receive(data(1, b"x" * 16384))
        server.http2.take(1, 16384)
    updates = [(found.stream_id, found.number) for found in server.read() if found.kind == WINDOW_UPDATE]
    assert updates == [(0, 65536), (1, 32768)] or updates == [(1, 32768), (0, 65536)]


def test_a_stream_that_ends_gives_back_what_was_not_taken() -> None:
    limits = Http2Limits(stream_window_bytes=65535, connection_window_bytes=65535)
    server = Server(limits)
    for stream_id in range(1, 41, 2):
        assert failure(server.receive(headers(stream_id), data(stream_id, b"x" * 16384), rst_stream(stream_id))) is None
        server.http2.release(stream_id)


# What is not legal: the connection ends.

CONNECTION_ERRORS: dict[str, tuple[bytes, ErrorCode]] = {
    "a preface that is none": (b"GET / HTTP/1.1\r\n\r\n", ErrorCode.PROTOCOL_ERROR),
    "a preface that goes wrong late": (PREFACE[:-1] + b"x", ErrorCode.PROTOCOL_ERROR),
    "no settings first": (PREFACE + frame(PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "an acknowledgement first": (PREFACE + frame(SETTINGS, ACK, 0), ErrorCode.PROTOCOL_ERROR),
    "a frame over the limit": (START + frame(0xBE, 0, 0, bytes(65537)), ErrorCode.FRAME_SIZE_ERROR),
    "data without a stream": (START + data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "data on a stream that has not begun": (START + data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "data on a stream of ours": (START + headers(3) + data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
    "data on a stream that has ended": (START + headers(1) + rst_stream(1) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
    "data on a stream that was left out": (START + headers(3) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
    "more padding than payload": (START + headers(1) + frame(DATA, PADDED, 1, b"\x04abc"), ErrorCode.PROTOCOL_ERROR),
    "padding without a length": (START + headers(1) + frame(DATA, PADDED, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "headers without a stream": (START + headers(0), ErrorCode.PROTOCOL_ERROR),
    "headers on an even stream": (START + headers(2), ErrorCode.PROTOCOL_ERROR),
    "headers on an earlier stream": (START + headers(5) + headers(3), ErrorCode.STREAM_CLOSED),
    "headers on a stream that has ended": (START + headers(1) + rst_stream(1) + headers(1), ErrorCode.STREAM_CLOSED),
    "headers with more padding than payload": (
        START + frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + block()),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "headers too short for a priority": (
        START + frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"abcd"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a block with an index of nothing": (START + headers(1, b"\xfe"), ErrorCode.COMPRESSION_ERROR),
    "a block with the index zero": (START + headers(1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "a block that is cut off": (START + headers(1, block()[:-3]), ErrorCode.COMPRESSION_ERROR),
    "a block with a number without an end": (START + headers(1, b"\xff" * 12), ErrorCode.COMPRESSION_ERROR),
    "a block with a wrong Huffman code": (START + headers(1, b"\x00\x81\xff\x81\xff"), ErrorCode.COMPRESSION_ERROR),
    "a table larger than allowed": (START + headers(1, b"\x3f\xe2\x1f" + block()), ErrorCode.COMPRESSION_ERROR),
    "a table size in the middle of a block": (START + headers(1, block() + b"\x20"), ErrorCode.COMPRESSION_ERROR),
    "an unreadable block on a stream that was refused": (
        START + headers(1, without(":path")) + headers(1, b"\xfe", end=True),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "another frame within a header": (
        START + frame(HEADERS, 0, 1, block()) + frame(PING, 0, 0, bytes(8)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "an unknown frame within a header": (
        START + frame(HEADERS, 0, 1, block()) + frame(77, 0, 1),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a continuation on another stream": (
        START + frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, END_HEADERS, 3, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a continuation of nothing": (START + frame(CONTINUATION, END_HEADERS, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "a continuation after the end": (
        START + headers(1) + frame(CONTINUATION, END_HEADERS, 1, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a priority without a stream": (START + frame(PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "a priority of four bytes": (START + frame(PRIORITY, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
    "a reset without a stream": (START + rst_stream(0), ErrorCode.PROTOCOL_ERROR),
    "a reset of a stream that has not begun": (START + rst_stream(1), ErrorCode.PROTOCOL_ERROR),
    "a reset of a stream of ours": (START + headers(5) + rst_stream(2), ErrorCode.PROTOCOL_ERROR),
    "a reset of three bytes": (START + headers(1) + frame(RST_STREAM, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "settings on a stream": (START + frame(SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "settings of seven bytes": (START + frame(SETTINGS, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (START + frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "push that is neither on nor off": (START + settings((ENABLE_PUSH, 2)), ErrorCode.PROTOCOL_ERROR),
    "a first window too large": (START + settings((INITIAL_WINDOW_SIZE, 1 << 31)), ErrorCode.FLOW_CONTROL_ERROR),
    "a first window that makes an open one too large": (
        START + headers(1) + window_update(1, LARGEST - 65535) + settings((INITIAL_WINDOW_SIZE, 65536)),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "frames too small": (START + settings((MAX_FRAME_SIZE, 16383)), ErrorCode.PROTOCOL_ERROR),
    "frames too large": (START + settings((MAX_FRAME_SIZE, 1 << 24)), ErrorCode.PROTOCOL_ERROR),
    "a push": (START + headers(1) + frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + block()), ErrorCode.PROTOCOL_ERROR),
    "a ping on a stream": (START + frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a ping of seven bytes": (START + frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "a goaway on a stream": (START + frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a goaway of seven bytes": (START + frame(GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "a window opened by nothing": (START + window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "a window opened too far": (START + window_update(0, LARGEST), ErrorCode.FLOW_CONTROL_ERROR),
    "a window of a stream that has not begun": (START + window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
    "a window update of five bytes": (START + frame(WINDOW_UPDATE, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_what_no_client_may_send_ends_the_connection(name: str) -> None:
    sent, code = CONNECTION_ERRORS[name]
    server = Server(start=b"")
    events = server.receive(sent)
    assert failure(events) == code
    assert server.http2.failed
    assert server.sent[-1].goaway[1] == code
    assert server.receive(headers(7, end=True)) == []
    assert server.http2.open_streams == 0


def test_more_data_than_the_connection_takes_ends_it() -> None:
    server = Server(Http2Limits(stream_window_bytes=1 << 20, connection_window_bytes=65535))
    server.receive(headers(1), data(1, bytes(65535)))
    assert failure(server.receive(data(1, b"x"))) == ErrorCode.FLOW_CONTROL_ERROR


# What is not legal: the stream ends, and the connection goes on.

MALFORMED: dict[str, list[tuple[str, str]]] = {
    "no method": without(":method"),
    "no scheme": without(":scheme"),
    "no path": without(":path"),
    "an empty path": with_value(":path", ""),
    "a path without a slash": with_value(":path", "here"),
    "a star where it means nothing": with_value(":path", "*"),
    "two paths": [(":path", "/a"), *CALL],
    "an unknown pseudo-header": [(":what", "x"), *CALL],
    "a pseudo-header of responses": [(":status", "200"), *CALL],
    "a pseudo-header after the others": [*CALL[1:], CALL[0]],
    "a name in upper case": [*CALL, ("X-Upper", "1")],
    "a name with a space": [*CALL, ("x y", "1")],
    "no name": [*CALL, ("", "1")],
    "a line break in a value": [*CALL, ("x", "a\r\nb: c")],
    "a zero in a value": [*CALL, ("x", "a\0b")],
    "a line break in a path": with_value(":path", "/a\nb"),
    "a value that begins with a space": [*CALL, ("x", " a")],
    "a value that ends with a tab": [*CALL, ("x", "a\t")],
    "a header of connections": [*CALL, ("connection", "close")],
    "a transfer encoding": [*CALL, ("transfer-encoding", "chunked")],
    "an upgrade": [*CALL, ("upgrade", "websocket")],
    "te that is not trailers": with_value("te", "gzip"),
    "a length that is none": [*CALL, ("content-length", "+1")],
    "two lengths": [*CALL, ("content-length", "1"), ("content-length", "2")],
    "a tunnel with a path": [(":method", "CONNECT"), (":path", "/"), (":authority", "a")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_reset_and_the_next_one_is_taken(name: str) -> None:
    server = Server()
    assert server.receive(headers(1, MALFORMED[name])) == []
    assert server.resets() == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert server.receive(data(1, b"rest", end=True)) == [], "what was on its way is put aside"
    assert len(server.receive(headers(3))) == 1


STREAM_ERRORS: dict[str, tuple[bytes, ErrorCode]] = {
    "data after the end": (headers(1, end=True) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
    "headers after the end": (headers(1, end=True) + headers(1, [("x", "y")], end=True), ErrorCode.STREAM_CLOSED),
    "headers that do not end the request": (headers(1) + headers(1, [("x", "y")]), ErrorCode.PROTOCOL_ERROR),
    "trailers with a pseudo-header": (headers(1) + headers(1, CALL, end=True), ErrorCode.PROTOCOL_ERROR),
    "a window opened by nothing": (headers(1) + window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
    "a window opened too far": (headers(1) + window_update(1, LARGEST), ErrorCode.FLOW_CONTROL_ERROR),
    "a body longer than its length": (
        headers(1, [*CALL, ("content-length", "3")]) + data(1, b"four"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a body shorter than its length": (
        headers(1, [*CALL, ("content-length", "3")]) + data(1, b"tw", end=True),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a body shorter than its length, with trailers": (
        headers(1, [*CALL, ("content-length", "3")]) + headers(1, [("x", "y")], end=True),
        ErrorCode.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_what_a_stream_may_not_have_ends_it_alone(name: str) -> None:
    sent, code = STREAM_ERRORS[name]
    server = Server()
    first, last = server.receive(sent)
    assert isinstance(first, RequestReceived)
    assert isinstance(last, StreamReset)
    assert (last.stream_id, last.code, last.by_client) == (1, code, False)
    assert server.resets() == [(1, code)]
    assert len(server.receive(headers(3))) == 1


def test_a_request_without_a_body_that_announces_one_is_reset() -> None:
    server = Server()
    assert server.receive(headers(1, [*CALL, ("content-length", "3")], end=True)) == []
    assert server.resets() == [(1, ErrorCode.PROTOCOL_ERROR)]


def test_more_data_than_a_stream_takes_ends_it_alone() -> None:
    server = Server(Http2Limits(stream_window_bytes=65535))
    events = server.receive(headers(1), data(1, bytes(65535)), data(1, b"x"))
    assert isinstance(events[-1], StreamReset)
    assert server.resets() == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


# What is legal and too much.


def test_requests_over_the_limit_are_refused_and_can_be_sent_again() -> None:
    server = Server(Http2Limits(max_concurrent_streams=2))
    events = server.receive(headers(1), headers(3), headers(5))
    assert [event.stream_id for event in events if isinstance(event, RequestReceived)] == [1, 3]
    assert server.resets() == [(5, ErrorCode.REFUSED_STREAM)]
    server.answer(1)
    server.read()
    assert len(server.receive(headers(7))) == 1


def test_a_request_that_was_given_up_counts_until_no_work_goes_on_for_it() -> None:
    server = Server(Http2Limits(max_concurrent_streams=1))
    server.receive(headers(1), rst_stream(1), headers(3))
    assert server.resets() == [(3, ErrorCode.REFUSED_STREAM)]
    server.http2.release(1)
    assert len(server.receive(headers(5))) == 1


def test_answers_count_until_they_are_handed_over() -> None:
    server = Server(Http2Limits(max_concurrent_streams=1))
    server.http2.receive(headers(1, end=True), 0)
    server.answer(1)
    assert server.receive(headers(3, end=True)) == []
    assert server.resets() == [(3, ErrorCode.REFUSED_STREAM)]
    assert len(server.receive(headers(5, end=True))) == 1


def test_a_header_over_the_limit_is_an_event_of_its_own() -> None:
    server = Server(Http2Limits(max_header_list_bytes=1000))
    (event,) = server.receive(headers(1, [*CALL, ("x", "y" * 900)]))
    assert isinstance(event, HeaderTooLarge)
    assert 1000 < event.size < 2000
    server.http2.finish(1, TRAILERS)
    assert answer_on(1, server.read()).ended
    assert len(server.receive(headers(3))) == 1


def small_block_of_a_large_header() -> bytes:
    """One entry in the table, named a thousand times."""
    entry = b"\x40\x01x\x7f\x81\x1e" + b"y" * 4000
    return entry + b"\xbe" * 1000


FLOODS: dict[str, bytes] = {
    "pings": frame(PING, 0, 0, bytes(8)),
    "answers to pings": frame(PING, ACK, 0, bytes(8)),
    "settings": settings((INITIAL_WINDOW_SIZE, 70000)),
    "acknowledgements": frame(SETTINGS, ACK, 0),
    "empty data": data(1),
    "priorities": frame(PRIORITY, 0, 1, bytes(5)),
    "windows opened byte by byte": window_update(1, 1),
    "the window of the connection": window_update(0, 1),
    "resets of a stream that has ended": rst_stream(3),
    "unknown frames": frame(0xBE, 0, 0),
    "goaway": goaway(),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_that_lead_to_nothing_ends_the_connection(name: str) -> None:
    server = Server(Http2Limits(idle_frames=100))
    server.receive(headers(1), headers(3), rst_stream(3))
    assert failure(server.receive(FLOODS[name] * 80)) is None
    assert failure(server.receive(FLOODS[name] * 30)) == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("name", FLOODS)
def test_the_same_frames_are_welcome_over_time_and_beside_real_work(name: str) -> None:
    server = Server(Http2Limits(idle_frames=100, idle_frames_per_second=10))
    server.receive(headers(1), headers(3), rst_stream(3))
    for second in range(0, 60, 6):
        assert failure(server.receive(FLOODS[name] * 60, now=float(second))) is None
    for _ in range(10):
        assert failure(server.receive(FLOODS[name] * 60, data(1, b"x"), now=60.0)) is None


def test_replies_that_nobody_reads_do_not_pile_up() -> None:
    server = Server(Http2Limits(unsent_replies=50))
    events = server.http2.receive(frame(PING, 0, 0, bytes(8)) * 60, 0)
    assert failure(events) == ErrorCode.ENHANCE_YOUR_CALM


def test_rapid_resets_end_the_connection() -> None:
    server = Server(Http2Limits(resets=50))
    events: list[Event] = []
    for stream_id in range(1, 121, 2):
        events += server.receive(headers(stream_id), rst_stream(stream_id))
        server.http2.release(stream_id)
    assert failure(events) == ErrorCode.ENHANCE_YOUR_CALM


def test_resets_that_a_client_provokes_end_the_connection_too() -> None:
    server = Server(Http2Limits(resets=50))
    events: list[Event] = []
    for stream_id in range(1, 121, 2):
        events += server.receive(headers(stream_id), window_update(stream_id, 0))
        server.http2.release(stream_id)
    assert failure(events) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_client_that_gives_up_every_other_request_may() -> None:
    server = Server(Http2Limits(resets=50))
    for stream_id in range(1, 2001, 4):
        assert (
            failure(server.receive(headers(stream_id), rst_stream(stream_id), headers(stream_id + 2, end=True))) is None
        )
        server.http2.release(stream_id)
        server.answer(stream_id + 2)
        server.read()


def test_a_header_in_endless_parts_ends_the_connection() -> None:
    server = Server()
    server.receive(frame(HEADERS, 0, 1, b""))
    assert failure(server.receive(frame(CONTINUATION, 0, 1, b"") * 100)) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_header_that_grows_without_end_ends_the_connection() -> None:
    server = Server(Http2Limits(max_header_list_bytes=20000))
    server.receive(frame(HEADERS, 0, 1, bytes(16384)))
    events = server.receive(*[frame(CONTINUATION, 0, 1, bytes(16384))] * 3)
    assert failure(events) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_small_block_that_says_much_ends_the_connection() -> None:
    assert failure(Server().receive(headers(1, small_block_of_a_large_header()))) == ErrorCode.ENHANCE_YOUR_CALM


def test_answers_that_nobody_reads_stay_with_their_streams_which_are_counted() -> None:
    server = Server(Http2Limits(max_concurrent_streams=100), START + window_update(0, LARGEST - 65535))
    taken = 0
    for stream_id in range(1, 2001, 2):
        for event in server.http2.receive(headers(stream_id, end=True), 0):
            assert isinstance(event, RequestReceived)
            taken += 1
            server.answer(stream_id, bytes(10_000))
    assert taken <= 130
    assert server.resets() == []
    server.read()
    assert len(server.resets()) == 1000 - taken


# The end.


def test_the_end_is_announced_and_requests_are_still_taken_until_it_comes() -> None:
    server = Server()
    server.http2.announce_end(b"the end?")
    first, ping = server.read()
    assert first.goaway == (LARGEST, 0)
    assert (ping.kind, ping.payload) == (PING, b"the end?")
    assert len(server.receive(headers(1))) == 1
    server.http2.end()
    (last,) = server.read()
    assert last.goaway == (1, 0)
    assert server.receive(headers(3), data(3, b"x", end=True), window_update(3, 1), rst_stream(3)) == []
    assert server.resets() == []
    (event,) = server.receive(data(1, b"x", end=True))
    assert isinstance(event, DataReceived)
    assert not server.http2.is_ended
    server.answer(1)
    server.read()
    assert server.http2.is_ended


# However the bytes are cut.

SCRIPTS = {
    "one call": START + headers(1) + data(1, b"question", end=True),
    "calls that overlap": START
    + headers(1)
    + headers(3)
    + data(3, b"b" * 300)
    + data(1, b"a", end=True)
    + data(3, end=True),
    "everything at once": START
    + frame(PRIORITY, 0, 1, bytes(5))
    + frame(HEADERS, 0, 1, block()[:9])
    + frame(CONTINUATION, END_HEADERS, 1, block()[9:])
    + settings((INITIAL_WINDOW_SIZE, 5), (MAX_FRAME_SIZE, 20000))
    + frame(DATA, PADDED, 1, b"\x04body\0\0\0\0")
    + frame(PING, 0, 0, b"pingpong")
    + window_update(0, 77)
    + window_update(1, 78)
    + headers(3, [*CALL, ("x-of-a-client", "1")], end=True)
    + headers(5, with_value("te", "no"))
    + headers(1, [("x", "y")], end=True)
    + headers(7)
    + rst_stream(7)
    + frame(0xAA, 1, 2, b"unknown")
    + goaway(),
}


def run(parts: Sequence[bytes]) -> tuple[list[str], list[Frame]]:
    server = Server(start=b"")
    events = [event for part in parts for event in server.receive(part)]
    return said(events), server.sent


def cuts(sent: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(sent)), max_size=30).map(sorted)
    return places.map(lambda at: [sent[a:b] for a, b in zip([0, *at], [*at, len(sent)], strict=True)])


@pytest.mark.parametrize("name", [*SCRIPTS, *CONNECTION_ERRORS])
def test_byte_by_byte_says_the_same_as_all_at_once(name: str) -> None:
    sent = SCRIPTS[name] if name in SCRIPTS else CONNECTION_ERRORS[name][0]
    if len(sent) < 5000:
        assert run([sent[i : i + 1] for i in range(len(sent))]) == run([sent])


@given(st.data(), st.sampled_from(sorted(SCRIPTS)))
def test_bytes_say_the_same_wherever_they_are_cut(drawn: st.DataObject, name: str) -> None:
    sent = SCRIPTS[name]
    assert run(drawn.draw(cuts(sent))) == run([sent])


# Anything at all.


def check_sane(server: Server, events: Sequence[Event]) -> None:
    failure(events)
    parse(server.http2.take_output(ROOM))
    if server.http2.failed:
        assert server.http2.receive(b"more", 0) == []
        assert server.http2.open_streams == 0


@given(st.binary(max_size=2000))
def test_random_bytes_never_break_it(sent: bytes) -> None:
    server = Server()
    check_sane(server, server.receive(sent))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 11),
            st.integers(0, 255),
            st.integers(0, 9),
            st.one_of(st.binary(max_size=40), st.just(block())),
        ),
        max_size=40,
    )
)
def test_random_frames_never_break_it(drawn: list[tuple[int, int, int, bytes]]) -> None:
    server = Server()
    events: list[Event] = []
    for one in drawn:
        new = server.receive(frame(*one))
        for event in new:
            if isinstance(event, RequestReceived):
                server.answer(event.stream_id, b"x" * 50)
        events += new
    check_sane(server, events)


@given(st.data(), st.sampled_from(sorted(SCRIPTS)))
def test_mutated_recordings_never_break_it(drawn: st.DataObject, name: str) -> None:
    sent = bytearray(SCRIPTS[name])
    for _ in range(drawn.draw(st.integers(1, 6))):
        sent[drawn.draw(st.integers(len(PREFACE), len(sent) - 1))] = drawn.draw(st.integers(0, 255))
    server = Server(start=b"")
    check_sane(server, server.receive(bytes(sent)))


def test_limits_that_the_protocol_has_no_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="max_frame_bytes: expected 16384 to 16777215, got 1"):
        Http2Limits(max_frame_bytes=1)
