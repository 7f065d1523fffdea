"""The client's side of an HTTP/1.1 connection that is kept alive, with as little work as it takes.

Source: RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from hotserve.loadgen.exchange import Answer, BrokenAnswer, Request

_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD_BYTES: Final = 64 << 10
_SHOWN_BYTES: Final = 200
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)
_KEEPS: Final = re.compile(rb"\r\nconnection:[^\r\n]*keep-alive", re.IGNORECASE)
_CHUNK_HEAD: Final = re.compile(rb"([0-9a-fA-F]{1,15})[^\r\n]*\r\n")
_WITHOUT_BODY: Final = (b"204", b"304")


class _Head(NamedTuple):
    """What a head says.

    Attributes:
        size: Its own length, with the empty line.
        error: As in `Answer`.
        length: The length of the body; -1 for chunks, -2 for all that comes until the end of the connection.
        ends_connection: As in `Answer`.
    """

    size: int
    error: str
    length: int
    ends_connection: bool


_CHUNKS: Final = -1
_UNTIL_THE_END: Final = -2


class Http1Client:
    """Sends one request after the other."""

    is_settled = True
    has_reply = False

    def __init__(self, authority: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Begins a connection.

        Args:
            authority: Host and port, as clients name them.
            headers: What every request says beside its own headers.
        """
        self._host = f"host: {authority}\r\naccept: */*\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers)
        self._last: Request | None = None
        self._last_bytes = b""
        self._received = b""
        self._later: list[bytes] = []
        self._missing = 0
        self._known_bytes = b""
        self._known = _Head(0, "", 0, False)

    def opening(self) -> bytes:
        return b""

    def request(self, request: Request) -> bytes:
        if request is not self._last:
            self._last, self._last_bytes = request, self._head(request) + request.body
        return self._last_bytes

    def receive(self, data: bytes) -> Answer | None:
        if self._missing > len(data):
            # A large body: put together once.
            self._later.append(data)
            self._missing -= len(data)
            return None
        received = b"".join((self._received, *self._later, data)) if self._received else data
        self._missing = 0
        # Servers repeat their heads, but for the date.
        if not (self._known_bytes and received.startswith(self._known_bytes)):
            end = received.find(_HEAD_END)
            if end < 0:
                if len(received) > _MAX_HEAD_BYTES:
                    raise BrokenAnswer(f"expected the head of an answer, got {received[:_SHOWN_BYTES]!r} and more")
                self._received = received
                return None
            self._known_bytes = received[: end + len(_HEAD_END)]
            self._known = _read_head(self._known_bytes)
        size, error, length, ends = self._known
        if length >= 0:
            if len(received) < size + length:
                self._received, self._later, self._missing = received, [], size + length - len(received)
                return None
            if len(received) > size + length:
                raise BrokenAnswer(f"expected one answer, and {received[size + length :][:_SHOWN_BYTES]!r} follows it")
            self._received = b""
            self._later.clear()
            return Answer(received[size:], error, ends)
        body = _read_chunks(received, size) if length == _CHUNKS else None
        if body is None:
            self._received = received
            return None
        self._received = b""
        return Answer(body, error, ends)

    def reply(self) -> bytes:
        return b""

    def repeated(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return [self._head(request) + request.body for request in requests]

    def end(self) -> Answer | None:
        size, error, length, _ = self._known
        if self._received and length == _UNTIL_THE_END and self._received.startswith(self._known_bytes):
            return Answer(self._received[size:], error, ends_connection=True)
        came = (
            f" after {len(self._received) + sum(map(len, self._later))} bytes of the answer" if self._received else ""
        )
        raise BrokenAnswer(f"the server has closed the connection{came}")

    def _head(self, request: Request) -> bytes:
        more = "".join(f"{name}: {text}\r\n" for name, text in request.headers)
        return (
            f"{request.method} {request.path} HTTP/1.1\r\n{self._host}{more}"
            f"content-type: {request.content_type}\r\ncontent-length: {len(request.body)}\r\n\r\n"
        ).encode("latin-1")


def _read_head(head: bytes) -> _Head:
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BrokenAnswer(f"expected an answer of HTTP/1.1, got {head[:_SHOWN_BYTES]!r}")
    minor, status = line[1], line[2]
    error = "" if status == b"200" else status.decode()
    is_closing = _CLOSES.search(head) is not None or (minor == b"0" and _KEEPS.search(head) is None)
    # One of the two line ends after the head belongs to it, so that every header has one on both sides.
    fields = head[:-2]
    if status in _WITHOUT_BODY:
        return _Head(len(head), error, 0, is_closing)
    if _CHUNKED.search(fields) is not None:
        return _Head(len(head), error, _CHUNKS, is_closing)
    length = _CONTENT_LENGTH.search(fields)
    if length is None:
        return _Head(len(head), error, _UNTIL_THE_END, True)
    return _Head(len(head), error, int(length[1]), is_closing)


def _read_chunks(received: bytes, position: int) -> bytes | None:
    """The body whose chunks begin at `position`; None as long as it is not whole. Trailers are passed over."""
    parts: list[bytes] = []
    while True:
        end = received.find(b"\r\n", position)
        if end < 0:
            return None
        head = _CHUNK_HEAD.match(received, position)
        if head is None:
            raise BrokenAnswer(f"expected the size of a chunk, got {received[position:][:_SHOWN_BYTES]!r}")
        size, position = int(head[1], 16), head.end()
        if size == 0:
            # Either an empty line, or trailers and then one.
            whole = received.startswith(b"\r\n", position) or received.find(_HEAD_END, position) >= 0
            return b"".join(parts) if whole else None
        if len(received) < position + size + 2:
            return None
        parts.append(received[position : position + size])
        position += size + 2
