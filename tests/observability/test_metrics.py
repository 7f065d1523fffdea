from __future__ import annotations

from threading import Thread

from hotserve.observability.metrics import (
    LATENCY_LIMITS_US,
    MAX_NAME_CHARACTERS,
    MAX_UNKNOWN_MODELS,
    OTHER_MODELS,
    Metrics,
)


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
    metrics.count_request("m", "3", "predict", "REST", "OK", 11.0)
    assert list(metrics.request_count.cells()) == [(("m", "OK"), 1)]
    assert list(metrics.requests.cells()) == [(("m", "3", "predict", "REST", "OK"), 1)]
    ((labels, cell),) = metrics.request_latency.cells()
    assert (labels, cell.counts[:3], cell.total) == (("m", "predict", "REST"), [0, 1, 0], 11.0)
    ((labels, _),) = metrics.request_duration.cells()
    assert labels == ("m", "3", "predict", "REST")


def test_a_request_that_failed_is_counted_and_not_timed() -> None:
    metrics = Metrics()
    metrics.count_request("m", "3", "predict", "REST", "INVALID_ARGUMENT", 11.0)
    assert list(metrics.request_count.cells()) == [(("m", "INVALID_ARGUMENT"), 1)]
    assert list(metrics.request_latency.cells()) == []
    assert list(metrics.request_duration.cells()) == []


def test_made_up_names_of_models_fill_no_memory() -> None:
    metrics = Metrics()
    for number in range(MAX_UNKNOWN_MODELS + 500):
        metrics.count_request(f"made up {number}", "", "predict", "REST", "NOT_FOUND", 1.0)
    cells = dict(metrics.request_count.cells())
    assert len(cells) == MAX_UNKNOWN_MODELS + 1
    assert cells[OTHER_MODELS, "NOT_FOUND"] == 500
    # A name that has its cell keeps it.
    metrics.count_request("made up 0", "", "predict", "REST", "NOT_FOUND", 1.0)
    assert dict(metrics.request_count.cells())["made up 0", "NOT_FOUND"] == 2


def test_a_very_long_made_up_name_gets_no_cell() -> None:
    metrics = Metrics()
    metrics.count_request("x" * MAX_NAME_CHARACTERS, "", "predict", "REST", "NOT_FOUND", 1.0)
    metrics.count_request("x" * (MAX_NAME_CHARACTERS + 1), "", "predict", "REST", "NOT_FOUND", 1.0)
    assert [labels[0] for labels, _ in metrics.request_count.cells()] == [OTHER_MODELS, "x" * MAX_NAME_CHARACTERS]


def test_a_model_that_answers_is_counted_under_its_name_whatever_was_made_up_before() -> None:
    metrics = Metrics()
    for number in range(MAX_UNKNOWN_MODELS):
        metrics.count_request(f"made up {number}", "", "predict", "REST", "NOT_FOUND", 1.0)
    name = "m" * (MAX_NAME_CHARACTERS + 1)
    metrics.count_request(name, "1", "predict", "REST", "OK", 1.0)
    metrics.count_request(name, "", "predict", "REST", "INVALID_ARGUMENT", 1.0)  # no JSON, say: no version answered
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
    metrics.count_graph_run(11.6)
    metrics.count_graph_run(3.0)
    assert list(metrics.graph_runs.cells()) == [((), 2)]
    assert list(metrics.graph_run_time.cells()) == [((), 15)]


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(5000):
            metrics.count_run("m", "1", "s", "Predict", "TF1", 1.0)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, cell),) = metrics.runtime_latency.cells()
    assert (sum(cell.counts), cell.total) == (20_000, 20_000.0)
