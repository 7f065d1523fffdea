"""Contract 2.6: the JSON that is accepted, and the words and offsets for what is not."""

from __future__ import annotations

import json

import pytest

from support.contract import lines, post
from support.server_process import ServerProcess


@lines(
    "body, text",
    {
        "empty body: no period, no offset": ["", "The document is empty"],
        "The document is empty.": [" ", "The document is empty. at offset: 1"],
        "The document is empty: only white space": [" \n\t\r ", "The document is empty. at offset: 5"],
        "Invalid value: no JSON": ["instances = [1,2]", "Invalid value. at offset: 0"],
        "Invalid value: trailing comma in a list": ['{"a":[1,2,]}', "Invalid value. at offset: 10"],
        "Invalid value: half a word": ['{"a":tru}', "Invalid value. at offset: 8"],
        "Invalid value: a minus alone": ['{"a":-}', "Invalid value. at offset: 6"],
        "Invalid value: nan": ['{"a":nan}', "Invalid value. at offset: 6"],
        "Invalid value: +1": ['{"a":+1}', "Invalid value. at offset: 5"],
        "Invalid value: .5": ['{"a":.5}', "Invalid value. at offset: 5"],
        "Invalid value: single quotes": ["{\"a\":'x'}", "Invalid value. at offset: 5"],
        "Invalid value: a comment": ['{"a":/* c */1}', "Invalid value. at offset: 5"],
        "Missing a name: the end": ["{", "Missing a name for object member. at offset: 1"],
        "Missing a name: trailing comma": ['{"a":1,}', "Missing a name for object member. at offset: 7"],
        "Missing a name: unquoted key": ["{a:1}", "Missing a name for object member. at offset: 1"],
        "Missing a name: single quotes": ["{'a':1}", "Missing a name for object member. at offset: 1"],
        "Missing a name: a comment": ["{// c\n}", "Missing a name for object member. at offset: 1"],
        "Missing a colon": ['{"a" 1}', "Missing a colon after a name of object member. at offset: 5"],
        "Missing a comma or '}': the end": [
            '{"a":1',
            "Missing a comma or '}' after an object member. at offset: 6",
        ],
        "Missing a comma or '}': a leading zero": [
            '{"a":01}',
            "Missing a comma or '}' after an object member. at offset: 6",
        ],
        "Missing a comma or '}': 0x1": ['{"a":0x1}', "Missing a comma or '}' after an object member. at offset: 6"],
        "Missing a comma or ']'": ['{"a":[1,2}', "Missing a comma or ']' after an array element. at offset: 9"],
        "Missing a closing quotation mark": ['{"a":"x', "Missing a closing quotation mark in string. at offset: 7"],
        "Invalid escape character": [r'{"a":"\q"}', "Invalid escape character in string. at offset: 6"],
        "Invalid escape character: a raw control character": [
            '{"a":"\n"}',
            "Invalid escape character in string. at offset: 6",
        ],
        "The surrogate pair is invalid": [
            r'{"a":"\ud800"}',
            "The surrogate pair in string is invalid. at offset: 6",
        ],
        "Miss fraction part": ['{"a":1.}', "Miss fraction part in number. at offset: 7"],
        "Miss exponent": ['{"a":1e}', "Miss exponent in number. at offset: 7"],
        "Number too big": ['{"a":1e400}', "Number too big to be stored in double. at offset: 5"],
        "Number too big: 1e309": ['{"a":1e309}', "Number too big to be stored in double. at offset: 5"],
    },
)
@pytest.mark.parametrize("path", ["half:predict", "half:classify", "nope:predict"])
def test_what_is_no_json_of_this_dialect(server: ServerProcess, path: str, body: str, text: str) -> None:
    # Also for a model that is not there: the body is parsed before the model is looked up.
    answer = post(server, path, body)
    assert (answer.status, answer.error) == (400, f"JSON Parse error: {text}")


@lines(
    "body, shown",
    {
        "a list": ["[1, 2.0]", "[1, 2.0]"],
        "a string": ['"x"', '"x"'],
        "a number": ["1.5", "1.5"],
        "null": ["null", "null"],
        "true": ["true", "true"],
        "NaN stops the text": ["NaN", ""],
        "a list with NaN": ["[1, NaN, 2]", "[1, "],
        "nested lists on one line": ["[[1],[2,[]]]", "[[1], [2, []]]"],
        "an object in a list": ['[{"a":1}]', '[{\n        "a": 1\n    }]'],
        "the text stops before the first token after 256 bytes": [
            "[" + "1," * 200 + "1]",
            "[" + ", ".join(["1"] * 86),
        ],
        "a long string is whole": ['["' + "x" * 300 + '", 1]', '["' + "x" * 300 + '"'],
    },
)
def test_a_top_level_that_is_no_object_is_shown(server: ServerProcess, body: str, shown: str) -> None:
    answer = post(server, "half:predict", body)
    assert answer.status == 400
    assert answer.error == f"JSON Value: {shown} Is not object"


@lines(
    "body, y",
    {
        "text after the first complete value is ignored": ['{"instances": [1.0]}{"instances": 5}', 2.5],
        "garbage after it, too": ['{"instances": [1.0]} xyz', 2.5],
        "UTF-8 BOM is skipped": ['\ufeff{"instances": [1.0]}', 2.5],
        "white space anywhere": [' \n\t{ "instances" :\r\n [ 1.0 ] } \n', 2.5],
        "duplicate keys: the first instances": ['{"instances": [1.0], "instances": ["x"]}', 2.5],
        "duplicate keys: the first signature_name": [
            '{"signature_name": "serving_default", "signature_name": 5, "instances": [1.0]}',
            2.5,
        ],
        "duplicate keys: the first columnar input": ['{"inputs": {"x": 1.0, "x": "a"}}', 2.5],
        "unknown top-level keys are ignored": ['{"zzz": {"a": []}, "instances": [1.0], "more": 1}', 2.5],
        "an escaped key": [r'{"\u0069nstances": [1.0]}', 2.5],
        "an empty signature_name is the default": ['{"signature_name": "", "instances": [1.0]}', 2.5],
        "a NUL cuts the name of an input in a row": [r'{"instances": [{"x\u0000more": 1.0}]}', 2.5],
        "an exponent": ['{"instances": [1E+0]}', 2.5],
        "1.8e308 becomes +Inf": ['{"instances": [1.8e308]}', float("inf")],
        "Inf": ['{"instances": [Inf]}', float("inf")],
        "Infinity": ['{"instances": [Infinity]}', float("inf")],
        "-Inf": ['{"instances": [-Inf]}', float("-inf")],
        "-Infinity": ['{"instances": [-Infinity]}', float("-inf")],
        "an integer beyond uint64 is a double": ['{"instances": [18446744073709551616]}', 9.22337204e18],
        "an integer below int64 is a double": ['{"instances": [-9223372036854775809]}', -4.61168602e18],
    },
)
def test_what_is_accepted(server: ServerProcess, body: str, y: float) -> None:
    answer = post(server, "half:predict", body)
    assert answer.status == 200
    ((_, found),) = json.loads(answer.body).items()
    assert found == (y if isinstance(found, float) else [y])


def test_nan_is_a_number(server: ServerProcess) -> None:
    assert post(server, "half:predict", '{"instances": [NaN]}').body == b'{\n    "predictions": [NaN\n    ]\n}'


def test_nesting_of_any_depth_is_accepted(server: ServerProcess) -> None:
    # 500 000 levels pass, too; they take seconds.
    body = '{"deep": ' + "[" * 50_000 + "]" * 50_000 + ', "instances": [1.0]}'
    assert json.loads(post(server, "half:predict", body).body) == {"predictions": [2.5]}


def test_bytes_that_are_no_utf8_and_nul_reach_the_model_as_they_came(server: ServerProcess) -> None:
    body = b'{"signature_name": "text_bytes", "instances": ["\xff\\u0000\xc3\xa9"]}'
    assert json.loads(post(server, "echo:predict", body).body) == {"predictions": [{"b64": "/wDDqQ=="}]}
