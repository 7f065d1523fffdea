from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_around import around_values

PLAIN = b'{"instances": [1.0, 2.0]}'
NAMED = b'{"signature_name": "s", "instances": [1.0]}'
NAMED_LATER = b'{"inputs": {"x": [1.0], "n": [2]}, "signature_name": "s"}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, b'{"instances": [3.5]}'),
        (PLAIN, b'{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}'),
        (PLAIN, b'{"instances": ["[a]", "{"]}'),
        (NAMED, b'{"signature_name": "s", "instances": [[], [2.0]]}'),
        (NAMED_LATER, b'{"inputs": {"x": [3.0], "n": [4]}, "signature_name": "s"}'),
    ],
)
def test_bodies_that_differ_in_their_values_are_alike(one: bytes, other: bytes) -> None:
    around = around_values(one)
    assert around is not None
    assert around.is_of(one)
    assert around.is_of(other)
    assert around.is_of(b"POST / HTTP/1.1" + other, 15)
    assert not around.is_of(other, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, NAMED),
        (PLAIN, NAMED_LATER),
        (NAMED, PLAIN),
        (NAMED, b'{"signature_name": "t", "instances": [1.0]}'),
        (PLAIN, b'{"instances": [1.0], "signature_name": "s", "x": [1]}'),
        (PLAIN, b'{"instances": [1.0], "signature\\u005fname": "s", "x": [1]}'),
        (PLAIN, b'{"instances": [1.0], "x": {"signature_name": "s"}, "y": [1]}'),
        (b'{"x": [], "instances": [1.0]}', b'{"x": [], "signature_name": "s", "instances": [1.0]}'),
        (PLAIN, b'{"instances": ]}'),
        (PLAIN, b""),
    ],
)
def test_bodies_that_may_name_another_signature_are_not(one: bytes, other: bytes) -> None:
    around = around_values(one)
    assert around is not None
    assert not around.is_of(other)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"instances": 1.0}',
        b'{"instances": "["}',
        b"]{[",
        b'{"instances": [1], "signature_name": "a]"}',
        b'{"signature_name": "a[b", "instances": [1.0]}',
        b'{"signature_name": "a[", "instances": [1.0], "x": "]"}',
        b'{"instances": [1.0], "signature_name": "s", "x": [1]}',
        b'{"instances": [1.0], "signature\\u005fname": "s"}',
        b'{"instances": ["\\""]}',
    ],
)
def test_nothing_is_told_from_around_the_values_of_a_body_that_could_be_read_in_several_ways(body: bytes) -> None:
    assert around_values(body) is None


LISTS = st.sampled_from(
    ["[]", "[1]", "[[2], [3]]", '["]"]', '["["]', '["signature_name"]', '[{"signature_name": "t"}]']
)
VALUES = st.one_of(
    LISTS,
    st.sampled_from(["1", '"a"', '"["', '"]"', '"]}"', '"signature_name"', '{"y": [1]}', '{"signature_name": "u"}']),
)
MEMBERS = st.one_of(
    st.tuples(st.sampled_from(["instances", "inputs"]), LISTS),
    st.tuples(
        st.sampled_from(["signature_name", "signature\\u005fname"]), st.sampled_from(['"s"', '"t"', '"["', '"]"', '""'])
    ),
    st.tuples(st.sampled_from(["x", "[", "]", "x_signature_name"]), VALUES),
)
BODIES = st.lists(MEMBERS, max_size=4).map(
    lambda members: ("{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}").encode()
)


def signature_named_by(body: bytes) -> list[str]:
    return [value for name, value in json.loads(body, object_pairs_hook=list) if name == "signature_name"]


@given(BODIES, BODIES)
def test_bodies_that_are_alike_name_the_same_signature(one: bytes, other: bytes) -> None:
    around = around_values(one)
    if around is not None and around.is_of(other):
        assert signature_named_by(other) == signature_named_by(one)


@given(BODIES, st.integers(0, 60), st.integers(0, 60), BODIES)
def test_a_body_put_together_from_two_is_alike_only_if_it_names_the_same_signature(
    one: bytes, place: int, length: int, other: bytes
) -> None:
    mixed = one[:place] + other[place : place + length] + one[place + length :]
    around = around_values(one)
    if around is not None and around.is_of(mixed):
        try:
            named = signature_named_by(mixed)
        except (ValueError, TypeError):
            return
        assert named == signature_named_by(one)
