from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hotserve.errors import InvalidArgument, NotFound
from hotserve.loadgen.bodies import Format, RequestMaker
from hotserve.loadgen.data_file import MAX_REQUESTS, read_data
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.model import Model
from hotserve.loadgen.target import read_target
from hotserve.protos.messages import PredictRequest
from hotserve.tensors import DType, Signature, TensorSpec
from support.prediction_logs import predict_log, write_records

SIGNATURES = {"serving_default": Signature({"x": TensorSpec(DType.FLOAT, (None,))}, {})}
REST = RequestMaker(read_target("http://h:1"), Model("m"))
GRPC = RequestMaker(read_target("h:1"), Model("m"))
BODY = '{"instances": [1.0, 2.0]}'


def never() -> Mapping[str, Signature]:
    raise AssertionError("the server was asked")


def read(file: Path, maker: RequestMaker = REST) -> list[Request]:
    return list(read_data(file, maker, lambda: SIGNATURES))


def values(request: Request) -> list[float]:
    return list(PredictRequest.FromString(request.body).inputs["x"].float_val)


def test_a_json_body_goes_over_rest_to_the_letter_and_the_server_is_asked_nothing(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text(BODY)
    (request,) = read_data(file, REST, never, verb="classify")
    assert (request.body, request.path) == (BODY.encode(), "/v1/models/m:classify")


@pytest.mark.parametrize("maker", [GRPC, RequestMaker(REST.target, Model("m"), Format.PROTOBUF)])
def test_a_json_body_becomes_a_message_with_the_types_of_the_signature(tmp_path: Path, maker: RequestMaker) -> None:
    file = tmp_path / "body.json"
    file.write_text(BODY)
    assert values(read(file, maker)[0]) == [1.0, 2.0]


def test_lines_are_bodies_or_records(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "1"}]}, "float_val": [3.0]}
    record = {"predict_log": {"request": {"inputs": {"x": tensor}}}}
    file.write_text(f"{BODY}\n\n{json.dumps(record)}\n")
    assert [json.loads(request.body) for request in read(file)] == [
        {"instances": [1.0, 2.0]},
        {"inputs": {"x": [3.0]}},
    ]
    assert [values(request) for request in read(file, GRPC)] == [[1.0, 2.0], [3.0]]


def test_numpys_files_are_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.float64([4]))
    np.savez(tmp_path / "all.npz", x=np.float32([5]))
    assert json.loads(read(tmp_path / "one.npy")[0].body) == {"instances": [4.0]}
    assert values(read(tmp_path / "all.npz", GRPC)[0]) == [5.0]


def test_a_warm_up_file_has_a_request_for_each_record(tmp_path: Path) -> None:
    file = tmp_path / "tf_serving_warmup_requests"
    write_records(file, [predict_log({"x": [1]}), predict_log({"x": [2]})])
    assert [values(request) for request in read(file, GRPC)] == [[1.0], [2.0]]


def test_a_long_log_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "log"
    write_records(file, [predict_log({"x": [1]})] * (MAX_REQUESTS + 5))
    assert len(read(file)) == MAX_REQUESTS


def test_a_serialized_message_asks_the_model_of_the_load(tmp_path: Path) -> None:
    file = tmp_path / "request.pb"
    file.write_bytes(predict_log({"x": [6]}).predict_log.request.SerializeToString())
    (request,) = read(file, GRPC)
    assert values(request) == [6.0]
    assert PredictRequest.FromString(request.body).model_spec.name == "m"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "This is no JSON"),
        ("a.json", b"[" * 100_000, "This is no JSON: maximum recursion depth"),
        ("a.jsonl", b'{}\n{"a"', "line 2: this is no JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: this is no JSON: maximum recursion depth"),
        ("a.jsonl", b'{"predict_log": 1}', "line 1: "),
        ("a.jsonl", b"\n", "has no requests"),
        ("a.npy", b"hello", "no .npy file"),
        ("a.npz", b"PK hello", "no .npz file"),
        ("a.pb", b"hello", "Expected a .json, .jsonl, .npy or .npz file"),
        ("a.pb", b"", "without inputs"),
    ],
)
def test_what_is_nothing_of_its_kind_is_refused_with_the_name_of_the_file(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InvalidArgument) as error:
        read(file)
    assert error.value.message.startswith(str(file))
    assert words in error.value.message


def test_a_damaged_record_is_an_error_and_not_a_message_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "log"
    write_records(file, [predict_log({"x": [1]})] * 2)
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InvalidArgument, match="truncated record"):
        read(file)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(InvalidArgument, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_arrays_for_a_signature_that_is_not_there_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.float64([4]))
    with pytest.raises(InvalidArgument, match=r"no signature other\. Give --signature, one of: serving_default"):
        read_data(tmp_path / "one.npy", REST, lambda: SIGNATURES, "other")
