"""Contract 2.9, 2.11 and 2.14: what answers predict over REST, its layout, and how long it may take."""

from __future__ import annotations

import json
from typing import Any

from support.contract import Answer, ask, lines, post, predict
from support.server_process import ServerProcess


@lines(
    "model, signature, body, answer",
    {
        "row, 1 output: values": ["half", "", '"instances": [1, 2]', {"predictions": [2.5, 3.0]}],
        "row, > 1 outputs: objects": [
            "odd",
            "two_batches",
            '"instances": [1, 2]',
            {"predictions": [{"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 2.0}]},
        ],
        "columnar, 1 output: the bare value": ["half", "", '"inputs": [1, 2]', {"outputs": [2.5, 3.0]}],
        "columnar, 1 output: a scalar": ["odd", "rank_0", '"inputs": [1, 2]', {"outputs": 3.0}],
        "columnar, > 1 outputs: an object": [
            "odd",
            "two_batches",
            '"inputs": [1, 2, 3]',
            {"outputs": {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0]}},
        ],
        "zero batch": ["odd", "no_rows", '"instances": [1, 2]', {"predictions": []}],
        "zero batch of several outputs": ["odd", "no_rows_twice", '"instances": [1, 2]', {"predictions": []}],
        "the batch of the outputs may differ from that of the inputs": [
            "odd",
            "two_batches",
            '"instances": [1]',
            {"predictions": [{"a": 1.0, "b": 1.0}]},
        ],
        "strings are text, and base64 where the alias ends with _bytes": [
            "echo",
            "text_both",
            '"instances": ["a"]',
            {"predictions": [{"y": "a", "y_bytes": {"b64": "YQ=="}}]},
        ],
        "columnar, _bytes": ["echo", "text_bytes", '"inputs": [["a"]]', {"outputs": [[{"b64": "YQ=="}]]}],
    },
)
def test_the_answer(server: ServerProcess, model: str, signature: str, body: str, answer: Any) -> None:
    found = predict(server, model, signature, body)
    assert (found.status, json.loads(found.body)) == (200, answer)


@lines(
    "signature, body, text",
    {
        "row: an output of rank 0": ["rank_0", '"instances": [1, 2]', "Tensor name: y has no shape information "],
        "row: batch sizes differ": [
            "two_batches",
            '"instances": [1, 2, 3]',
            "Tensor name: b has inconsistent batch size: 2 expecting: 3",
        ],
        "dtype, row": ["to_complex", '"instances": [1]', "Failed to write JSON value for tensor type: complex64"],
        "dtype, columnar": ["to_complex", '"inputs": [1]', "Failed to write JSON value for tensor type: complex64"],
    },
)
def test_what_cannot_be_written(server: ServerProcess, signature: str, body: str, text: str) -> None:
    answer = predict(server, "odd", signature, body)
    assert answer.status == 400
    assert answer.error.startswith(text)


def test_half_is_written_as_a_float_which_is_better_than_an_error(server: ServerProcess) -> None:
    assert json.loads(predict(server, "odd", "to_half", '"instances": [1.5]').body) == {"predictions": [1.5]}


def test_answers_stay_correct_with_enable_serialization_as_tensor_content(server_with_flags: ServerProcess) -> None:
    answer = predict(server_with_flags, "echo", "float", '"instances": [1.5, 2.5]')
    assert json.loads(answer.body) == {"predictions": [1.5, 2.5]}


# 2.11. Rows byte by byte.


@lines(
    "path, body, written",
    {
        "values": [
            "half:predict",
            '{"instances": [1, 2, 5]}',
            """{
    "predictions": [2.5, 3.0, 4.5
    ]
}""",
        ],
        "lists": [
            "half:predict",
            '{"instances": [[-1, 1], [-1, 1]]}',
            """{
    "predictions": [[1.5, 2.5], [1.5, 2.5]
    ]
}""",
        ],
        "objects": [
            "pair:predict",
            '{"instances": [{"a": [1.5, 2.5], "b": 3}, {"a": [1.5, 2.5], "b": 3}]}',
            """{
    "predictions": [
        {
            "a": [1.5, 2.5],
            "b": 3.0
        },
        {
            "a": [1.5, 2.5],
            "b": 3.0
        }
    ]
}""",
        ],
        "base64": [
            "echo:predict",
            '{"signature_name": "text_bytes", "instances": [{"b64": "aQ=="}, {"b64": "aQ=="}]}',
            """{
    "predictions": [{
            "b64": "aQ=="
        }, {
            "b64": "aQ=="
        }
    ]
}""",
        ],
        "no rows": [
            "odd:predict",
            '{"signature_name": "no_rows", "instances": [1]}',
            """{
    "predictions": []
}""",
        ],
        "empty rows": [
            "half:predict",
            '{"instances": [[], []]}',
            """{
    "predictions": [[], []
    ]
}""",
        ],
        "classifications": [
            "examples:classify",
            '{"examples": [{"x": 0.5}, {"x": 0.25}]}',
            """{
    "results": [[["low", 0.5], ["high", 1.0]], [["low", 0.25], ["high", 0.5]]
    ]
}""",
        ],
        "regressions": [
            "examples:regress",
            '{"signature_name": "flat", "examples": [{"x": 0.5}, {"x": 1.5}]}',
            """{
    "results": [0.5, 1.5]
}""",
        ],
    },
)
def test_the_layout_byte_by_byte(server: ServerProcess, path: str, body: str, written: str) -> None:
    assert post(server, path, body).body.decode() == written


@lines(
    "signature, inputs, written",
    {
        "a list of lists": ["int64", "[[1, 2], [3, 4]]", '{\n    "outputs": [[1, 2], [3, 4]]\n}'],
        "an empty list": ["int64", "[]", '{\n    "outputs": []\n}'],
        "a scalar": ["int64", "7", '{\n    "outputs": 7\n}'],
    },
)
def test_columns_stand_on_one_line_which_is_better_than_a_line_for_each_number(
    server: ServerProcess, signature: str, inputs: str, written: str
) -> None:
    assert predict(server, "echo", signature, f'"inputs": {inputs}').body.decode() == written


# 2.14. The server has --rest_api_timeout_in_ms=500.


def test_an_inference_that_takes_longer_than_its_time_is_504(late: Answer) -> None:
    assert late.status == 504
    assert late.headers["content-type"] == "application/json"
    assert late.error


def test_one_that_takes_less_is_answered(server_with_flags: ServerProcess) -> None:
    answer = predict(server_with_flags, "odd", "slow", '"inputs": 3')
    assert json.loads(answer.body) == {"outputs": 3}


def test_the_time_does_not_hold_for_get(server_with_flags: ServerProcess) -> None:
    assert ask(server_with_flags, "GET", "/v1/models/odd").status == 200
