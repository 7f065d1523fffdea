"""Contract 2.8: from a JSON value to the element of a tensor, and 2.10: how floats are written."""

from __future__ import annotations

import json

import pytest

from support.contract import lines, post, predict
from support.server_process import ServerProcess


@lines(
    "dtype, value, written",
    {
        "float: an integer": ["float", "3", "3.0"],
        "float: a double is cast": ["float", "0.1", "0.1"],
        "float: overflow becomes Inf": ["float", "1e39", "Infinity"],
        "float: negative overflow": ["float", "-1e39", "-Infinity"],
        "float: underflow becomes 0": ["float", "1e-46", "0.0"],
        "float: NaN": ["float", "NaN", "NaN"],
        "float: -0 is an integer and becomes +0": ["float", "-0", "0.0"],
        "float: -0.0 stays": ["float", "-0.0", "-0.0"],
        "double: an integer": ["double", "9007199254740993", "9007199254740992.0"],
        "double: 1e308": ["double", "1e308", "1e+308"],
        "int32: the largest": ["int32", "2147483647", "2147483647"],
        "int32: the smallest": ["int32", "-2147483648", "-2147483648"],
        "int8: wraps": ["int8", "200", "-56"],
        "uint8: 300 wraps to 44": ["uint8", "300", "44"],
        "uint8: -1 wraps": ["uint8", "-1", "255"],
        "int16: wraps": ["int16", "70000", "4464"],
        "int64: the largest": ["int64", "9223372036854775807", "9223372036854775807"],
        "int64: the smallest": ["int64", "-9223372036854775808", "-9223372036854775808"],
        "uint32: the largest": ["uint32", "4294967295", "4294967295"],
        "uint64: the largest": ["uint64", "18446744073709551615", "18446744073709551615"],
        "bool: true": ["bool", "true", "true"],
        "bool: false": ["bool", "false", "false"],
        "string": ["string", '"é\\n"', '"é\\n"'],
        "string: base64": ["string", '{"b64": "YWI="}', '"ab"'],
    },
)
def test_a_value_is_read_and_written(server: ServerProcess, dtype: str, value: str, written: str) -> None:
    rows = predict(server, "echo", dtype, f'"instances": [{value}]')
    assert rows.body.decode() == f'{{\n    "predictions": [{written}\n    ]\n}}'
    column = predict(server, "echo", dtype, f'"inputs": {value}')
    assert column.body.decode() == f'{{\n    "outputs": {written}\n}}'


TYPE_ERRORS = {
    "float: a string": ["float", '"x"', '"x"', "String"],
    "float: true": ["float", "true", "true", "True"],
    "float: null": ["float", "null", "null", "Null"],
    "double: false": ["double", "false", "false", "False"],
    "double: an object": ["double", '{"a": 1}', '{\n    "a": 1\n}', "Object"],
    "int32: 1.0": ["int32", "1.0", "1.0", "Number"],
    "int32: 1e2": ["int32", "1e2", "100.0", "Number"],
    "int32: out of range": ["int32", "2147483648", "2147483648", "Number"],
    "int16: out of int32": ["int16", "-2147483649", "-2147483649", "Number"],
    "int8: 1.0": ["int8", "1.0", "1.0", "Number"],
    "uint8: out of int32": ["uint8", "4294967296", "4294967296", "Number"],
    "int64: 1.0": ["int64", "1.0", "1.0", "Number"],
    "int64: larger": ["int64", "9223372036854775808", "9223372036854775808", "Number"],
    "int64: larger than uint64": ["int64", "18446744073709551616", "18446744073709552000.0", "Number"],
    "uint32: negative": ["uint32", "-1", "-1", "Number"],
    "uint32: out of range": ["uint32", "4294967296", "4294967296", "Number"],
    "uint32: 1.0": ["uint32", "1.0", "1.0", "Number"],
    "uint64: negative": ["uint64", "-1", "-1", "Number"],
    "uint64: larger": ["uint64", "18446744073709551616", "18446744073709552000.0", "Number"],
    "uint64: a string": ["uint64", '"1"', '"1"', "String"],
    "bool: 0": ["bool", "0", "0", "Number"],
    "bool: 1": ["bool", "1", "1", "Number"],
    "bool: a string": ["bool", '"true"', '"true"', "String"],
    "bool: null": ["bool", "null", "null", "Null"],
    "string: a number": ["string", "1", "1", "Number"],
    "string: true": ["string", "true", "true", "True"],
    "string: null": ["string", "null", "null", "Null"],
    "base64 for a number": ["float", '{"b64": "YQ=="}', '{\n    "b64": "YQ=="\n}', "Object"],
}


@lines("dtype, value, shown, type_", TYPE_ERRORS)
def test_a_value_of_another_type(server: ServerProcess, dtype: str, value: str, shown: str, type_: str) -> None:
    text = f"JSON Value: {shown} Type: {type_} is not of expected type: {dtype}"
    column = predict(server, "echo", dtype, f'"inputs": [{value}]')
    assert column.status == 400
    assert column.error.startswith(text)


@lines("dtype, value, shown, type_", {name: row for name, row in TYPE_ERRORS.items() if "object" not in name})
def test_a_value_of_another_type_in_a_row(
    server: ServerProcess, dtype: str, value: str, shown: str, type_: str
) -> None:
    row = predict(server, "echo", dtype, f'"instances": [{value}]')
    assert row.status == 400
    assert row.error.startswith(
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT:"
        f" JSON Value: {shown} Type: {type_} is not of expected type: {dtype}"
    )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtypes_that_json_cannot_express(server: ServerProcess, dtype: str) -> None:
    answer = predict(server, "echo", dtype, '"inputs": 1.5')
    assert answer.status == 501
    assert answer.error.startswith(f"Conversion of JSON Value: 1.5 to type: {dtype}")


@lines(
    "dtype, value, written",
    {
        "half": ["half", "[0.5, 1.5]", "[0.5, 1.5]"],
        "bfloat16": ["bfloat16", "[0.5, 1.5]", "[0.5, 1.5]"],
        "uint16": ["uint16", "[0, 65535]", "[0, 65535]"],
    },
)
def test_more_dtypes_than_the_original_has_over_rest_which_is_better(
    server: ServerProcess, dtype: str, value: str, written: str
) -> None:
    answer = predict(server, "echo", dtype, f'"inputs": {value}')
    assert (answer.status, json.loads(answer.body)) == (200, {"outputs": json.loads(written)})


# base64


@lines(
    "text, answered",
    {
        "padded": ["YWI=", "YWI="],
        "padding is optional": ["YWI", "YWI="],
        "white space is ignored": [r" Y\nW I\t= ", "YWI="],
        "a point for padding": ["YWI.", "YWI="],
        "+ and /": ["+/8=", "+/8="],
        "nothing": ["", ""],
        "better: the URL-safe alphabet, which the original rejects": ["-_8=", "+/8="],
    },
)
def test_base64_is_read(server: ServerProcess, text: str, answered: str) -> None:
    answer = predict(server, "echo", "text_bytes", f'"inputs": {{"b64": "{text}"}}')
    assert json.loads(answer.body) == {"outputs": {"b64": answered}}


@lines(
    "value, text",
    {
        "no base64": ['[{"b64": "*"}]', "Unable to base64 decode"],
        "one letter": ['[{"b64": "Y"}]', "Unable to base64 decode"],
        "wrong padding": ['[{"b64": "YQ="}]', "Unable to base64 decode"],
        "not a string": [
            '[{"b64": 5}]',
            'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data',
        ],
        "one more member": [
            '[{"b64": "YQ==", "a": 1}]',
            'JSON Value: {\n    "b64": "YQ==",\n    "a": 1\n} not formatted correctly for base64 data',
        ],
        "another member": [
            '[{"a": "YQ=="}]',
            'JSON Value: {\n    "a": "YQ=="\n} not formatted correctly for base64 data',
        ],
        "no member": ["[{}]", "JSON Value: {} not formatted correctly for base64 data"],
    },
)
def test_base64_that_is_refused(server: ServerProcess, value: str, text: str) -> None:
    answer = predict(server, "echo", "string", f'"inputs": {value}')
    assert answer.status == 400
    assert answer.error.startswith(text)


# 2.10

FLOATS = {
    "1": ["1", "1.0"],
    "0.1": ["0.1", "0.1"],
    "1/3": ["0.333333343", "0.333333343"],
    "999999": ["999999", "999999.0"],
    "1e6": ["1000000", "1e+06"],
    "1234567": ["1234567", "1234567.0"],
    "0.00003": ["0.00003", "3e-05"],
    "the largest": ["3.4028235e38", "3.40282347e+38"],
    "-0.0": ["-0.0", "-0.0"],
    "NaN": ["NaN", "NaN"],
    "Inf": ["Inf", "Infinity"],
    "-Inf": ["-Inf", "-Infinity"],
    "the smallest": ["1.401298464324817e-45", "1.4013e-45"],
    "100000": ["100000", "100000.0"],
    "123456.7": ["123456.7", "123456.703"],
}

DOUBLES = {
    "1/3": ["0.3333333333333333", "0.33333333333333331"],
    "0.1": ["0.1", "0.1"],
    "123456789": ["123456789", "123456789.0"],
    "1e15": ["1e15", "1e+15"],
    "1e16": ["1e16", "1e+16"],
    "2.5e-08": ["2.5e-08", "2.5e-08"],
    "0.1 + 0.2": ["0.30000000000000004", "0.30000000000000004"],
    "-0.0": ["-0.0", "-0.0"],
    "1e300": ["1e300", "1e+300"],
    "NaN": ["NaN", "NaN"],
    "Inf": ["Inf", "Infinity"],
}


@lines("value, written", FLOATS)
def test_a_float_is_written(server: ServerProcess, value: str, written: str) -> None:
    body = predict(server, "echo", "float", f'"instances": [[{value}]]').body
    assert body.decode() == f'{{\n    "predictions": [[{written}]\n    ]\n}}'


@lines("value, written", DOUBLES)
def test_a_double_is_written(server: ServerProcess, value: str, written: str) -> None:
    body = predict(server, "echo", "double", f'"instances": [[{value}]]').body
    assert body.decode() == f'{{\n    "predictions": [[{written}]\n    ]\n}}'


@lines("value, written", {name: row for name, row in FLOATS.items() if "e" in row[0] or "." in row[0] or "N" in name})
def test_scores_and_regressions_are_written_alike(server: ServerProcess, value: str, written: str) -> None:
    given = f'"examples": [{{"x": {value}}}]'
    scores = predict_on_examples(server, "classify", "scores", given)
    assert f'[["", {written}], ["", ' in scores
    assert predict_on_examples(server, "regress", "flat", given) == f'{{\n    "results": [{written}]\n}}'


def predict_on_examples(server: ServerProcess, verb: str, signature: str, given: str) -> str:
    return post(server, f"examples:{verb}", f'{{"signature_name": "{signature}", {given}}}').body.decode()
