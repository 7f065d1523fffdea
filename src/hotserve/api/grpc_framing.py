"""What gRPC puts around a message: five bytes before it, a status after it, a deadline and a packing beside it.

Source: grpc/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from hotserve.api.compression import compress, gunzip
from hotserve.errors import InvalidArgument, ResourceExhausted, ServingError, Unimplemented

PREFIX_BYTES = 5
SUPPORTED_ENCODINGS = ("identity", "gzip")

MAX_ERROR_BYTES = 1024
"""Longer messages are cut, as in grpc_status_util.h of the original, so that they fit into the client's headers."""

COMPRESS_FROM_BYTES = 1024
"""Smaller answers are not worth packing."""

_PRINTABLE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""What stands for itself in `grpc-message`, beside letters and digits: printable ASCII without the percent sign."""

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS_OF = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def is_grpc(content_type: str | None) -> bool:
    """Whether a request is a gRPC call; gRPC-Web, whose type begins alike, is another protocol."""
    content_type = (content_type or "").lower()
    return content_type == "application/grpc" or content_type.startswith(("application/grpc+", "application/grpc;"))


def packs_answers(encoding: str | None) -> bool:
    """Whether answers to a client are packed: only if it packs, too.

    Nearly every client would take gzip, and 2.4 MB of floats take 110 ms to pack, during which nobody else is
    answered, to save a tenth.

    Args:
        encoding: `grpc-encoding` of the request.
    """
    return encoding == "gzip"


def parse_timeout(header: str | None) -> float | None:
    """`grpc-timeout` in seconds; None without one.

    Raises:
        InvalidArgument: The header is no timeout.
    """
    if header is None:
        return None
    match = _TIMEOUT.fullmatch(header)
    if match is None:
        raise InvalidArgument(f"grpc-timeout: {header!r} is none; expected up to 8 digits and one of H, M, S, m, u, n.")
    return int(match[1]) * _SECONDS_OF[match[2]]


def unframe(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The one message in the body of a unary call.

    Args:
        body: All that came.
        encoding: `grpc-encoding` of the request.
        max_bytes: The largest message, also after unpacking.

    Raises:
        InvalidArgument: The body is not exactly one message, or cannot be unpacked.
        ResourceExhausted: The message is too large.
        Unimplemented: It is packed in a way that is not known here.
    """
    flag, length = read_prefix(body)
    check_length(length, len(body) - PREFIX_BYTES, max_bytes)
    return unpack(flag, body[PREFIX_BYTES:], encoding, max_bytes)


def read_prefix(body: bytes | bytearray) -> tuple[int, int]:
    """The flag and the length at the beginning of a message.

    Raises:
        InvalidArgument: Not even the prefix is whole.
    """
    if len(body) < PREFIX_BYTES:
        raise InvalidArgument(f"Expected one gRPC message, which has at least {PREFIX_BYTES} bytes; got {len(body)}.")
    return body[0], int.from_bytes(body[1:PREFIX_BYTES], "big")


def check_length(length: int, received: int, max_bytes: int) -> None:
    """Whether what came after a prefix is the message that it announces.

    Args:
        length: What the prefix says.
        received: How many bytes came after it.
        max_bytes: The largest message.

    Raises:
        InvalidArgument: It is shorter or longer.
        ResourceExhausted: It is too large.
    """
    if length != received:
        raise InvalidArgument(f"Expected one gRPC message of {length} bytes, as its prefix says; got {received}.")
    if length > max_bytes:
        raise too_large(length, max_bytes)


class Frames:
    """Takes the body of a call with a stream of messages apart, as it comes."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        """Starts with nothing.

        Args:
            encoding: `grpc-encoding` of the request.
            max_bytes: The largest message, also after unpacking.
        """
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def feed(self, part: bytes) -> Iterator[bytes]:
        """The messages that are whole with this part.

        Raises:
            InvalidArgument: A message cannot be unpacked.
            ResourceExhausted: A message is too large.
            Unimplemented: One is packed in a way that is not known here.
        """
        self._rest += part
        while len(self._rest) >= PREFIX_BYTES:
            length = int.from_bytes(self._rest[1:PREFIX_BYTES], "big")
            if length > self._max_bytes:
                raise too_large(length, self._max_bytes)
            end = PREFIX_BYTES + length
            if len(self._rest) < end:
                return
            flag, message = self._rest[0], bytes(self._rest[PREFIX_BYTES:end])
            del self._rest[:end]
            yield unpack(flag, message, self._encoding, self._max_bytes)

    def finish(self) -> None:
        """Says that there is no more.

        Raises:
            InvalidArgument: The last message is not whole.
        """
        if self._rest:
            raise InvalidArgument(f"The last gRPC message is cut off: {len(self._rest)} bytes of it came.")


def unpack(flag: int, message: bytes, encoding: str, max_bytes: int) -> bytes:
    """A message without its packing.

    Args:
        flag: The first byte of its prefix.
        message: What comes after the prefix.
        encoding: `grpc-encoding` of the request.
        max_bytes: The largest message, after unpacking.

    Raises:
        InvalidArgument: It cannot be unpacked, or the flag is none.
        ResourceExhausted: It unpacks to too much.
        Unimplemented: It is packed in a way that is not known here.
    """
    match flag:
        case 0:
            return message
        case 1 if encoding == "gzip":
            return gunzip(message, max_bytes)
        case 1:
            raise Unimplemented(
                f"Messages packed with {encoding!r} are not supported; supported: {', '.join(SUPPORTED_ENCODINGS)}."
            )
        case _:
            raise InvalidArgument(f"Expected 0 or 1 as the first byte of a gRPC message; got {flag}.")


def frame(message: bytes, *, pack: bool) -> bytes:
    """A message with its prefix; packed with gzip if `pack` says that the client wants it and it is worth it."""
    prefix, message = frame_parts(message, pack=pack)
    return prefix + message


def frame_parts(message: bytes, *, pack: bool) -> tuple[bytes, bytes]:
    """As `frame`, the prefix by itself, which saves a copy of a large message."""
    if pack and len(message) >= COMPRESS_FROM_BYTES:
        message = compress(message)
        return b"\x01" + len(message).to_bytes(4, "big"), message
    return b"\x00" + len(message).to_bytes(4, "big"), message


def too_large(size: int, max_bytes: int) -> ResourceExhausted:
    """The refusal of a message over the limit."""
    return ResourceExhausted(
        f"Received message larger than max ({size} vs. {max_bytes}). The limit is set by --max_message_bytes."
    )


def trailers_of(error: ServingError | None) -> list[tuple[bytes, bytes]]:
    """`grpc-status` and `grpc-message` of a call that ended so; None for one that ended well."""
    if error is None:
        return [(b"grpc-status", b"0")]
    text = error.message.encode("utf-8", "replace")
    if len(text) > MAX_ERROR_BYTES:
        # Never in the middle of a character: grpcio reads a message that is no UTF-8 as Latin-1, all of it.
        whole = text[:MAX_ERROR_BYTES].decode("utf-8", "ignore")
        text = f"{whole}...TRUNCATED".encode()
    encoded = quote(text, safe=_PRINTABLE)
    # RFC 9113, section 8.2.1: a field value must not begin or end with white space; the stream would be reset.
    if encoded.endswith(" "):
        encoded = encoded[:-1] + "%20"
    if encoded.startswith(" "):
        encoded = "%20" + encoded[1:]
    return [(b"grpc-status", str(int(error.code)).encode()), (b"grpc-message", encoded.encode())]
