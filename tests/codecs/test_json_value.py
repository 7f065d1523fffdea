from __future__ import annotations

import pytest

from hotserve.codecs.json_value import JsonValue, is_integer, printable, text_bytes, type_name


@pytest.mark.parametrize(
    ("value", "integer"),
    [
        (0, True),
        (-(2**63), True),
        (2**64 - 1, True),
        (-(2**63) - 1, False),
        (2**64, False),
        (True, False),
        (1.0, False),
        ("1", False),
        (None, False),
    ],
)
def test_only_whole_tokens_of_64_bits_are_integers(value: JsonValue, integer: bool) -> None:
    assert is_integer(value) is integer


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "Null"),
        (False, "False"),
        (True, "True"),
        (1, "Number"),
        (1.5, "Number"),
        ("", "String"),
        ([], "Array"),
        ({}, "Object"),
    ],
)
def test_types_have_the_names_of_error_texts(value: JsonValue, name: str) -> None:
    assert type_name(value) == name


def test_bytes_that_are_no_utf8_come_back_and_print_as_replacements() -> None:
    text = b"a\xff\xc3\xa9\xed\xa0\x80".decode("utf-8", "surrogateescape")
    assert text_bytes(text) == b"a\xff\xc3\xa9\xed\xa0\x80"
    assert printable(text) == "a\ufffdé\ufffd\ufffd\ufffd"
