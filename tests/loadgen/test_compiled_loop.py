from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.compiled import SWITCH
from hotserve.loadgen import compiled_loop
from hotserve.loadgen.exchange import Request
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
)

_loop: Any = pytest.importorskip(
    "hotserve.loadgen._loop", reason="hotserve was installed without a C compiler, or not on Linux"
)

NOT_WHOLE, UNUSUAL = 0, -1

STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 503 Busy",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 x",
        b"hello",
    ]
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
    number, head, body = _loop.http1_answer(data)
    assert head in (NOT_WHOLE, UNUSUAL) or head > len(status)
    if head <= 0 or head + body > len(data):
        return
    client = Http1Client("host")
    client.request(Request("/", b""))
    answer = client.receive(data[: head + body])
    assert answer is not None
    assert (answer.error or "200", answer.ends_connection) == (str(number), False)
    assert answer.body == data[head : head + body]


@given(st.binary(max_size=200), st.sampled_from([b"", b"connection: keep-alive\r\n", b"Date: now\r\nServer: s\r\n"]))
def test_a_usual_answer_is_known_as_soon_as_its_head_is_there(body: bytes, more: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), more)
    assert {_loop.http1_answer(head[:cut])[1] for cut in range(len(head))} == {NOT_WHOLE}
    assert _loop.http1_answer(head + body) == (200, len(head), len(body))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 204 None\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 20_000,
        b"h",
    ],
)
def test_what_is_unusual_is_left_to_the_client(data: bytes) -> None:
    assert _loop.http1_answer(data)[1] == UNUSUAL


def test_the_compiled_code_is_used_where_it_is_there_unless_a_variable_says_otherwise() -> None:
    assert (not os.environ.get(SWITCH)) == compiled_loop.IS_COMPILED


SECOND = 1_000_000_000
QUESTION = b"\0\0\0\0\2ab"
INITIAL, GOOD_TRAILERS, BUSY_TRAILERS, CHANGING = b"initial", b"good", b"busy", b"changing"


class Words:
    """A reader of what this test's server sends; knows a few header blocks by their bytes."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def block(self, file: int, block: bytes, ends_stream: bool) -> int:
        self.asked.append(block)
        if block == CHANGING:
            return compiled_loop.FIRST_CHANGE
        return {INITIAL: 0, GOOD_TRAILERS: 0, BUSY_TRAILERS: 6}.get(block, compiled_loop.BROKEN)

    def reset(self, code: int) -> int:
        return 7


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return frame_head(kind, flags, stream, len(payload)) + payload


def answer_to(stream: int, message: bytes = b"yes", trailers: bytes = GOOD_TRAILERS) -> bytes:
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        frame(HEADERS, END_HEADERS, stream, INITIAL)
        + frame(DATA, 0, stream, framed)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
    )


class Conversation:
    """A loop with one connection of gRPC, whose other end the test has."""

    def __init__(self, most: int = 8, timeout: float = 60.0) -> None:
        self.reader = Words()
        self.ours, self.theirs = socket.socketpair()
        for end in (self.ours, self.theirs):
            end.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.ours, select.EPOLLIN)
        self.loop = _loop.Loop(self.poll.fileno(), [QUESTION], self.reader, 0, round(timeout * SECOND), 8, False)
        self.loop.take_calls(self.ours.fileno(), 65535, 65535, 16384, most, b"first", b"later", b"")

    def run(self, *dues: int, seconds: float = 0.001) -> list[int]:
        """Begins as many calls as there are times, and goes on until nothing more has come."""
        now = time.perf_counter_ns()
        begun = np.array([now for _ in dues], np.int64)
        files: list[int] = self.loop.run(now + round(seconds * SECOND), 2**62, 2**62, begun)
        self.begun = self.loop.begun
        nothing = np.array([], np.int64)
        while not files and self.poll.poll(0):
            files = self.loop.run(time.perf_counter_ns() + SECOND // 1000, 2**62, 2**62, nothing)
        return files

    def sent(self) -> bytes:
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def endings(self) -> list[int]:
        return np.frombuffer(self.loop.results()[3], np.int32).tolist()

    def close(self) -> None:
        self.poll.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    made = Conversation()
    yield made
    made.close()


def asked(stream: int, block: bytes = b"later") -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, QUESTION)


def test_calls_go_out_together_and_the_first_one_says_what_the_later_ones_repeat(conversation: Conversation) -> None:
    conversation.run(1, 2, 3)
    assert conversation.sent() == asked(1, b"first") + asked(3) + asked(5)
    assert conversation.loop.under_way == 3


def test_no_more_calls_are_under_way_on_a_connection_than_the_server_allows() -> None:
    conversation = Conversation(most=2)
    conversation.run(1, 2, 3)
    assert conversation.begun == 2
    assert conversation.sent() == asked(1, b"first") + asked(3)
    conversation.theirs.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\3"))
    conversation.run()
    conversation.run(1, 2)
    assert conversation.begun == 1
    assert conversation.sent() == frame(SETTINGS, ACK, 0, b"") + asked(5)
    conversation.close()


def test_answers_come_in_any_order_and_in_pieces_and_each_is_counted_as_it_is(conversation: Conversation) -> None:
    conversation.run(1, 2, 3)
    data = answer_to(5) + frame(PING, 0, 0, b"12345678") + answer_to(1, trailers=BUSY_TRAILERS) + answer_to(3)
    for place in range(len(data)):
        conversation.theirs.send(data[place : place + 1])
        conversation.run()
    assert conversation.endings() == [0, 6, 0]
    assert conversation.loop.under_way == 0
    assert conversation.sent().endswith(frame(PING, ACK, 0, b"12345678"))


def test_a_header_block_is_read_once_until_one_changes_what_they_mean(conversation: Conversation) -> None:
    for stream, trailers in ((1, GOOD_TRAILERS), (3, GOOD_TRAILERS), (5, CHANGING), (7, GOOD_TRAILERS)):
        conversation.run(1)
        conversation.theirs.send(answer_to(stream, trailers=trailers))
        conversation.run()
    assert conversation.endings() == [0, 0, 0, 0]
    assert conversation.reader.asked == [INITIAL, GOOD_TRAILERS, CHANGING, INITIAL, GOOD_TRAILERS]


def test_a_call_whose_time_is_over_is_cancelled_and_its_late_answer_belongs_to_nobody() -> None:
    conversation = Conversation(timeout=0.01)
    conversation.run(1)
    assert conversation.sent() == asked(1, b"first")
    conversation.run(seconds=0.05)
    assert conversation.endings() == [compiled_loop.Ending.TIMED_OUT]
    assert conversation.sent() == frame(RST_STREAM, 0, 1, b"\0\0\0\x08")
    conversation.run(1)
    conversation.theirs.send(answer_to(1, b"late") + answer_to(3))
    conversation.run()
    assert conversation.endings() == [0]
    conversation.close()


def test_calls_are_lost_with_their_connection_which_comes_back_with_the_reason(conversation: Conversation) -> None:
    conversation.run(1, 2)
    conversation.sent()
    conversation.theirs.close()
    file = conversation.ours.fileno()
    assert conversation.run() == [file]
    assert conversation.endings() == [compiled_loop.Ending.DROPPED] * 2
    returned = compiled_loop.Returned(*conversation.loop.give_back(file))
    assert (returned.reason, returned.lost) == (compiled_loop.Reason.CLOSED, 2)
    with pytest.raises(ValueError, match="not here"):
        conversation.loop.give_back(file)


def test_a_server_that_goes_away_in_order_answers_what_is_under_way_alone(
    conversation: Conversation,
) -> None:
    conversation.run(1)
    conversation.theirs.send(frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"))
    conversation.run()
    conversation.run(1)
    assert conversation.begun == 0
    conversation.theirs.send(answer_to(1))
    assert conversation.run() == [conversation.ours.fileno()]
    assert conversation.endings() == [0]
    reason, *_ = conversation.loop.give_back(conversation.ours.fileno())
    assert reason == compiled_loop.Reason.IN_ORDER


def test_what_the_reader_raises_ends_the_run(conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(code: int) -> int:
        raise RuntimeError("no words")

    monkeypatch.setattr(conversation.reader, "reset", fail)
    conversation.run(1)
    conversation.theirs.send(frame(RST_STREAM, 0, 1, b"\0\0\0\2"))
    with pytest.raises(RuntimeError, match="no words"):
        conversation.run()


ANY = st.binary(max_size=40)
FRAMES = st.one_of(
    st.builds(
        frame,
        st.sampled_from([DATA, HEADERS, WINDOW_UPDATE, PING, GOAWAY, SETTINGS, RST_STREAM, 9, 77]),
        st.integers(0, 255),
        st.sampled_from([0, 1, 3, 5, 99]),
        st.one_of(
            st.sampled_from([b"", INITIAL, GOOD_TRAILERS, b"\0\0\0\0\x01x", b"\0\0\1\0"]), st.binary(max_size=40)
        ),
    ),
    st.builds(answer_to, st.sampled_from([1, 3, 5]), st.binary(max_size=5)),
)


@given(st.lists(FRAMES, max_size=8), st.binary(max_size=12))
def test_whatever_a_server_sends_each_call_ends_once_at_most(frames: list[bytes], rest: bytes) -> None:
    conversation = Conversation()
    conversation.run(1, 2, 3)
    conversation.theirs.send(b"".join(frames) + rest)
    gone = conversation.run()
    assert gone in ([], [conversation.ours.fileno()])
    endings = conversation.endings()
    assert len(endings) + conversation.loop.under_way == 3
    if gone:
        assert conversation.loop.under_way == 0
        conversation.loop.give_back(gone[0])
    conversation.close()


def test_a_connection_is_taken_over_once() -> None:
    loop = _loop.Loop(-1, [b"a"], Words(), 0, SECOND, 1, False)
    loop.take_http1(5)
    with pytest.raises(ValueError, match="already"):
        loop.take_http1(5)
    with pytest.raises(ValueError, match="file descriptor"):
        loop.take_http1(-1)
