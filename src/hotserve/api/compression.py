"""gzip, in and out, never beyond a limit: a small message can unpack to gigabytes."""

from __future__ import annotations

import gzip
import zlib

from hotserve.errors import InvalidArgument, ResourceExhausted

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""Tells zlib to expect a gzip header. Source: zlib manual, inflateInit2."""


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """Unpacks a gzip body, which may have several members.

    Args:
        body: As it came.
        max_bytes: The most that may come out.

    Raises:
        InvalidArgument: It is no gzip, or it is cut off. The words are those that the original has, which takes
            such a body for an empty one.
        ResourceExhausted: It unpacks to more than `max_bytes`.
    """
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = unpacker.decompress(rest, max_bytes - size + 1)
        except zlib.error as error:
            raise _not_gzip(str(error)) from error
        size += len(part)
        if size > max_bytes:
            raise ResourceExhausted(
                f"The compressed message unpacks to more than {max_bytes} bytes, the limit set by --max_message_bytes."
            )
        if not unpacker.eof:
            raise _not_gzip("it ends before its last block")
        parts.append(part)
        rest = unpacker.unused_data
    return b"".join(parts)


def compress(message: bytes) -> bytes:
    """Packs a message with gzip, quickly rather than tightly."""
    return gzip.compress(message, compresslevel=1, mtime=0)


def _not_gzip(reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"JSON Parse error: The document is empty. The request says Content-Encoding: gzip, but its body of that kind"
        f" cannot be unpacked: {reason}."
    )
