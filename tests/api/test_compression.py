from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.api.compression import UnpacksTooLarge, compress, gunzip
from hotserve.errors import Code, InvalidArgument

ENOUGH = 1 << 20


@given(st.binary(max_size=50_000))
def test_what_was_packed_comes_out_again(message: bytes) -> None:
    assert gunzip(compress(message), ENOUGH) == message
    assert gunzip(gzip.compress(message), ENOUGH) == message


@given(st.binary(max_size=50_000))
def test_a_packed_message_is_gzip_to_everybody_else(message: bytes) -> None:
    assert gzip.decompress(compress(message)) == message


def test_the_same_message_packs_to_the_same_bytes() -> None:
    assert compress(b"no time stamp" * 100) == compress(b"no time stamp" * 100)


@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_several_members_are_one_message(parts: list[bytes]) -> None:
    assert gunzip(b"".join(gzip.compress(part) for part in parts), ENOUGH) == b"".join(parts)


def test_a_member_longer_than_a_slice_is_followed_by_the_next() -> None:
    noise = bytes(zlib.crc32(number.to_bytes(4, "big")) & 0xFF for number in range(100_000))
    assert gunzip(gzip.compress(noise) * 3, ENOUGH) == noise * 3


def test_very_many_members_are_taken_one_after_the_other() -> None:
    # Each used to cost a copy of all that followed, so that this took minutes.
    assert gunzip(gzip.compress(b"") * 200_000 + gzip.compress(b"end"), ENOUGH) == b"end"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_a_message_up_to_the_limit_passes(size: int) -> None:
    assert gunzip(gzip.compress(b"x" * size), 1000) == b"x" * size


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(b"x" * 1001), id="one byte"),
        pytest.param(gzip.compress(b"x" * 50_000_000), id="a bomb"),
        pytest.param(gzip.compress(b"x" * 600) * 2, id="in the second member"),
        pytest.param(gzip.compress(b"x" * 50_000_000)[:100], id="before it turns out that it is cut off"),
    ],
)
def test_a_message_over_the_limit_is_refused_by_its_limit_and_flag(packed: bytes) -> None:
    with pytest.raises(
        UnpacksTooLarge, match=r"more than 1000 bytes, the limit set by --max_message_bytes\."
    ) as caught:
        gunzip(packed, 1000)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"plain text", "incorrect header check", id="not packed"),
        pytest.param(zlib.compress(b"x"), "incorrect header check", id="packed otherwise"),
        pytest.param(gzip.compress(b"x" * 100)[:-1], "it ends before its last block", id="last byte missing"),
        pytest.param(gzip.compress(b"x" * 100)[:5], "it ends before its last block", id="cut in the header"),
        pytest.param(gzip.compress(b"x") + b"\0\0\0\0", "incorrect header check", id="followed by something else"),
        pytest.param(gzip.compress(b"x") + b"\x1f", "it ends before its last block", id="followed by half a header"),
        pytest.param(gzip.compress(b"x" * 100)[:-8] + b"\0" * 8, "incorrect data check", id="wrong check sum"),
    ],
)
def test_what_is_no_gzip_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        gunzip(body, ENOUGH)


@given(st.binary(max_size=300), st.data())
def test_a_damaged_message_is_refused_or_read_and_nothing_else(message: bytes, data: st.DataObject) -> None:
    packed = bytearray(gzip.compress(message, mtime=0))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(InvalidArgument):
        assert gunzip(bytes(packed), ENOUGH) == message  # some bits of the header say nothing
