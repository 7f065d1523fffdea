from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.compiled import SWITCH
from hotserve.loadgen import compiled_loop
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.http1_client import Http1Client

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
