"""The pieces of protobuf's wire format that we write and read by hand, where a message object would be a copy too many.

Serialized messages can be appended to each other: the result is both, merged.

Source: protobuf's encoding specification.
"""

from __future__ import annotations


def varint(number: int) -> bytes:
    """A number of 0 or more, seven bits a byte, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def read_varint32(data: bytes, position: int) -> tuple[int, int]:
    """Reads a number of up to five bytes; bits above the 32nd are dropped, as TensorFlow drops them.

    Returns:
        The number and the position behind it; -1 and `position` where the bytes end or go on for too long.
    """
    number = 0
    for index, byte in enumerate(data[position : position + 5]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number & 0xFFFFFFFF, position + index + 1
    return -1, position


def length_delimited(number: int, data: bytes) -> bytes:
    """Field `number` of a message: bytes, a string, a message, or packed numbers."""
    return varint(number << 3 | 2) + varint(len(data)) + data
