"""Why a large body is no JSON, found without reading all of it in Python.

Where the standard library's parser gives up, everything before it is right. The exact reader finds the words and the
offset, and it needs to know of what came before only which lists and objects are open. So it is given a short body that
opens the same ones and goes on after the last comma before that place.
"""

from __future__ import annotations

import re
from typing import Final

from hotserve.codecs.json_reader import read_document

_PIECE: Final = 1 << 16

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_WHOLE_STRINGS: Final = re.compile(rb'(?:[^"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""As much as there is before a string that has no end."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

_PASSES: Final = 16
"""So many times brackets are taken out that belong together, all at once; what is nested more deeply, one by one."""


def say_why(body: bytes, right: int) -> None:
    """Raises what the exact reader would, if it can be found that way.

    Args:
        body: The body.
        right: So many bytes of it are right, and an object that does not end there.

    Raises:
        InvalidArgument: As `read_document` does; not if all could still be well.
    """
    comma, opened = _last_comma(body, right)
    if comma < 0:
        return
    beginning = b"".join(b"[" if bracket == b"[" else b'{"":' for bracket in opened[:-1])
    beginning += b"[0," if opened[-1] == b"[" else b'{"":0,'
    after = comma + 1
    read_document(beginning + body[after:], shift=after - len(beginning))


def _last_comma(body: bytes, end: int) -> tuple[int, list[bytes]]:
    """Where the last comma outside of strings is before `end`, and the brackets that are open there; -1 for none."""
    start, size = 0, _PIECE
    opened = b""
    found: tuple[int, int, bytes] | None = None  # the last piece with a comma, and what is open before it
    while start < end:
        match = _WHOLE_STRINGS.match(body, start, min(end, start + size))
        assert match is not None, "the pattern matches the empty string"
        stop = match.end()
        if stop == start:  # a string that is longer
            if start + size >= end:
                break
            size *= 2
            continue
        piece = _STRING.sub(b"", body[start:stop])
        if b"," in piece:
            found = start, stop, opened
        opened = _open(opened + piece.translate(None, _NO_BRACKETS))
        start, size = stop, _PIECE
    if found is None:
        return -1, []
    start, stop, opened = found
    blank = _STRING.sub(lambda string: b"s" * len(string[0]), body[start:stop])
    comma = blank.rindex(b",")
    opened = _open(opened + blank[:comma].translate(None, _NO_BRACKETS))
    return start + comma, [opened[place : place + 1] for place in range(len(opened))]


def _open(brackets: bytes) -> bytes:
    """Those of some brackets that are not closed."""
    for _ in range(_PASSES):
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) == len(brackets):
            return left
        brackets = left
    opened = bytearray()
    for bracket in brackets:
        if bracket in b"[{":
            opened.append(bracket)
        else:
            opened.pop()
    return bytes(opened)
