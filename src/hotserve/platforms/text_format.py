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
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


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
    def byte(match: re.Match[str]) -> str:
        octal, hexadecimal, simple = match.groups()
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        return chr(int(octal, 8) & 0xFF if octal else int(hexadecimal, 16))

    # Non-ASCII text is written as octal escapes of its UTF-8 bytes.
    plain = _ESCAPE.sub(byte, quoted)
    try:
        return plain.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return plain
