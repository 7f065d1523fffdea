from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hotserve.codecs.inference_results import Classified, Regressed
from hotserve.codecs.prediction_log import LogKind
from hotserve.codecs.tf_example import example_vector
from hotserve.core.ids import ServableId
from hotserve.observability.instruments import Counter
from hotserve.observability.logged_call import GrpcCall, LoggedCall, RestOnExamples, RestPredict
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import RequestLogConfig, SampledRequestLog
from hotserve.protos.messages import LogMetadata
from hotserve.tensors import Array, DType, Signature, TensorSpec
from hotserve.testing import FakeServable
from support.prediction_logs import predict_log, read_records
from support.server_process import wait_until

DIGITS = ServableId("digits", 7)
PATIENCE = 30.0


@dataclass
class Held:
    """A call whose record the test holds back.

    Attributes:
        begun: Set once the writer wants the record.
        release: The writer gets it once this is set.
    """

    signature_name: str = ""
    size_bytes: int = 10
    begun: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        self.begun.set()
        assert self.release.wait(PATIENCE)
        return grpc_call(99).record(id, metadata)


class Broken:
    """A call of which no record can be made."""

    signature_name = ""
    size_bytes = 10

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        raise ValueError("no record of this")


def grpc_call(number: float, size: int = 0) -> GrpcCall:
    request = predict_log({"x": [number] + [0.0] * size}).predict_log.request
    return GrpcCall(LogKind.PREDICT, "serving_default", request.SerializeToString(), b"")


def log_to(
    folder: Path,
    metrics: Metrics,
    rate: float = 1.0,
    draw: Callable[[], float] = lambda: 0.5,
    max_queued_bytes: int = 1 << 20,
) -> SampledRequestLog:
    config = RequestLogConfig("tfrecord", folder / "requests", rate)
    log = SampledRequestLog(
        {"digits": config}, metrics, draw=draw, clock=lambda: 1_700_000_000.9, max_queued_bytes=max_queued_bytes
    )
    log.start()
    return log


def cells(counter: Counter) -> dict[tuple[str, ...], int]:
    return dict(counter.cells())


def logged(folder: Path) -> list[float]:
    """The first input value of all records in a folder."""
    return [
        float(tf.make_ndarray(record.predict_log.request.inputs["x"])[0])
        for file in sorted(folder.glob("requests-*.tfrecord"))
        for record in read_records(file)
    ]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_what_is_offered_is_in_the_file_after_the_end_in_its_order(tmp_path: Path, metrics: Metrics) -> None:
    log = log_to(tmp_path, metrics)
    for number in range(100):
        log.offer(DIGITS, grpc_call(number))
    log.close(PATIENCE)

    assert logged(tmp_path) == [float(number) for number in range(100)]
    assert cells(metrics.request_log_count) == {("digits", "OK"): 100}
    assert cells(metrics.request_log_dropped) == {}


def test_a_record_says_which_version_answered_when_and_of_what_sample_it_is(tmp_path: Path, metrics: Metrics) -> None:
    log = log_to(tmp_path, metrics, rate=0.75)
    log.offer(DIGITS, grpc_call(1))
    log.close(PATIENCE)

    (file,) = tmp_path.iterdir()
    metadata = read_records(file)[0].log_metadata
    assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("digits", 7)
    assert metadata.model_spec.signature_name == "serving_default"
    assert metadata.timestamp_secs == 1_700_000_000
    assert metadata.sampling_config.sampling_rate == 0.75
    assert list(metadata.saved_model_tags) == []


def test_a_record_of_a_model_with_tags_has_them(tmp_path: Path, metrics: Metrics) -> None:
    class TaggedServable(FakeServable):
        saved_model_tags = ("gpu", "serve")

    log = log_to(tmp_path, metrics)
    for servable in (TaggedServable(tmp_path), FakeServable(tmp_path)):
        log.offer(DIGITS, grpc_call(1), servable)
    log.close(PATIENCE)

    (file,) = tmp_path.iterdir()
    tags = [list(record.log_metadata.saved_model_tags) for record in read_records(file)]
    assert tags == [["gpu", "serve"], []]


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_the_sampling_rate_is_the_share_that_is_logged(
    tmp_path: Path, metrics: Metrics, rate: float, share: int
) -> None:
    draws = cycle([0.0, 0.25, 0.5, 0.999])
    log = log_to(tmp_path, metrics, rate, draw=lambda: next(draws))
    for number in range(40):
        log.offer(DIGITS, grpc_call(number))
    log.close(PATIENCE)

    assert len(logged(tmp_path)) == 10 * share
    assert sum(cells(metrics.request_log_count).values()) == 10 * share


def test_a_model_that_asks_for_no_log_has_none(tmp_path: Path, metrics: Metrics) -> None:
    log = log_to(tmp_path, metrics)
    assert log.logs(DIGITS.name)
    assert not log.logs("other")
    log.offer(ServableId("other", 1), grpc_call(1))
    log.close(PATIENCE)

    assert list(tmp_path.iterdir()) == []
    assert cells(metrics.request_log_count) == {}


def test_a_full_queue_drops_requests_at_once_and_counts_them_and_takes_others_when_it_has_room(
    tmp_path: Path, metrics: Metrics
) -> None:
    size = grpc_call(0, size=100).size_bytes
    log = log_to(tmp_path, metrics, max_queued_bytes=2 * size + 10)
    held = Held()
    log.offer(DIGITS, held)
    assert held.begun.wait(PATIENCE)

    for number in range(5):
        log.offer(DIGITS, grpc_call(number, size=100))
    assert cells(metrics.request_log_dropped) == {("digits", "queue_full"): 3}

    held.release.set()
    wait_until(lambda: cells(metrics.request_log_count).get(("digits", "OK")) == 3)
    log.offer(DIGITS, grpc_call(5, size=100))
    log.close(PATIENCE)
    assert logged(tmp_path) == [99.0, 0.0, 1.0, 5.0]
    assert cells(metrics.request_log_count) == {("digits", "OK"): 4, ("digits", "UNAVAILABLE"): 3}


def test_a_disk_that_refuses_drops_requests_says_so_once_and_logging_goes_on_when_it_can(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    log = log_to(folder, metrics)
    with caplog.at_level(logging.INFO):
        for number in range(3):
            log.offer(DIGITS, grpc_call(number))
        wait_until(lambda: cells(metrics.request_log_dropped) == {("digits", "write_failed"): 3})
        folder.mkdir()
        log.offer(DIGITS, grpc_call(3))
        log.close(PATIENCE)

    assert logged(folder) == [3.0]
    assert cells(metrics.request_log_count) == {("digits", "INTERNAL"): 3, ("digits", "OK"): 1}
    assert [record.getMessage() for record in caplog.records if "logged" in record.getMessage()] == [
        f"Requests are not logged at {folder}/requests*: No such file or directory. They are answered as ever.",
        f"Requests are logged again at {folder}/requests*",
    ]


def test_a_request_of_which_no_record_can_be_made_is_counted_and_the_next_is_logged(
    tmp_path: Path, metrics: Metrics
) -> None:
    log = log_to(tmp_path, metrics)
    log.offer(DIGITS, Broken())
    log.offer(DIGITS, grpc_call(1))
    log.close(PATIENCE)

    assert logged(tmp_path) == [1.0]
    assert cells(metrics.request_log_dropped) == {("digits", "no_record"): 1}


def test_an_end_does_not_wait_longer_than_it_may_and_what_is_left_is_counted(tmp_path: Path, metrics: Metrics) -> None:
    log = log_to(tmp_path, metrics)
    held = Held()
    log.offer(DIGITS, held)
    log.offer(DIGITS, grpc_call(1))
    assert held.begun.wait(PATIENCE)

    log.close(0.0)
    held.release.set()

    wait_until(lambda: cells(metrics.request_log_dropped) == {("digits", "stop"): 1})
    wait_until(lambda: logged(tmp_path) == [99.0])


def test_a_log_that_was_never_started_can_be_closed(tmp_path: Path, metrics: Metrics) -> None:
    SampledRequestLog({"m": RequestLogConfig("jsonl", tmp_path / "x", 1.0)}, metrics).close(PATIENCE)


def test_models_with_the_same_prefix_share_their_files(tmp_path: Path, metrics: Metrics) -> None:
    config = RequestLogConfig("tfrecord", tmp_path / "requests", 1.0)
    log = SampledRequestLog({"a": config, "b": config}, metrics)
    log.start()
    log.offer(ServableId("a", 1), grpc_call(1))
    log.offer(ServableId("b", 1), grpc_call(2))
    log.close(PATIENCE)

    assert len(list(tmp_path.iterdir())) == 1
    assert logged(tmp_path) == [1.0, 2.0]


def test_a_new_configuration_counts_from_then_on_and_keeps_the_files_that_it_still_names(
    tmp_path: Path, metrics: Metrics
) -> None:
    here, there = (RequestLogConfig("tfrecord", tmp_path / name, 1.0) for name in ("requests-a", "requests-b"))
    log = SampledRequestLog({"a": here, "b": there}, metrics)
    log.start()
    a, b, c = (ServableId(name, 1) for name in "abc")
    log.offer(a, grpc_call(1))
    log.offer(b, grpc_call(2))

    log.configure({"a": here, "c": here})
    for position, id in enumerate((a, b, c)):
        log.offer(id, grpc_call(10 + position))
    log.close(PATIENCE)

    assert logged(tmp_path) == [1.0, 10.0, 12.0, 2.0]
    assert len(list(tmp_path.iterdir())) == 2


# What becomes of a REST request.


def first_record(folder: Path, metrics: Metrics, call: LoggedCall) -> object:
    log = log_to(folder, metrics)
    log.offer(DIGITS, call)
    log.close(PATIENCE)
    (file,) = folder.iterdir()
    return read_records(file)[0]


def test_a_rest_predict_is_logged_as_the_same_request_over_grpc(tmp_path: Path, metrics: Metrics) -> None:
    signature = Signature(
        {"x": TensorSpec(DType.HALF, (None,)), "text": TensorSpec(DType.STRING, (None,))},
        {"y": TensorSpec(DType.INT64, (None,))},
    )
    text: Array = np.array([b"a", b"\xff"], object)
    call = RestPredict("shout", signature, {"x": np.float16([1.5, 2]), "text": text}, {"y": np.int64([3, 4])}, 100)

    log = first_record(tmp_path, metrics, call).predict_log  # type: ignore[attr-defined]

    assert (log.request.model_spec.name, log.request.model_spec.signature_name) == ("digits", "shout")
    assert not log.request.model_spec.HasField("version")
    assert log.request.inputs["x"].dtype == DType.HALF
    assert log.request.inputs["text"].string_val == [b"a", b"\xff"]
    assert log.response.model_spec.version.value == 7
    assert log.response.outputs["y"].int64_val == [3, 4]


def test_rest_classify_and_regress_are_logged_as_the_same_requests_over_grpc(tmp_path: Path, metrics: Metrics) -> None:
    examples = example_vector([b"", b""])
    labels: Array = np.array([[b"cat"], [b"dog"]], object)
    classified = Classified(labels, np.float32([[0.5], [0.25]]))
    (tmp_path / "classify").mkdir()
    (tmp_path / "regress").mkdir()

    classify = first_record(tmp_path / "classify", metrics, RestOnExamples("c", examples, classified, 10))
    regress = first_record(
        tmp_path / "regress", metrics, RestOnExamples("r", examples, Regressed(np.float32([1, 2])), 10)
    )

    log = classify.classify_log  # type: ignore[attr-defined]
    assert len(log.request.input.example_list.examples) == 2
    assert [c.classes[0].label for c in log.response.result.classifications] == ["cat", "dog"]
    log = regress.regress_log  # type: ignore[attr-defined]
    assert log.request.model_spec.signature_name == "r"
    assert [r.value for r in log.response.result.regressions] == [1.0, 2.0]
