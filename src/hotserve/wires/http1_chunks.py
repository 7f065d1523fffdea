"""Bodies of HTTP/1.1 requests, collected as they come.

Source: RFC 9112, section 7.1, for those in chunks.
"""

from __future__ import annotations

import re

from hotserve.wires.http1_head import Refused
from hotserve.wires.http1_limits import Http1Limits

_SMALL = 16 * 1024
"""Smaller pieces are gathered: kept one by one, a piece of a byte takes forty."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?+\r\n")
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n")
_LONGEST_LINE = 4096

_UNREADABLE = (
    "The body is not in chunks as Transfer-Encoding: chunked says: expected the size in hexadecimal digits, the end of"
    " the line, that many bytes, and the end of the line again; and a size of 0 and an empty line at the end."
)


class TooLarge(Exception):
    """The body is over the limit."""


class Gathered:
    """A growing body. It takes the memory of what has come, and is copied once when it is whole.

    Attributes:
        size: How many bytes have come.
    """

    __slots__ = ("_gathering", "_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._gathering = bytearray()
        self.size = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if len(part) < _SMALL:
            self._gathering += part
            if len(self._gathering) < _SMALL:
                return
            part = b""
        if self._gathering:
            self._parts.append(bytes(self._gathering))
            self._gathering.clear()
        if part:
            self._parts.append(part)

    def whole(self) -> bytes:
        """The body."""
        self._parts.append(bytes(self._gathering))
        return b"".join(self._parts)

    def clear(self) -> None:
        """Forgets all of it: whoever has the body needs no second copy."""
        self._parts.clear()
        self._gathering.clear()


class Chunks:
    """Reads a body in chunks; trailers are checked and dropped, nobody here asks for any.

    Attributes:
        body: What has come of it.
        finished: Whether that is all.
    """

    __slots__ = ("_left", "_limits", "_max_bytes", "_spare", "body", "finished")

    def __init__(self, max_bytes: int, limits: Http1Limits) -> None:
        """Begins.

        Args:
            max_bytes: The largest body.
            limits: How much may come beside it.
        """
        self.body = Gathered()
        self.finished = False
        self._max_bytes = max_bytes
        self._limits = limits
        self._spare = 0
        self._left: int | None = None  # of the chunk, with the end of its line; None before its first line

    def feed(self, data: bytes, position: int) -> int:
        """Reads on.

        Args:
            data: What has come. What a call has not read has to be there again, with more, for the next.
            position: Where to begin in it.

        Returns:
            Where it ended.

        Raises:
            Refused: It is not a body in chunks, or brings too much beside the body.
            TooLarge: The body is over the limit.
        """
        while not self.finished:
            if self._left is None:
                position = self._whole_chunks(data, position)
                after = self._begin(data, position)
            elif self._left < 0:
                after = self._trailer(data, position)
            else:
                after = self._go_on(data, position)
            if after == position:
                break
            position = after
        return position

    def _whole_chunks(self, data: bytes, position: int) -> int:
        """Reads chunks that are there whole, without extensions, in few steps: a client may send very small ones."""
        body, max_bytes = self.body, self._max_bytes
        match_size, add, available = _PLAIN_SIZE_LINE.match, body.add, len(data)
        while (match := match_size(data, position)) is not None:
            begin = match.end()
            size = int(match[1], 16)
            end = begin + size
            if not size or end + 2 > available or body.size + size > max_bytes or data[end : end + 2] != b"\r\n":
                break
            add(data[begin:end])
            position = end + 2
        return position

    def _begin(self, data: bytes, position: int) -> int:
        match = _SIZE_LINE.match(data, position)
        if match is None:
            return _incomplete(data, position)
        _check_length(match.end() - position)
        digits, extension = match.groups()
        size = int(digits, 16)
        if extension:
            self._take_spare(len(extension), self._limits.chunk_extension_bytes)
        if self.body.size + size > self._max_bytes:
            raise TooLarge
        self._left = size + 2 if size else -1
        if not size:
            self._spare = 0
        return match.end()

    def _go_on(self, data: bytes, position: int) -> int:
        assert self._left is not None
        content = min(self._left - 2, len(data) - position)
        if content > 0:
            self.body.add(data[position : position + content])
            self._left -= content
            return position + content
        end = data[position : position + 2]
        if not b"\r\n".startswith(end):
            raise Refused(400, _UNREADABLE)
        if len(end) < 2:
            return position
        self._left = None
        return position + 2

    def _trailer(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.finished = True
            return position + 2
        match = _TRAILER.match(data, position)
        if match is None:
            return _incomplete(data, position)
        _check_length(match.end() - position)
        self._take_spare(match.end() - position, self._limits.head_bytes)
        return match.end()

    def _take_spare(self, size: int, limit: int) -> None:
        self._spare += size
        if self._spare > limit:
            raise Refused(400, f"The body brings more than {limit} bytes of chunk extensions or trailers.")


def _incomplete(data: bytes, position: int) -> int:
    """The position, if the line that begins there may become a good one.

    Raises:
        Refused: It is whole, and wrong; or it is too long.
    """
    if data.find(b"\n", position) >= 0:
        raise Refused(400, _UNREADABLE)
    _check_length(len(data) - position)
    return position


def _check_length(line: int) -> None:
    if line > _LONGEST_LINE:
        raise Refused(400, _UNREADABLE)
