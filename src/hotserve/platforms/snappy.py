"""Decompresses snappy blocks, as older checkpoints' indexes hold them.

Source: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

from hotserve.platforms.wire_format import WireError, read_varint

_LITERAL, _COPY_1, _COPY_2 = 0, 1, 2
_MAX_SHORT_LITERAL = 60


def decompress(data: bytes, max_bytes: int) -> bytes:
    """Decompresses one block.

    Args:
        data: The block.
        max_bytes: How large the result may be.

    Raises:
        WireError: It is no snappy block, or decompresses to more.
    """
    size, index = read_varint(data, 0)
    if size > max_bytes:
        raise WireError(f"a block decompresses to {size} bytes, expected at most {max_bytes}")
    out = bytearray()
    while index < len(data):
        tag = data[index]
        index += 1
        if tag & 3 == _LITERAL:
            length = tag >> 2
            if length >= _MAX_SHORT_LITERAL:
                length, index = _little_endian(data, index, length - _MAX_SHORT_LITERAL + 1)
            length += 1
            if index + length > len(data):
                raise WireError("a compressed block is cut off")
            out += data[index : index + length]
            index += length
        else:
            if tag & 3 == _COPY_1:
                length = (tag >> 2 & 7) + 4
                low, index = _little_endian(data, index, 1)
                offset = tag >> 5 << 8 | low
            else:
                length = (tag >> 2) + 1
                offset, index = _little_endian(data, index, 2 if tag & 3 == _COPY_2 else 4)
            if not 1 <= offset <= len(out):
                raise WireError("a compressed block is damaged")
            # A copy may reach into what it writes: it repeats the last `offset` bytes.
            pattern = bytes(out[-offset:][:length])
            out += (pattern * (length // len(pattern) + 1))[:length]
        if len(out) > size:
            raise WireError("a compressed block is damaged")
    if len(out) != size:
        raise WireError("a compressed block is cut off")
    return bytes(out)


def _little_endian(data: bytes, index: int, size: int) -> tuple[int, int]:
    if index + size > len(data):
        raise WireError("a compressed block is cut off")
    return int.from_bytes(data[index : index + size], "little"), index + size
