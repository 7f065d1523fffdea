from __future__ import annotations

from collections.abc import Iterator

import pytest

from hotserve.codecs.json_apart import APART_BYTES, ApartProcesses, ReadApart
from hotserve.codecs.json_examples_body import read_examples_body
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import Example


@pytest.fixture
def processes() -> Iterator[ApartProcesses]:
    made = ApartProcesses()
    yield made
    made.close()


def large(last: str) -> bytes:
    example = '{"x": [1.5, 2.5]}, '
    return ('{"signature_name": "named", "examples": [' + example * (APART_BYTES // len(example) + 1) + last).encode()


def test_a_small_body_is_read_here() -> None:
    name, examples = read_examples_body(b'{"signature_name": "named", "examples": [{"x": 1}, {"x": 2}]}')
    assert name == "named"
    values = [Example.FromString(data).features.feature["x"].int64_list.value[:] for data in examples]
    assert values == [[1], [2]]


def test_a_large_body_is_read_apart_and_is_what_it_would_be_here(
    monkeypatch: pytest.MonkeyPatch, processes: ApartProcesses
) -> None:
    body = large('{"x": "\\u00e4"}]}')
    with pytest.raises(ReadApart) as apart:
        read_examples_body(body)
    name, examples = apart.value.work(processes)
    monkeypatch.setattr("hotserve.codecs.json_examples_body.APART_BYTES", len(body) + 1)
    here_name, here = read_examples_body(body)
    assert name == here_name == "named"
    assert examples.tolist() == here.tolist()


@pytest.mark.parametrize(
    ("last", "text"), [("5]}", "Example must be JSON object but got JSON Number"), ("{", "JSON Parse error")]
)
def test_what_is_wrong_with_a_large_body_is_said_in_the_same_words(
    last: str, text: str, monkeypatch: pytest.MonkeyPatch, processes: ApartProcesses
) -> None:
    body = large(last)
    with pytest.raises(ReadApart) as apart:
        read_examples_body(body)
    with pytest.raises(InvalidArgument) as there:
        apart.value.work(processes)
    monkeypatch.setattr("hotserve.codecs.json_examples_body.APART_BYTES", len(body) + 1)
    with pytest.raises(InvalidArgument, match=text) as here:
        read_examples_body(body)
    assert there.value.message == here.value.message
