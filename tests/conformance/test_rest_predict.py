"""Contract 2.7: predict over REST, in the order of its evaluation."""

from __future__ import annotations

import json
from typing import Any

from support.contract import lines, post, predict
from support.server_process import ServerProcess

BOTH_IN_WORDS = (
    "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "  # with this space at the end
)


@lines(
    "path, body, status, text",
    {
        "1 before 2 and 3: malformed JSON, unknown model": [
            "nope:predict",
            '{"signature_name": 5, "instances": [',
            400,
            "JSON Parse error: ",
        ],
        "2. signature_name not a string": [
            "half:predict",
            '{"signature_name": 100, "instances": [1]}',
            400,
            'JSON Value: {\n    "signature_name": 100,\n    "instances": [1]\n} not formatted correctly.'
            " 'signature_name' key must be a string value.",
        ],
        "2. signature_name null": [
            "half:predict",
            '{"signature_name": null}',
            400,
            'JSON Value: {\n    "signature_name": null\n} not formatted correctly.',
        ],
        "2 before 3: signature_name not a string, unknown model": [
            "nope:predict",
            '{"signature_name": []}',
            400,
            'JSON Value: {\n    "signature_name": []\n} not formatted correctly.',
        ],
        "3 before 4: unknown model, no tensor": [
            "nope:predict",
            "{}",
            404,
            "Servable not found for request: Latest(nope)",
        ],
        "3. signature missing": [
            "half:predict",
            '{"signature_name": "zzz", "instances": [1]}',
            400,
            'Serving signature name: "zzz" not found in signature def',
        ],
        "3. default signature missing": [
            "odd:predict",
            '{"instances": [1]}',
            400,
            'Serving signature name: "serving_default" not found in signature def',
        ],
        "3. signature without inputs": [
            "odd:predict",
            '{"signature_name": "no_inputs", "inputs": {}}',
            400,
            "Failed to get input map for signature: no_inputs",
        ],
        "3 before 4: signature without inputs, no keys": [
            "odd:predict",
            '{"signature_name": "no_inputs"}',
            400,
            "Failed to get input map for signature: no_inputs",
        ],
        "4. both keys": [
            "half:predict",
            '{"instances": [1], "inputs": [1]}',
            400,
            f'JSON Value: {{\n    "instances": [1],\n    "inputs": [1]\n}} {BOTH_IN_WORDS}'.rstrip(),
        ],
        "4. neither key": ["half:predict", "{}", 400, "Missing 'inputs' or 'instances' key"],
        "4. instances not an array": [
            "half:predict",
            '{"instances": 1.0}',
            400,
            "JSON Value: {\n    \"instances\": 1.0\n} Expecting 'instances' to be an list/array",
        ],
        "4. instances an object": [
            "half:predict",
            '{"instances": {"x": [1]}}',
            400,
            'JSON Value: {\n    "instances": {\n        "x": [1]\n    }\n} Expecting \'instances\' to be an list/array',
        ],
        "4. instances null": [
            "half:predict",
            '{"instances": null}',
            400,
            "JSON Value: {\n    \"instances\": null\n} Expecting 'instances' to be an list/array",
        ],
        "4. instances empty": [
            "half:predict",
            '{"instances": []}',
            400,
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ],
    },
)
def test_what_is_refused(server: ServerProcess, path: str, body: str, status: int, text: str) -> None:
    answer = post(server, path, body)
    assert answer.status == status
    assert answer.error.startswith(text)


# Rows. `half` has the one input x, `pair` has a and b.

ELEMENT = "Failed to process element: "
NO_INPUT = "Error: INVALID_ARGUMENT: JSON object: does not have named input: "


@lines(
    "model, instances, text",
    {
        "> 1 inputs and first element not an object": [
            "pair",
            "[[1.0]]",
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map",
        ],
        "> 1 inputs and first element a base64 object": [
            "pair",
            '[{"b64": "YQ=="}]',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map",
        ],
        "later element not an object": [
            "half",
            '[{"x": 1.0}, 2.0]',
            "Expecting object but got list at item 1 of input list",
        ],
        "later element a base64 object": [
            "half",
            '[{"x": 1.0}, {"b64": "YQ=="}]',
            "Expecting object but got list at item 1 of input list",
        ],
        "later element is an object": [
            "half",
            '[2.0, 1.0, {"x": 1.0}]',
            "Expecting value/list but got object at item 2 of input list",
        ],
        "error inside a named value": [
            "pair",
            '[{"a": 1.0, "b": "x"}]',
            f"{ELEMENT}0 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String is not of"
            " expected type: float",
        ],
        "error inside an unnamed value": [
            "half",
            '[1.0, "x"]',
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String is not of"
            " expected type: float",
        ],
        "key not an input": [
            "half",
            '[{"z": 1.0}]',
            f"{ELEMENT}0 key: z of 'instances' list. {NO_INPUT}z",
        ],
        "key not an input, in a later element": [
            "pair",
            '[{"a": 1, "b": 2}, {"a": 1, "z": 2}]',
            f"{ELEMENT}1 key: z of 'instances' list. {NO_INPUT}z",
        ],
        "key set != input names": [
            "pair",
            '[{"b": [1, 2]}]',
            f"{ELEMENT}0 of 'instances' list. JSON object: {{\n    \"b\": [1, 2]\n}} keys must be equal to: a,b",
        ],
        "key set != input names, a default does not help": [
            "pair",
            '[{"a": 1}], "signature_name": "with_default"',
            f"{ELEMENT}0 of 'instances' list. JSON object: {{\n    \"a\": 1\n}} keys must be equal to: a,b",
        ],
        "no keys": ["half", "[{}]", f"{ELEMENT}0 of 'instances' list. JSON object: {{}} keys must be equal to: x"],
        "element count differs": [
            "half",
            "[[1, 2, 3], [4, 5]]",
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 3 but got: 2",
        ],
        "element count differs, named": [
            "pair",
            '[{"a": [1], "b": 1}, {"a": [1, 2], "b": 1}]',
            f"{ELEMENT}1 key: a of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
        ],
        "same count, shape differs": [
            "half",
            "[[[1, 2]], [1, 2]]",
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: [2]",
        ],
        "same count, shape differs, scalar": [
            "half",
            "[1, [1]]",
            f"{ELEMENT}1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but got: [1]",
        ],
        "ragged": [
            "half",
            "[[[1, 2], [3]]]",
            f"{ELEMENT}0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unexpected size: 1 at"
            " level: 1 expected size: 2",
        ],
    },
)
def test_rows_that_are_refused(server: ServerProcess, model: str, instances: str, text: str) -> None:
    answer = post(server, f"{model}:predict", f'{{"instances": {instances}}}')
    assert answer.status == 400
    assert answer.error.startswith(text)


@lines(
    "model, body, predictions",
    {
        "plain values": ["half", '"instances": [1.0, 2.0, 5.0]', [2.5, 3.0, 4.5]],
        "plain lists": ["half", '"instances": [[1.0, 2.0], [3.0, 4.0]]', [[2.5, 3.0], [3.5, 4.0]]],
        "objects for one input": ["half", '"instances": [{"x": 1.0}, {"x": 2.0}]', [2.5, 3.0]],
        "objects, any order of names": [
            "pair",
            '"instances": [{"b": 3.0, "a": [1, 2]}, {"a": [4, 5], "b": 6}]',
            [{"a": [1.0, 2.0], "b": 3.0}, {"a": [4.0, 5.0], "b": 6.0}],
        ],
        "inputs of different shapes": [
            "pair",
            '"instances": [{"a": [[1]], "b": []}]',
            [{"a": [[1.0]], "b": []}],
        ],
        "empty lists": ["half", '"instances": [[], []]', [[], []]],
    },
)
def test_rows(server: ServerProcess, model: str, body: str, predictions: list[Any]) -> None:
    answer = post(server, f"{model}:predict", f"{{{body}}}")
    assert json.loads(answer.body) == {"predictions": predictions}


# Columns.

PLAIN_FOR_SEVERAL = (
    "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
)


@lines(
    "model, inputs, text",
    {
        "> 1 inputs and a list": ["pair", "[1.0]", PLAIN_FOR_SEVERAL],
        "> 1 inputs and a number": ["pair", "1.0", PLAIN_FOR_SEVERAL],
        "> 1 inputs and null": ["pair", "null", PLAIN_FOR_SEVERAL],
        "> 1 inputs and a base64 object": ["pair", '{"b64": "YQ=="}', PLAIN_FOR_SEVERAL],
        "a missing name": ["pair", '{"a": [1.0]}', "Missing named input: b in 'inputs' object."],
        "a missing name, a default does not help": [
            "pair",
            '{"a": [1.0]}, "signature_name": "with_default"',
            "Missing named input: b in 'inputs' object.",
        ],
        "an object without names": ["half", "{}", "Missing named input: x in 'inputs' object."],
        "no number": ["half", "null", "JSON Value: null Type: Null is not of expected type: float"],
        "an object inside": [
            "half",
            '{"x": [{"y": 1}]}',
            'JSON Value: {\n    "y": 1\n} Type: Object is not of expected type: float',
        ],
        "leaf above its level, off by one": [
            "half",
            "[[1, 2], 3]",
            "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ],
        "leaf above its level, deeper": [
            "half",
            "[[[1], 2]]",
            "JSON Value: 2 found at incorrect level: 3 in the JSON DOM. Expected at level: 3",
        ],
        "list where a leaf belongs": ["half", "[1, [2]]", "Encountered list at unexpected level: 1 expected < 1"],
        "list where a leaf belongs, deeper": [
            "half",
            "[[1, 2], [3, [4]]]",
            "Encountered list at unexpected level: 2 expected < 2",
        ],
        "ragged": [
            "half",
            "[[1, 2], [3]]",
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ],
        "ragged, an empty list first": [
            "half",
            "[[], [3]]",
            "Encountered list at unexpected size: 1 at level: 1 expected size: 0",
        ],
    },
)
def test_columns_that_are_refused(server: ServerProcess, model: str, inputs: str, text: str) -> None:
    answer = post(server, f"{model}:predict", f'{{"inputs": {inputs}}}')
    assert answer.status == 400
    assert answer.error.startswith(text)


@lines(
    "model, inputs, outputs",
    {
        "a list": ["half", "[3.0, 4.0]", [3.5, 4.0]],
        "a scalar": ["half", "3.0", 3.5],
        "any rank": ["half", "[[[[1.0]]]]", [[[[2.5]]]]],
        "an empty list": ["half", "[]", []],
        "an empty list in a list": ["half", "[[]]", [[]]],
        "an object": ["half", '{"x": [3.0]}', [3.5]],
        "unknown names are ignored": ["half", '{"x": [3.0], "zzz": "!"}', [3.5]],
        "different leading dimensions": ["pair", '{"a": [1, 2, 3], "b": [[4]]}', {"a": [1.0, 2.0, 3.0], "b": [[4.0]]}],
    },
)
def test_columns(server: ServerProcess, model: str, inputs: str, outputs: Any) -> None:
    answer = post(server, f"{model}:predict", f'{{"inputs": {inputs}}}')
    assert json.loads(answer.body) == {"outputs": outputs}


# An unsupported dtype is UNIMPLEMENTED, which rows wrap into INVALID_ARGUMENT.


@lines(
    "body, status, text",
    {
        "columns": ['"inputs": [0.5]', 501, "Conversion of JSON Value: 0.5 to type: complex64"],
        "rows": [
            '"instances": [0.5]',
            400,
            f"{ELEMENT}0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 0.5 to type: complex64",
        ],
    },
)
def test_a_dtype_that_json_cannot_express(server: ServerProcess, body: str, status: int, text: str) -> None:
    answer = predict(server, "echo", "complex64", body)
    assert answer.status == status
    assert answer.error.startswith(text)
