"""Reads the text form of a protobuf message, as far as telling its fields apart.

A SavedModel may be written as text (`saved_model.pbtxt`). Like `wire_format`, this tells whether the file is whole and
finds the few fields asked for, without message classes.

Source: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hotserve.platforms.wire_format import WireError

_TOKEN = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*(?:\n|\Z))+)
      | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+\-]+ | \[[A-Za-z0-9_.+\-/%]+\])
      | (?P<mark>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def string_fields(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The messages and strings of a text message, in order.

    Yields:
        For each message field its path and an empty string, at its opening; for each string field its path and value.

    Raises:
        WireError: The text is cut off inside a field, or is no text message.
    """
    path: list[str] = []
    closers: list[str] = []
    name = ""
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        token = match.group()
        if match.lastgroup == "word":
            name = token
        elif match.lastgroup == "string":
            yield (*path, name), _unescape(token[1:-1])
        elif token in "{<":
            path.append(name)
            closers.append("}" if token == "{" else ">")
            yield tuple(path), ""
        elif token in "}>":
            if not closers or closers.pop() != token:
                raise WireError(f"the {token} at character {match.start()} closes nothing")
            name = path.pop()
    if end != len(text):
        raise WireError(f"what stands at character {end} cannot be read")
    if closers:
        raise WireError(f"it ends inside {'.'.join(path)}")


def _unescape(quoted: str) -> str:
    # Escapes stand for bytes: text that is not ASCII is often written as octal escapes of its UTF-8.
    plain = _ESCAPE.sub(_escaped_byte, quoted.encode("utf-8", "surrogateescape"))
    return plain.decode("utf-8", "surrogateescape")


def _escaped_byte(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, simple = match.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])
