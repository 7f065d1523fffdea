from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs import json_document, json_failure
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_reader import read_document
from hotserve.errors import InvalidArgument

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('ab,"\\[]{}:ä\n', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab,"\\[]{}', max_size=4), inner, max_size=4),
    max_leaves=30,
)


def said(body: bytes) -> str | None:
    """What the exact reader says to a body that it has all of; None if nothing is wrong."""
    try:
        read_document(body)
    except InvalidArgument as error:
        return error.message
    return None


def said_quickly(body: bytes) -> str | None:
    try:
        parse_document(body)
    except InvalidArgument as error:
        return error.message
    return None


@pytest.fixture(autouse=True)
def every_body_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "_LARGE", 0)
    monkeypatch.setattr(json_failure, "_PIECE", 7)
    monkeypatch.setattr(json_failure, "_PASSES", 2)


@given(value=VALUES, place=st.floats(0, 1), wrong=st.binary(max_size=3), taken=st.integers(0, 3), indent=st.booleans())
def test_what_is_wrong_with_a_large_body_is_what_the_exact_reader_finds(
    value: object, place: float, wrong: bytes, taken: int, indent: bool
) -> None:
    text = json.dumps({"a": [1, {"b": value}], "c": value}, indent=1 if indent else None, ensure_ascii=False).encode()
    cut = 1 + int(place * (len(text) - 1))  # it begins as an object
    body = text[:cut] + wrong + text[cut + taken :]
    assert said_quickly(body) == said(body)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"]",
        b"]}x",
        b",",
        b",]}",
        b"1 2]}",
        b'{"a": 1,}]}',
        b'{"a" 1}]}',
        b"{1: 2}]}",
        b'"no end',
        b'"\\q"]}',
        b'"\\u12"]}',
        b'"a\nb"]}',
        b"01]}",
        b"1.]}",
        b"1e]}",
        b"nul]}",
        b"Inf]",
        b"Inf]}",
        b"\0",
        b"}",
        b"[[[1, 2], {",
    ],
)
def test_words_and_offsets_are_those_of_the_whole_body(tail: bytes) -> None:
    body = b'{"x,[": ["a]", {"b": [1, 2, "\\\\", "\\""]}], "y": [' + b'[1, "2,"], {"c": {}}, ' * 20 + tail
    assert said_quickly(body) == said(body)


def test_only_the_end_of_a_large_body_is_read_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def noted(body: bytes, *, shift: int = 0) -> object:
        read.append(len(body))
        return read_document(body, shift=shift)

    monkeypatch.setattr(json_failure, "read_document", noted)
    numbers = ",".join(str(random.Random(1).random()) for _ in range(5000))
    body = b'{"instances": [' + numbers.encode() + b", oops]}"
    assert said_quickly(body) == f"JSON Parse error: Invalid value. at offset: {len(body) - 6}"
    assert read
    assert max(read) < 30
