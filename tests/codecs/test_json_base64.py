from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_base64 import base64_object, base64_text, decode_base64
from hotserve.codecs.json_value import JsonValue
from hotserve.errors import InvalidArgument


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b64": "YQ=="}, "YQ=="),
        ({"b64": ""}, ""),
        ({"b64": 5}, None),
        ({"b64": "YQ==", "x": 1}, None),
        ({"B64": "YQ=="}, None),
        ({}, None),
        ("YQ==", None),
        (["b64"], None),
    ],
)
def test_a_base64_object_has_one_member_and_that_is_a_string(value: JsonValue, text: str | None) -> None:
    assert base64_text(value) == text


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("AP/+aW1hZ2U=", b"\x00\xff\xfeimage"),
        ("AP_-aW1hZ2U=", b"\x00\xff\xfeimage"),
        ("aGk=", b"hi"),
        ("aGk", b"hi"),
        ("aGk.", b"hi"),
        ("YQ=.", b"a"),
        (" aG\nk \t= ", b"hi"),
        ("YR==", b"a"),
    ],
)
def test_padding_white_space_and_either_alphabet_are_accepted(text: str, data: bytes) -> None:
    assert decode_base64(text) == data


@pytest.mark.parametrize(
    "text", ["!!!", "a", "YWJjZ", "aGk==", "YQ=", "=", "a=Gk", "aGk=aGk=", "aGké", "a\0Gk", "\udcff"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        decode_base64(text)
    assert refusal.value.message == "Unable to base64 decode"


@given(st.binary())
def test_any_bytes_survive_in_every_form(data: bytes) -> None:
    written = json.loads(base64_object(data))
    assert written == {"b64": base64.b64encode(data).decode()}
    for text in (written["b64"], written["b64"].rstrip("="), base64.urlsafe_b64encode(data).decode()):
        assert decode_base64(text) == data
