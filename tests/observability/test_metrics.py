from __future__ import annotations

import sys
from threading import Thread

import pytest

from hotserve.observability.instruments import HistogramCell
from hotserve.observability.metrics import (
    LATENCY_LIMITS_US,
    MAX_NAME_CHARACTERS,
    MAX_UNKNOWN_MODELS,
    OTHER_MODELS,
    Metrics,
)
from hotserve.observability.prometheus import render
from hotserve.observability.request_record import RequestRecord


def count(metrics: Metrics, model: str, version: str, status: str = "OK", *, api: str = "predict") -> None:
    """Counts a request over REST: 2 microseconds to decode, 12 to run, 40 to encode."""
    record = RequestRecord("REST", received_bytes=100, start=0.0)
    record.model, record.version, record.api, record.sent_bytes = model, version, api, 7
    if status == "OK":
        record.signature, record.decoded, record.ran = "s", 2e-6, 14e-6
    metrics.begin_request(record)
    metrics.count_request(record, status, end=54e-6)


def spread(cell: HistogramCell) -> tuple[dict[int, int], float]:
    """Bucket -> count, of those that are not empty, and the sum in whole microseconds."""
    return {bucket: count for bucket, count in enumerate(cell.counts) if count}, round(cell.total)


def test_latencies_have_the_buckets_of_the_original() -> None:
    # From its own page.
    first = ["10", "18", "32.4", "58.32", "104.976", "188.957", "340.122", "612.22", "1102", "1983.59", "3570.47"]
    last = ["4.55172e+08", "8.19309e+08", "1.47476e+09"]
    texts = [f"{limit:g}" for limit in LATENCY_LIMITS_US]
    assert len(texts) == 33
    assert texts[:11] == first
    assert texts[-3:] == last


def test_the_metrics_of_the_original_have_its_names_and_labels() -> None:
    metrics = {metric.name: metric.labels for metric in Metrics().all()}
    assert metrics["/tensorflow/serving/request_count"] == ("model_name", "status")
    assert metrics["/tensorflow/serving/request_latency"] == ("model_name", "API", "entrypoint")


def test_a_request_that_went_well_is_counted_and_timed() -> None:
    metrics = Metrics()
    count(metrics, "m", "3")
    assert metrics.request_count.cells() == [(("m", "OK"), 1)]
    assert metrics.requests.cells() == [(("m", "3", "s", "predict", "REST", "OK"), 1)]
    ((labels, cell),) = metrics.request_latency.cells()
    assert (labels, spread(cell)) == (("m", "predict", "REST"), ({3: 1}, 54))
    ((labels, cell),) = metrics.request_duration.cells()
    assert (labels, spread(cell)) == (("m", "3", "s", "predict", "REST"), ({3: 1}, 54))
    assert {labels: spread(cell) for labels, cell in metrics.codec_duration.cells()} == {
        ("m", "3", "s", "REST", "decode"): ({0: 1}, 2),
        ("m", "3", "s", "REST", "encode"): ({3: 1}, 40),
    }
    assert metrics.received_bytes.cells() == [(("m", "REST"), 100)]
    assert metrics.sent_bytes.cells() == [(("m", "REST"), 7)]


def test_a_request_that_failed_is_counted_and_not_timed() -> None:
    metrics = Metrics()
    count(metrics, "m", "3", "INVALID_ARGUMENT")
    assert metrics.request_count.cells() == [(("m", "INVALID_ARGUMENT"), 1)]
    assert metrics.received_bytes.cells() == [(("m", "REST"), 100)]
    assert metrics.request_latency.cells() == []
    assert metrics.request_duration.cells() == []
    assert metrics.codec_duration.cells() == []


@pytest.mark.parametrize("api", ["MultiInference", "GetModelMetadata", "GetModelStatus", "HandleReloadConfigRequest"])
def test_calls_that_the_original_does_not_count_are_counted_beside_its_metrics(api: str) -> None:
    metrics = Metrics()
    record = RequestRecord("GRPC", received_bytes=1)
    record.model, record.version, record.api = "m", "1", api
    metrics.begin_request(record)
    metrics.count_request(record, "OK")
    assert metrics.request_count.cells() == []
    assert metrics.request_latency.cells() == []
    assert metrics.requests.cells() == [(("m", "1", "", api, "GRPC", "OK"), 1)]
    assert [labels for labels, _ in metrics.request_duration.cells()] == [("m", "1", "", api, "GRPC")]


def test_a_request_is_in_flight_until_it_is_counted() -> None:
    metrics = Metrics()
    record = RequestRecord("GRPC", received_bytes=0)
    assert dict(metrics.requests_in_flight.cells()) == {("GRPC",): 0, ("REST",): 0}
    metrics.begin_request(record)
    assert dict(metrics.requests_in_flight.cells()) == {("GRPC",): 1, ("REST",): 0}
    metrics.count_request(record, "CANCELLED")
    assert dict(metrics.requests_in_flight.cells()) == {("GRPC",): 0, ("REST",): 0}


def test_a_forgotten_version_leaves_nothing_and_the_others_stay() -> None:
    metrics = Metrics()
    for version in ("1", "2"):
        count(metrics, "m", version)
        metrics.count_run("m", version, "s", "Predict", "TF1", 5.0)
        metrics.count_queue("m", version, "s", 5.0)
        metrics.count_warmup(f"/models/m/{version}", "OK", 3, 5.0)
    count(metrics, "n", "1")
    metrics.forget_version("m", "1", "/models/m/1")
    page = render(metrics.all()).decode()
    assert 'model_name="m",version="1"' not in page
    assert "/models/m/1" not in page
    assert 'model_name="m",version="2"' in page
    assert 'model_name="n",version="1"' in page
    assert dict(metrics.request_count.cells())["m", "OK"] == 2  # that of the model goes on
    # A version that comes back is counted from the beginning.
    count(metrics, "m", "1")
    assert dict(metrics.requests.cells())["m", "1", "s", "predict", "REST", "OK"] == 1


def test_a_forgotten_model_leaves_nothing() -> None:
    metrics = Metrics()
    for model in ("m", "n"):
        count(metrics, model, "1")
        metrics.count_run(model, "1", "s", "Predict", "TF1", 5.0)
        metrics.count_examples(model, 3)
    metrics.forget_model("m")
    page = render(metrics.all()).decode()
    assert '"m"' not in page
    assert '"n"' in page


def test_made_up_names_of_models_fill_no_memory() -> None:
    metrics = Metrics()
    for number in range(MAX_UNKNOWN_MODELS + 500):
        count(metrics, f"made up {number}", "", "NOT_FOUND")
    cells = dict(metrics.request_count.cells())
    assert len(cells) == MAX_UNKNOWN_MODELS + 1
    assert cells[OTHER_MODELS, "NOT_FOUND"] == 500
    # A name that has its cell keeps it.
    count(metrics, "made up 0", "", "NOT_FOUND")
    assert dict(metrics.request_count.cells())["made up 0", "NOT_FOUND"] == 2


def test_a_very_long_made_up_name_gets_no_cell() -> None:
    metrics = Metrics()
    count(metrics, "x" * MAX_NAME_CHARACTERS, "", "NOT_FOUND")
    count(metrics, "x" * (MAX_NAME_CHARACTERS + 1), "", "NOT_FOUND")
    assert [labels[0] for labels, _ in metrics.request_count.cells()] == [OTHER_MODELS, "x" * MAX_NAME_CHARACTERS]


def test_a_model_that_answers_is_counted_under_its_name_whatever_was_made_up_before() -> None:
    metrics = Metrics()
    for number in range(MAX_UNKNOWN_MODELS):
        count(metrics, f"made up {number}", "", "NOT_FOUND")
    name = "m" * (MAX_NAME_CHARACTERS + 1)
    count(metrics, name, "1")
    count(metrics, name, "", "INVALID_ARGUMENT")  # no JSON, say: no version answered
    cells = dict(metrics.request_count.cells())
    assert cells[name, "OK"] == 1
    assert cells[name, "INVALID_ARGUMENT"] == 1
    assert (OTHER_MODELS, "INVALID_ARGUMENT") not in cells


def test_a_run_is_counted_by_what_asked_for_it_and_by_what_ran_it() -> None:
    metrics = Metrics()
    metrics.count_run("m", "3", "serving_default", "Predict", "TF1", 11.0)
    metrics.count_run("m", "4", "serving_default", "Predict", "TF1", 20.0)
    metrics.count_run("m", "4", "other", "Classify", "TF1", 1.0)
    latencies = {labels: (sum(cell.counts), cell.total) for labels, cell in metrics.runtime_latency.cells()}
    assert latencies == {("m", "Classify", "TF1"): (1, 1.0), ("m", "Predict", "TF1"): (2, 31.0)}
    durations = {labels: (cell.counts[:3], cell.total) for labels, cell in metrics.run_duration.cells()}
    assert durations == {
        ("m", "3", "serving_default", "Predict", "TF1"): ([0, 1, 0], 11.0),
        ("m", "4", "other", "Classify", "TF1"): ([1, 0, 0], 1.0),
        ("m", "4", "serving_default", "Predict", "TF1"): ([0, 0, 1], 20.0),
    }


def test_as_in_the_original_the_runs_of_multi_inference_are_no_runtime_latency() -> None:
    metrics = Metrics()
    metrics.count_run("m", "3", "classify", "MultiInference", "TF1", 11.0)
    assert list(metrics.runtime_latency.cells()) == []
    assert [labels for labels, _ in metrics.run_duration.cells()] == [("m", "3", "classify", "MultiInference", "TF1")]


def test_a_wait_is_counted_by_what_was_to_be_run() -> None:
    metrics = Metrics()
    metrics.count_queue("m", "3", "serving_default", 0.0)
    metrics.count_queue("m", "3", "serving_default", 18.0)
    ((labels, cell),) = metrics.queue_duration.cells()
    assert (labels, cell.counts[:4], cell.total) == (("m", "3", "serving_default"), [1, 0, 1, 0], 18.0)


def test_a_run_that_requests_share_is_one_run_of_the_graph() -> None:
    metrics = Metrics()
    metrics.count_graph_run(11.5)
    metrics.count_graph_run(3.5)
    assert list(metrics.graph_runs.cells()) == [((), 2)]
    assert list(metrics.graph_run_time.cells()) == [((), 15)]


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(5000):
            metrics.count_run("m", "1", "s", "Predict", "TF1", 1.0)

    threads = [Thread(target=count) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    ((_, cell),) = metrics.runtime_latency.cells()
    assert (sum(cell.counts), cell.total) == (20_000, 20_000.0)
