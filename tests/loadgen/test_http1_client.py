from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.loadgen.exchange import Answer, BrokenAnswer, Request
from hotserve.loadgen.http1_client import Http1Client

REQUEST = Request("/v1/models/m:predict", b'{"instances": [1]}', headers=(("x-signature-name", "s"),))
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"


def client() -> Http1Client:
    made = Http1Client("host:1", (("authorization", "t"),))
    made.request(REQUEST)
    return made


def in_pieces(made: Http1Client, data: bytes, cuts: list[int]) -> list[Answer]:
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    answers = [made.receive(data[a:b]) for a, b in itertools.pairwise(places)]
    return [answer for answer in answers if answer is not None]


def test_a_request_says_where_it_goes_and_what_it_carries() -> None:
    assert Http1Client("host:1", (("authorization", "t"),)).request(REQUEST) == (
        b"POST /v1/models/m:predict HTTP/1.1\r\nhost: host:1\r\naccept: */*\r\nauthorization: t\r\n"
        b'x-signature-name: s\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n{"instances": [1]}'
    )


def test_another_request_on_the_same_connection_has_its_own_bytes() -> None:
    made = client()
    assert made.request(Request("/other", b"x", method="GET")).startswith(b"GET /other HTTP/1.1\r\n")


@given(st.binary(max_size=300), st.lists(st.integers(0, 10**6)))
def test_an_answer_is_whole_when_its_last_byte_has_come(body: bytes, cuts: list[int]) -> None:
    made = client()
    data = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:%d\r\n\r\n%b" % (len(body), body)
    for _ in range(2):
        (answer,) = in_pieces(made, data, cuts)
        assert (answer.body, answer.error, answer.ends_connection) == (body, "", False)
        made.request(REQUEST)


@given(st.lists(st.binary(min_size=1, max_size=40)), st.booleans(), st.lists(st.integers(0, 10**6)))
def test_chunks_are_put_together(chunks: list[bytes], with_trailers: bool, cuts: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data += b"0\r\n" + (b"x: y\r\n\r\n" if with_trailers else b"\r\n")
    (answer,) = in_pieces(client(), data, cuts)
    assert answer.body == b"".join(chunks)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    made = client()
    assert made.receive(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert made.receive(b"lo") is None
    answer = made.end()
    assert answer is not None
    assert (answer.body, answer.ends_connection) == (b"hello", True)


@pytest.mark.parametrize(
    ("head", "ends"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_the_head_tells_whether_more_requests_may_follow(head: bytes, ends: bool) -> None:
    answer = client().receive(head + b"content-length: 1\r\n\r\nx")
    assert answer is not None
    assert answer.ends_connection is ends


def test_a_status_other_than_200_is_an_error_with_its_text() -> None:
    made = client()
    answer = made.receive(b'HTTP/1.1 503 Busy\r\ncontent-length: 9\r\n\r\n{"e": "b"')
    assert answer is not None
    assert (answer.error, answer.body) == ("503", b'{"e": "b"')
    made.request(REQUEST)
    good = made.receive(PLAIN)
    assert good is not None
    assert good.error == ""


def test_an_answer_without_a_body_is_whole_with_its_head() -> None:
    answer = client().receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert answer is not None
    assert answer.error == "204"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "expected an answer of HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "expected an answer of HTTP/1.1"),
        (PLAIN + b"more", "expected one answer"),
        (b"x" * 70_000, "expected the head of an answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n", "expected the size of a chunk"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BrokenAnswer, match=words):
        client().receive(data)


@pytest.mark.parametrize(("data", "words"), [(b"", "closed the connection$"), (PLAIN[:-1], "after 74 bytes")])
def test_a_connection_that_ends_before_its_answer_is_lost(data: bytes, words: str) -> None:
    made = client()
    if data:
        assert made.receive(data) is None
    with pytest.raises(BrokenAnswer, match=words):
        made.end()


@given(st.binary())
def test_no_bytes_do_more_than_being_refused(data: bytes) -> None:
    made = client()
    try:
        made.receive(b"HTTP/1.1 200 OK\r\n" + data)
        made.receive(data)
        made.end()
    except BrokenAnswer:
        return
