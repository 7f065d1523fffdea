"""The headers of HTTP/2: blocks of clients are read, checked and remembered; blocks of ours stand by themselves.

Source: RFC 9113, section 8 (what a request may say), and RFC 7541 (HPACK).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from hpack import Decoder, Encoder
from hpack.table import HeaderTable

from hotserve.wires.http2_known_blocks import KnownBlocks, TableState

TABLE_SIZE_ZERO = b"\x20"
"""Tells the client's decoder that our table is empty and stays so. Source: RFC 7541, section 6.3."""

_ENTRY_OVERHEAD = 32  # RFC 7541, section 4.1

_HARD_LIMIT_FACTOR = 2
"""How far over the limit a header can be and still be read, so that its sender gets an answer that says so."""

_REMEMBERED_BLOCKS = 64
_REMEMBERED_BLOCK_BYTES = 1024

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FORBIDDEN_IN_VALUES = re.compile(rb"[\x00\r\n]")
_DIGITS = re.compile(rb"[0-9]{1,18}")

_OF_CONNECTIONS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Section 8.2.2."""

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})


class MalformedRequest(Exception):
    """A header that no request may have; its stream ends."""


class HeaderTooLargeError(Exception):
    """A header that is over the limit, and has been read.

    Attributes:
        size: Its size.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class RequestHead:
    """The header of a request.

    Attributes:
        method: Such as `POST`.
        path: Percent-encoded, as it came; empty for CONNECT.
        headers: Lower-case name -> value, the last one of a name.
        content_length: What `content-length` says; None without one.
        note: For whoever gets it: what they make of it, so that they make it once for all requests that say the same.
        takes_whole: For them, too: whether later requests that say the same are wanted together with their message.
    """

    __slots__ = ("content_length", "headers", "method", "note", "path", "takes_whole")

    def __init__(self, method: str, path: str, headers: Mapping[str, str], content_length: int | None) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.content_length = content_length
        self.note: Any = None
        self.takes_whole = False

    def __repr__(self) -> str:
        return f"RequestHead({self.method!r}, {self.path!r}, {dict(self.headers)!r})"


class HeaderReader:
    """Reads the header blocks of one connection, in their order.

    The clients of gRPC repeat a few bytes that name entries of the table, call after call. What a block said is
    remembered until the table changes: then the same bytes may say something else. What other clients have sent is
    known, too, where their tables held the same; there is no decoder for a client that sends nothing else.
    """

    __slots__ = ("_blocks", "_decoder", "_max_list_bytes", "_remembered", "_state", "max_block_bytes")

    def __init__(self, max_list_bytes: int, blocks: KnownBlocks[RequestHead] | None = None) -> None:
        """Starts with an empty table.

        Args:
            max_list_bytes: The size of the largest header, as SETTINGS_MAX_HEADER_LIST_SIZE counts.
            blocks: What readers with the same limit have read; nothing without it.
        """
        self._max_list_bytes = max_list_bytes
        self.max_block_bytes = max_list_bytes * _HARD_LIMIT_FACTOR
        self._blocks = blocks or KnownBlocks()
        # What the table holds; None for one that is like no other, which the decoder alone has.
        self._state: TableState[RequestHead] | None = self._blocks.empty
        self._decoder: Decoder | None = None  # while it is there, its table holds the same
        self._remembered: dict[bytes, RequestHead] = {}

    @property
    def known(self) -> dict[bytes, RequestHead]:
        """What the blocks mean that are remembered, at present; for reading."""
        return self._remembered

    def read_request(self, block: bytes) -> RequestHead:
        """The header of a request.

        Raises:
            MalformedRequest: It is none.
            HeaderTooLargeError: It is over the limit.
            HPACKError: The block cannot be read, or what it says is far over the limit; the connection has to end.
        """
        remembered = self._remembered.get(block)
        if remembered is not None:
            return remembered
        before = self._state
        known = None if before is None else before.known.get(block)
        if known is not None:
            head, after = known
            if after is before:
                self._remember(block, head)
            else:
                self._remembered.clear()
                self._state, self._decoder = after, None
            return head
        fields, has_changed = self._decode(block)
        head = _request_head(fields)
        if len(block) <= _REMEMBERED_BLOCK_BYTES:
            if not has_changed:
                self._remember(block, head)
            if before is not None and self._state is not None:
                self._blocks.remember(before, block, head, self._state)
        return head

    def _remember(self, block: bytes, head: RequestHead) -> None:
        if len(self._remembered) >= _REMEMBERED_BLOCKS:
            self._remembered.clear()
        self._remembered[block] = head

    def read_trailers(self, block: bytes) -> None:
        """Reads what comes after a body, for the table's sake; nobody needs to know what it says.

        Raises:
            MalformedRequest: It is no trailer section.
            HeaderTooLargeError: It is over the limit.
            HPACKError: The block cannot be read, or what it says is far over the limit; the connection has to end.
        """
        for name, value in self._decode(block)[0]:
            _check_field(name, value)

    def skip(self, block: bytes) -> None:
        """Reads a block for the table's sake alone.

        Raises:
            HPACKError: The block cannot be read, or what it says is far over the limit; the connection has to end.
        """
        if block not in self._remembered:
            try:
                self._decode(block)
            except HeaderTooLargeError:
                return

    def _decode(self, block: bytes) -> tuple[Sequence[tuple[bytes, bytes]], bool]:
        """The fields of a block, and whether it has changed the table."""
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._begin_decoder()
        table = cast(WatchedTable, decoder.header_table)
        table.changed = False
        try:
            fields = list(decoder.decode(block, raw=True))
        finally:
            if table.changed:
                self._remembered.clear()
                before, self._state = self._state, None
                if before is not None and table.maxsize == HeaderTable.DEFAULT_SIZE:
                    self._state = self._blocks.state_after(before, tuple(table.dynamic_entries))
        size = sum(len(name) + len(value) + _ENTRY_OVERHEAD for name, value in fields)
        if size > self._max_list_bytes:
            raise HeaderTooLargeError(size)
        return fields, table.changed

    def _begin_decoder(self) -> Decoder:
        decoder = Decoder(self.max_block_bytes)
        table = decoder.header_table = WatchedTable()
        assert self._state is not None  # else there is a decoder
        for name, value in reversed(self._state.entries):
            table.add(name, value)
        return decoder


class WatchedTable(HeaderTable):
    """A table that says whether it has changed.

    Attributes:
        changed: Whether an entry was added, or its size set, since this was last set to False.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = False

    def add(self, name: bytes, value: bytes) -> None:
        self.changed = True
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        self.changed = True
        HeaderTable.maxsize.fset(self, newmax)  # type: ignore[attr-defined]  # mypy knows no fset of properties


def encode_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block that means the same at any time: it neither uses nor changes the table of its receiver.

    Args:
        fields: Names in lower case, and values; those that begin with a colon first.
    """
    # Sensitive fields are never indexed. Without the Huffman code, which takes a client longer than a few bytes more.
    return Encoder().encode(((name, value, True) for name, value in fields), huffman=False)


def _request_head(fields: Sequence[tuple[bytes, bytes]]) -> RequestHead:
    pseudo: dict[bytes, bytes] = {}
    headers: dict[str, str] = {}
    content_length: int | None = None
    for name, value in fields:
        if name.startswith(b":"):
            if headers or name not in _PSEUDO or name in pseudo:
                raise MalformedRequest(f"the pseudo-header {name!r} is unknown, repeated, or after other headers")
            if _FORBIDDEN_IN_VALUES.search(value):
                raise MalformedRequest(f"the value of {name!r} has a character that no value may have")
            pseudo[name] = value
            continue
        _check_field(name, value)
        if name == b"te" and value != b"trailers":
            raise MalformedRequest("the only value of te is trailers")
        if name == b"content-length":
            if not _DIGITS.fullmatch(value) or content_length not in (None, int(value)):
                raise MalformedRequest("content-length is no number, or two of them")
            content_length = int(value)
        headers[name.decode("ascii")] = value.decode("latin-1")
    method = pseudo.get(b":method", b"")
    path = pseudo.get(b":path", b"")
    if method == b"CONNECT":
        if b":authority" not in pseudo or b":scheme" in pseudo or b":path" in pseudo:
            raise MalformedRequest("CONNECT has :authority, and neither :scheme nor :path")
    elif not method or not pseudo.get(b":scheme"):
        raise MalformedRequest("a request has :method, :scheme and :path")
    elif not path.startswith(b"/") and not (path == b"*" and method == b"OPTIONS"):
        raise MalformedRequest("the path of a request begins with a slash")
    return RequestHead(method.decode("latin-1"), path.decode("latin-1"), headers, content_length)


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedRequest(f"{name!r} is no name of a header in lower case")
    if _FORBIDDEN_IN_VALUES.search(value) or value[:1] in (b" ", b"\t") or value[-1:] in (b" ", b"\t"):
        raise MalformedRequest(f"the value of {name!r} has a character that no value may have there")
    if name in _OF_CONNECTIONS:
        raise MalformedRequest(f"{name!r} belongs to HTTP/1.1")
