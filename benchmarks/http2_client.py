"""One HTTP/2 connection for unary gRPC calls, one at a time: what a gRPC client sends, without its cost.

grpcio's own client takes four times as much of the processor, which the server beside it would lack. This one
compresses headers as grpcio does (each is sent once and then named by its index) and keeps to both flow control
windows. Answers are read as far as their message: a call that ends without one has failed, and its trailers are shown
as they came, or read where that is asked for, because it costs as much as all the rest.

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), grpc/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from hpack import Decoder
from http1_client import StatusError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED = 0x4, 0x8

_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5

_FRAME_HEAD = struct.Struct("!BHBBI")
_SETTING = struct.Struct("!HI")
_NUMBER = struct.Struct("!I")

_PREFIX_BYTES = 5  # gRPC's: whether the message is packed, and its length

_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65535
_FIRST_FRAME_SIZE = 16384
_REPLENISH_FROM = 2**29

# Entries of HPACK's static table.
_METHOD_POST, _SCHEME_HTTP = b"\x83", b"\x86"
_PATH_INDEX, _AUTHORITY_INDEX, _CONTENT_TYPE_INDEX, _USER_AGENT_INDEX = 4, 1, 31, 58
_FIRST_DYNAMIC_INDEX = 62
_INDEXED, _WITH_INDEXING = 0x80, 0x40
_ENTRY_OVERHEAD = 32  # RFC 7541, section 4.1


@dataclass(frozen=True, slots=True)
class _Header:
    """A header; `name_index` is that of its name in the static table, 0 for one that is not there."""

    name_index: int
    name: bytes
    value: bytes

    @property
    def table_bytes(self) -> int:
        return len(self.name) + len(self.value) + _ENTRY_OVERHEAD

    def literal(self, *, indexing: bool) -> bytes:
        first = _integer(self.name_index, 6, _WITH_INDEXING) if indexing else _integer(self.name_index, 4, 0)
        return first + (b"" if self.name_index else _string(self.name)) + _string(self.value)


class Http2Connection(asyncio.Protocol):
    """Makes one call after the other of one method."""

    def __init__(self, authority: str, path: str, timeout_seconds: float = 0.0, *, reads_headers: bool = False) -> None:
        """Begins without a transport.

        Args:
            authority: Host and port, as clients name them.
            path: The full name of the method.
            timeout_seconds: What calls have for their deadline; 0 for none.
            reads_headers: Whether a call that fails raises its status.
        """
        self._headers = _headers(authority, path, timeout_seconds)
        self._decoder = Decoder() if reads_headers else None
        self._trailers: dict[str, str] = {}
        self._header_block = self._later_header_block = b""
        self._next_stream = 1
        self._stream = 0
        self._received = bytearray()
        self._message = bytearray()
        self._unread = bytearray()
        self._settled = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._max_frame_size = _FIRST_FRAME_SIZE
        self._first_stream_window = _FIRST_WINDOW
        self._stream_window = 0
        self._window = _FIRST_WINDOW
        self._taken = 0

    async def call(self, message: bytes) -> bytes:
        """Makes one call; returns the message of the answer.

        Raises:
            ConnectionError: The server has hung up, or reset the call.
            StatusError: The call has failed, and headers are read.
            ValueError: The call has ended without a message.
        """
        assert self._transport is not None, "call() before the connection is made"
        # The first request must know which header table the server allows.
        await self._settled
        self._answer = asyncio.get_running_loop().create_future()
        self._stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._stream_window = self._first_stream_window
        self._message.clear()
        self._unread += b"\x00" + _NUMBER.pack(len(message)) + message
        head = _frame(_HEADERS, _END_HEADERS, self._stream, self._header_block)
        self._header_block = self._later_header_block
        self._transport.write(head + self._sendable())
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not say that they are
        self._transport.write(_opening())

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"the server has closed the connection ({exc or 'in order'})"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        position = 0
        out = b""
        while len(self._received) >= position + 9:
            high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(self._received, position)
            end = position + 9 + (high << 16) + low
            if len(self._received) < end:
                break
            out += self._frame_received(kind, flags, stream, bytes(self._received[position + 9 : end]))
            position = end
        del self._received[:position]
        if out and self._transport is not None:
            self._transport.write(out)

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        """Takes in one frame; returns what to send in reply."""
        if kind == _DATA:
            return self._data_received(flags, payload)
        if kind == _HEADERS and self._decoder is not None:
            self._trailers = dict(self._decoder.decode(payload))
        if kind == _HEADERS and flags & _END_STREAM:
            self._end(payload)
        elif kind == _RST_STREAM and stream == self._stream:
            self._fail(ConnectionError(f"the server has reset the call, error {_NUMBER.unpack(payload)[0]}"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings_received(payload)
            return _frame(_SETTINGS, _ACK, 0, b"") + self._sendable()
        elif kind == _PING and not flags & _ACK:
            return _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY:
            self._fail(ConnectionError(f"the server goes away: {payload[8:]!r}"))
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._window += _NUMBER.unpack(payload)[0]
            elif stream == self._stream:
                self._stream_window += _NUMBER.unpack(payload)[0]
            return self._sendable()
        return b""

    def _data_received(self, flags: int, payload: bytes) -> bytes:
        self._taken += len(payload)
        self._message += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        if flags & _END_STREAM:
            self._end(b"")
        if self._taken < _REPLENISH_FROM:
            return b""
        update, self._taken = self._taken, 0
        return _frame(_WINDOW_UPDATE, 0, 0, _NUMBER.pack(update))

    def _settings_received(self, payload: bytes) -> None:
        settings = dict(_SETTING.iter_unpack(payload))
        self._max_frame_size = settings.get(_MAX_FRAME_SIZE, self._max_frame_size)
        window = settings.get(_INITIAL_WINDOW_SIZE, self._first_stream_window)
        self._stream_window += window - self._first_stream_window
        self._first_stream_window = window
        if not self._settled.done():
            indexing = settings.get(_HEADER_TABLE_SIZE, 4096) >= sum(header.table_bytes for header in self._headers)
            self._header_block = _header_block(self._headers, indexing=indexing)
            self._later_header_block = _indexed_header_block(self._headers) if indexing else self._header_block
            self._settled.set_result(None)

    def _sendable(self) -> bytes:
        """The frames of the request that the windows let through now."""
        frames = b""
        while self._unread:
            size = min(len(self._unread), self._max_frame_size, self._window, self._stream_window)
            if size <= 0:
                break
            part = bytes(self._unread[:size])
            del self._unread[:size]
            self._window -= size
            self._stream_window -= size
            frames += _frame(_DATA, 0 if self._unread else _END_STREAM, self._stream, part)
        return frames

    def _end(self, trailers: bytes) -> None:
        if self._answer is None or self._answer.done():
            return
        if self._trailers.get("grpc-status", "0") != "0":
            self._fail(StatusError(int(self._trailers["grpc-status"]), self._trailers.get("grpc-message", "")))
            return
        if len(self._message) < _PREFIX_BYTES:
            self._fail(ValueError(f"expected a message, got {bytes(self._message)!r} and the trailers {trailers!r}"))
            return
        message = bytes(self._message[_PREFIX_BYTES:])
        self._answer.set_result(gzip.decompress(message) if self._message[0] else message)

    def _fail(self, error: Exception) -> None:
        for waiting in (self._settled, self._answer):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)


class CallBytes:
    """What a client sends for one call after the other on one connection, if it need not look at what it gets.

    Attributes:
        opening: What it sends first.
    """

    def __init__(self, authority: str, path: str) -> None:
        """Begins a connection.

        Args:
            authority: Host and port, as clients name them.
            path: The full name of the method.
        """
        self.opening = _opening()
        headers = _headers(authority, path)
        self._block = _header_block(headers, indexing=True)
        self._later_block = _indexed_header_block(headers)
        self._stream = 1

    def call(self, message: bytes) -> bytes:
        """The bytes of the next call."""
        frames = _frame(_HEADERS, _END_HEADERS, self._stream, self._block)
        rest = b"\x00" + _NUMBER.pack(len(message)) + message
        while rest:
            part, rest = rest[:_FIRST_FRAME_SIZE], rest[_FIRST_FRAME_SIZE:]
            frames += _frame(_DATA, 0 if rest else _END_STREAM, self._stream, part)
        self._block = self._later_block
        self._stream += 2
        return frames


def count_answers(frames: bytes) -> int:
    """How many calls have ended in whole frames that a server has sent.

    Raises:
        ValueError: Not every one of them has a message.
    """
    position = messages = ends = 0
    while position < len(frames):
        high, low, kind, flags, _ = _FRAME_HEAD.unpack_from(frames, position)
        messages += kind == _DATA
        ends += kind == _HEADERS and flags & _END_STREAM
        position += _FRAME_HEAD.size + (high << 16) + low
    if messages < ends:
        raise ValueError(f"expected messages, got {frames[:500]!r}")
    return ends


def _headers(authority: str, path: str, timeout_seconds: float = 0.0) -> Sequence[_Header]:
    timeout = (_Header(0, b"grpc-timeout", b"%dm" % round(timeout_seconds * 1e3)),) if timeout_seconds else ()
    return (
        _Header(_PATH_INDEX, b":path", path.encode()),
        _Header(_AUTHORITY_INDEX, b":authority", authority.encode()),
        _Header(0, b"te", b"trailers"),
        _Header(_CONTENT_TYPE_INDEX, b"content-type", b"application/grpc"),
        _Header(_USER_AGENT_INDEX, b"user-agent", b"hotserve-benchmark"),
        _Header(0, b"grpc-accept-encoding", b"identity, deflate, gzip"),
        *timeout,
    )


def _opening() -> bytes:
    settings = _SETTING.pack(_ENABLE_PUSH, 0) + _SETTING.pack(_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
    window = _NUMBER.pack(_LARGEST_WINDOW - _FIRST_WINDOW)
    return _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME_HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def _header_block(headers: Sequence[_Header], *, indexing: bool) -> bytes:
    return _METHOD_POST + _SCHEME_HTTP + b"".join(header.literal(indexing=indexing) for header in headers)


def _indexed_header_block(headers: Sequence[_Header]) -> bytes:
    """The same headers, once the server has them in its table; the one sent last is the first there."""
    indexes = range(_FIRST_DYNAMIC_INDEX + len(headers) - 1, _FIRST_DYNAMIC_INDEX - 1, -1)
    return _METHOD_POST + _SCHEME_HTTP + b"".join(_integer(index, 7, _INDEXED) for index in indexes)


def _integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """RFC 7541, section 5.1."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([pattern | value])
    encoded = bytearray([pattern | limit])
    value -= limit
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)


def _string(text: bytes) -> bytes:
    """RFC 7541, section 5.2, without the Huffman code."""
    return _integer(len(text), 7, 0) + text
