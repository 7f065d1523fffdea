from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_debug import debug_string
from hotserve.codecs.json_reader import read_document
from hotserve.codecs.json_value import JsonValue


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        ("x", '"x"'),
        ('a"\\\n\x01\x7fé', '"a\\"\\\\\\n\\u0001\x7fé"'),
        ("\udcff", '"\ufffd"'),
        ([], "[]"),
        ([1, 2], "[1, 2]"),
        ([[1.0], ["a", None]], '[[1.0], ["a", null]]'),
        ({}, "{}"),
        ({"instances": []}, '{\n    "instances": []\n}'),
        (
            {"a": {"b": [1, {"c": {}}]}, "d": 2},
            '{\n    "a": {\n        "b": [1, {\n                "c": {}\n            }]\n    },\n    "d": 2\n}',
        ),
    ],
)
def test_a_value_is_printed_with_its_lists_on_one_line(value: JsonValue, text: str) -> None:
    assert debug_string(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (1e2, "100.0"),
        (-0.0, "-0.0"),
        (0.0, "0.0"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000.0"),
        (123e18, "123000000000000000000.0"),
        (1e21, "1e21"),
        (1.25e21, "1.25e21"),
        (1e100, "1e100"),
        (1e-5, "0.00001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (-1.25e-300, "-1.25e-300"),
        (2**64, "18446744073709552000.0"),
    ],
)
def test_a_double_is_laid_out_as_rapidjson_does(value: float, text: str) -> None:
    assert debug_string(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_double_reads_back(value: float) -> None:
    assert repr(read_document(debug_string(value).encode())) == repr(value)


def test_an_object_shows_repeated_names_too() -> None:
    assert debug_string(read_document(b'{"a": 1, "a": 2}')) == '{\n    "a": 1,\n    "a": 2\n}'


def test_printing_stops_before_the_first_token_past_256_bytes() -> None:
    assert debug_string([1] * 1000) == "[" + ", ".join(["1"] * 86)
    assert debug_string(["x" * 300, 1]) == f'["{"x" * 300}"'
    assert debug_string({"é" * 124: 1, "b": 2}) == '{\n    "' + "é" * 124 + '"'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_printing_stops_at_what_rapidjson_cannot_print(value: float) -> None:
    assert debug_string(value) == ""
    assert debug_string([1, value, 2]) == "[1, "
    assert debug_string({"a": value}) == '{\n    "a": '


def test_any_depth_is_printed_up_to_the_limit() -> None:
    assert debug_string(read_document(b"[" * 20_000 + b"]" * 20_000)) == "[" * 256
