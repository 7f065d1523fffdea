from __future__ import annotations

import gc
import math

import pytest

from hotserve.codecs.json_reader import read_document
from hotserve.codecs.json_value import JsonValue, text_bytes
from hotserve.errors import InvalidArgument

DEEP = 500_000
NEARLY_THE_LARGEST = b"17976931348623156" + b"0" * 292


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1}{"b":2}', {"a": 1}),
        (b'{"a":1} xyz', {"a": 1}),
        (b'{"a":1}\0', {"a": 1}),
        (b"5abc", 5),
        (b' \n\t{ "a" :\r\n [ 1.0 , null ] } \n', {"a": [1.0, None]}),
        (b'\xef\xbb\xbf{"a":true}', {"a": True}),
        (b'\xbb\xbf{"a":false}', {"a": False}),
        (b'{"a":1,"b":2,"a":3}', {"a": 1, "b": 2}),
        (b'{"":{}, "b":[[],{}]}', {"": {}, "b": [[], {}]}),
    ],
)
def test_the_first_value_is_read_and_the_first_of_each_name(body: bytes, value: JsonValue) -> None:
    assert read_document(body) == value


@pytest.mark.parametrize(
    ("token", "value"),
    [
        (b"1", 1),
        (b"-0", 0),
        (b"-7", -7),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2**64),
        (b"1.0", 1.0),
        (b"1e2", 100.0),
        (b"1E-2", 0.01),
        (b"-1.5e+3", -1500.0),
        (b"0.1", 0.1),
        (b"123456789.12345678901234567890", 123456789.12345679),
        (b"1e-400", 0.0),
        (b"4.9406564584124654e-324", 5e-324),
        (b"Inf", math.inf),
        (b"Infinity", math.inf),
        (b"-Inf", -math.inf),
        (b"-Infinity", -math.inf),
    ],
)
def test_a_number_with_a_fraction_or_an_exponent_is_a_double(token: bytes, value: int | float) -> None:
    read = read_document(token)
    assert read == value
    assert type(read) is type(value)


def test_minus_zero_keeps_its_sign_only_as_a_double() -> None:
    assert repr(read_document(b"[-0, -0.0]")) == "[0, -0.0]"


@pytest.mark.parametrize("token", [b"NaN", b"-NaN"])
def test_nan_is_a_number(token: bytes) -> None:
    value = read_document(token)
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("token", [b"1.8e308", b"100e308", b"12.5e308", b"0.0001e312", b"1.5e309"])
def test_an_exponent_within_308_and_the_digits_of_the_fraction_is_not_too_big(token: bytes) -> None:
    read = read_document(token)
    assert read == float(token)
    assert isinstance(read, float)


@pytest.mark.parametrize(
    "token",
    [
        b"1e309",
        b"1e400",
        b"0e309",
        b"-1e309",
        b"1.5e310",
        b"0.0001e313",
        b"1e99999999999999999999",
        b"9" * 309,
        b"9" * 309 + b".",
        b"1" * 310,
        b"1" * 5000,
        NEARLY_THE_LARGEST + b"0",
    ],
)
def test_a_number_too_big_for_a_double_is_refused_where_it_begins(token: bytes) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_document(b'{"a":' + token + b"}")
    assert refusal.value.message == "JSON Parse error: Number too big to be stored in double. at offset: 5"


def test_an_integer_may_be_nearly_as_large_as_a_double() -> None:
    assert read_document(NEARLY_THE_LARGEST) == int(NEARLY_THE_LARGEST)


@pytest.mark.parametrize(
    ("body", "what", "offset"),
    [
        (b" ", "The document is empty.", 1),
        (b"\xef\xbb\xbf", "The document is empty.", 3),
        (b"]", "The document is empty.", 0),
        (b"\0{}", "The document is empty.", 0),
        (b"instances = [1,2]", "Invalid value.", 0),
        (b"hello", "Invalid value.", 0),
        (b'{"a":[1,2,]}', "Invalid value.", 10),
        (b'{"a":[,1]}', "Invalid value.", 6),
        (b'{"a":[1', "Missing a comma or ']' after an array element.", 7),
        (b'{"a":[1,', "Invalid value.", 8),
        (b'{"a":tru}', "Invalid value.", 8),
        (b'{"a":nul', "Invalid value.", 8),
        (b'{"a":False}', "Invalid value.", 5),
        (b'{"a":-}', "Invalid value.", 6),
        (b'{"a":nan}', "Invalid value.", 6),
        (b'{"a":Na}', "Invalid value.", 7),
        (b'{"a":Infini}', "Invalid value.", 11),
        (b'{"a":+1}', "Invalid value.", 5),
        (b'{"a":.5}', "Invalid value.", 5),
        (b"{\"a\":'b'}", "Invalid value.", 5),
        (b'{"a":}', "Invalid value.", 5),
        (b'{"a":', "Invalid value.", 5),
        (b"{", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b"{a:1}", "Missing a name for object member.", 1),
        (b"{1:1}", "Missing a name for object member.", 1),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a"', "Missing a colon after a name of object member.", 4),
        (b'{"a":1', "Missing a comma or '}' after an object member.", 6),
        (b'{"a":01}', "Missing a comma or '}' after an object member.", 6),
        (b'{"a":0x1}', "Missing a comma or '}' after an object member.", 6),
        (b'{"a":[1]]', "Missing a comma or '}' after an object member.", 8),
        (b'{"a":1 /* c */}', "Missing a comma or '}' after an object member.", 7),
        (b'{"a":[1,2}', "Missing a comma or ']' after an array element.", 9),
        (b'{"a":[01]}', "Missing a comma or ']' after an array element.", 7),
        (b'{"a":[Infx]}', "Missing a comma or ']' after an array element.", 9),
        (b'{"a":"x', "Missing a closing quotation mark in string.", 7),
        (b'{"a":"x\0"}', "Missing a closing quotation mark in string.", 7),
        (b'{"a":"\\q"}', "Invalid escape character in string.", 6),
        (b'{"a":"\n"}', "Invalid escape character in string.", 6),
        (b'{"a":"xy\\', "Invalid escape character in string.", 8),
        (b'{"a":"\\u12"}', "Incorrect hex digit after \\u escape in string.", 6),
        (b'{"a":"\\ud800"}', "The surrogate pair in string is invalid.", 6),
        (b'{"a":"\\ud800\\u0041"}', "The surrogate pair in string is invalid.", 6),
        (b'{"a":"\\ud800\\uzzzz"}', "Incorrect hex digit after \\u escape in string.", 6),
        (b'{"a":"\\udc00"}', "The surrogate pair in string is invalid.", 6),
        (b'{"a":1.}', "Miss fraction part in number.", 7),
        (b'{"a":1.e5}', "Miss fraction part in number.", 7),
        (b'{"a":1e}', "Miss exponent in number.", 7),
        (b'{"a":1e+}', "Miss exponent in number.", 8),
    ],
)
def test_what_is_wrong_is_named_with_its_offset(body: bytes, what: str, offset: int) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_document(body)
    assert refusal.value.message == f"JSON Parse error: {what} at offset: {offset}"


@pytest.mark.parametrize(
    ("literal", "data"),
    [
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\/\b\f\n\r\t'),
        (b'"\\u0041\\u00e9\\u20AC"', "Aé€".encode()),
        (b'"\\ud83d\\ude00"', "😀".encode()),
        (b'"a\\u0000b"', b"a\0b"),
        (b'"\x7f\xc3\xa9"', b"\x7f\xc3\xa9"),
        (b'"\xff\xfe"', b"\xff\xfe"),
        (b'"\xed\xa0\x80"', b"\xed\xa0\x80"),
    ],
)
def test_a_string_keeps_its_bytes_whether_or_not_they_are_utf8(literal: bytes, data: bytes) -> None:
    text = read_document(literal)
    assert isinstance(text, str)
    assert text_bytes(text) == data


def test_half_a_million_levels_of_lists_are_read() -> None:
    value = read_document(b"[" * DEEP + b"]" * DEEP)
    levels = 0
    while isinstance(value, list):
        levels += 1
        value = value[0] if value else None
    assert levels == DEEP


def test_half_a_million_levels_of_objects_are_read_and_let_go() -> None:
    value = read_document(b'{"a":' * DEEP + b"1" + b"}" * DEEP)
    assert isinstance(value, dict)
    del value
    gc.collect()


def test_a_body_that_only_opens_is_refused_at_its_end() -> None:
    with pytest.raises(InvalidArgument, match=r"Invalid value\. at offset: 9999$"):
        read_document(b"[" * 9999)
