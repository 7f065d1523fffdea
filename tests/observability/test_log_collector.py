from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotserve.codecs.prediction_log import read_log
from hotserve.observability.log_collector import COLLECTOR_TYPES, FileCollector
from support.prediction_logs import predict_log


def collector(folder: Path, kind: str = "tfrecord", max_file_bytes: int = 1 << 20) -> FileCollector:
    return FileCollector(
        COLLECTOR_TYPES[kind], folder / "requests", max_file_bytes=max_file_bytes, clock=lambda: 1_700_000_000.0
    )


def record(number: float) -> bytes:
    return predict_log({"x": [number]}).SerializeToString()


def numbers(*files: Path) -> list[float]:
    """The inputs of all records, file by file."""
    return [log.predict_log.request.inputs["x"].float_val[0] for file in files for log in read_log(file)]


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@contextmanager
def files_no_larger_than(limit: int) -> Iterator[None]:
    """What the system does with a full disk, as far as a test can have it: writes stop at this size, with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("kind", COLLECTOR_TYPES)
def test_records_are_read_again_in_their_order(kind: str, tmp_path: Path) -> None:
    log = collector(tmp_path, kind)
    for number in range(3):
        log.collect(record(number))
    log.close()

    assert numbers(*files_in(tmp_path)) == [0.0, 1.0, 2.0]


def test_a_line_of_json_has_the_names_of_the_messages(tmp_path: Path) -> None:
    log = collector(tmp_path, "jsonl")
    log.collect(record(2.5))
    log.close()

    (file,) = files_in(tmp_path)
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["predict_log"]["request"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "1"}]},
        "float_val": [2.5],
    }


def test_what_has_been_collected_is_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    log = collector(tmp_path)
    log.collect(record(1))

    assert numbers(*files_in(tmp_path)) == [1.0]
    log.close()


def test_a_file_that_has_its_size_is_followed_by_another(tmp_path: Path) -> None:
    log = collector(tmp_path, max_file_bytes=1)
    for number in range(3):
        log.collect(record(number))
    log.close()

    files = files_in(tmp_path)
    assert [file.name for file in files] == [
        "requests-20231114T221320Z-00000.tfrecord",
        "requests-20231114T221320Z-00001.tfrecord",
        "requests-20231114T221320Z-00002.tfrecord",
    ]
    assert numbers(*files) == [0.0, 1.0, 2.0]


def test_a_file_that_is_there_is_never_written_to(tmp_path: Path) -> None:
    first, second = collector(tmp_path), collector(tmp_path)
    first.collect(record(1))
    second.collect(record(2))
    first.collect(record(3))
    first.close()
    second.close()

    assert [numbers(file) for file in files_in(tmp_path)] == [[1.0, 3.0], [2.0]]


def test_a_file_that_somebody_deletes_is_followed_by_another(tmp_path: Path) -> None:
    log = collector(tmp_path)
    log.collect(record(1))
    files_in(tmp_path)[0].unlink()
    log.collect(record(2))
    log.close()

    assert numbers(*files_in(tmp_path)) == [2.0]


def test_a_record_for_which_there_is_no_room_leaves_nothing_behind_and_later_ones_can_be_read(tmp_path: Path) -> None:
    log = collector(tmp_path)
    log.collect(record(1))
    (file,) = files_in(tmp_path)
    size = file.stat().st_size

    with files_no_larger_than(size + 10), pytest.raises(OSError, match="File too large"):
        log.collect(record(2))
    assert file.stat().st_size == size

    log.collect(record(3))
    log.close()
    assert numbers(file) == [1.0, 3.0]


def test_a_folder_that_is_gone_is_an_error_and_one_that_is_back_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = collector(folder)
    with pytest.raises(FileNotFoundError):
        log.collect(record(1))

    os.mkdir(folder)
    log.collect(record(2))
    log.close()

    assert numbers(*files_in(folder)) == [2.0]
