from __future__ import annotations

import gc
import io
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hotserve.codecs import json_apart_process
from hotserve.codecs.json_apart import (
    APART_BYTES,
    KEPT_BYTES,
    LENGTH,
    ApartProcesses,
    BodyApart,
    Found,
    ReadApart,
    Wanted,
)
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


@pytest.fixture
def processes() -> Iterator[ApartProcesses]:
    made = ApartProcesses()
    yield made
    made.close()


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
def test_a_body_read_apart_is_what_it_is_here(body: bytes, called: Signature, processes: ApartProcesses) -> None:
    here = decode_predict(parse_document(body), called, "name")
    apart = BodyApart(body, processes).decode(called, "name")
    assert apart.row_format == here.row_format
    assert apart.inputs.keys() == here.inputs.keys()
    for alias, array in here.inputs.items():
        assert apart.inputs[alias].dtype == array.dtype
        np.testing.assert_array_equal(apart.inputs[alias], array)


def test_many_strings_come_in_their_order(processes: ApartProcesses) -> None:
    texts = [f"text {number}\n" for number in range(40_000)]
    body = ('{"inputs": ' + str(texts).replace("'", '"') + "}").encode()
    read = BodyApart(body, processes).decode(signature(s=DType.STRING), "")
    assert read.inputs["s"].tolist() == [text.encode() for text in texts]


def test_the_signature_that_the_body_names_is_known_before_its_tensors_are_read(processes: ApartProcesses) -> None:
    assert BodyApart(b'{"signature_name": "other\\u0021", "inputs": 1}', processes).signature_name == "other!"


@pytest.mark.parametrize(
    "read",
    [
        lambda processes: BodyApart(b"[1, 2", processes),
        lambda processes: BodyApart(b'{"signature_name": 3}', processes),
        lambda processes: BodyApart(b'{"instances": [[1], [1, 2]]}', processes).decode(X, ""),
        lambda processes: BodyApart(b'{"inputs": 1}', processes).decode(signature(x=DType.COMPLEX64), ""),
    ],
    ids=["no JSON", "a name that is none", "unequal rows", "a type without a form"],
)
def test_what_is_wrong_is_said_in_words_and_the_process_reads_the_next_body(
    read: Callable[[ApartProcesses], Any], processes: ApartProcesses
) -> None:
    with pytest.raises((InvalidArgument, Unimplemented)) as raised:
        read(processes)
    assert raised.value.message
    assert len(processes) == 1
    assert BodyApart(b'{"inputs": [1, 2]}', processes).decode(X, "").inputs["x"].tolist() == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_body_that_nobody_wants_any_more_has_no_process(processes: ApartProcesses) -> None:
    before = children()
    body = BodyApart(b'{"inputs": 1}', processes)
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
def test_a_process_that_ends_before_its_time_is_an_error_of_the_request(processes: ApartProcesses) -> None:
    before = children()
    body = BodyApart(b'{"inputs": 1}', processes)
    (process,) = children() - before
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ResourceExhausted, match="has ended with -9"):
        body.decode(X, "")


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_one_process_reads_body_after_body(processes: ApartProcesses) -> None:
    before = children()
    for number in range(3):
        assert BodyApart(b'{"inputs": %d}' % number, processes).decode(X, "").inputs["x"] == number
        assert len(children() - before) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_at_most_two_processes_are_kept(processes: ApartProcesses) -> None:
    before = children()
    bodies = [BodyApart(b'{"inputs": 1}', processes) for _ in range(3)]
    assert len(alive(children() - before)) == 3
    for body in bodies:
        body.decode(X, "")
    assert len(processes) == len(alive(children() - before)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_process_that_has_ended_while_it_was_kept_is_replaced(processes: ApartProcesses) -> None:
    before = children()
    BodyApart(b'{"inputs": 1}', processes).decode(X, "")
    (process,) = children() - before
    os.kill(process, signal.SIGKILL)
    assert BodyApart(b'{"inputs": 2}', processes).decode(X, "").inputs["x"] == 2
    assert process not in alive(children() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_process_is_not_kept_for_ever() -> None:
    before = children()
    BodyApart(b'{"inputs": 1}', ApartProcesses(idle_seconds=0.01)).decode(X, "")
    wait_until(lambda: not children() - before, what="the end of the process")


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_after_a_large_body_the_process_ends(processes: ApartProcesses) -> None:
    before = children()
    body = b'{"inputs": "' + b"a" * KEPT_BYTES + b'"}'
    assert len(BodyApart(body, processes).decode(signature(s=DType.STRING), "").inputs["s"].item()) == KEPT_BYTES
    assert not children() - before


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_what_is_closed_keeps_no_process() -> None:
    before = children()
    processes = ApartProcesses()
    first, second = (BodyApart(b'{"inputs": 1}', processes) for _ in range(2))
    first.decode(X, "")
    processes.close()
    assert second.decode(X, "").inputs["x"] == 1
    assert len(processes) == 0
    wait_until(lambda: not alive(children() - before), what="the end of the processes")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded there only")
def test_a_body_that_takes_too_much_memory_is_refused_and_its_process_ends(processes: ApartProcesses) -> None:
    before = children()
    BodyApart(b'{"inputs": 1}', processes).decode(X, "")
    (process,) = children() - before
    limit = data_bytes(process) + (16 << 20)
    resource.prlimit(process, resource.RLIMIT_DATA, (limit, limit))
    with pytest.raises(ResourceExhausted, match="not enough memory"):
        BodyApart(b'{"inputs": [' + b"[1], " * APART_BYTES + b"[1]]}", processes)
    assert len(processes) == 0
    wait_until(lambda: not alive(children() - before), what="the end of the process")


def test_no_error_is_taken_for_values_where_memory_ends_while_they_are_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def parts(array: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(json_apart_process, "_parts", parts)
    wanted = pickle.dumps(Wanted({"x": DType.FLOAT}, ""))
    source, target = io.BytesIO(LENGTH.pack(len(wanted)) + wanted), io.BytesIO()
    with pytest.raises(SystemExit):
        json_apart_process._read(b'{"instances": [1.5]}', False, source, target)
    target.seek(0)
    said = [pickle.loads(target.read(LENGTH.unpack(target.read(LENGTH.size))[0])) for _ in range(2)]
    assert said == ["", Found([("x", "float32", (1,))], True)]
    assert not target.read()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded there only")
def test_what_a_body_may_take_depends_on_its_size(processes: ApartProcesses) -> None:
    before = children()
    small = BodyApart(b"{}", processes)
    large = BodyApart(b'{"inputs": "' + b"a" * APART_BYTES + b'"}', processes)
    limits = sorted(resource.prlimit(process, resource.RLIMIT_DATA)[0] for process in children() - before)
    assert limits[1] - limits[0] > APART_BYTES
    del small, large


def data_bytes(process: int) -> int:
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmData:"))
    return int(line.split()[1]) << 10


def test_where_no_process_can_be_started_the_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, processes: ApartProcesses
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceExhausted, match="No process could be started"):
        BodyApart(b"{}", processes)


def large(last: bytes) -> bytes:
    row = b"[1, 2, 3, 4], "
    return b'{"instances": [' + row * (APART_BYTES // len(row) + 1) + last + b"]}"


def test_a_large_body_of_unusual_form_is_read_apart(monkeypatch: pytest.MonkeyPatch, processes: ApartProcesses) -> None:
    body = large(b'[1, 2, 3, 4]], "other": [null')
    here = decode_predict(parse_document(body), X, "").inputs["x"]
    monkeypatch.setattr("hotserve.codecs.json_predict.parse_document", refused)
    with pytest.raises(ReadApart) as first:
        read_predict_body(body)
    read = first.value.work(processes)
    with pytest.raises(ReadApart) as second:
        read.decode(X, "")
    np.testing.assert_array_equal(second.value.work(processes).inputs["x"], here)


def test_a_large_body_of_usual_form_whose_values_do_not_fit_is_read_apart(
    monkeypatch: pytest.MonkeyPatch, processes: ApartProcesses
) -> None:
    monkeypatch.setattr("hotserve.codecs.json_predict.parse_document", refused)
    with pytest.raises(ReadApart) as apart:
        read_predict_body(large(b"[1, 2, 3, 4.5]")).decode(signature(x=DType.INT64), "")
    with pytest.raises(InvalidArgument, match=r"Type: Number is not of expected type: int64"):
        apart.value.work(processes)


def refused(body: bytes) -> Any:
    raise AssertionError("read here")


def test_errors_are_those_of_their_codes(processes: ApartProcesses) -> None:
    with pytest.raises(ServingError) as raised:
        BodyApart(b"[1, 2", processes)
    assert type(raised.value) is InvalidArgument
