"""The one message of a unary call, put together from what comes."""

from __future__ import annotations

from hotserve.api.codec_threads import LARGE_BYTES, LARGE_PACKED_BYTES
from hotserve.api.grpc_framing import PREFIX_BYTES, check_length, read_prefix, too_large, unpack

_SMALL_BYTES = 4096
"""Smaller parts are joined at once: a client could send a message byte by byte, and each would be an object."""


class MessageParts:
    """Parts of a message, in their order. Each byte of a large one is copied once."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        """Starts with nothing.

        Args:
            encoding: `grpc-encoding` of the request.
            max_bytes: The largest message, also after unpacking.
        """
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._prefix = bytearray()
        self._parts: list[bytes] = []
        self._small = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Takes the next part.

        Raises:
            ResourceExhausted: The message is too large. Its prefix is enough to know: nobody waits for the rest.
        """
        missing = PREFIX_BYTES - len(self._prefix)
        if missing:
            self._prefix += data[:missing]
            data = data[missing:]
            if len(self._prefix) == PREFIX_BYTES:
                self._check_size(read_prefix(self._prefix)[1])
        self._size += len(data)
        self._check_size(self._size)
        if len(data) < _SMALL_BYTES:
            self._small += data
            if len(self._small) >= _SMALL_BYTES:
                self._keep_small()
            return
        if self._small:
            self._keep_small()
        self._parts.append(data)

    @property
    def is_large(self) -> bool:
        """Whether `message` takes so long that it is called on a thread."""
        is_packed = self._encoding == "gzip" and self._prefix.startswith(b"\x01")
        return self._size >= (LARGE_PACKED_BYTES if is_packed else LARGE_BYTES)

    def message(self) -> bytes:
        """The whole message.

        Raises:
            InvalidArgument: What came is not exactly one message, or cannot be unpacked.
            ResourceExhausted: It unpacks to too much.
            Unimplemented: It is packed in a way that is not known here.
        """
        flag, length = read_prefix(self._prefix)
        check_length(length, self._size, self._max_bytes)
        return unpack(flag, b"".join((*self._parts, bytes(self._small))), self._encoding, self._max_bytes)

    def clear(self) -> None:
        """Forgets all of it: whoever has the message needs no second copy."""
        self._parts.clear()
        self._small.clear()

    def _keep_small(self) -> None:
        self._parts.append(bytes(self._small))
        self._small.clear()

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise too_large(size, self._max_bytes)
