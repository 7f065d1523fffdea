"""JSON values as error texts show them.

Source: TensorFlow Serving `util/json_tensor.cc`, JsonValueToDebugString, which prints with RapidJSON 1.1.0's
PrettyWriter (four spaces, lists on one line) and stops before the first token after 256 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from hotserve.codecs.json_text import quoted
from hotserve.codecs.json_value import JsonObject, JsonValue, is_integer, members_of, printable

_MAX_BYTES: Final = 256
_INDENT: Final = 4


def debug_string(value: JsonValue) -> str:
    """A value as error texts show it: `"x"`, `[1, 2.0]`, an object on several lines.

    Args:
        value: Any value, nested as deep as it likes.

    Returns:
        Its text up to the first token after 256 bytes, and at most up to the first NaN or infinity, which
        RapidJSON does not print: so it may end amid a list. A string is never cut. Bytes that are no UTF-8 show as
        U+FFFD.
    """
    text: list[str] = []
    size = 0
    for token in _tokens(value):
        if size >= _MAX_BYTES:
            break
        text.append(token)
        size += len(token.encode("utf-8", "surrogateescape"))
    return printable("".join(text))


def _tokens(root: JsonValue) -> Iterator[str]:
    """The tokens of a value, each with the separator and the indent before it; an explicit stack, for any depth."""
    open_parts = [(iter([("", root)]), "")]
    while open_parts:
        parts, closing = open_parts[-1]
        for separator, value in parts:
            level = len(open_parts)
            if isinstance(value, list):
                yield separator + "["
                open_parts.append((_elements(value), "]"))
                break
            if isinstance(value, dict):
                yield separator + "{"
                open_parts.append((_members(value, level), f"\n{_indent(level - 1)}}}" if value else "}"))
                break
            if isinstance(value, float) and not math.isfinite(value):
                yield separator
                return
            yield separator + _scalar(value)
        else:
            yield closing
            open_parts.pop()


def _elements(values: list[JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    for i, value in enumerate(values):
        yield ", " if i else "", value


def _members(value: JsonObject, level: int) -> Iterator[tuple[str, JsonValue]]:
    for i, (name, member) in enumerate(members_of(value)):
        yield (",\n" if i else "\n") + _indent(level), name
        yield ": ", member


def _indent(level: int) -> str:
    return " " * (_INDENT * level)


def _scalar(value: bool | int | float | str | None) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() if is_integer(value):
            return str(value)
        case _:
            return _double(float(value))


def _double(value: float) -> str:
    """The shortest digits that read back as `value`, laid out as RapidJSON's `internal/dtoa.h` does."""
    number = Decimal(repr(value)).normalize()
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the value is finite"
    sign = "-" if number.is_signed() else ""
    digits = "".join(map(str, number.as_tuple().digits))
    point = len(digits) + exponent
    if number.is_zero():
        return f"{sign}0.0"
    if 0 < point <= 21:
        digits = digits.ljust(point, "0")
        return f"{sign}{digits[:point]}.{digits[point:] or '0'}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1}"
