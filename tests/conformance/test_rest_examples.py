"""Contract 2.12: classify and regress over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from hotserve.protos import messages
from support.contract import lines, post
from support.server_process import ServerProcess

EXPECTED = "When method is classify, key 'examples' is expected and was not found"


@lines(
    "path, body, status, text",
    {
        "parse, before the model": ["nope", '{"examples": [', 400, "JSON Parse error: "],
        "signature_name, before context and examples": [
            "nope",
            '{"signature_name": 5, "context": 5}',
            400,
            'JSON Value: {\n    "signature_name": 5,\n    "context": 5\n} not formatted correctly.'
            " 'signature_name' key must be a string value.",
        ],
        "context, before examples": [
            "nope",
            '{"context": 5}',
            400,
            "Example must be JSON object but got JSON Number",
        ],
        "examples missing, before the model": [
            "nope",
            '{"instances": []}',
            400,
            f'JSON Value: {{\n    "instances": []\n}} {EXPECTED}',
        ],
        "examples not a list": [
            "examples",
            '{"examples": {"x": 1.0}}',
            400,
            'JSON Value: {\n    "examples": {\n        "x": 1.0\n    }\n} Expecting \'examples\' value to be an'
            " list/array",
        ],
        "examples empty": [
            "examples",
            '{"examples": []}',
            400,
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ],
        "then the model": ["nope", '{"examples": [{}]}', 404, "Servable not found for request: Latest(nope)"],
        "then the signature": [
            "examples",
            '{"signature_name": "zzz", "examples": [{"x": 1.0}]}',
            400,
            "No signature was found with the name: zzz",
        ],
        "then the run": [
            "examples",
            '{"signature_name": "flat_scores", "examples": [{}]}',
            400,
            "",
        ],
    },
)
@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_the_order_of_evaluation(
    server: ServerProcess, verb: str, path: str, body: str, status: int, text: str
) -> None:
    # "When method is classify" is said for regress, too.
    answer = post(server, f"{path}:{verb}", body)
    assert answer.status == status
    assert answer.error.startswith(text)


@lines(
    "value, type_",
    {
        "null": ["null", "Null"],
        "false": ["false", "False"],
        "true": ["true", "True"],
        "a list": ["[]", "Array"],
        "a string": ['"x"', "String"],
        "a number": ["1", "Number"],
    },
)
@pytest.mark.parametrize("place", ['"examples": [%s]', '"examples": [{}, %s]', '"examples": [{}], "context": %s'])
def test_an_example_and_a_context_must_be_objects(server: ServerProcess, place: str, value: str, type_: str) -> None:
    answer = post(server, "examples:classify", f"{{{place % value}}}")
    assert answer.status == 400
    assert answer.error.startswith(f"Example must be JSON object but got JSON {type_}")


@lines(
    "value, text",
    {
        "null": ["null", "Feature: x has element with unexpected JSON type: Null"],
        "null in a list": ["[null]", "Feature: x has element with unexpected JSON type: Null"],
        "null after others": ["[1.0, null]", "Feature: x has element with unexpected JSON type: Null"],
        "a nested list": ["[[1.0]]", "Feature: x has element with unexpected JSON type: Array"],
        "an object": ['{"a": 1}', "Feature: x has element with unexpected JSON type: Object"],
        "an empty object": ["{}", "Feature: x has element with unexpected JSON type: Object"],
        "a base64 object with more": [
            '{"b64": "YQ==", "a": 1}',
            "Feature: x has element with unexpected JSON type: Object",
        ],
        "mixed: an integer first": ["[1, 2.5]", "Unexpected element type in feature: x expecting type: int64"],
        "mixed: a float first": ["[2.5, 1]", "Unexpected element type in feature: x expecting type: float"],
        "mixed: bytes first": ['["a", 1]', "Unexpected element type in feature: x expecting type: bytes"],
        "mixed: a float, then bytes": ['[1.0, "a"]', "Unexpected element type in feature: x expecting type: float"],
        "bad base64": ['{"b64": "*"}', "Unable to base64 decode"],
        "an integer > int64 max": [
            "9223372036854775808",
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ],
        "uint64 max in a list": [
            "[1, 18446744073709551615]",
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ],
    },
)
@pytest.mark.parametrize("place", ['"examples": [{"x": %s}]', '"examples": [{}], "context": {"x": %s}'])
def test_a_value_that_is_no_feature(server: ServerProcess, place: str, value: str, text: str) -> None:
    answer = post(server, "examples:classify", f"{{{place % value}}}")
    assert answer.status == 400
    assert answer.error.startswith(text)


def seen_by_the_model(server: ServerProcess, body: str) -> list[Mapping[str, Any]]:
    """The examples of a request as the signature `mirror` gets them: name -> kind and values."""
    results = json.loads(post(server, "examples:classify", f'{{"signature_name": "mirror", {body}}}').body)["results"]
    found = []
    for [[label, _]] in results:
        example = messages.Example.FromString(base64.urlsafe_b64decode(label + "=" * (-len(label) % 4)))
        features = {}
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            features[name] = (kind, list(getattr(feature, kind).value) if kind else [])
        found.append(features)
    return found


@lines(
    "value, kind, values",
    {
        "a fraction: float": ["80.0", "float_list", [80.0]],
        "an exponent: float": ["8e1", "float_list", [80.0]],
        "Inf: float": ["Inf", "float_list", [float("inf")]],
        "an integer: int64": ["80", "int64_list", [80]],
        "the smallest int64": ["-9223372036854775808", "int64_list", [-(2**63)]],
        "beyond uint64: float": ["18446744073709551616", "float_list", [2.0**64]],
        "true: int64": ["true", "int64_list", [1]],
        "false: int64": ["false", "int64_list", [0]],
        "booleans and integers": ["[true, 7]", "int64_list", [1, 7]],
        "a string: bytes": ['"a"', "bytes_list", [b"a"]],
        "base64: bytes": ['{"b64": "/w=="}', "bytes_list", [b"\xff"]],
        "strings and base64": ['["a", {"b64": "/w=="}]', "bytes_list", [b"a", b"\xff"]],
        "a list: several values": ["[1.5, 2.5]", "float_list", [1.5, 2.5]],
        "[]: no kind set": ["[]", None, []],
    },
)
def test_a_value_becomes_a_feature(server: ServerProcess, value: str, kind: str | None, values: list[Any]) -> None:
    assert seen_by_the_model(server, f'"examples": [{{"x": {value}}}]') == [{"x": (kind, values)}]


@lines(
    "body, seen",
    {
        "duplicate feature names: the last wins": [
            '"examples": [{"x": 1.0, "x": 2.0}]',
            [{"x": ("float_list", [2.0])}],
        ],
        "duplicate feature names: the last wins, of another kind": [
            '"examples": [{"x": Inf, "x": "a"}]',
            [{"x": ("bytes_list", [b"a"])}],
        ],
        "duplicate names in the context: the last wins": [
            '"context": {"x": 1.0, "x": 2.0}, "examples": [{}]',
            [{"x": ("float_list", [2.0])}],
        ],
        "duplicate examples: the first, as of all other keys": [
            '"examples": [{"x": 1.0}], "examples": []',
            [{"x": ("float_list", [1.0])}],
        ],
        "the context is in each example, which wins": [
            '"context": {"c": 1, "x": 9.0}, "examples": [{"x": 1.0}, {}]',
            [
                {"c": ("int64_list", [1]), "x": ("float_list", [1.0])},
                {"c": ("int64_list", [1]), "x": ("float_list", [9.0])},
            ],
        ],
        "an empty example": ['"examples": [{}]', [{}]],
    },
)
def test_the_model_gets(server: ServerProcess, body: str, seen: list[Mapping[str, Any]]) -> None:
    assert seen_by_the_model(server, body) == seen


@lines(
    "path, body, results",
    {
        "classify: pairs of label and score": [
            "examples:classify",
            '{"examples": [{"x": 1.0}]}',
            [[["low", 1.0], ["high", 2.0]]],
        ],
        "classify: no labels": [
            "half:classify",
            '{"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}',
            [[["", 12.0]]],
        ],
        "classify: no scores": [
            "examples:classify",
            '{"signature_name": "classes", "examples": [{"x": 1.0}]}',
            [[["low", 0.0], ["high", 0.0]]],
        ],
        "regress: numbers": ["half:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}', [42.0]],
        "regress with a version": [
            "plus/versions/1:regress",
            '{"signature_name": "regress", "examples": [{"x": 80.0}, {"x": 1.5}]}',
            [81.0, 2.5],
        ],
    },
)
def test_the_key_of_answers_is_results(server: ServerProcess, path: str, body: str, results: list[Any]) -> None:
    answer = post(server, path, body)
    assert (answer.status, json.loads(answer.body)) == (200, {"results": results})
