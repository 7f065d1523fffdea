"""The client's side of an HTTP/2 connection for unary gRPC calls, one at a time, with as little work as it takes.

Headers are compressed as gRPC's own clients do it: each is sent once and then named by its place in the table. Both
flow control windows are kept to. The server may send as much as it likes.

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), grpc/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from hpack import Decoder, Encoder, HPACKError

from hotserve.errors import Code
from hotserve.loadgen.exchange import Answer, BrokenAnswer, CallsAhead, Request
from hotserve.wires.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FIRST_HEADER_TABLE_BYTES,
    FIRST_WINDOW,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_NUMBER,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    SMALLEST_MAX_FRAME,
    WINDOW_UPDATE,
    ErrorCode,
    frame_head,
    ping_frame,
    read_number,
    read_settings,
    rst_stream_frame,
    settings_frame,
    window_update_frame,
)
from hotserve.wires.http2_headers import WatchedTable

USER_AGENT: Final = "hotserve-bench"

_LAST_STREAM: Final = 1 << 30
"""A new connection is made long before the numbers of streams run out."""

_PREFIX: Final = struct.Struct("!BI")  # gRPC's: whether the message is packed, and its length
_NUMBER: Final = struct.Struct("!I")
_ENTRY_OVERHEAD: Final = 32  # RFC 7541, section 4.1
_REPLENISH_FROM: Final = 1 << 29
_REMEMBERED_BLOCKS: Final = 64
_REMEMBERED_ANSWER_BYTES: Final = 16 << 10
_SHOWN_BYTES: Final = 200

Fields = tuple[tuple[bytes, bytes], ...]


NO_STATUS: Final = "no status"
NO_MESSAGE: Final = "no message"
"""What is wrong with answers that say nothing of themselves."""


class BlockSays(NamedTuple):
    """What a header block says of a call.

    Attributes:
        error: As in `Answer`.
        text: The text of the error.
        is_stable: Whether the same bytes say the same again.
    """

    error: str
    text: str
    is_stable: bool


class GrpcClient:
    """Makes one call after the other."""

    def __init__(
        self,
        authority: str,
        scheme: str = "http",
        timeout_seconds: float = 0.0,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Begins a connection.

        Args:
            authority: Host and port, as clients name them.
            scheme: `http` or `https`.
            timeout_seconds: What calls have for their deadline; 0 for none.
            metadata: What every call says beside that.
        """
        self._authority = authority
        self._scheme = scheme
        self._timeout = b"%dm" % max(1, round(timeout_seconds * 1e3)) if timeout_seconds else b""
        self._metadata = metadata
        self._encoder = Encoder()
        self._table_bytes = FIRST_HEADER_TABLE_BYTES
        self._headers = _HeaderReader()
        self.is_settled = False
        self._last: Request | None = None
        self._block = self._later_block = b""
        self._body = b""
        self._stream = -1
        self._received = b""
        self._later: list[bytes] = []
        self._missing = 0
        self._message: list[bytes] = []
        self._initial: Fields = ()
        self._block_parts: list[bytes] = []
        self._block_ends_stream = False
        self._unsent = memoryview(b"")
        self.has_reply = False
        self._replies: list[bytes] = []
        self._max_frame = SMALLEST_MAX_FRAME
        self._most_calls = LARGEST_NUMBER
        self._first_window = FIRST_WINDOW
        self._stream_window = 0
        self._window = FIRST_WINDOW
        self._taken = 0
        self._goes_away = False
        self._known: tuple[bytes, bytes, Answer] | None = None

    def opening(self) -> bytes:
        settings = settings_frame({ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: LARGEST_NUMBER})
        return PREFACE + settings + window_update_frame(0, LARGEST_NUMBER - FIRST_WINDOW)

    def request(self, request: Request) -> bytes:
        if request is not self._last:
            self._prepare(request)
        self._stream += 2
        self._message.clear()
        self._initial = ()
        body = self._body
        size = len(body)
        block, self._block = self._block, self._later_block
        head = FRAME_HEAD.pack(0, len(block), HEADERS, END_HEADERS, self._stream)
        if size <= self._max_frame and size <= self._window and size <= self._first_window:
            self._window -= size
            self._stream_window = self._first_window - size
            data = FRAME_HEAD.pack(size >> 16, size & 0xFFFF, DATA, END_STREAM, self._stream)
            return b"%b%b%b%b" % (head, block, data, body)
        self._stream_window = self._first_window
        self._unsent = memoryview(body)
        return head + block + self._sendable()

    def receive(self, data: bytes) -> Answer | None:
        if self._missing > len(data):
            # A large frame: put together once.
            self._later.append(data)
            self._missing -= len(data)
            return None
        if not self._received:
            answer = self._known_answer(data)
            if answer is not None:
                return answer
            received = data
        else:
            received = b"".join((self._received, *self._later, data))
            self._later.clear()
        self._missing = 0
        answer = None
        self._known = None
        self._headers.is_stable = True
        position, size, frames = 0, len(received), 0
        while size - position >= FRAME_HEAD_BYTES:
            high, low, kind, flags, stream = FRAME_HEAD.unpack_from(received, position)
            begin = position + FRAME_HEAD_BYTES
            end = begin + (high << 16) + low
            if end > size:
                self._missing = end - size
                break
            ended = self._frame(kind, flags, stream & LARGEST_NUMBER, received[begin:end])
            answer = ended or answer
            position = end
            frames += 1
        self._received = received[position:]
        if answer is not None and received is data and position == size:
            self._remember(data, answer, frames)
        return answer

    def _known_answer(self, data: bytes) -> Answer | None:
        """The answer, where it has the bytes of an earlier one but for the number of its stream.

        That is the rule for a model that is asked the same again and again, and takes a fifth of the time.
        """
        if self._known is None or self._stream >= _LAST_STREAM or self._taken >= _REPLENISH_FROM:
            return None
        known, stream, answer = self._known
        if len(known) != len(data) or data != known.replace(stream, _NUMBER.pack(self._stream)):
            return None
        self._taken += len(data)
        return answer

    def _remember(self, data: bytes, answer: Answer, frames: int) -> None:
        """Keeps an answer that came in one piece, where the number of its stream stands in the frames' heads only."""
        stream = _NUMBER.pack(self._stream)
        if answer.error or answer.ends_connection or self.has_reply or data.count(stream) != frames:
            return
        if self._headers.is_stable and len(data) <= _REMEMBERED_ANSWER_BYTES:
            self._known = data, stream, answer

    def reply(self) -> bytes:
        replies = b"".join(self._replies)
        self.has_reply = False
        self._replies.clear()
        return replies

    def repeated(self, requests: Sequence[Request]) -> Sequence[bytes] | None:
        if len({(request.path, request.headers) for request in requests}) > 1:
            return None
        return [_framed(request) for request in requests]

    def calls_ahead(self, request: Request) -> CallsAhead:
        """How somebody else makes calls like this one on the connection, which is settled, and has had none."""
        self._prepare(request)
        return CallsAhead(
            self._window,
            self._first_window,
            self._max_frame,
            self._most_calls,
            self._block,
            self._later_block,
            b"".join((self._received, *self._later)),
        )

    def read_block(self, block: bytes, *, ends_stream: bool) -> BlockSays:
        """What a header block says of a call that somebody else has made; all blocks have to be read, in order.

        Raises:
            BrokenAnswer: It is none.
        """
        self._headers.is_stable = True
        fields = self._headers.read(block)
        error, text = _read_trailers(fields) if ends_stream else _read_initial(fields)
        return BlockSays(error, text, self._headers.is_stable)

    def end(self) -> Answer | None:
        raise BrokenAnswer("the server has closed the connection")

    def _prepare(self, request: Request) -> None:
        """Makes the bytes that repeat for a request that is sent again and again."""
        last, self._last = self._last, request
        self._body = _framed(request)
        if last is not None and (last.path, last.headers) == (request.path, request.headers):
            return
        fields: list[tuple[bytes, bytes]] = [
            (b":method", b"POST"),
            (b":scheme", self._scheme.encode()),
            (b":path", request.path.encode()),
            (b":authority", self._authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", USER_AGENT.encode()),
            (b"grpc-accept-encoding", b"identity, deflate, gzip"),
        ]
        fields += [(name.encode(), text.encode()) for name, text in (*self._metadata, *request.headers)]
        if self._timeout:
            fields.append((b"grpc-timeout", self._timeout))
        size = sum(len(name) + len(value) + _ENTRY_OVERHEAD for name, value in fields)
        # Where they would push each other out of the table, they are kept out of it, as those that are sensitive are.
        marked = [(name, value, size > self._table_bytes) for name, value in fields]
        # The second block is the one for all calls from then on.
        self._block = self._encoder.encode(marked, huffman=False)
        self._later_block = self._encoder.encode(marked, huffman=False)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> Answer | None:
        if kind == DATA:
            return self._data(flags, stream, payload)
        if kind in (HEADERS, CONTINUATION):
            return self._header_block(kind, flags, stream, payload)
        if kind == RST_STREAM and stream == self._stream and len(payload) == 4:
            return self._answer(Answer(name_of(read_number(payload)).encode(), "RST_STREAM"))
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._send(ping_frame(payload, ack=True))
        elif kind == GOAWAY:
            self._go_away(payload)
        elif kind == WINDOW_UPDATE and len(payload) == 4:
            increment = read_number(payload)
            if stream == 0:
                self._window += increment
            elif stream == self._stream:
                self._stream_window += increment
            if self._unsent:
                self._send(self._sendable())
        return None

    def _data(self, flags: int, stream: int, payload: bytes) -> Answer | None:
        self._taken += len(payload)
        if self._taken >= _REPLENISH_FROM:
            self._send(window_update_frame(0, self._taken))
            self._taken = 0
        if stream != self._stream:
            return None
        self._message.append(payload[1 : len(payload) - payload[0]] if flags & PADDED and payload else payload)
        return self._trailers(self._initial) if flags & END_STREAM else None

    def _header_block(self, kind: int, flags: int, stream: int, payload: bytes) -> Answer | None:
        if kind == HEADERS:
            if flags & (PADDED | HAS_PRIORITY):
                payload = _without_padding(flags, payload)
            self._block_ends_stream = bool(flags & END_STREAM)
        if not flags & END_HEADERS or self._block_parts:
            self._block_parts.append(payload)
            if not flags & END_HEADERS:
                return None
            payload = b"".join(self._block_parts)
            self._block_parts.clear()
        fields = self._headers.read(payload)
        if stream != self._stream:
            return None
        if self._block_ends_stream:
            return self._trailers(fields)
        self._initial = fields
        return None

    def _trailers(self, fields: Fields) -> Answer:
        """The answer to a call whose stream has ended with these headers."""
        message = self._message[0] if len(self._message) == 1 else b"".join(self._message)
        if fields is not self._headers.good:
            error, text = _read_trailers(fields)
            if error == NO_STATUS:
                error, text = _without_status(dict(self._initial).get(b":status", b"?").decode("latin-1"))
            if error:
                return self._answer(Answer(text.encode(), error))
            self._headers.good = fields
        if len(message) < _PREFIX.size:
            return self._answer(Answer(b"the call has ended without a message", NO_MESSAGE))
        return self._answer(Answer(read_message(message)))

    def _answer(self, answer: Answer) -> Answer:
        answer.ends_connection = self._goes_away or self._stream >= _LAST_STREAM
        if self._unsent:
            # The server does not want the rest.
            self._send(rst_stream_frame(self._stream, ErrorCode.CANCEL))
            self._unsent = memoryview(b"")
        return answer

    def _settings(self, payload: bytes) -> None:
        if len(payload) % 6:
            raise BrokenAnswer(f"expected settings of six bytes each, got {len(payload)} bytes")
        for number, value in read_settings(payload):
            if number == HEADER_TABLE_SIZE:
                self._table_bytes = min(value, FIRST_HEADER_TABLE_BYTES)
                self._encoder.header_table_size = self._table_bytes
                self._last = None
            elif number == INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._first_window
                self._first_window = value
            elif number == MAX_FRAME_SIZE:
                self._max_frame = value
            elif number == MAX_CONCURRENT_STREAMS:
                self._most_calls = value
        self.is_settled = True
        self._send(SETTINGS_ACK)
        if self._unsent:
            self._send(self._sendable())

    def _go_away(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise BrokenAnswer(f"expected GOAWAY with two numbers, got {payload!r}")
        self._goes_away = True
        code = read_number(payload[4:8])
        if code or read_number(payload[:4]) & LARGEST_NUMBER < self._stream:
            text = payload[8:][:_SHOWN_BYTES].decode("utf-8", "replace")
            raise BrokenAnswer(f"the server goes away: {name_of(code)} {text}".strip())

    def _send(self, frame: bytes) -> None:
        self._replies.append(frame)
        self.has_reply = True

    def _sendable(self) -> bytes:
        """The frames of the request that the windows let through now."""
        frames: list[bytes] = []
        while self._unsent:
            size = min(len(self._unsent), self._max_frame, self._window, self._stream_window)
            if size <= 0:
                break
            part, self._unsent = self._unsent[:size], self._unsent[size:]
            self._window -= size
            self._stream_window -= size
            frames += (frame_head(DATA, 0 if self._unsent else END_STREAM, self._stream, size), bytes(part))
        return b"".join(frames)


class _HeaderReader:
    """Reads header blocks, and remembers what they said for as long as the table stays as it is.

    Attributes:
        is_stable: Whether no block has changed the table since this was last set to True.
        good: The fields of the last trailers that said that all is well; those of a block that is repeated are the same
            object.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._table = self._decoder.header_table = WatchedTable()
        self._remembered: dict[bytes, Fields] = {}
        self.is_stable = True
        self.good: Fields = ()

    def read(self, block: bytes) -> Fields:
        """The fields of a block.

        Raises:
            BrokenAnswer: It is none.
        """
        remembered = self._remembered.get(block)
        if remembered is not None:
            return remembered
        self._table.changed = False
        try:
            fields = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise BrokenAnswer(f"expected headers, got {block[:_SHOWN_BYTES]!r}: {error}") from error
        if self._table.changed:
            self.is_stable = False
            self._remembered.clear()
        elif len(self._remembered) < _REMEMBERED_BLOCKS:
            self._remembered[block] = fields
        return fields


def read_message(framed: bytes) -> bytes:
    """The message that stands behind gRPC's prefix.

    Raises:
        BrokenAnswer: It is packed, and cannot be unpacked.
    """
    if not framed[0]:
        return framed[_PREFIX.size :]
    try:
        return _unpacked(framed[_PREFIX.size :])
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenAnswer(f"expected a packed message, and it cannot be unpacked: {error}") from error


def _framed(request: Request) -> bytes:
    return _PREFIX.pack(0, len(request.body)) + request.body


def _read_initial(fields: Fields) -> tuple[str, str]:
    """The error, and its text, of the headers that begin an answer; both are empty for what is as it should be."""
    http = dict(fields).get(b":status", b"?").decode("latin-1")
    return ("", "") if http == "200" else _without_status(http)


def _read_trailers(fields: Fields) -> tuple[str, str]:
    """The same of those that end it; the error is `NO_STATUS` where the headers before them tell more."""
    found = dict(fields)
    status = found.get(b"grpc-status")
    if status == b"0":
        return "", ""
    if status is not None:
        return _code_name(status), unquote(found.get(b"grpc-message", b"").decode("latin-1"))
    if b":status" in found:
        return _without_status(found[b":status"].decode("latin-1"))
    return NO_STATUS, ""


def _without_status(http: str) -> tuple[str, str]:
    return f"HTTP {http}", f"status {http} of HTTP, and no grpc-status"


def _without_padding(flags: int, payload: bytes) -> bytes:
    padding = payload[0] if flags & PADDED and payload else 0
    begin = (1 if flags & PADDED else 0) + (5 if flags & HAS_PRIORITY else 0)
    return payload[begin : len(payload) - padding]


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else zlib.decompress(data)


def _code_name(status: bytes) -> str:
    with contextlib.suppress(ValueError):
        return Code(int(status)).name
    return f"grpc-status {status.decode('latin-1')}"


def name_of(code: int) -> str:
    """The name of an error of HTTP/2."""
    with contextlib.suppress(ValueError):
        return ErrorCode(code).name
    return f"error {code}"
