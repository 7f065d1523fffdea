from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow_serving.apis import prediction_log_pb2

from hotserve.codecs.prediction_log_json import json_line, parse_json_line
from hotserve.codecs.tensor_proto import serialize_tensor
from hotserve.errors import InvalidArgument
from hotserve.tensors import Array, dtype_of_array

DTYPES = [np.float32, np.float64, np.float16, np.int8, np.int32, np.int64, np.uint32, np.uint64, np.bool_, np.complex64]


def record(x: Array, y: Array) -> prediction_log_pb2.PredictionLog:
    """A predict request and its answer, the values in the fields of their types."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].MergeFromString(serialize_tensor(x, dtype_of_array(x)))
    log.predict_log.response.outputs["y"].MergeFromString(serialize_tensor(y, dtype_of_array(y)))
    return log


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@given(data=st.data())
def test_nothing_is_lost_and_protobuf_s_own_reader_reads_the_same(dtype: Any, data: st.DataObject) -> None:
    x, y = (data.draw(arrays.arrays(dtype, size)) for size in (40, 2))
    log = record(np.where(np.isfinite(x), x, 0).astype(dtype), np.where(np.isfinite(y), y, 0).astype(dtype))

    line = json_line(log.SerializeToString())

    assert line.count(b"\n") == 1
    assert json_format.Parse(line, prediction_log_pb2.PredictionLog()) == log
    assert parse_json_line(line).SerializeToString(deterministic=True) == log.SerializeToString(deterministic=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_many_numbers_are_written_as_protobuf_writes_them(dtype: Any) -> None:
    log = record(np.arange(100).astype(dtype), np.arange(1).astype(dtype))

    line = json_line(log.SerializeToString())

    assert json_format.MessageToDict(log, preserving_proto_field_name=True) == json.loads(line)


def test_a_float_has_no_more_digits_than_it_needs() -> None:
    line = json_line(record(np.full(50, 0.1, np.float32), np.float32([0])).SerializeToString())

    assert b'"float_val": [0.1, 0.1, ' in line


def test_the_largest_float_is_written_so_that_it_can_be_read() -> None:
    largest = np.float32([np.finfo(np.float32).max, np.finfo(np.float32).min])
    log = record(largest, largest)

    assert json_format.Parse(json_line(log.SerializeToString()), prediction_log_pb2.PredictionLog()) == log


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_finite_number_is_a_text_as_protobuf_has_it(dtype: Any, value: float) -> None:
    x = np.zeros(50, dtype)
    x[7] = value

    line = json_line(record(x, x).SerializeToString())

    read = json_format.Parse(line, prediction_log_pb2.PredictionLog())
    field = "float_val" if dtype is np.float32 else "double_val"
    assert np.array_equal(getattr(read.predict_log.request.inputs["x"], field), x, equal_nan=True)


def test_records_of_other_kinds_are_written_too() -> None:
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.input.example_list.examples.add().features.feature["é"].bytes_list.value.append(b"\xff\n")

    line = json_line(log.SerializeToString())

    assert "é" in line.decode()
    assert json_format.Parse(line, prediction_log_pb2.PredictionLog()) == log


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"predict": {}}', b"\xff"])
def test_a_line_that_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"Expected a tensorflow\.serving\.PredictionLog in protobuf's JSON\."):
        parse_json_line(line)
