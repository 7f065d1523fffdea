"""The JSON dialect of TensorFlow Serving, token by token: the specification behind `json_document`.

It is RapidJSON 1.1.0 reading iteratively, with NaN and Infinity allowed, stopping after the first complete value.
Its error texts carry byte offsets that depend on where exactly it gives up, hence a reader of our own. Nothing here
recurses, so nesting is limited by the size of the body alone.

Source: RapidJSON 1.1.0 `reader.h` (IterativeParse, ParseNumber, ParseString); the texts are those of `error/en.h`.
Where we differ: numbers are rounded correctly, where RapidJSON may be off in the last digit; and an unpaired low
surrogate escape is refused like an unpaired high one, as later versions of RapidJSON do.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NoReturn

from hotserve.codecs.json_value import JsonValue, object_of
from hotserve.errors import InvalidArgument

_EMPTY: Final = "The document is empty."
_INVALID_VALUE: Final = "Invalid value."
_NO_NAME: Final = "Missing a name for object member."
_NO_COLON: Final = "Missing a colon after a name of object member."
_NO_COMMA_IN_OBJECT: Final = "Missing a comma or '}' after an object member."
_NO_COMMA_IN_ARRAY: Final = "Missing a comma or ']' after an array element."
_NO_QUOTE: Final = "Missing a closing quotation mark in string."
_BAD_ESCAPE: Final = "Invalid escape character in string."
_BAD_HEX: Final = "Incorrect hex digit after \\u escape in string."
_BAD_SURROGATE: Final = "The surrogate pair in string is invalid."
_NO_FRACTION: Final = "Miss fraction part in number."
_NO_EXPONENT: Final = "Miss exponent in number."
_TOO_BIG: Final = "Number too big to be stored in double."

_SPACE = re.compile(rb"[ \t\n\r]*")
# A partial byte order mark is skipped too: RapidJSON looks for the three bytes one by one.
_BYTE_ORDER_MARK = re.compile(rb"\xef?\xbb?\xbf?")
_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
# Looser than a number, so that what is missing can be named: a point or an "e" matches without digits after it.
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(?:\.([0-9]*))?(?:[eE](\+|-)?([0-9]*))?")
_ESCAPES: Final = {
    ord('"'): b'"',
    ord("\\"): b"\\",
    ord("/"): b"/",
    ord("b"): b"\b",
    ord("f"): b"\f",
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
}
_LITERALS: Final[dict[int, tuple[bytes, JsonValue]]] = {
    ord("n"): (b"null", None),
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
}
_QUOTE, _COMMA, _COLON, _BACKSLASH, _OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = b'",:\\[]{}'
_NO_VALUE_STARTS_SO: Final = frozenset(b"]},:\0")
_LARGEST_BEFORE_ONE_MORE_DIGIT: Final = 1.7976931348623157e307


def read_document(body: bytes, *, shift: int = 0) -> JsonValue:
    """Reads the first JSON value of a body; whatever follows it is ignored.

    Args:
        body: The request body, not empty; UTF-8 with or without a byte order mark. Strings may hold any bytes.
        shift: What is added to offsets.

    Returns:
        The value, as `json_value` describes it.

    Raises:
        InvalidArgument: The body is not in the dialect: `JSON Parse error: ‹what› at offset: ‹bytes›`.
    """
    return _Reader(body, shift).document()


class _Reader:
    __slots__ = ("_body", "_position", "_shift")

    def __init__(self, body: bytes, shift: int) -> None:
        # RapidJSON reads NUL at the end of its input, and takes any NUL between tokens for that end.
        self._body = body + b"\0"
        self._position = 0
        self._shift = shift

    def document(self) -> JsonValue:
        self._skip(_BYTE_ORDER_MARK)
        if self._next_byte() in _NO_VALUE_STARTS_SO:
            self._fail(_EMPTY)
        containers: list[list[Any]] = []  # values of a list, members of an object
        names: list[str | None] = []  # of the member whose value is due, for each container; None in a list
        while True:
            # Here a value is due.
            byte = self._next_byte()
            value: JsonValue
            if byte == _OPEN_LIST:
                self._position += 1
                if self._next_byte() != _CLOSE_LIST:
                    containers.append([])
                    names.append(None)
                    continue
                self._position += 1
                value = []
            elif byte == _OPEN_OBJECT:
                self._position += 1
                if self._next_byte() != _CLOSE_OBJECT:
                    containers.append([])
                    names.append(self._name())
                    continue
                self._position += 1
                value = {}
            else:
                value = self._scalar(byte)
            # Here a value is complete, and with it perhaps the containers it ends.
            while containers:
                name = names[-1]
                if name is None:
                    containers[-1].append(value)
                    if self._goes_on(_CLOSE_LIST, _NO_COMMA_IN_ARRAY):
                        break
                    value = containers.pop()
                else:
                    containers[-1].append((name, value))
                    if self._goes_on(_CLOSE_OBJECT, _NO_COMMA_IN_OBJECT):
                        names[-1] = self._name()
                        break
                    value = object_of(containers.pop())
                names.pop()
            else:
                return value

    def _fail(self, what: str, offset: int | None = None) -> NoReturn:
        offset = self._position if offset is None else offset
        raise InvalidArgument(f"JSON Parse error: {what} at offset: {self._shift + offset}")

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        match = pattern.match(self._body, self._position)
        assert match is not None, "the pattern matches the empty string"
        self._position = match.end()

    def _next_byte(self) -> int:
        """The next byte that is no white space, not taken."""
        byte = self._body[self._position]
        if byte in b" \t\n\r":
            self._skip(_SPACE)
            byte = self._body[self._position]
        return byte

    def _goes_on(self, closing: int, complaint: str) -> bool:
        """Takes the comma or the closing bracket after a value, and says which it was: True for the comma."""
        byte = self._next_byte()
        if byte != _COMMA and byte != closing:
            self._fail(complaint)
        self._position += 1
        return byte == _COMMA

    def _name(self) -> str:
        """Takes a member's name and its colon."""
        if self._next_byte() != _QUOTE:
            self._fail(_NO_NAME)
        name = self._text()
        if self._next_byte() != _COLON:
            self._fail(_NO_COLON)
        self._position += 1
        return name

    def _scalar(self, byte: int) -> JsonValue:
        if byte == _QUOTE:
            return self._text()
        literal = _LITERALS.get(byte)
        if literal is None:
            return self._number()
        word, value = literal
        shared = self._shared(word)
        self._position += shared
        if shared < len(word):
            self._fail(_INVALID_VALUE)
        return value

    def _shared(self, word: bytes) -> int:
        """How many bytes of `word` come next: RapidJSON gives up, and counts, byte by byte."""
        count = 0
        while count < len(word) and self._body[self._position + count] == word[count]:
            count += 1
        return count

    def _text(self) -> str:
        self._position += 1
        parts: list[bytes] = []
        while True:
            start = self._position
            self._skip(_PLAIN_TEXT)
            parts.append(self._body[start : self._position])
            byte = self._body[self._position]
            if byte == _QUOTE:
                self._position += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte != _BACKSLASH:
                self._fail(_BAD_ESCAPE if byte else _NO_QUOTE)
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self._position
        letter = self._body[start + 1]
        plain = _ESCAPES.get(letter)
        if plain is not None:
            self._position += 2
            return plain
        if letter != ord("u"):
            self._fail(_BAD_ESCAPE)
        code = self._code_unit(start)
        if 0xD800 <= code <= 0xDBFF:
            if not self._body.startswith(b"\\u", self._position):
                self._fail(_BAD_SURROGATE, start)
            low = self._code_unit(start)
            if not 0xDC00 <= low <= 0xDFFF:
                self._fail(_BAD_SURROGATE, start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        elif 0xDC00 <= code <= 0xDFFF:
            self._fail(_BAD_SURROGATE, start)
        return chr(code).encode()

    def _code_unit(self, escape_offset: int) -> int:
        digits = _HEX4.match(self._body, self._position + 2)
        if digits is None:
            self._fail(_BAD_HEX, escape_offset)
        self._position = digits.end()
        return int(digits[0], 16)

    def _number(self) -> int | float:
        match = _NUMBER.match(self._body, self._position)
        if match is None:
            return self._not_finite()
        whole, fraction, sign, exponent = match.groups()
        if len(whole) > 308 and (len(whole) > 309 or float(whole[:308]) >= _LARGEST_BEFORE_ONE_MORE_DIGIT):
            self._fail(_TOO_BIG)
        if fraction == b"":
            self._fail(_NO_FRACTION, match.end(2))
        if exponent == b"":
            self._fail(_NO_EXPONENT, match.end())
        if exponent is not None and sign != b"-" and _overflows(whole, fraction or b"", exponent):
            self._fail(_TOO_BIG)
        self._position = match.end()
        if fraction is None and exponent is None:
            return int(match[0])
        return float(match[0])

    def _not_finite(self) -> float:
        """NaN, Inf or Infinity, with or without a minus."""
        negative = self._body.startswith(b"-", self._position)
        self._position += negative
        shared = self._shared(b"NaN")
        if shared == 3:
            value = math.nan
        else:
            shared = max(shared, self._shared(b"Infinity"))
            value = -math.inf if negative else math.inf
        self._position += shared
        # Of "Infinity" all eight letters count, or the first three: "Inf" is a number, "Infi" is not.
        if shared not in (3, 8):
            self._fail(_INVALID_VALUE)
        return value


def _overflows(whole: bytes, fraction: bytes, exponent: bytes) -> bool:
    """Whether RapidJSON finds the exponent too big, by the digits alone: `1e309` is, `1.8e308` becomes infinite.

    It allows 308 and one more for each digit of the fraction that it takes up, until there are 17 digits.
    """
    if len(exponent) < 2:
        return False
    room = len(fraction) - len(fraction.lstrip(b"0")) + 17 if whole == b"0" else 18 - len(whole)
    taken = max(0, min(len(fraction), room))
    digits = exponent.lstrip(b"0")
    return len(digits) > 9 or int(digits or b"0") > 308 + taken
