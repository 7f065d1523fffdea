from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_examples import decode_examples
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import Example


def decode(body: str | bytes) -> list[dict[str, tuple[str | None, list[Any]]]]:
    """For each example its features: name -> kind and values."""
    document = parse_document(body if isinstance(body, bytes) else body.encode())
    examples = []
    for data in decode_examples(document):
        features = {}
        for name, feature in Example.FromString(data).features.feature.items():
            kind = feature.WhichOneof("kind")
            features[name] = (kind, list(getattr(feature, kind).value) if kind else [])
        examples.append(features)
    return examples


def feature(value: str) -> tuple[str | None, list[Any]]:
    return decode(f'{{"examples": [{{"x": {value}}}]}}')[0]["x"]


@pytest.mark.parametrize(
    ("value", "kind", "values"),
    [
        ("1.0", "float_list", [1.0]),
        ("1e2", "float_list", [100.0]),
        ("-0.0", "float_list", [-0.0]),
        ("1e300", "float_list", [math.inf]),
        ("Infinity", "float_list", [math.inf]),
        ("-Inf", "float_list", [-math.inf]),
        ("[1.0, 2.5]", "float_list", [1.0, 2.5]),
        ("18446744073709551616", "float_list", [2.0**64]),
        ("-9223372036854775809", "float_list", [-(2.0**63)]),
        ("[1.0, 18446744073709551616]", "float_list", [1.0, 2.0**64]),
        ("1", "int64_list", [1]),
        ("[1, -2]", "int64_list", [1, -2]),
        ("9223372036854775807", "int64_list", [2**63 - 1]),
        ("-9223372036854775808", "int64_list", [-(2**63)]),
        ("true", "int64_list", [1]),
        ("[false, true, 7]", "int64_list", [0, 1, 7]),
        ('"a"', "bytes_list", [b"a"]),
        ('"é"', "bytes_list", ["é".encode()]),
        (r'"\u0000"', "bytes_list", [b"\0"]),
        ('["a", "b"]', "bytes_list", [b"a", b"b"]),
        ('{"b64": "YQ=="}', "bytes_list", [b"a"]),
        ('{"b64": ""}', "bytes_list", [b""]),
        ('["a", {"b64": "_w"}]', "bytes_list", [b"a", b"\xff"]),
        ("[]", None, []),
    ],
)
def test_the_form_of_a_value_says_which_kind_of_feature_it_is(value: str, kind: str | None, values: list[Any]) -> None:
    assert feature(value) == (kind, values)


def test_nan_is_a_float() -> None:
    kind, (value,) = feature("NaN")
    assert kind == "float_list"
    assert math.isnan(value)


def test_bytes_of_a_string_that_are_no_utf8_reach_the_model() -> None:
    assert decode(b'{"examples": [{"x": "\xff\xfe"}]}') == [{"x": ("bytes_list", [b"\xff\xfe"])}]


@pytest.mark.parametrize(
    ("body", "examples"),
    [
        ('{"examples": [{"x": 1.0}, {"y": 2}]}', [{"x": ("float_list", [1.0])}, {"y": ("int64_list", [2])}]),
        ('{"examples": [{}]}', [{}]),
        (
            '{"context": {"x": 2.0, "z": 1}, "examples": [{}, {"x": 5.0}]}',
            [
                {"x": ("float_list", [2.0]), "z": ("int64_list", [1])},
                {"x": ("float_list", [5.0]), "z": ("int64_list", [1])},
            ],
        ),
        ('{"context": {}, "examples": [{"x": 1.0}]}', [{"x": ("float_list", [1.0])}]),
        ('{"examples": [{"x": 1.0}], "instances": 3, "anything": null}', [{"x": ("float_list", [1.0])}]),
        # The original reads names as C strings.
        (r'{"examples": [{"x\u0000y": 1.0}]}', [{"x": ("float_list", [1.0])}]),
        (r'{"examples": [{"x\u0000y": 1.0, "x": 2}]}', [{"x": ("int64_list", [2])}]),
    ],
)
def test_a_body_is_a_list_of_examples_and_perhaps_a_context(body: str, examples: list[Any]) -> None:
    assert decode(body) == examples


# The standard library's parser reads the first; Inf is left to the exact one.
@pytest.mark.parametrize("body", ['{"examples": [{"x": 1.0, "x": 2.0}]}', '{"examples": [{"x": Inf, "x": 2.0}]}'])
def test_of_a_feature_that_is_given_twice_the_last_value_counts(body: str) -> None:
    assert decode(body) == [{"x": ("float_list", [2.0])}]


def test_the_examples_are_a_vector_of_serialized_messages() -> None:
    vector = decode_examples({"examples": [{"x": 1.0}, {}]})
    assert (vector.dtype, vector.shape) == (np.dtype(object), (2,))
    assert all(type(data) is bytes for data in vector)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '{"signature_name": "s"}',
            'JSON Value: {\n    "signature_name": "s"\n} When method is classify, key \'examples\' is expected and was'
            " not found",
        ),
        (
            '{"examples": {"x": 1.0}}',
            'JSON Value: {\n    "examples": {\n        "x": 1.0\n    }\n} Expecting \'examples\' value to be an'
            " list/array",
        ),
        (
            '{"examples": null}',
            "JSON Value: {\n    \"examples\": null\n} Expecting 'examples' value to be an list/array",
        ),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ('{"examples": [null]}', "Example must be JSON object but got JSON Null"),
        ('{"examples": [false]}', "Example must be JSON object but got JSON False"),
        ('{"examples": [true]}', "Example must be JSON object but got JSON True"),
        ('{"examples": [[1.0]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": ["x"]}', "Example must be JSON object but got JSON String"),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        ('{"examples": [{}, 1.5]}', "Example must be JSON object but got JSON Number"),
        ('{"context": null, "examples": [{}]}', "Example must be JSON object but got JSON Null"),
        ('{"context": [1], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"x": null}]}', "Feature: x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [1.0, null]}]}', "Feature: x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [[1.0]]}]}', "Feature: x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": [[]]}]}', "Feature: x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": {"y": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": "", "y": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": [1.0, "a"]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": [1.0, 2]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": [1, 2.5]}]}', "Unexpected element type in feature: x expecting type: int64"),
        ('{"examples": [{"x": [true, 2.5]}]}', "Unexpected element type in feature: x expecting type: int64"),
        ('{"examples": [{"x": ["a", 1]}]}', "Unexpected element type in feature: x expecting type: bytes"),
        ('{"examples": [{"x": [{"b64": "YQ"}, true]}]}', "Unexpected element type in feature: x expecting type: bytes"),
        # The kind comes before the value: this is no bad base64, for there may be none here.
        ('{"examples": [{"x": [1, {"b64": "*"}]}]}', "Unexpected element type in feature: x expecting type: int64"),
        (
            '{"examples": [{"x": 9223372036854775808}]}',
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        (
            '{"examples": [{"x": [1, 18446744073709551615]}]}',
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        ('{"examples": [{"x": {"b64": "*"}}]}', "Unable to base64 decode"),
        # What comes first in the original is what is said.
        ('{"context": 1}', "Example must be JSON object but got JSON Number"),
        ('{"context": {"x": null}, "examples": []}', "Feature: x has element with unexpected JSON type: Null"),
    ],
)
def test_what_has_no_place_in_an_example_is_refused_in_the_words_of_the_contract(body: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode(body)
    assert caught.value.message[: len(text)] == text


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ('{"examples": [{}, {}, {"x": null}]}', "Found in examples[2]."),
        ('{"context": {"x": null}, "examples": [{}]}', "Found in context."),
        (
            '{"examples": [{"x": [1, 2, 2.5]}]}',
            "Value 0 is int64, which sets the type of all, and value 2 is float. In JSON, 1 is an int64, 1.0 is a"
            " float, and a string or a base64 object is bytes. Found in examples[0].",
        ),
        ('{"examples": [{"x": {"b64": "*"}}]}', "Unable to base64 decode a value of feature x. Found in examples[0]."),
        (
            '{"instances": [{"x": 1.0}]}',
            "Expected {\"examples\": [{\"feature\": value, ...}, ...]}; 'instances' and 'inputs' belong to predict"
            " requests.",
        ),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(body: str, end: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode(body)
    assert caught.value.message.endswith(end)


FLOATS = st.floats(width=32, allow_nan=False)
INTS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.dictionaries(TEXTS.filter(lambda name: "\0" not in name), st.lists(FLOATS) | st.lists(TEXTS))))
def test_what_a_client_writes_is_what_the_model_reads(examples: list[dict[str, list[Any]]]) -> None:
    kinds = {float: "float_list", str: "bytes_list"}
    expected = [
        {
            name: (
                kinds[type(values[0])] if values else None,
                [v.encode() if isinstance(v, str) else v for v in values],
            )
            for name, values in each.items()
        }
        for each in [*examples, {}]
    ]
    assert decode(json.dumps({"examples": [*examples, {}]})) == expected


@given(st.lists(st.binary(), min_size=1))
def test_base64_is_the_same_bytes_alone_and_in_a_list(values: list[bytes]) -> None:
    objects = [{"b64": base64.b64encode(value).decode()} for value in values]
    assert feature(json.dumps(objects)) == ("bytes_list", values)
    assert feature(json.dumps(objects[0])) == ("bytes_list", values[:1])


@given(st.lists(INTS, min_size=1) | st.lists(FLOATS, min_size=1) | st.lists(TEXTS, min_size=1))
def test_a_list_read_at_once_and_value_by_value_is_the_same(values: list[Any]) -> None:
    # A base64 object or a boolean in the list sends it the careful way.
    other = {int: "true", float: "18446744073709551616", str: '{"b64": ""}'}[type(values[0])]
    text = json.dumps(values)
    kind, plain = feature(text)
    assert feature(f"{text[:-1]}, {other}]") == (kind, [*plain, *feature(other)[1]])


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64"]), inner, max_size=2),
    max_leaves=8,
)


@given(ANYTHING, ANYTHING)
def test_whatever_a_body_holds_it_is_read_or_refused(examples: Any, context: Any) -> None:
    try:
        vector = decode_examples({"context": context, "examples": examples})
    except InvalidArgument:
        return
    assert [type(Example.FromString(data)) for data in vector] == [Example] * len(examples)
