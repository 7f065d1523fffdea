from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow_serving.apis import prediction_log_pb2

from hotserve.codecs.prediction_log import LogKind, read_log, serialize_log
from hotserve.codecs.prediction_log_json import json_line
from hotserve.codecs.tfrecord import frame
from hotserve.errors import Code, ServingError
from hotserve.protos.messages import LogMetadata
from support.prediction_logs import predict_log, write_records

RECORD = predict_log({"x": [1.5], "text": b"\xff"}).SerializeToString()


@pytest.mark.parametrize("kind", LogKind)
def test_a_record_of_serialized_messages_is_the_message_with_both(kind: LogKind) -> None:
    metadata = LogMetadata(timestamp_secs=5)
    expected = prediction_log_pb2.PredictionLog()
    expected.log_metadata.timestamp_secs = 5
    log = getattr(expected, f"{kind.name.lower()}_log")
    log.request.SetInParent()
    if kind is not LogKind.MULTI_INFERENCE:
        log.request.model_spec.name = "m"
        log.response.model_spec.name = "m"
    else:
        log.request.tasks.add(method_name="tensorflow/serving/classify")
        log.response.results.add().model_spec.name = "m"

    data = serialize_log(kind, metadata, log.request.SerializeToString(), log.response.SerializeToString())

    assert prediction_log_pb2.PredictionLog.FromString(data) == expected


def test_a_request_without_an_answer_has_no_response() -> None:
    data = serialize_log(LogKind.PREDICT, LogMetadata(), b"")

    log = prediction_log_pb2.PredictionLog.FromString(data)
    assert log.WhichOneof("log_type") == "predict_log"
    assert not log.predict_log.HasField("response")


@pytest.mark.parametrize("name", ["log.jsonl", "log.tfrecord", "tf_serving_warmup_requests"])
def test_the_name_of_a_file_tells_its_form(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith(".jsonl"):
        file.write_bytes(json_line(RECORD) + b"\n" + json_line(RECORD))
    else:
        write_records(file, [RECORD, RECORD])

    assert [log.SerializeToString(deterministic=True) for log in read_log(file)] == [
        prediction_log_pb2.PredictionLog.FromString(RECORD).SerializeToString(deterministic=True)
    ] * 2


@pytest.mark.parametrize("name", ["log.jsonl", "log.tfrecord"])
def test_what_is_written_while_a_log_is_read_is_left_out(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    data = json_line(RECORD) + b"\n" if name.endswith(".jsonl") else frame(RECORD)
    file.write_bytes(2 * data)
    count = 0
    for _ in read_log(file):
        count += 1
        assert count < 100, "it has no end"
        # As a server does that logs the request which the record was sent as.
        with file.open("ab") as appended:
            appended.write(data)
    assert count == 2
    assert len(list(read_log(file, len(data)))) == 1
    file.write_bytes(b"")
    assert list(read_log(file)) == []


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("a.tfrecord", b"{}", Code.DATA_LOSS, "truncated record at 0"),
        ("a.tfrecord", json_line(RECORD), Code.DATA_LOSS, "the name of a file of JSON lines ends with .jsonl"),
        ("a.jsonl", b"{}\n{", Code.INVALID_ARGUMENT, "a.jsonl, line 2: "),
        ("a.jsonl", b'{"predict": 1}', Code.INVALID_ARGUMENT, "a.jsonl, line 1: "),
        ("a.jsonl", b"\xff\xfe", Code.INVALID_ARGUMENT, "a.jsonl, line 1: "),
    ],
)
def test_what_is_no_log_is_an_error_that_says_where(
    tmp_path: Path, name: str, data: bytes, code: Code, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(data)

    with pytest.raises(ServingError) as caught:
        list(read_log(file))

    assert caught.value.code is code
    assert words in caught.value.message


def test_a_record_that_is_no_message_is_an_error_that_says_which(tmp_path: Path) -> None:
    file = tmp_path / "log"
    write_records(file, [RECORD, b"\xff"])

    with pytest.raises(ServingError, match="log, record 2: the 1 bytes are no"):
        list(read_log(file))


def test_a_log_that_is_not_there_and_one_that_is_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="No such file or directory"):
        list(read_log(tmp_path / "none"))
    with pytest.raises(ServingError, match="cannot be read: Is a directory"):
        list(read_log(tmp_path))
