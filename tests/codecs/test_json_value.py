from __future__ import annotations

import pytest

from hotserve.codecs.json_value import JsonValue, is_integer, members_of, object_of, printable, text_bytes, type_name


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


def test_an_object_has_the_first_value_of_each_name_and_keeps_the_others_aside() -> None:
    members = [("a", 1), ("b", 2), ("a", 3)]
    assert object_of(members) == {"a": 1, "b": 2}
    assert list(members_of(object_of(members))) == members


def test_an_object_without_repeated_names_is_an_ordinary_dict() -> None:
    assert type(object_of([("a", 1), ("b", 2)])) is dict
    assert list(members_of({"a": 1, "b": 2})) == [("a", 1), ("b", 2)]


def test_bytes_that_are_no_utf8_come_back_and_print_as_replacements() -> None:
    text = b"a\xff\xc3\xa9\xed\xa0\x80".decode("utf-8", "surrogateescape")
    assert text_bytes(text) == b"a\xff\xc3\xa9\xed\xa0\x80"
    assert printable(text) == "a\ufffdé\ufffd\ufffd\ufffd"
