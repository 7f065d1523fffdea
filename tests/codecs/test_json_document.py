from __future__ import annotations

import random
from typing import NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotserve.codecs import json_document
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_reader import read_document
from hotserve.errors import InvalidArgument

SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n "])
INTEGERS = st.one_of(st.integers(), st.sampled_from([0, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**308])).map(str)
WHOLES = st.sampled_from(["0", "-0", "7", "-12", "123456789012345678", "18446744073709551616", "9" * 308, "17" * 160])
FRACTIONS = st.sampled_from(["", ".0", ".5", ".00012345678901234567", ".", "." + "0" * 30 + "1"])
EXPONENTS = st.sampled_from(["", "", "e5", "E-7", "e+22", "e308", "E309", "e0309", "e320", "e-400", "e4444", "e"])
NUMBERS = st.tuples(WHOLES, FRACTIONS, EXPONENTS).map("".join)
WORDS = st.sampled_from(["true", "false", "null", "NaN", "Infinity", "-Infinity", "Inf", "-Inf", "-0", "-0.0"])
LETTERS = st.sampled_from(
    [
        "a",
        "é",
        "\udcff",
        "e999",
        "\\n",
        "\\\\",
        '\\"',
        "\\/",
        "\\u0000",
        "\\u00E9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\udc00",
    ]
)
STRINGS = st.lists(LETTERS, max_size=4).map(lambda letters: f'"{"".join(letters)}"')


def _list(items: list[tuple[str, str]]) -> str:
    return "[" + ",".join(space + item + space for space, item in items) + "]"


def _object(items: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f"{space}{name}{space}:{space}{item}{space}" for space, name, item in items) + "}"


VALUES = st.recursive(
    st.one_of(INTEGERS, NUMBERS, WORDS, STRINGS),
    lambda values: st.one_of(
        st.lists(st.tuples(SPACE, values), max_size=4).map(_list),
        st.lists(st.tuples(SPACE, STRINGS, values), max_size=4).map(_object),
    ),
    max_leaves=8,
)


def answer(body: bytes, *, exactly: bool) -> str:
    """What a reader makes of a body, as text: `repr` tells 1 from 1.0 and -0.0 from 0.0, and shows NaN as equal."""
    try:
        return repr(read_document(body) if exactly else parse_document(body))
    except InvalidArgument as refusal:
        return refusal.message


@given(VALUES)
@example("1e309")
@example("0e309")
@example("1.8e308")
@example('"\\\\ud83d\\udc00"')
@example('"\\ud83d\\\\udc00"')
@example("9" * 309)
@example("1" + "0" * 5000)
def test_both_readers_agree(value: str) -> None:
    body = f'{{"a":{value}, "b":1}}'.encode("utf-8", "surrogateescape")
    assert answer(body, exactly=False) == answer(body, exactly=True)


@given(VALUES, st.integers(min_value=0), st.binary(min_size=0, max_size=2))
def test_both_readers_agree_on_damaged_bodies(value: str, at: int, damage: bytes) -> None:
    body = bytearray(f'{{"a":{value}, "b":1}}'.encode("utf-8", "surrogateescape"))
    at = 1 + at % (len(body) - 1)
    body[at : at + 1] = damage
    assert answer(bytes(body), exactly=False) == answer(bytes(body), exactly=True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1.0, 2, -3e-5, 1e300], [NaN, Infinity, -Infinity, 0]]}',
        b'\xef\xbb\xbf {"instances": ["image123", "file1999", "a\\u00e9\\ud83d\\ude00\\n"]}',
        b'{"instances": ["\xff\xfe"]} trailing',
        b'{"inputs": {"a": 18446744073709551616, "b": [0.00012345678901234567]}, "a": 1, "a": 2}',
        b'{"inputs": {"b64": "' + b"e999" * 200 + b'"}}',
    ],
)
def test_an_ordinary_body_never_needs_the_exact_reader(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answer(body, exactly=True)

    def refuse(body: bytes) -> NoReturn:
        raise AssertionError("the exact reader was asked")

    monkeypatch.setattr(json_document, "read_document", refuse)
    assert answer(body, exactly=False) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b" ", "JSON Parse error: The document is empty. at offset: 1"),
        (b"[1.0, 2.0]", "JSON Value: [1.0, 2.0] Is not object"),
        (b"5", "JSON Value: 5 Is not object"),
        (b"null", "JSON Value: null Is not object"),
        (b'"x"{"a":1}', 'JSON Value: "x" Is not object'),
        (b"NaN", "JSON Value:  Is not object"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, message: str) -> None:
    assert answer(body, exactly=False) == message


def test_a_body_nested_beyond_any_stack_is_read() -> None:
    document = parse_document(b'{"instances":' + b"[" * 20_000 + b"]" * 20_000 + b"}")
    assert list(document) == ["instances"]


SEEDS = [
    b'{"signature_name": "x", "instances": [{"a": [1, 2.5], "b": "\\u00e9"}, {"a": [3, -4e2], "b": "\xff"}]}',
    b'{"inputs": {"a": [[true, false], [null, NaN]], "b": {"b64": "aGk="}}}',
    b'{"examples": [{"x": 1, "y": [0.5, Infinity]}], "context": {"z": "\\ud83d\\ude00"}}',
]
SHARDS = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\0",
    b"\xff",
    b"1e999",
    b"-",
    b"9" * 400,
]


@pytest.mark.parametrize("seed", range(4))
def test_no_body_whatever_breaks_the_parser(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = set()
    for _ in range(1500):
        body = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(body) + 1)
            body[at : at + chance.randrange(4)] = chance.choice([chance.choice(SHARDS), chance.randbytes(1)])
        text = answer(bytes(body), exactly=False)
        outcomes.add(text.startswith("JSON "))
        assert text.startswith(("JSON Parse error: ", "JSON Value: ", "{"))
    assert outcomes == {True, False}
