"""Accidents to bytes, for the fuzzers."""

from __future__ import annotations

import random
from collections.abc import Callable

_TELLING_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
"""Those at the ends of what a byte, a varint or a length may say."""


def damaged(chance: random.Random, data: bytes, piece: Callable[[random.Random], bytes]) -> bytes:
    """The data after up to three accidents; often after none.

    Args:
        chance: Decides.
        data: What it was; stays as it is.
        piece: Makes what is put in between: something that the reader looks for.
    """
    changed = bytearray(data)
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 3))):
        place, size = chance.randrange(len(changed) + 1), chance.randrange(1, 12)
        match chance.randrange(6):
            case 0 | 1:
                changed[place:place] = piece(chance)
            case 2:
                del changed[place : place + size]
            case 3:
                changed[place : place + 1] = bytes([chance.choice((*_TELLING_BYTES, chance.randrange(256)))])
            case 4:
                changed[place:place] = changed[max(0, place - size) : place]
            case _:
                del changed[place:]
    return bytes(changed)
