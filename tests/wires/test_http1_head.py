from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotserve.wires.http1_head import CHUNKED, Head, HeadCache, Refused, check_beginning, read_head
from hotserve.wires.http1_limits import Http1Limits

LIMITS = Http1Limits()


def head(*lines: str, first: str = "POST /v1/models/m:predict HTTP/1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (first, *lines, "")).encode("latin-1")


def read(*lines: str, first: str = "POST /v1/models/m:predict HTTP/1.1") -> Head:
    return read_head(head(*lines, first=first), LIMITS)


def refusal(raw: bytes, limits: Http1Limits = LIMITS) -> int:
    with pytest.raises(Refused) as refused:
        read_head(raw, limits)
    return refused.value.status


def test_a_head_says_method_path_headers_and_the_length_of_the_body() -> None:
    seen = read("Host: localhost:8501", "Content-Type: application/json", "Content-Length: 0042", "X-Empty:")
    assert (seen.method, seen.target, seen.length) == ("POST", "/v1/models/m:predict", 42)
    assert dict(seen.headers) == {
        "host": "localhost:8501",
        "content-type": "application/json",
        "content-length": "0042",
        "x-empty": "",
    }
    assert seen.keep_alive
    assert not seen.says_keep_alive
    assert not seen.expects_continue


def test_of_a_header_that_comes_twice_the_last_one_is_seen() -> None:
    headers = read("X-A: 1", "x-a: 2").headers
    assert headers["x-a"] == headers.get("x-a") == "2"
    assert headers.get("X-A") is None
    assert headers.get("x-b", "none") == "none"
    assert "x-a" in headers
    assert "x-b" not in headers
    assert len(headers) == 1


def test_blanks_around_a_value_are_not_part_of_it_and_bytes_beyond_ascii_are_latin_1() -> None:
    assert dict(read("A: \t b\tc  \t", "D:\xe9").headers) == {"a": "b\tc", "d": "\xe9"}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/v1/models/a%2Fb?x=1#y", "/v1/models/a%2Fb?x=1#y"),
        ("/v1/models/\xff", "/v1/models/\xff"),
        ("//v1", "//v1"),
        ("http://localhost:8501/v1/models/m", "/v1/models/m"),
        ("HTTPS://localhost", "/"),
        ("http://localhost?x", "/?x"),
        ("*", "*"),
    ],
)
def test_the_path_is_what_comes_after_the_authority_if_there_is_one(target: str, path: str) -> None:
    assert read(first=f"GET {target} HTTP/1.1").target == path


@pytest.mark.parametrize("target", ["v1/models/m", "localhost:8501", "ftp://a/b", "http:///a", "?x", "#", "http:"])
def test_a_target_that_is_no_path_gets_libevents_page(target: str) -> None:
    with pytest.raises(Refused) as refused:
        read(first=f"GET {target} HTTP/1.1")
    assert (refused.value.status, refused.value.explanation) == (400, None)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_the_methods_that_tensorflow_serving_knows_pass(method: str) -> None:
    assert read(first=f"{method} / HTTP/1.1").method == method


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "Post", "BREW", "PRI", "M-SEARCH", "X" * 100])
def test_other_methods_get_libevents_page(method: str) -> None:
    with pytest.raises(Refused) as refused:
        read(first=f"{method} / HTTP/1.1")
    assert (refused.value.status, refused.value.explanation) == (501, None)


@pytest.mark.parametrize(
    ("version", "connection", "keeps", "says"),
    [
        ("1.1", [], True, False),
        ("1.1", ["close"], False, False),
        ("1.1", ["Close"], False, False),
        ("1.1", ["keep-alive"], True, False),
        ("1.1", ["keep-alive, close"], False, False),
        ("1.1", ["x", "\tclose ,y"], False, False),
        ("1.1", ["closed"], True, False),
        ("1.9", [], True, False),
        ("1.0", [], False, False),
        ("1.0", ["keep-alive"], True, True),
        ("1.0", ["Keep-Alive"], True, True),
        ("1.0", ["keep-alive", "close"], False, False),
    ],
)
def test_connections_stay_as_the_version_and_the_client_say(
    version: str, connection: list[str], keeps: bool, says: bool
) -> None:
    seen = read(*(f"Connection: {value}" for value in connection), first=f"GET / HTTP/{version}")
    assert (seen.keep_alive, seen.says_keep_alive) == (keeps, says)


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["content-length:7\t"], 7),
        (["Content-Length: " + "0" * 5000 + "7"], 7),
        (["Content-Length: " + "9" * 18], 10**18 - 1),
        (["Content-Length: " + "9" * 5000], 10**18),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["transfer-encoding:\tChunked "], CHUNKED),
    ],
)
def test_the_body_is_as_long_as_one_header_says(lines: list[str], length: int) -> None:
    assert read(*lines).length == length


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "content-length: 5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: -5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length: 5.0"],
        ["Content-Length: 1_000"],
        ["Content-Length: \xb2"],
        ["Content-Length:"],
        ["Content-Length: chunked"],
        ["Transfer-Encoding:"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked;a=b"],
        ["Transfer-Encoding: \x0bchunked"],
        ["Transfer-Encoding: chunked\x0b"],
        ["Transfer-Encoding: 'chunked'"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding\t: chunked"],
        [" Transfer-Encoding: chunked"],
        ["X: y", " Transfer-Encoding: chunked"],
        ["Transfer-Encoding:", " chunked"],
        ["X: y\nTransfer-Encoding: chunked"],
        ["X: y\rTransfer-Encoding: chunked"],
        ["X: y\0"],
        ["Transfer\xadEncoding: chunked"],
        ["Host: a", "Host: b"],
        ["Host: a", "host: a"],
    ],
)
def test_what_a_proxy_could_read_in_another_way_is_refused(lines: list[str]) -> None:
    assert refusal(head(*lines)) == 400


def test_a_coding_that_is_not_known_is_told_from_a_wrong_one() -> None:
    assert refusal(head("Transfer-Encoding: gzip, chunked")) == 501


def test_http_1_0_has_no_chunks() -> None:
    assert refusal(head("Transfer-Encoding: chunked", first="POST / HTTP/1.0")) == 400


@pytest.mark.parametrize(
    "first",
    [
        "",
        " ",
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTPS/1.1",
        "GET /\tHTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "G\xc9T / HTTP/1.1",
        "GET@ / HTTP/1.1",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\rX: y",
        "GET / HTTP/1.1\x0b",
        "HTTP/1.1 200 OK",
    ],
)
def test_a_first_line_that_is_not_as_it_should_be_is_refused(first: str) -> None:
    assert refusal(head(first=first)) == 400


@pytest.mark.parametrize(
    "line", ["x", ":", ": y", "x y: z", "x(: y", "x: \x01", "x: \x7f", "\xe9: x", "x\x00: y", "\tx: y"]
)
def test_a_header_that_is_not_as_it_should_be_is_refused(line: str) -> None:
    assert refusal(head("A: b", line, "C: d")) == 400


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0", "9.9"])
def test_other_versions_are_named_as_such(version: str) -> None:
    assert refusal(head(first=f"GET / HTTP/{version}")) == 505


def test_what_is_expected_is_100_continue_or_nothing() -> None:
    assert read("Expect: 100-Continue").expects_continue
    assert refusal(head("Expect: 200-ok")) == 417
    assert refusal(head("Expect:")) == 417
    assert refusal(head("Expect: 100-continue", "Expect: 100-continue")) == 417
    assert not read("Expect: 100-continue", first="POST / HTTP/1.0").expects_continue


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(first=f"GET /{'a' * 100} HTTP/1.1"), 414),
        (head(f"A: {'b' * 200}"), 431),
        (head(*["A: b"] * 11), 431),
        (head(*["A: b"] * 10), None),
    ],
)
def test_heads_have_limits(raw: bytes, status: int | None) -> None:
    limits = Http1Limits(request_line_bytes=64, head_bytes=200, header_count=10)
    if status is None:
        read_head(raw, limits)
    else:
        assert refusal(raw, limits) == status


@given(
    data=st.lists(
        st.sampled_from([b"GET / HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"A: b", b"x" * 40, b" ", b"\0"]),
        max_size=12,
    ).map(b"".join)
)
def test_the_answer_to_a_wrong_beginning_does_not_depend_on_how_much_of_it_has_come(data: bytes) -> None:
    limits = Http1Limits(request_line_bytes=30, head_bytes=90)

    def verdict(raw: bytes, looked_at: int = 0) -> int | None:
        try:
            check_beginning(raw, looked_at, limits)
        except Refused as refused:
            return refused.status
        return None

    at_once = verdict(data) if data else None
    by_and_by = next((found for size in range(1, len(data) + 1) if (found := verdict(data[:size], size - 1))), None)
    assert by_and_by == at_once


def test_a_head_is_read_once_and_remembered_within_bounds() -> None:
    cache = HeadCache(LIMITS)
    raw = head("Content-Length: 5")
    assert cache.get(raw) is None
    assert cache.get(head("Content-Length: 5")) is None
    assert cache.read(raw) is cache.get(head("Content-Length: 5"))
    for number in range(2000):
        cache.read(head(f"X: {number}"))
    assert len(cache) <= 512
    cache.read(head("X: " + "y" * 5000))
    assert cache.get(head("X: " + "y" * 5000)) is None
    with pytest.raises(Refused):
        cache.read(head("Content-Length: x"))
    assert cache.get(head("Content-Length: x")) is None


PIECES = st.sampled_from(
    [
        *["GET / HTTP/1.1\r\n", "POST /v1/models/m:predict HTTP/1.1\r\n", "PUT /x?y HTTP/1.0\r\n", "Host: a\r\n"],
        *[
            "Content-Length: 5\r\n",
            "Content-Length: 12, 12\r\n",
            "content-length:\t7 \r\n",
            "Transfer-Encoding: chunked\r\n",
        ],
        *[
            "transfer-encoding: gzip\r\n",
            "Connection: close\r\n",
            "connection: Keep-Alive, x\r\n",
            "Expect: 100-continue\r\n",
        ],
        *[
            "Upgrade: websocket\r\n",
            "X-Y: z\r\n",
            "X:\r\n",
            " folded\r\n",
            "\r\n",
            "\n",
            "\r",
            " ",
            ":",
            ",",
            "\0",
            "\xff",
            "5",
        ],
    ]
)


@given(
    lines=st.lists(PIECES, max_size=7),
    cut=st.integers(0, 200),
    junk=st.sampled_from(["", " ", "\t", "\r\n", "x", "\0", ":"]),
)
@example(lines=["Transfer-Encoding: chunked\r\n"], cut=27, junk="x")
def test_whatever_is_accepted_another_parser_reads_in_the_same_way(lines: list[str], cut: int, junk: str) -> None:
    """h11 is the other one. It insists on `Host`, and on ASCII in the path; it joins equal Content-Lengths."""
    text = "POST /first HTTP/1.1\r\nHost: a\r\n" + "".join(lines)
    raw = (text[:cut] + junk + text[cut:] + "\r\n").encode("latin-1")
    raw = raw[: raw.find(b"\r\n\r\n") + 4]
    try:
        ours = read_head(raw, LIMITS)
    except Refused:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    if b"\xff" in raw.split(b"\r\n")[0] or (b"\nhost:" not in raw.lower()):
        return
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    assert ours.method.encode() == theirs.method
    assert ours.target.encode("latin-1") == theirs.target
    assert dict(ours.headers) == {name.decode(): value.decode("latin-1") for name, value in theirs.headers}
    headers = dict(theirs.headers)
    if ours.length == CHUNKED:
        assert headers[b"transfer-encoding"].lower() == b"chunked"
    else:
        assert int(headers.get(b"content-length", b"0")) == ours.length
        assert b"transfer-encoding" not in headers
