"""Walks protobuf's wire format without message classes: which fields are in a message, and where.

It answers two questions about model files that may still be on their way: is the file whole, as far as its bytes can
tell, and which other files does it name. Nothing but the few fields asked for is read into memory, and neither
TensorFlow nor onnx is needed.

Files are read with `pread`, not mapped: a mapped file that somebody truncates kills the reader with SIGBUS, and files
that are being copied are what this is for.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

VARINT = 0
FIXED64 = 1
LENGTH_DELIMITED = 2
FIXED32 = 5

_BLOCK_BYTES = 1 << 14
_WINDOW_BYTES = 1 << 12
_TAG_BYTES = 5
_VARINT_BYTES = 10
_MAX_UINT64 = (1 << 64) - 1
_MAX_TEXT_BYTES = 1 << 20


class WireError(ValueError):
    """The bytes are not a whole message: cut off, overwritten, or something else altogether."""


class ByteSource(Protocol):
    """Bytes that can be read anywhere."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, end)`, all of them.

        Raises:
            WireError: They are not all there (any more).
        """
        ...


class MemoryBytes:
    """Bytes in memory."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, start: int, end: int) -> bytes:
        if not 0 <= start <= end <= len(self._data):
            raise WireError(f"expected {end - start} bytes at {start}, there are {len(self._data)} in all")
        return bytes(self._data[start:end])


class FileBytes:
    """The bytes of an open file; a context manager. Remembers the block that was read last."""

    def __init__(self, path: Path) -> None:
        """Opens a file.

        Raises:
            OSError: It cannot be opened.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._descriptor).st_size
        self._block = b""
        self._block_start = 0

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        return self._size

    def read(self, start: int, end: int) -> bytes:
        if not 0 <= start <= end <= self._size:
            raise WireError(f"expected {end - start} bytes at {start}, the file has {self._size}")
        if not self._block_start <= start <= end <= self._block_start + len(self._block):
            self._block = self._pread(start, max(end, min(start + _BLOCK_BYTES, self._size)))
            self._block_start = start
        return self._block[start - self._block_start : end - self._block_start]

    def _pread(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            part = os.pread(self._descriptor, end - start, start)
            if not part:
                raise WireError(f"the file has shrunk to {start} bytes while it was read")
            parts.append(part)
            start += len(part)
        return b"".join(parts)


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: The field's number, from 1.
        wire_type: `VARINT`, `FIXED64`, `LENGTH_DELIMITED` or `FIXED32`.
        value: The number as it was written, unsigned; the length in bytes of a length-delimited field.
        start: Where the payload begins, counted from the start of the source.
        end: Where it ends.
    """

    number: int
    wire_type: int
    value: int
    start: int
    end: int


class Message:
    """A message in a source: `[start, end)`."""

    __slots__ = ("end", "source", "start")

    def __init__(self, source: ByteSource, start: int = 0, end: int | None = None) -> None:
        """Makes a message of a part of a source, by default of all of it."""
        self.source = source
        self.start = start
        self.end = source.size if end is None else end

    def fields(self) -> Iterator[Field]:
        """The fields in the order of the bytes, each checked to lie within the message.

        Takes time in proportion to the number of fields: payloads are skipped, not read.

        Raises:
            WireError: The bytes from here on are no fields, or the last one is cut off.
        """
        source, end = self.source, self.end
        position = window_start = self.start
        window = b""
        while position < end:
            index = position - window_start
            if index + _TAG_BYTES + _VARINT_BYTES > len(window) and window_start + len(window) < end:
                window = source.read(position, min(position + _WINDOW_BYTES, end))
                window_start, index = position, 0
            # Nearly all tags and lengths are of one byte; a call for each would double the time.
            if index < len(window) and window[index] < 0x80:
                tag = window[index]
                index += 1
            else:
                tag, index = read_varint(window, index, _TAG_BYTES)
            number, wire_type = tag >> 3, tag & 7
            if not 1 <= number < 1 << 29:
                raise WireError(f"no field has the number {number} (byte {position})")
            start = window_start + index
            if wire_type in (LENGTH_DELIMITED, VARINT):
                if index < len(window) and window[index] < 0x80:
                    value = window[index]
                    index += 1
                else:
                    value, index = read_varint(window, index)
                position = window_start + index
                if wire_type == LENGTH_DELIMITED:
                    start = position
                    position += value
            elif wire_type in (FIXED64, FIXED32):
                size = 8 if wire_type == FIXED64 else 4
                value = int.from_bytes(window[index : index + size], "little")
                position = start + size
            else:
                # 3 and 4 are groups, which neither TensorFlow's nor ONNX's messages have; 6 and 7 are unassigned.
                raise WireError(f"wire type {wire_type} at byte {position} is not in use")
            if position > end:
                raise WireError(f"field {number} ends at byte {position}, the message at {end}")
            yield Field(number, wire_type, value, start, position)

    def child(self, field: Field) -> Message:
        """The message inside a field.

        Raises:
            WireError: The field holds a number.
        """
        if field.wire_type != LENGTH_DELIMITED:
            raise WireError(f"field {field.number} at byte {field.start} holds a number, expected a message")
        return Message(self.source, field.start, field.end)

    def children(self, number: int) -> Iterator[Message]:
        """The messages in all fields with this number."""
        for field in self.fields():
            if field.number == number:
                yield self.child(field)

    def text(self, field: Field) -> str:
        """The string inside a field; bytes that are not UTF-8 become surrogates, as in file names.

        Raises:
            WireError: The field holds a number, or more than 1 MiB.
        """
        message = self.child(field)
        if field.value > _MAX_TEXT_BYTES:
            raise WireError(
                f"field {field.number} at byte {field.start} has {field.value} bytes, expected a short text"
            )
        return self.source.read(message.start, message.end).decode("utf-8", "surrogateescape")


Layout = Mapping[int, "Layout"]
"""Which fields of a message are messages themselves: number -> their layout."""


def check_layout(message: Message, layout: Layout) -> None:
    """Walks a message and those inside it, as deep as `layout` goes.

    A hole that a copy has not filled yet reads as zeros, and no field has the number 0: the deeper the walk, the
    smaller the holes that it finds.

    Raises:
        WireError: Some message is not whole.
    """
    for field in message.fields():
        inner = layout.get(field.number)
        if inner is not None:
            check_layout(message.child(field), inner)


def read_varint(data: bytes, index: int, max_bytes: int = _VARINT_BYTES) -> tuple[int, int]:
    """Reads one base-128 number.

    Args:
        data: The bytes.
        index: Where the number begins.
        max_bytes: How long it may be.

    Returns:
        The number, under 2**64, and the index behind it.

    Raises:
        WireError: The data ends first, or the number is too long.
    """
    value = shift = 0
    for position in range(index, min(index + max_bytes, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _MAX_UINT64:
                break
            return value, position + 1
        shift += 7
    raise WireError(f"no number of at most {max_bytes} bytes ends here")
