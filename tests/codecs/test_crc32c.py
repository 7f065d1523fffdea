from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.crc32c import crc32c


def bit_by_bit(data: bytes) -> int:
    """The definition of the checksum, one bit at a time."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_published_check_values_come_out(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@given(st.binary(max_size=700))
def test_any_bytes_have_the_checksum_of_the_definition(data: bytes) -> None:
    assert crc32c(data) == bit_by_bit(data)


@pytest.mark.parametrize("size", [1, 3, 4, 255, 256, 257, 65535, 65536, 65537, 200_000])
def test_blocks_are_put_together_at_every_boundary(size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))

    assert crc32c(data) == bit_by_bit(data)
