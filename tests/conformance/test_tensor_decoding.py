"""Contract 1.6 and 1.7: tensors of requests, and of answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from hotserve.protos import messages
from support.contract import Client, client_of, lines, predict_request, tensor
from support.server_process import ServerProcess

NAMES = {
    "DT_FLOAT": "float",
    "DT_DOUBLE": "double",
    "DT_HALF": "half",
    "DT_BFLOAT16": "bfloat16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
    "DT_STRING": "string",
}


def echo(client: Client, value: messages.TensorProto, signature: str = "") -> messages.TensorProto:
    """The tensor as it comes back."""
    name = signature or NAMES[messages.DataType.Name(value.dtype)]
    return client.call("Predict", predict_request("echo", name, x=value)).outputs["y"]


def shape_of(value: messages.TensorProto) -> list[int]:
    return [dim.size for dim in value.tensor_shape.dim]


def unknown_rank() -> messages.TensorProto:
    value = tensor("DT_FLOAT", float_val=[1.5])
    value.tensor_shape.unknown_rank = True
    return value


def scalar_with_an_empty_shape() -> messages.TensorProto:
    value = tensor("DT_FLOAT", float_val=[1.5])
    value.tensor_shape.SetInParent()
    return value


@lines(
    "value, shape, floats",
    {
        "tensor_shape absent: scalar": [tensor("DT_FLOAT", float_val=[1.5]), [], [1.5]],
        "tensor_shape without dims: scalar": [scalar_with_an_empty_shape(), [], [1.5]],
        "unknown_rank: treated as scalar": [unknown_rank(), [], [1.5]],
        "element count 0: values are ignored": [tensor("DT_FLOAT", [0], float_val=[1.0]), [0], []],
        "element count 0 of several dims": [tensor("DT_FLOAT", [2, 0, 3]), [2, 0, 3], []],
        "tensor_content is used, typed fields are ignored": [
            tensor("DT_FLOAT", [2], tensor_content=struct.pack("<2f", 1.5, 2.5), float_val=[9.0, 9.0]),
            [2],
            [1.5, 2.5],
        ],
        "fewer values than elements: the last is repeated": [
            tensor("DT_FLOAT", [2, 2], float_val=[1.5, 2.5]),
            [2, 2],
            [1.5, 2.5, 2.5, 2.5],
        ],
        "no values: zeros": [tensor("DT_FLOAT", [2]), [2], [0.0, 0.0]],
        "more values than elements: the rest is ignored": [
            tensor("DT_FLOAT", [1], float_val=[1.5, 2.5]),
            [1],
            [1.5],
        ],
        "values in the wrong typed field are ignored: zeros": [
            tensor("DT_FLOAT", [2], int_val=[7, 7], double_val=[1.5]),
            [2],
            [0.0, 0.0],
        ],
    },
)
def test_a_float_tensor(client: Client, value: messages.TensorProto, shape: list[int], floats: list[float]) -> None:
    answer = echo(client, value)
    assert (shape_of(answer), list(answer.float_val)) == (shape, floats)


@lines(
    "value",
    {
        "a dim below 0": [tensor("DT_FLOAT", [-1], float_val=[1.0])],
        "a dim below 0 among others": [tensor("DT_FLOAT", [2, -2], float_val=[1.0])],
        "an element count that overflows": [tensor("DT_FLOAT", [2**32, 2**32], float_val=[1.0])],
        "an element count that overflows to 0": [tensor("DT_FLOAT", [2**62, 4], float_val=[1.0])],
        "dtype DT_INVALID with elements": [tensor("DT_INVALID", [1], float_val=[1.0])],
        "tensor_content too short": [tensor("DT_FLOAT", [2], tensor_content=b"1234")],
        "tensor_content too long": [tensor("DT_FLOAT", [1], tensor_content=b"12345678")],
        "tensor_content that is no whole number of items": [tensor("DT_FLOAT", [1], tensor_content=b"123")],
        "strings: lengths are cut off": [tensor("DT_STRING", [2], tensor_content=b"\x01")],
        "strings: bytes are cut off": [tensor("DT_STRING", [2], tensor_content=b"\x01\x05ab")],
        "strings: bytes are left over": [tensor("DT_STRING", [1], tensor_content=b"\x01ab")],
    },
)
def test_a_tensor_that_is_rejected(client: Client, value: messages.TensorProto) -> None:
    signature = "string" if value.dtype == messages.DataType.Value("DT_STRING") else "float"
    code, text = client.refusal("Predict", predict_request("echo", signature, x=value))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("tensor parsing error: x")


def test_a_shape_of_far_more_elements_than_values_is_refused_before_memory_is_taken_for_it(client: Client) -> None:
    # Better: the original repeats the one value into terabytes.
    value = tensor("DT_FLOAT", [2**40], float_val=[1.0])
    code, text = client.refusal("Predict", predict_request("echo", "float", x=value))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("tensor parsing error: x")


TYPED: dict[str, Sequence[Any]] = {
    "float: float_val": ["DT_FLOAT", "float_val", [1.5, -2.5]],
    "double: double_val": ["DT_DOUBLE", "double_val", [1.5, 1e300]],
    "int32: int_val": ["DT_INT32", "int_val", [-(2**31), 2**31 - 1]],
    "int16: int_val": ["DT_INT16", "int_val", [-(2**15), 2**15 - 1]],
    "int8: int_val": ["DT_INT8", "int_val", [-128, 127]],
    "uint8: int_val": ["DT_UINT8", "int_val", [0, 255]],
    "uint16: int_val": ["DT_UINT16", "int_val", [0, 65535]],
    "int64: int64_val": ["DT_INT64", "int64_val", [-(2**63), 2**63 - 1]],
    "uint32: uint32_val": ["DT_UINT32", "uint32_val", [0, 2**32 - 1]],
    "uint64: uint64_val": ["DT_UINT64", "uint64_val", [0, 2**64 - 1]],
    "bool: bool_val": ["DT_BOOL", "bool_val", [True, False]],
    "string: string_val": ["DT_STRING", "string_val", [b"\xff\0", b""]],
    "half: half_val, the 16 bits": ["DT_HALF", "half_val", [0x3C00, 0xC000]],
    "bfloat16: half_val, the 16 bits": ["DT_BFLOAT16", "half_val", [0x3F80, 0xC000]],
}


@lines("dtype, field, values", TYPED)
def test_each_dtype_has_its_field_and_answers_use_it_with_one_value_per_element(
    client: Client, dtype: str, field: str, values: list[Any]
) -> None:
    answer = echo(client, tensor(dtype, [2], **{field: values}))
    assert answer == tensor(dtype, [2], **{field: values})
    assert (answer.tensor_content, answer.version_number) == (b"", 0)


@lines(
    "dtype, field",
    {"complex64: scomplex_val": ["DT_COMPLEX64", "scomplex_val"], "complex128": ["DT_COMPLEX128", "dcomplex_val"]},
)
def test_complex_numbers_are_interleaved(client: Client, dtype: str, field: str) -> None:
    value = tensor(dtype, [2], **{field: [1.5, -2.5, 3.5, 4.5]})
    assert echo(client, value) == value


def test_answers_are_never_compressed_by_leaving_repeated_values_out(client: Client) -> None:
    assert list(echo(client, tensor("DT_INT64", [4], int64_val=[7])).int64_val) == [7, 7, 7, 7]


def test_an_answer_of_rank_0_has_a_shape_without_dims(client: Client) -> None:
    answer = echo(client, tensor("DT_INT64", int64_val=[7]))
    assert answer.HasField("tensor_shape")
    assert shape_of(answer) == []


@lines(
    "dtype, sent, answered",
    {
        "int8": ["DT_INT8", [128, 300, -129], [-128, 44, 127]],
        "uint8": ["DT_UINT8", [256, 300, -1], [0, 44, 255]],
        "int16": ["DT_INT16", [32768, 70000, -32769], [-32768, 4464, 32767]],
        "uint16": ["DT_UINT16", [65536, 70000, -1], [0, 4464, 65535]],
    },
)
def test_int_val_out_of_range_wraps(client: Client, dtype: str, sent: list[int], answered: list[int]) -> None:
    assert list(echo(client, tensor(dtype, [3], int_val=sent)).int_val) == answered


@lines(
    "dtype, content, field, values",
    {
        "float": ["DT_FLOAT", struct.pack("<2f", 1.5, -2.5), "float_val", [1.5, -2.5]],
        "double": ["DT_DOUBLE", struct.pack("<2d", 1.5, -2.5), "double_val", [1.5, -2.5]],
        "int8": ["DT_INT8", b"\x80\x7f", "int_val", [-128, 127]],
        "uint16": ["DT_UINT16", b"\x01\x00\xff\xff", "int_val", [1, 65535]],
        "int32": ["DT_INT32", struct.pack("<2i", -1, 7), "int_val", [-1, 7]],
        "uint64": ["DT_UINT64", struct.pack("<2Q", 1, 2**64 - 1), "uint64_val", [1, 2**64 - 1]],
        "bool": ["DT_BOOL", b"\x01\x00", "bool_val", [True, False]],
        "half": ["DT_HALF", b"\x00\x3c\x00\xc0", "half_val", [0x3C00, 0xC000]],
        "complex64": ["DT_COMPLEX64", struct.pack("<4f", 1, 2, 3, 4), "scomplex_val", [1, 2, 3, 4]],
        "string: lengths, then the bytes": ["DT_STRING", b"\x02\x00ab", "string_val", [b"ab", b""]],
        "string: a length of two bytes": [
            "DT_STRING",
            b"\xac\x02\x01" + b"a" * 300 + b"b",
            "string_val",
            [b"a" * 300, b"b"],
        ],
    },
)
def test_tensor_content_is_little_endian(
    client: Client, dtype: str, content: bytes, field: str, values: list[Any]
) -> None:
    assert list(getattr(echo(client, tensor(dtype, [2], tensor_content=content)), field)) == values


@lines(
    "dtype, field, values",
    {
        "zeros": ["DT_INT64", "int64_val", [0, 0]],
        "false": ["DT_BOOL", "bool_val", [False, False]],
        "empty strings": ["DT_STRING", "string_val", [b"", b""]],
    },
)
def test_no_values_at_all_are(client: Client, dtype: str, field: str, values: list[Any]) -> None:
    assert list(getattr(echo(client, tensor(dtype, [2])), field)) == values


def test_numbers_may_come_packed_or_not(client: Client) -> None:
    # Fields of a TensorProto: dtype 1, tensor_shape 2 with a dim of 2, and int64_val 10, one value at a time.
    unpacked = b"\x08\x09" + b"\x12\x04\x12\x02\x08\x02" + b"\x50\x05" + b"\x50\x06"
    value = messages.TensorProto.FromString(unpacked)
    request = predict_request("echo", "int64")
    packed = request.SerializeToString() + b"\x12" + bytes([len(unpacked) + 5]) + b"\x0a\x01x\x12"
    packed += bytes([len(unpacked)]) + unpacked
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    answer = messages.PredictResponse.FromString(call(packed, timeout=60))
    assert list(value.int64_val) == list(answer.outputs["y"].int64_val) == [5, 6]


# --enable_serialization_as_tensor_content


@lines(
    "value, content",
    {
        "float": [tensor("DT_FLOAT", [2], float_val=[1.5, 2.5]), struct.pack("<2f", 1.5, 2.5)],
        "int8": [tensor("DT_INT8", [2], int_val=[-1, 1]), b"\xff\x01"],
        "bool": [tensor("DT_BOOL", [2], bool_val=[True, False]), b"\x01\x00"],
        "half": [tensor("DT_HALF", [1], half_val=[0x3C00]), b"\x00\x3c"],
        "strings: lengths, then the bytes": [tensor("DT_STRING", [2], string_val=[b"ab", b"c"]), b"\x02\x01abc"],
    },
)
def test_with_the_flag_answers_are_raw(
    server_with_flags: ServerProcess, value: messages.TensorProto, content: bytes
) -> None:
    with client_of(server_with_flags) as client:
        answer = echo(client, value)
    assert answer == tensor(messages.DataType.Name(value.dtype), shape_of(value), tensor_content=content)
