"""HTTP/2 by hand: frames for what no well-behaved client sends, and what came back taken apart."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)

Fields = Sequence[tuple[str, str]]

CALL: Fields = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/toy.Service/Method"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack("!BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack("!I", increment))


def rst_stream(stream_id: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream_id, struct.pack("!I", code))


def goaway(last_stream_id: int = 0, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack("!II", last_stream_id, code))


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream_id, payload)


def block(fields: Iterable[tuple[str, str]] = CALL) -> bytes:
    """A header block that says the same at any time."""
    return bytes(Encoder().encode([(name, value, True) for name, value in fields], huffman=False))


def headers(stream_id: int, fields: Iterable[tuple[str, str]] | bytes = CALL, *, end: bool = False) -> bytes:
    payload = fields if isinstance(fields, bytes) else block(fields)
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, payload)


def without(name: str, fields: Fields = CALL) -> list[tuple[str, str]]:
    return [field for field in fields if field[0] != name]


def with_value(name: str, value: str, fields: Fields = CALL) -> list[tuple[str, str]]:
    """The fields with another value of one that is among them."""
    assert any(field[0] == name for field in fields)
    return [(name, value) if field[0] == name else field for field in fields]


START = PREFACE + settings()
"""What every client sends first."""


@dataclass(frozen=True)
class Frame:
    """A frame that the server has sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def number(self) -> int:
        """The error code of RST_STREAM, the increment of WINDOW_UPDATE."""
        assert self.kind in (RST_STREAM, WINDOW_UPDATE)
        return int.from_bytes(self.payload, "big")

    @property
    def goaway(self) -> tuple[int, int]:
        """The last stream, and the error code."""
        assert self.kind == GOAWAY
        last, code = struct.unpack_from("!II", self.payload)
        return last, code


def parse(sent: bytes) -> list[Frame]:
    """All frames of what a server has sent, which must be whole."""
    found = []
    while sent:
        high, low, kind, flags, stream_id = struct.unpack_from("!BHBBI", sent)
        end = 9 + (high << 16 | low)
        assert len(sent) >= end, "a frame is cut off"
        found.append(Frame(kind, flags, stream_id, sent[9:end]))
        sent = sent[end:]
    return found


@dataclass(frozen=True)
class Answer:
    """All that came on one stream: the first header, the body, the trailers (empty without any)."""

    header: dict[str, str]
    body: bytes
    trailers: dict[str, str]
    ended: bool


def answer_on(stream_id: int, frames: Iterable[Frame]) -> Answer:
    """What one stream says."""
    sections: list[dict[str, str]] = []
    parts: list[bytes] = []
    ended = False
    decoder = Decoder()
    for found in frames:
        if found.kind == HEADERS:
            fields = dict(decoder.decode(found.payload))  # blocks of all streams share the table
            if found.stream_id == stream_id:
                sections.append({str(name): str(value) for name, value in fields.items()})
        if found.stream_id != stream_id:
            continue
        assert not ended or found.kind in (RST_STREAM, WINDOW_UPDATE), "something came after the end"
        if found.kind == DATA:
            parts.append(found.payload)
        ended |= found.kind in (DATA, HEADERS) and bool(found.flags & END_STREAM)
    return Answer(sections[0] if sections else {}, b"".join(parts), sections[1] if len(sections) > 1 else {}, ended)
