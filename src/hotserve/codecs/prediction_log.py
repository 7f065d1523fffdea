"""Recorded requests as bytes and back: `PredictionLog` records, in TFRecord files or as JSON lines.

Source: tensorflow_serving/apis/prediction_log.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from math import inf
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError

from hotserve.codecs.prediction_log_json import parse_json_line
from hotserve.codecs.tfrecord import CorruptRecord, framed_bytes, read_records
from hotserve.codecs.wire import length_delimited
from hotserve.errors import Code, InvalidArgument, NotFound, ServingError
from hotserve.protos.messages import LogMetadata, PredictionLog

JSON_LINES_SUFFIX: Final = ".jsonl"

# Field numbers: of PredictionLog, and of all the kinds of logs in it, which are alike.
_METADATA: Final = 1
_REQUEST: Final = 1
_RESPONSE: Final = 2


class LogKind(Enum):
    """The kinds of requests that are recorded; the value is the number of its field in PredictionLog."""

    CLASSIFY = 2
    REGRESS = 3
    MULTI_INFERENCE = 4
    PREDICT = 6


def serialize_log(kind: LogKind, metadata: LogMetadata, request: bytes, response: bytes = b"") -> bytes:
    """A record of messages that are serialized already; they are not looked at.

    Args:
        kind: What the messages are.
        metadata: What else is known.
        request: A PredictRequest, ClassificationRequest, RegressionRequest or MultiInferenceRequest.
        response: The message that answers it.

    Returns:
        A serialized PredictionLog.
    """
    pair = length_delimited(_REQUEST, request)
    if response:
        pair += length_delimited(_RESPONSE, response)
    return length_delimited(_METADATA, metadata.SerializeToString()) + length_delimited(kind.value, pair)


def log_size(path: Path) -> int | None:
    """The size of a log in bytes, for `read_log`; None for what has no size, such as a pipe, or is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None


def read_log(path: Path, size: int | None = None) -> Iterator[PredictionLog]:
    """Reads a log record by record.

    Args:
        path: A file of JSON lines if its name ends with `.jsonl`, else a TFRecord file.
        size: How much of it is read, in bytes; all that is there at the beginning if it is not given. More may be
            written all the while, and be caused by what is done with the records.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It cannot be read, or a record is no PredictionLog; the message tells which.
        ServingError: DATA_LOSS: it is no TFRecord file, or is damaged.
    """
    end = log_size(path) if size is None else size
    try:
        with path.open("rb") as file:
            if end == 0:
                return
            read = _read_lines if path.suffix == JSON_LINES_SUFFIX else _read_records
            yield from read(path, file, inf if end is None else end)
    except CorruptRecord as error:
        raise ServingError(
            f"{path}: {error.message}. Expected a TFRecord file of PredictionLog messages; the name of a file of JSON"
            f" lines ends with {JSON_LINES_SUFFIX}.",
            Code.DATA_LOSS,
        ) from error
    except FileNotFoundError as error:
        raise NotFound(f"{path}: {error.strerror}. Expected a request log or a warm-up file.") from error
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}.") from error


def _read_lines(path: Path, file: BinaryIO, end: float) -> Iterator[PredictionLog]:
    read = 0
    for number, line in enumerate(file, 1):
        read += len(line)
        if line.strip():
            yield _parse_line(path, number, line)
        if read >= end:
            return


def _read_records(path: Path, file: BinaryIO, end: float) -> Iterator[PredictionLog]:
    read = 0
    for number, record in enumerate(read_records(file), 1):
        read += framed_bytes(record)
        yield _parse_record(path, number, record)
        if read >= end:
            return


def _parse_line(path: Path, number: int, line: bytes) -> PredictionLog:
    try:
        return parse_json_line(line)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}, line {number}: {error.message}") from error


def _parse_record(path: Path, number: int, record: bytes) -> PredictionLog:
    try:
        return PredictionLog.FromString(record)
    except DecodeError as error:
        raise InvalidArgument(
            f"{path}, record {number}: the {len(record)} bytes are no tensorflow.serving.PredictionLog."
        ) from error
