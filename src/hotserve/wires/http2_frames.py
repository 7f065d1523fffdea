"""The frames of HTTP/2: their numbers, and how they are written.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

FRAME_HEAD_BYTES: Final = 9
FRAME_HEAD: Final = struct.Struct("!BHBBI")
"""Length (its upper byte, its lower two), type, flags, stream identifier with a reserved bit in front."""

# Types. Plain numbers: each frame is compared with several of them, and members of an enum cost five times as much.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

# Settings.
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

LARGEST_NUMBER: Final = (1 << 31) - 1
"""The largest stream identifier, and the largest flow control window."""

FIRST_WINDOW: Final = 65535
FIRST_HEADER_TABLE_BYTES: Final = 4096
SMALLEST_MAX_FRAME: Final = 1 << 14
LARGEST_MAX_FRAME: Final = (1 << 24) - 1

_SETTING = struct.Struct("!HI")
_NUMBER = struct.Struct("!I")
_TWO_NUMBERS = struct.Struct("!II")


class ErrorCode(IntEnum):
    """Why a stream or a connection ended. Source: RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def frame_head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return FRAME_HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings_frame(settings: dict[int, int]) -> bytes:
    """SETTINGS: number of a setting -> its value."""
    payload = b"".join(_SETTING.pack(number, value) for number, value in settings.items())
    return frame_head(SETTINGS, 0, 0, len(payload)) + payload


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in a payload whose length is a multiple of six, in their order."""
    return list(_SETTING.iter_unpack(payload))


SETTINGS_ACK: Final = frame_head(SETTINGS, ACK, 0, 0)


def ping_frame(payload: bytes, *, ack: bool) -> bytes:
    """PING with its eight bytes."""
    return frame_head(PING, ACK if ack else 0, 0, len(payload)) + payload


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE of a stream, or of the connection with 0."""
    return frame_head(WINDOW_UPDATE, 0, stream_id, 4) + _NUMBER.pack(increment)


def rst_stream_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame_head(RST_STREAM, 0, stream_id, 4) + _NUMBER.pack(code)


def goaway_frame(last_stream_id: int, code: int, text: str = "") -> bytes:
    """GOAWAY: no stream after `last_stream_id` was or will be worked on; `text` is for whoever looks for the cause."""
    payload = _TWO_NUMBERS.pack(last_stream_id, code) + text.encode()
    return frame_head(GOAWAY, 0, 0, len(payload)) + payload


def read_number(payload: bytes) -> int:
    """The number in the four bytes of WINDOW_UPDATE or RST_STREAM; of the former, the first bit is reserved."""
    number: int = _NUMBER.unpack(payload)[0]
    return number
