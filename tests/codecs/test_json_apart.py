from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hotserve.codecs.json_apart import APART_BYTES, BodyApart
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_predict import read_predict_body
from hotserve.codecs.json_request import decode_predict
from hotserve.errors import InvalidArgument, ResourceExhausted, ServingError, Unimplemented
from hotserve.tensors import DType, Signature, TensorSpec
from support.server_process import wait_until


def signature(**dtypes: DType) -> Signature:
    return Signature({alias: TensorSpec(dtype, None) for alias, dtype in dtypes.items()}, {})


def children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


X = signature(x=DType.FLOAT)


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (b'{"instances": [[1, 2.5], [NaN, -Infinity]]}', X),
        (b'{"inputs": {"x": [[]], "s": ["", "a\\nb", {"b64": "AP8="}]}}', signature(x=DType.INT64, s=DType.STRING)),
        (b'{"inputs": {"x": 1.5, "h": [1, 2]}}', signature(x=DType.DOUBLE, h=DType.BFLOAT16)),
        (b'{"inputs": {"s": "text"}}', signature(s=DType.STRING)),
        (b'{"instances": [{"x": true}, {"x": false}]}', signature(x=DType.BOOL)),
    ],
)
def test_a_body_read_apart_is_what_it_is_here(body: bytes, called: Signature) -> None:
    here = decode_predict(parse_document(body), called, "name")
    apart = BodyApart(body).decode(called, "name")
    assert apart.row_format == here.row_format
    assert apart.inputs.keys() == here.inputs.keys()
    for alias, array in here.inputs.items():
        assert apart.inputs[alias].dtype == array.dtype
        np.testing.assert_array_equal(apart.inputs[alias], array)


def test_many_strings_come_in_their_order() -> None:
    texts = [f"text {number}\n" for number in range(40_000)]
    body = ('{"inputs": ' + str(texts).replace("'", '"') + "}").encode()
    assert BodyApart(body).decode(signature(s=DType.STRING), "").inputs["s"].tolist() == [t.encode() for t in texts]


def test_the_signature_that_the_body_names_is_known_before_its_tensors_are_read() -> None:
    assert BodyApart(b'{"signature_name": "other\\u0021", "inputs": 1}').signature_name == "other!"


@pytest.mark.parametrize(
    "read",
    [
        lambda: BodyApart(b"[1, 2"),
        lambda: BodyApart(b'{"signature_name": 3}'),
        lambda: BodyApart(b'{"instances": [[1], [1, 2]]}').decode(X, ""),
        lambda: BodyApart(b'{"inputs": 1}').decode(signature(x=DType.COMPLEX64), ""),
    ],
    ids=["no JSON", "a name that is none", "unequal rows", "a type without a form"],
)
def test_what_is_wrong_is_said_in_the_same_words_and_the_process_is_gone(read: Callable[[], Any]) -> None:
    before = children() if sys.platform == "linux" else set()
    with pytest.raises((InvalidArgument, Unimplemented)) as raised:
        read()
    assert raised.value.message
    if sys.platform == "linux":
        wait_until(lambda: not alive(children() - before), what="the end of the process")


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_body_that_nobody_wants_any_more_has_no_process() -> None:
    before = children()
    body = BodyApart(b'{"inputs": 1}')
    assert len(alive(children() - before)) == 1
    del body
    gc.collect()
    wait_until(lambda: not alive(children() - before), what="the end of the process")


def alive(processes: set[int]) -> set[int]:
    """Those that have not ended; nobody may have reaped the others."""
    found = set()
    for process in processes:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            if file.read().rpartition(")")[2].split()[0] != "Z":
                found.add(process)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_process_that_ends_before_its_time_is_an_error_of_the_request() -> None:
    before = children()
    body = BodyApart(b'{"inputs": 1}')
    (process,) = children() - before
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ResourceExhausted, match="has ended with -9"):
        body.decode(X, "")


def test_where_no_process_can_be_started_the_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceExhausted, match="No process could be started"):
        BodyApart(b"{}")


def large(last: bytes) -> bytes:
    row = b"[1, 2, 3, 4], "
    return b'{"instances": [' + row * (APART_BYTES // len(row) + 1) + last + b"]}"


def test_a_large_body_of_unusual_form_is_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    body = large(b'[1, 2, 3, 4]], "other": [null')
    here = decode_predict(parse_document(body), X, "").inputs["x"]
    monkeypatch.setattr("hotserve.codecs.json_predict.parse_document", refused)
    np.testing.assert_array_equal(read_predict_body(body).decode(X, "").inputs["x"], here)


def test_a_large_body_of_usual_form_whose_values_do_not_fit_is_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotserve.codecs.json_predict.parse_document", refused)
    with pytest.raises(InvalidArgument, match=r"Type: Number is not of expected type: int64"):
        read_predict_body(large(b"[1, 2, 3, 4.5]")).decode(signature(x=DType.INT64), "")


def refused(body: bytes) -> Any:
    raise AssertionError("read here")


def test_errors_are_those_of_their_codes() -> None:
    with pytest.raises(ServingError) as raised:
        BodyApart(b"[1, 2")
    assert type(raised.value) is InvalidArgument
