from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_text import quoted


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("", '""'),
        ('"\\', '"\\"\\\\"'),
        ("\b\f\n\r\t", '"\\b\\f\\n\\r\\t"'),
        ("\0\x0b\x1f", '"\\u0000\\u000B\\u001F"'),
        ("/\x7fé\u2028😀<>&", '"/\x7fé\u2028😀<>&"'),
    ],
)
def test_only_what_must_be_escaped_is(text: str, literal: str) -> None:
    assert quoted(text) == literal


@given(st.text())
def test_any_text_reads_back(text: str) -> None:
    assert json.loads(quoted(text)) == text
