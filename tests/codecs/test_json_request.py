from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs import json_request
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_request import PredictInputs, decode_predict, signature_name
from hotserve.codecs.json_tensor import MAX_RANK
from hotserve.errors import Code, InvalidArgument, ServingError, Unimplemented
from hotserve.tensors import Array, DType, Signature, TensorSpec


def signature(**inputs: DType) -> Signature:
    return Signature({name: TensorSpec(dtype, None) for name, dtype in inputs.items()}, {})


ONE = signature(x=DType.FLOAT)
TWO = signature(b=DType.INT32, a=DType.FLOAT)
BYTES = signature(image_bytes=DType.STRING)


def decode(body: str | bytes, of: Signature, name: str = "") -> PredictInputs:
    return decode_predict(parse_document(body if isinstance(body, bytes) else body.encode()), of, name)


def lists(inputs: Mapping[str, Array]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in inputs.items()}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"inputs": 1}', ""),
        ('{"signature_name": "", "inputs": 1}', ""),
        ('{"signature_name": "a", "signature_name": 5}', "a"),
        ('{"\\u0073ignature_name": "caf\\u00e9"}', "café"),
        (b'{"signature_name": "a\xff"}', "a\ufffd"),
    ],
)
def test_a_request_names_its_signature_or_means_the_default(body: str | bytes, name: str) -> None:
    assert signature_name(parse_document(body if isinstance(body, bytes) else body.encode())) == name


def test_a_signature_name_that_is_no_string_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        signature_name(parse_document(b'{"signature_name": 5, "instances": [3]}'))
    assert refusal.value.message == (
        'JSON Value: {\n    "signature_name": 5,\n    "instances": [3]\n} not formatted correctly. '
        "'signature_name' key must be a string value."
    )


@pytest.mark.parametrize(
    ("body", "of", "inputs"),
    [
        ('{"instances": [1.0, 2, 5e0]}', ONE, {"x": [1.0, 2.0, 5.0]}),
        ('{"instances": [[1, 2], [3, 4]]}', ONE, {"x": [[1.0, 2.0], [3.0, 4.0]]}),
        ('{"instances": [[], []]}', ONE, {"x": [[], []]}),
        ('{"instances": [{"x": [1]}, {"x": [2]}]}', ONE, {"x": [[1.0], [2.0]]}),
        ('{"instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [5, 6]}]}', TWO, {"b": [3, 4], "a": [[1, 2], [5, 6]]}),
        ('{"instances": [{"x\\u0000y": 1}]}', ONE, {"x": [1.0]}),
        ('{"instances": [{"x\\u0000y": 1, "x": 2, "x": 3}]}', ONE, {"x": [1.0]}),
        ('{"instances": [{"b64": "aGk="}, "é"]}', BYTES, {"image_bytes": [b"hi", "é".encode()]}),
        ('{"instances": [{"image_bytes": {"b64": "aGk="}}]}', BYTES, {"image_bytes": [b"hi"]}),
        ('{"instances": [{"b64": 5}]}', signature(b64=DType.INT64), {"b64": [5]}),
        ('{"instances": [1], "other": {"inputs": 2}}', ONE, {"x": [1.0]}),
        ('{"instances": [1], "instances": 2}', ONE, {"x": [1.0]}),
    ],
)
def test_rows_are_stacked(body: str, of: Signature, inputs: dict[str, Any]) -> None:
    decoded = decode(body, of)
    assert decoded.row_format
    assert lists(decoded.inputs) == inputs
    assert {name: array.dtype for name, array in decoded.inputs.items()} == {
        name: spec.dtype.numpy for name, spec in of.inputs.items()
    }


@pytest.mark.parametrize(
    ("body", "of", "inputs"),
    [
        ('{"inputs": 2.5}', ONE, {"x": 2.5}),
        ('{"inputs": []}', ONE, {"x": []}),
        ('{"inputs": [[1, 2]]}', ONE, {"x": [[1.0, 2.0]]}),
        ('{"inputs": {"x": [1], "y": ["ignored"]}}', ONE, {"x": [1.0]}),
        ('{"inputs": {"a": [[1, 2], [4, 5]], "b": [3]}}', TWO, {"a": [[1, 2], [4, 5]], "b": [3]}),
        ('{"inputs": {"b64": "aGk="}}', BYTES, {"image_bytes": b"hi"}),
        ('{"inputs": [{"b64": "aGk="}, "b"]}', BYTES, {"image_bytes": [b"hi", b"b"]}),
        ('{"inputs": {"x": 1, "x": 2}}', ONE, {"x": 1.0}),
    ],
)
def test_columns_are_whole_tensors(body: str, of: Signature, inputs: dict[str, Any]) -> None:
    decoded = decode(body, of)
    assert not decoded.row_format
    assert lists(decoded.inputs) == inputs


@pytest.mark.parametrize(
    ("body", "of", "message"),
    [
        ('{"instances": [1]}', signature(), "Failed to get input map for signature: DEFAULT"),
        ("{}", ONE, "Missing 'inputs' or 'instances' key"),
        (
            '{"instances": [1], "inputs": 1}',
            ONE,
            'JSON Value: {\n    "instances": [1],\n    "inputs": 1\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": 1.0}',
            ONE,
            "JSON Value: {\n    \"instances\": 1.0\n} Expecting 'instances' to be an list/array",
        ),
        ('{"instances": []}', ONE, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            '{"instances": [[1, 2]]}',
            TWO,
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"instances": [{"b64": "aGk="}]}',
            TWO,
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ('{"instances": [{"x": 1.0}, 2.0]}', ONE, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [{"x": 1.0}, {"b64": ""}]}', ONE, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [2.0, {"x": 1.0}]}', ONE, "Expecting value/list but got object at item 1 of input list"),
        (
            '{"instances": [{"b64": 5}]}',
            BYTES,
            "Failed to process element: 0 key: b64 of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: b64",
        ),
        (
            '{"instances": [{"a": [1], "b": 3}, {"b": "x", "a": [1]}]}',
            TWO,
            "Failed to process element: 1 key: b of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: int32',
        ),
        (
            '{"instances": [{"a": [1, 2]}]}',
            TWO,
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": [1, 2]\n} keys must be "
            "equal to: a,b",
        ),
        (
            '{"instances": [{"x": 1.0}, {}]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. JSON object: {} keys must be equal to: x",
        ),
        (
            '{"instances": ["a"]}',
            ONE,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            '{"instances": [[1, 2, 3], [4, 5]]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 3 but got: 2",
        ),
        (
            '{"instances": [[1, 2], [[3, 4]]]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [2] but got: [1,2]",
        ),
        (
            '{"instances": [1.0, [2.0]]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [] but got: [1]",
        ),
        (
            '{"instances": [[], [[]]]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [0] but got: [1,0]",
        ),
        (
            '{"instances": [[], [1]]}',
            ONE,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 0 but got: 1",
        ),
        (
            '{"instances": [1.0]}',
            signature(x=DType.COMPLEX64),
            "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
            "Conversion of JSON Value: 1.0 to type: complex64",
        ),
        (
            '{"instances": [{"b64": "!!!"}]}',
            BYTES,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
        (
            '{"inputs": [[1, 2]]}',
            TWO,
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": {"b64": "aGk="}}',
            TWO,
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ('{"inputs": {}}', ONE, "Missing named input: x in 'inputs' object."),
        ('{"inputs": {"x\\u0000": 1}}', ONE, "Missing named input: x in 'inputs' object."),
        ('{"inputs": null}', ONE, "JSON Value: null Type: Null is not of expected type: float"),
    ],
)
def test_a_wrong_request_is_refused_in_the_words_of_the_original(body: str, of: Signature, message: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        decode(body, of)
    assert refusal.value.message == message


def test_a_signature_without_inputs_is_named_in_the_refusal() -> None:
    with pytest.raises(InvalidArgument, match="Failed to get input map for signature: reset_counter"):
        decode('{"inputs": {}}', signature(), "reset_counter")


def test_a_dtype_without_a_json_form_is_unimplemented_in_columns() -> None:
    with pytest.raises(Unimplemented) as refusal:
        decode('{"inputs": [1.0, 2.0]}', signature(x=DType.COMPLEX64))
    assert refusal.value.message == "Conversion of JSON Value: 1.0 to type: complex64"


def test_names_that_are_no_utf8_are_shown_readably() -> None:
    with pytest.raises(InvalidArgument, match=r"key: \ufffd of .* does not have named input: \ufffd$"):
        decode(b'{"instances": [{"\xff": 1}]}', ONE)


@pytest.mark.parametrize("depth", [MAX_RANK, 3000])
@pytest.mark.parametrize("row", ["[{}]", '{{"x": [{}]}}'])
def test_rows_that_leave_no_dimension_for_themselves_are_refused(depth: int, row: str) -> None:
    deep = row.format("[" * (depth - 1) + "1" + "]" * (depth - 1))
    with pytest.raises(InvalidArgument, match=f"is nested too deeply. Expected lists nested at most {MAX_RANK - 1} "):
        decode(f'{{"instances": [{deep}]}}', ONE)


VALUES = st.recursive(
    st.one_of(st.integers(-3, 300), st.sampled_from([1.5, True, None, "a", 2**31, {"b64": "aGk="}])),
    lambda values: st.lists(values, max_size=3),
    max_leaves=6,
)
LIKE_FIRST = st.tuples(VALUES, st.integers(1, 3)).map(lambda drawn: [drawn[0]] * drawn[1])
ROWS = st.one_of(
    st.lists(VALUES, min_size=1, max_size=4),
    LIKE_FIRST,
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "b64"]), VALUES, max_size=2), min_size=1, max_size=3),
    LIKE_FIRST.map(lambda values: [{"a": value, "b": 1} for value in values]),
)


def outcome(document: dict[str, Any], of: Signature) -> str:
    try:
        return repr(lists(decode_predict(document, of, "").inputs))
    except ServingError as refusal:
        return str(refusal)


@given(ROWS, st.sampled_from([DType.FLOAT, DType.INT32, DType.UINT8, DType.BOOL, DType.STRING]))
def test_rows_read_at_once_are_those_read_one_by_one(rows: list[Any], dtype: DType) -> None:
    for of in (signature(a=dtype), signature(a=dtype, b=DType.INT64), signature(b64=dtype)):
        quick = outcome({"instances": rows}, of)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_request, "regular_array", lambda value, dtype: None)
            assert outcome({"instances": rows}, of) == quick


@given(st.lists(st.lists(st.floats(allow_nan=False), min_size=2, max_size=2), min_size=1, max_size=4))
def test_numbers_are_those_of_json_and_numpy(rows: list[list[float]]) -> None:
    body = json.dumps({"instances": rows})
    with np.errstate(over="ignore"):
        expected = np.array(json.loads(body)["instances"], np.float64).astype(np.float32)
    np.testing.assert_array_equal(decode(body, ONE).inputs["x"], expected, strict=True)


SEEDS = [
    b'{"signature_name": "s", "instances": [{"a": [1, 2.5], "b": 3}, {"a": [3, -4e2], "b": 4}]}',
    b'{"instances": [[1, 2], [3, 4], [NaN, 1e300]]}',
    b'{"instances": [{"b64": "aGk="}, "x", "\\u00e9"]}',
    b'{"inputs": {"a": [[1, 2], [3, 4]], "b": [5], "x": true}}',
    b'{"inputs": [[[]], [[]]]}',
]
SHARDS = [
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"null",
    b"true",
    b"1e40",
    b"9" * 25,
    b"\xff",
    b"\0",
]


@pytest.mark.parametrize("seed", range(4))
def test_no_request_whatever_breaks_the_decoder(seed: int) -> None:
    chance = random.Random(seed)
    signatures = [TWO, *(signature(x=dtype) for dtype in DType)]
    codes = set()
    for _ in range(1500):
        body = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(body) + 1)
            body[at : at + chance.randrange(4)] = chance.choice([chance.choice(SHARDS), chance.randbytes(1)])
        try:
            document = parse_document(bytes(body))
            decode_predict(document, chance.choice(signatures), signature_name(document))
            codes.add(Code.OK)
        except ServingError as refusal:
            refusal.message.encode()
            codes.add(refusal.code)
    assert codes == {Code.OK, Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED}
