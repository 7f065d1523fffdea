"""TFRecord files, uncompressed: warm-up files and request logs are of this form.

Each record is its length (8 bytes, little endian), the masked CRC-32C of these 8 bytes (4 bytes), the payload, and
the masked CRC-32C of the payload (4 bytes).

Source: tensorflow/core/lib/io/record_writer.h and record_reader.cc; the words of the errors are the reader's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Protocol

from hotserve.codecs.crc32c import crc32c
from hotserve.errors import Code, ServingError

_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
_HEADER_BYTES: Final = _LENGTH.size + _CHECKSUM.size

_PIECE_BYTES: Final = 1 << 20
"""A payload is read in pieces of this size: nothing is allocated for bytes that a broken length promises."""


class CorruptRecord(ServingError):
    """The bytes are no TFRecord file, or were cut off or damaged.

    Attributes:
        offset: Where in the file the unreadable part begins.
    """

    code = Code.DATA_LOSS

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class ReadsBytes(Protocol):
    """A file opened for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end of the file."""
        ...


def frame(payload: bytes) -> bytes:
    """A payload as a record; a TFRecord file is nothing but records, one behind the other."""
    length = _LENGTH.pack(len(payload))
    return b"".join((length, _masked_checksum(length), payload, _masked_checksum(payload)))


def framed_bytes(payload: bytes) -> int:
    """The size of a payload as a record."""
    return _HEADER_BYTES + len(payload) + _CHECKSUM.size


def read_records(file: ReadsBytes) -> Iterator[bytes]:
    """Reads a file record by record.

    The original takes a file that ends within the first 12 bytes of a record for one that ends before it; here that is
    an error like any other loss.

    Args:
        file: At its beginning.

    Yields:
        The payloads.

    Raises:
        CorruptRecord: A checksum does not fit, or the file ends within a record. The records before it have been
            yielded by then.
    """
    offset = 0
    while header := _read(file, _HEADER_BYTES):
        length = header[: _LENGTH.size]
        if len(header) < _HEADER_BYTES:
            raise _truncated(offset)
        if _masked_checksum(length) != header[_LENGTH.size :]:
            # As in the original, the hint stands where the very first bytes are wrong: this is another kind of file.
            hint = " (Is this even a TFRecord file?)" if offset == 0 else ""
            raise CorruptRecord(f"corrupted record at {offset}{hint}", offset)
        (size,) = _LENGTH.unpack(length)
        body = _read(file, size + _CHECKSUM.size)
        if len(body) < size + _CHECKSUM.size:
            raise _truncated(offset)
        payload = body[:size]
        if _masked_checksum(payload) != body[size:]:
            raise CorruptRecord(f"corrupted record at {offset + _HEADER_BYTES}", offset + _HEADER_BYTES)
        yield payload
        offset += _HEADER_BYTES + len(body)


def _truncated(offset: int) -> CorruptRecord:
    return CorruptRecord(f"truncated record at {offset}' failed with Read less bytes than requested", offset)


def _read(file: ReadsBytes, size: int) -> bytes:
    """`size` bytes, or all that are left."""
    pieces: list[bytes] = []
    while size > 0:
        piece = file.read(min(size, _PIECE_BYTES))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _masked_checksum(data: bytes) -> bytes:
    # Masked because a checksum of bytes that hold checksums of their own says little: tensorflow/core/lib/hash/crc32c.h
    checksum = crc32c(data)
    return _CHECKSUM.pack(((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)
