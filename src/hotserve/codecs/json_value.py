"""What a parsed JSON body is made of.

An integer token (no fraction, no exponent) is an `int`, any other number is a `float`: for a model `1` and `1.0`
are different values. An `int` keeps all its digits, but outside the 64-bit ranges it counts as a double, as in
RapidJSON, which has no wider integer: ask `is_integer`.

Text is `str`. A body may hold bytes that are no UTF-8 inside a string, and the API passes them on to the model:
each such byte is a lone surrogate (`surrogateescape`), and nothing else is one, because the dialect refuses lone
surrogate escapes. `text_bytes` gives the bytes back; `printable` is for messages and names.

An object is a `dict` with the first value of each name. Where a name comes up again, it is a `RepeatedNames`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64_MIN = -(2**63)
_UINT64_MAX = 2**64 - 1


class RepeatedNames(JsonObject):
    """An object in which a name comes up more than once; as a `dict` it has the first value of each.

    Attributes:
        members: All of them, in the order of the body.
    """

    __slots__ = ("members",)

    def __init__(self, members: Sequence[tuple[str, JsonValue]]) -> None:
        super().__init__()
        for name, value in members:
            self.setdefault(name, value)
        self.members = tuple(members)


def object_of(members: Sequence[tuple[str, JsonValue]]) -> JsonObject:
    """The object with these members."""
    plain = dict(members)
    return plain if len(plain) == len(members) else RepeatedNames(members)


def members_of(value: JsonObject) -> Sequence[tuple[str, JsonValue]]:
    """All members of an object, those with a repeated name included, in the order of the body."""
    return value.members if isinstance(value, RepeatedNames) else tuple(value.items())


def is_integer(value: JsonValue) -> bool:
    """Whether a value counts as an integer: no boolean, no double, and within int64 or uint64."""
    return type(value) is int and _INT64_MIN <= value <= _UINT64_MAX


def text_bytes(text: str) -> bytes:
    """The bytes that a string of a document had in the body, its escapes resolved."""
    return text.encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """Text that every encoder takes: U+FFFD for each byte that is no UTF-8."""
    return _SURROGATE.sub("\ufffd", text)


def type_name(value: JsonValue) -> str:
    """The JSON type as error texts name it: Null, False, True, Number, String, Array or Object."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case dict():
            return "Object"
