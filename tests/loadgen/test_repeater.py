from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.compiled import SWITCH
from hotserve.loadgen import repeater
from hotserve.loadgen.exchange import BrokenAnswer, Request, SteadyCalls
from hotserve.loadgen.grpc_client import GrpcClient
from hotserve.loadgen.http1_client import Http1Client
from hotserve.wires.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame_head,
    settings_frame,
)

_repeater: Any = pytest.importorskip(
    "hotserve.loadgen._repeater", reason="hotserve was installed without a C compiler, or not on Linux"
)

NOT_WHOLE, UNUSUAL = 0, -1

STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"hello"]
)
HEADER_LINES = st.sampled_from(
    [
        b"content-length: 5",
        b"Content-Length:5 ",
        b"CONTENT-LENGTH:\t0",
        b"content-length: 12x",
        b"content-length: ",
        b"content-length: -1",
        b"content-length: 99999999999999999999",
        b"content-type: application/json",
        b"x-content-length: 7",
        b"date: Mon, 23 Nov 2026 01:00:00 GMT",
        b"connection: keep-alive",
        b"Connection: close",
        b"connection: Keep-Alive, close",
        b"Transfer-Encoding: chunked",
        b"x",
        b"",
    ]
)


@given(STATUS_LINES, st.lists(HEADER_LINES, max_size=5), st.sampled_from([b"\r\n", b"\n"]), st.binary(max_size=30))
def test_what_is_taken_for_a_usual_answer_is_one_for_the_client_too(
    status: bytes, lines: list[bytes], end: bytes, rest: bytes
) -> None:
    data = status + b"\r\n" + b"".join(line + end for line in lines) + b"\r\n" + rest
    size = _repeater.http1_answer(data)
    assert size in (NOT_WHOLE, UNUSUAL) or size > len(status)
    if size <= 0 or size > len(data):
        return
    client = Http1Client("host")
    client.request(Request("/", b""))
    answer = client.receive(data[:size])
    assert answer is not None
    assert (answer.error, answer.ends_connection) == ("", False)


@given(st.binary(max_size=200), st.sampled_from([b"", b"connection: keep-alive\r\n", b"Date: now\r\nServer: s\r\n"]))
def test_a_usual_answer_is_known_as_soon_as_its_head_is_there(body: bytes, more: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), more)
    assert {_repeater.http1_answer(head[:cut]) for cut in range(len(head))} == {NOT_WHOLE}
    assert _repeater.http1_answer(head + body) == len(head) + len(body)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 20_000,
        b"h",
    ],
)
def test_what_is_unusual_is_left_to_the_client(data: bytes) -> None:
    assert _repeater.http1_answer(data) == UNUSUAL


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return frame_head(kind, flags, stream, len(payload)) + payload


INITIAL = b"\x88"
TRAILERS = b"\x00\x0bgrpc-status\x010"


def answer_to(stream: int, message: bytes) -> bytes:
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        frame(HEADERS, END_HEADERS, stream, INITIAL)
        + frame(DATA, 0, stream, framed)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS)
    )


def steady_client() -> tuple[GrpcClient, SteadyCalls]:
    """A client that has had an answer, and has sent the next request."""
    client = GrpcClient("host")
    client.opening()
    client.receive(settings_frame({}))
    client.reply()
    request = Request("/s/M", b"question")
    client.request(request)
    assert client.steady() is None
    assert client.receive(answer_to(1, b"a")) is not None
    client.request(request)
    steady = client.steady()
    assert steady is not None
    return client, steady


def test_a_connection_of_grpc_is_steady_when_the_blocks_of_headers_repeat() -> None:
    _, steady = steady_client()
    assert (steady.stream, steady.initial, steady.trailers) == (3, INITIAL, TRAILERS)
    assert steady.window == 65535 - 2 * 13
    assert steady.most == 16384
    assert steady.taken == 6


def test_a_connection_that_somebody_else_has_used_goes_on_where_that_has_left_it() -> None:
    client, _ = steady_client()
    client.resume((7, 20, 100))
    assert client.receive(answer_to(7, b"x")) is not None
    # The window lets through no more than 20 of the 105 bytes.
    sent = client.request(Request("/s/M", bytes(100)))
    assert sent.endswith(frame_head(DATA, 0, 9, 20) + b"\0\0\0\0\x64" + bytes(15))


FRAMES = st.one_of(
    st.builds(
        frame,
        st.sampled_from([DATA, HEADERS, WINDOW_UPDATE, PING, GOAWAY, SETTINGS, RST_STREAM, 77]),
        st.sampled_from([0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM, 8, ACK]),
        st.sampled_from([0, 1, 3, 5]),
        st.sampled_from([b"", INITIAL, TRAILERS, b"\0\0\0\0\x01x", b"\0\0\0\0\x05x", b"\x01\0\0\0\x01x", b"\0\0\1\0"]),
    ),
    st.just(answer_to(3, b"y")),
    st.just(frame(HEADERS, END_HEADERS, 3, INITIAL)),
    st.just(frame(DATA, 0, 3, b"\0\0\0\0\x02x")),
    st.just(frame(DATA, 0, 3, b"y")),
    st.just(frame(HEADERS, END_HEADERS | END_STREAM, 3, TRAILERS)),
    st.just(frame(WINDOW_UPDATE, 0, 0, b"\0\0\1\0")),
)


@given(st.lists(FRAMES, max_size=6), st.integers(0, 20))
def test_what_is_taken_for_the_usual_frames_of_a_call_is_its_answer_for_the_client_too(
    frames: list[bytes], cut: int
) -> None:
    client, steady = steady_client()
    data = b"".join(frames)
    data = data[: len(data) - min(cut, len(data))]
    size, window, taken = _repeater.call_answer(data, steady.stream, steady.initial, steady.trailers)
    assert size in (NOT_WHOLE, UNUSUAL) or 0 < size <= len(data)
    if size == UNUSUAL:
        return
    try:
        answer = client.receive(data[:size] if size else data)
    except BrokenAnswer:
        pytest.fail("it breaks the connection")
    assert (answer is not None) is (size > 0)
    assert not client.has_reply
    if answer is not None:
        assert (answer.error, answer.ends_connection) == ("", False)
        client.request(Request("/s/M", b"question"))
        following = client.steady()
        assert following is not None
        assert following.window == steady.window + window - 13
        assert following.taken == steady.taken + taken


@given(st.binary(max_size=40_000), st.integers(1, 16384))
def test_a_message_in_several_frames_is_usual(message: bytes, at_once: int) -> None:
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    at_once = max(at_once, len(framed) // 50, 5)
    parts = [framed[begin : begin + at_once] for begin in range(0, len(framed), at_once)]
    data = frame(HEADERS, END_HEADERS, 3, INITIAL) + b"".join(frame(DATA, 0, 3, part) for part in parts)
    data += frame(HEADERS, END_HEADERS | END_STREAM, 3, TRAILERS)
    assert _repeater.call_answer(data, 3, INITIAL, TRAILERS) == (len(data), 0, len(framed))
    for missing in (1, len(TRAILERS), len(data) - 1):
        assert _repeater.call_answer(data[:-missing], 3, INITIAL, TRAILERS)[0] == NOT_WHOLE


def test_a_connection_is_taken_over_once_and_given_back_once() -> None:
    made = _repeater.Repeater(-1, [(b"a", b"b")], 0)
    made.take_http1(5, 10, 20, 0)
    assert (made.under_way, made.idle) == (1, 0)
    with pytest.raises(ValueError, match="already"):
        made.take_http1(5, 10, 20, 0)
    assert made.overdue(20) == []
    assert made.overdue(21) == [5]
    assert made.give_back(5) == (10, 20, 0, (b"", b"", 0, (0, 0, 0)))
    assert made.under_way == 0
    with pytest.raises(ValueError, match="not here"):
        made.give_back(5)


@pytest.mark.parametrize(("file", "number"), [(-1, 0), (5, 1), (5, -1)])
def test_what_cannot_be_a_connection_or_a_request_is_refused(file: int, number: int) -> None:
    with pytest.raises(ValueError):
        _repeater.Repeater(-1, [(b"a", b"b")], 0).take_http1(file, 0, 0, number)


def test_the_compiled_code_is_used_where_it_is_there_unless_a_variable_says_otherwise() -> None:
    assert (not os.environ.get(SWITCH)) == repeater.IS_COMPILED
    assert (repeater.make_repeater(-1, [(b"", b"")], 0) is not None) == repeater.IS_COMPILED
