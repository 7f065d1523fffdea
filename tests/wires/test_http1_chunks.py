from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.wires.http1_chunks import Chunks, Gathered, TooLarge
from hotserve.wires.http1_head import Refused
from hotserve.wires.http1_limits import Http1Limits

LIMITS = Http1Limits(chunk_extension_bytes=100, head_bytes=200)


def feed(data: bytes, cuts: list[int] | None = None, max_bytes: int = 10_000) -> tuple[bytes | None, bytes]:
    """The body, None if it is not whole, and what is left behind it."""
    chunks = Chunks(max_bytes, LIMITS)
    left = b""
    edges = [0, *sorted(cuts or []), len(data)]
    for begin, end in pairwise(edges):
        left += data[begin:end]
        while (position := chunks.feed(left, 0)) and not chunks.finished:
            left = left[position:]
        left = left[position:]
    return (chunks.body.whole() if chunks.finished else None), left


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"00005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n", b"hello"),
        (b"5 ;a\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n", b"hello"),
    ],
)
def test_chunks_are_joined_and_extensions_and_trailers_dropped(data: bytes, body: bytes) -> None:
    assert feed(data + b"next") == (body, b"next")
    assert feed(data, list(range(len(data)))) == (body, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello5\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello\r\n\r\n",
        b"5;\x00\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"\xd9\xa5\r\nhello\r\n",
        b"fffffffffffffffff\r\nx",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\nx: \x00\r\n\r\n",
        b"0\r\nx: y\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"5;" + b"a" * 5000,
        b"1;" + b"a" * 60 + b"\r\nx\r\n1;" + b"a" * 60 + b"\r\nx\r\n0\r\n\r\n",
        b"0\r\n" + b"x: yyyyyyyyyyyyyyyyyyy\r\n" * 20 + b"\r\n",
    ],
)
def test_what_is_not_in_chunks_is_refused_however_it_is_cut(data: bytes) -> None:
    for cuts in ([], list(range(len(data)))):
        with pytest.raises(Refused) as refused:
            feed(data, cuts)
        assert refused.value.status == 400


def test_a_body_over_the_limit_is_refused_before_the_chunk_that_is_too_much_is_read() -> None:
    assert feed(b"5\r\nhello\r\n0\r\n\r\n", max_bytes=5)[0] == b"hello"
    with pytest.raises(TooLarge):
        feed(b"5\r\nhello\r\n1\r\n", max_bytes=5)
    with pytest.raises(TooLarge):
        feed(b"fffffffffffffff\r\n", max_bytes=5)


@given(
    parts=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_a_body_is_the_same_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert feed(data + b"rest", [min(cut, len(data)) for cut in cuts]) == (b"".join(parts), b"rest")


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_random_bytes_end_alike_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> object:
        try:
            return feed(data, [min(cut, len(data)) for cut in cuts])
        except (Refused, TooLarge) as error:
            return type(error)

    assert outcome(cuts) == outcome([])


@given(st.lists(st.sampled_from([b"", b"a", b"b" * 100, b"c" * 16384, b"d" * 20000]), max_size=12))
def test_gathered_parts_are_one_body(parts: list[bytes]) -> None:
    gathered = Gathered()
    for part in parts:
        gathered.add(part)
    assert gathered.size == sum(map(len, parts))
    assert gathered.whole() == b"".join(parts)


def test_many_small_parts_take_little_more_memory_than_their_bytes() -> None:
    gathered = Gathered()
    for _ in range(100_000):
        gathered.add(b"x")
    assert len(gathered._parts) < 100_000 / 10_000
