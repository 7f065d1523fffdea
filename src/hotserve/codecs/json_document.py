"""A request body to a JSON object.

Two readers, one answer. The standard library's parser reads nearly every body, in C. It stands aside wherever it
and the dialect could differ: what it refuses, what it accepts too easily, and what it would round to infinity.
`json_reader` then reads the body again, exactly, and finds the words and the offset for what is wrong.
"""

from __future__ import annotations

import json
import re
from typing import Final

from hotserve.codecs.json_debug import debug_string
from hotserve.codecs.json_failure import say_why
from hotserve.codecs.json_reader import read_document
from hotserve.codecs.json_value import JsonObject, JsonValue, object_of
from hotserve.errors import InvalidArgument


def parse_document(body: bytes) -> JsonObject:
    """Parses a REST request body.

    Args:
        body: UTF-8 JSON in the dialect of RapidJSON with NaN and Infinity. Whatever follows the first value is
            ignored; strings may hold bytes that are no UTF-8.

    Returns:
        The body's object, as `json_value` describes it.

    Raises:
        InvalidArgument: The body is empty, not JSON (with the reason and its byte offset), or not an object.

    Source: TensorFlow Serving `util/json_tensor.cc`, ParseJson.
    """
    if not body:
        raise InvalidArgument("JSON Parse error: The document is empty")
    document: JsonValue = _read_quickly(body)
    if document is None:
        document = read_document(body)
    if not isinstance(document, dict):
        raise InvalidArgument(f"JSON Value: {debug_string(document)} Is not object")
    return document


def _read_quickly(body: bytes) -> JsonObject | None:
    """The body's object by the standard library; None wherever that could differ from `read_document`.

    Raises:
        InvalidArgument: As `read_document` would.
    """
    # One byte is found much faster than two, and most bodies have no escapes.
    if b"\\" in body and b"\\u" in body and _DOUBTFUL_ESCAPE.search(body):
        return None
    decoder = _CAREFUL if _may_overflow(body) else _PLAIN
    try:
        text = body.decode("utf-8", "surrogateescape")
        start = _OBJECT_FOLLOWS.match(text)
        if start is None:
            return None
        document: JsonObject = decoder.raw_decode(text, start.end())[0]
    except json.JSONDecodeError as error:
        if len(body) >= _LARGE:
            say_why(body, len(text[: error.pos].encode("utf-8", "surrogateescape")))
        return None
    except (ValueError, RecursionError):
        # No JSON, a number out of range or of thousands of digits, or nested too deeply for this parser.
        return None
    return document


_LARGE: Final = 1 << 16
"""To read a smaller body exactly takes no longer than some hundredths of a second."""

_OBJECT_FOLLOWS = re.compile("\ufeff?[ \t\n\r]*(?={)")

# An unpaired surrogate, which the standard library lets pass. An escaped backslash before the "u" only looks like an
# escape; rather than count backslashes, doubt it.
_DOUBTFUL_ESCAPE = re.compile(
    rb"""
      \\\\u[dD][89a-fA-F]
    | \\u[dD][89abAB]..(?!\\u[dD][c-fC-F])
    | (?<!\\u[dD][89abAB][0-9a-fA-F][0-9a-fA-F])\\u[dD][c-fC-F]
    """,
    re.VERBOSE | re.DOTALL,
)


# Numbers that overflow a double are refused or become infinite by rules of their own (`json_reader`), which differ from
# the standard library's only for an exponent beyond 308 or for that many digits before the point.
_LARGE_EXPONENT: Final = r"\+?0*(?:309|3[1-9]\d|[4-9]\d\d|[1-9]\d{3})"
_IN_TOKEN = re.compile("[eE]" + _LARGE_EXPONENT)
# Over a whole body: two patterns, for a search that begins with a literal is several times as fast.
_AFTER_SMALL_E = re.compile(b"e" + _LARGE_EXPONENT.encode())
_AFTER_CAPITAL_E = re.compile(b"E" + _LARGE_EXPONENT.encode())
_MANY_DIGITS: Final = 309
# And every seventh byte is enough to find so long a run of digits. It finds other things, too: `[0.0], `.
_STRIDE: Final = 7
_LONG_RUN: Final = b"0" * (_MANY_DIGITS // _STRIDE)
_DIGITS_AS_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")


def _may_overflow(body: bytes) -> bool:
    """Whether some number of the body may overflow a double. False is certain; True may be owed to a string."""
    return (
        (b"e" in body and _AFTER_SMALL_E.search(body) is not None)
        or (b"E" in body and _AFTER_CAPITAL_E.search(body) is not None)
        or (
            _LONG_RUN in body[::_STRIDE].translate(_DIGITS_AS_ZERO)
            and b"0" * _MANY_DIGITS in body.translate(_DIGITS_AS_ZERO)
        )
    )


def _careful_float(token: str) -> float:
    if len(token) >= _MANY_DIGITS or _IN_TOKEN.search(token):
        raise ValueError("for the exact reader")
    return float(token)


def _careful_int(token: str) -> int:
    if len(token) >= _MANY_DIGITS:
        raise ValueError("for the exact reader")
    return int(token)


_PLAIN = json.JSONDecoder(object_pairs_hook=object_of)
_CAREFUL = json.JSONDecoder(object_pairs_hook=object_of, parse_float=_careful_float, parse_int=_careful_int)
