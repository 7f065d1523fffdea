"""Walks flatbuffers without generated classes: which fields a table has, and where.

As `wire_format.py` does for protobuf, it tells whether a file is whole as far as its bytes can tell, and reads the few
fields that are asked for. Every offset is checked before it is followed: a file that is still being copied has holes,
which read as zeros, and ends too early.

Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hotserve.platforms.wire_format import ByteSource, WireError

_OFFSET_BYTES = 4
_VTABLE_HEADER_BYTES = 4  # its own size and the table's
_IDENTIFIER = slice(4, 8)
_MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Where some bytes are.

    Attributes:
        start: The first byte.
        end: The byte behind the last one.
    """

    start: int
    end: int


class Table:
    """One table of a flatbuffer; its fields are numbered from 0, in the order of the schema."""

    def __init__(self, source: ByteSource, position: int) -> None:
        """Reads where the fields are.

        Args:
            source: The flatbuffer.
            position: Where the table begins.

        Raises:
            WireError: There is no table here.
        """
        self.source = source
        self.position = position
        vtable = position - _integer(source, position, _OFFSET_BYTES, signed=True)
        header = _bytes(source, vtable, _VTABLE_HEADER_BYTES)
        vtable_bytes = int.from_bytes(header[:2], "little")
        table_bytes = int.from_bytes(header[2:], "little")
        if vtable_bytes < _VTABLE_HEADER_BYTES or vtable_bytes % 2 or table_bytes < _OFFSET_BYTES:
            raise WireError(f"there is no table at byte {position}")
        _bytes(source, position, table_bytes)
        offsets = _bytes(source, vtable, vtable_bytes)[_VTABLE_HEADER_BYTES:]
        self._size = table_bytes
        self._offsets = struct.unpack(f"<{len(offsets) // 2}H", offsets)

    def integer(self, field: int, size: int, default: int = 0, signed: bool = False) -> int:
        """A number.

        Args:
            field: The field's number.
            size: How many bytes it has.
            default: What a field that is left out means.
            signed: Whether it may be negative.
        """
        position = self._position_of(field, size)
        return default if position is None else _integer(self.source, position, size, signed)

    def integers(self, field: int, size: int = 4) -> Sequence[int] | None:
        """A vector of signed numbers of `size` bytes each; None for a field that is left out."""
        span = self.vector(field, size)
        if span is None:
            return None
        data = self.source.read(span.start, span.end)
        return [int.from_bytes(data[at : at + size], "little", signed=True) for at in range(0, len(data), size)]

    def text(self, field: int) -> str:
        """A string, empty for a field that is left out; bytes that are not UTF-8 become surrogates.

        Raises:
            WireError: It is not all there, or longer than 1 MiB.
        """
        span = self.vector(field, 1)
        if span is None:
            return ""
        if span.end - span.start > _MAX_TEXT_BYTES:
            raise WireError(f"the text at byte {span.start} has {span.end - span.start} bytes, expected a short one")
        return self.source.read(span.start, span.end).decode("utf-8", "surrogateescape")

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector of them; none for a field that is left out."""
        span = self.vector(field, _OFFSET_BYTES)
        if span is not None:
            for position in range(span.start, span.end, _OFFSET_BYTES):
                yield Table(self.source, _followed(self.source, position))

    def vector(self, field: int, size: int) -> Span | None:
        """Where the elements of a vector are.

        Args:
            field: The field's number.
            size: How many bytes an element has.

        Returns:
            The elements' bytes, which are all there; None for a field that is left out.
        """
        position = self._position_of(field, _OFFSET_BYTES)
        if position is None:
            return None
        vector = _followed(self.source, position)
        start = vector + _OFFSET_BYTES
        end = start + size * _integer(self.source, vector, _OFFSET_BYTES)
        if end > self.source.size:
            raise WireError(f"the vector at byte {vector} ends at byte {end}, the file has {self.source.size}")
        return Span(start, end)

    def _position_of(self, field: int, size: int) -> int | None:
        offset = self._offsets[field] if field < len(self._offsets) else 0
        if offset == 0:
            return None
        if offset < _OFFSET_BYTES or offset + size > self._size:
            raise WireError(f"field {field} of the table at byte {self.position} lies outside of it")
        return self.position + offset


def root_table(source: ByteSource, identifier: bytes) -> Table:
    """The table that a flatbuffer begins with.

    Args:
        source: The flatbuffer.
        identifier: The four bytes that tell its schema.

    Raises:
        WireError: There is none, or the bytes are something else.
    """
    found = _bytes(source, 0, _IDENTIFIER.stop)[_IDENTIFIER]
    if found != identifier:
        raise WireError(f"bytes 4 to 7 are {found!r}, expected {identifier!r}")
    return Table(source, _followed(source, 0))


def _followed(source: ByteSource, position: int) -> int:
    """What an offset leads to."""
    offset = _integer(source, position, _OFFSET_BYTES)
    if offset == 0:
        raise WireError(f"the offset at byte {position} leads nowhere")
    return position + offset


def _integer(source: ByteSource, position: int, size: int, signed: bool = False) -> int:
    return int.from_bytes(_bytes(source, position, size), "little", signed=signed)


def _bytes(source: ByteSource, position: int, size: int) -> bytes:
    if position < 0:
        raise WireError(f"an offset leads to byte {position}")
    return source.read(position, position + size)
