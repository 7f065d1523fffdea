from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.snappy import decompress
from hotserve.platforms.wire_format import WireError

LIMIT = 1 << 16


def literal(data: bytes) -> bytes:
    size = len(data) - 1
    if size < 60:
        return bytes([size << 2]) + data
    length = size.to_bytes(4, "little").rstrip(b"\0") or b"\0"
    return bytes([59 + len(length) << 2]) + length + data


def copy_1(offset: int, length: int) -> bytes:
    return bytes([offset >> 8 << 5 | length - 4 << 2 | 1, offset & 0xFF])


def copy_2(offset: int, length: int) -> bytes:
    return bytes([length - 1 << 2 | 2]) + offset.to_bytes(2, "little")


def copy_4(offset: int, length: int) -> bytes:
    return bytes([length - 1 << 2 | 3]) + offset.to_bytes(4, "little")


def block(size: int, *elements: bytes) -> bytes:
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*out, size)) + b"".join(elements)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([], b""),
        ([literal(b"a")], b"a"),
        ([literal(bytes(range(256)) * 2)], bytes(range(256)) * 2),
        ([literal(b"b" * 70_000)], b"b" * 70_000),
        ([literal(b"abcd"), copy_1(4, 4)], b"abcdabcd"),
        ([literal(b"abcd"), copy_2(2, 64)], b"abcd" + b"cd" * 32),
        ([literal(b"x"), copy_4(1, 9)], b"x" * 10),
        ([literal(b"a" * 700), copy_1(600, 11)], b"a" * 711),
        ([literal(b"abc"), copy_1(3, 5)], b"abcabcab"),
    ],
)
def test_blocks_come_back_as_they_were(elements: list[bytes], expected: bytes) -> None:
    assert decompress(block(len(expected), *elements), 1 << 20) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (block(LIMIT + 1, literal(b"a")), "decompresses to 65537 bytes, expected at most 65536"),
        (block(2, literal(b"a")), "cut off"),
        (block(4, b"\x0cab"), "cut off"),
        (block(4, b"\xf0"), "cut off"),
        (block(4, literal(b"ab"), copy_2(2, 4)), "damaged"),
        (block(8, literal(b"abcd"), copy_1(5, 4)), "damaged"),
        (block(8, copy_1(1, 4)), "damaged"),
        (block(4, literal(b"ab"), b"\x02\x00\x00"), "damaged"),
        (block(4, literal(b"ab"), b"\x02\x00"), "cut off"),
    ],
)
def test_what_is_no_block_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        decompress(data, LIMIT)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_stays_within_the_limit(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert len(decompress(data, LIMIT)) <= LIMIT
