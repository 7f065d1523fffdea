from __future__ import annotations

import pytest

from hotserve.observability.metrics import (
    LATENCY_LIMITS_US,
    MAX_NAME_CHARACTERS,
    MAX_UNKNOWN_MODELS,
    OTHER_MODELS,
    Counter,
    Histogram,
    Metrics,
)


def test_a_counter_counts_for_each_set_of_label_values() -> None:
    counter = Counter("c", ("a", "b"))
    counter.add("1", "2")
    counter.add("1", "2", amount=5)
    counter.add("1", "1")
    assert list(counter.cells()) == [(("1", "1"), 1), (("1", "2"), 6)]


def test_a_counter_that_never_counted_has_no_cells() -> None:
    assert list(Counter("c", ("a",)).cells()) == []


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0, 0), (1, 0), (1.999, 0), (2, 1), (3.9, 1), (4, 2), (1e12, 2), (float("inf"), 2)],
)
def test_a_value_equal_to_a_limit_counts_in_the_next_bucket(value: float, bucket: int) -> None:
    histogram = Histogram("h", (), (2, 4))
    histogram.observe(value)
    ((labels, cell),) = histogram.cells()
    assert labels == ()
    assert cell.counts == [int(number == bucket) for number in range(3)]
    assert cell.total == value


def test_a_histogram_sums_for_each_set_of_label_values() -> None:
    histogram = Histogram("h", ("a",), (2,))
    histogram.observe(1, "x")
    histogram.observe(2.5, "x")
    histogram.observe(7, "w")
    cells = {labels: (cell.counts, cell.total) for labels, cell in histogram.cells()}
    assert cells == {("w",): ([0, 1], 7.0), ("x",): ([1, 1], 3.5)}
    assert list(cells) == [("w",), ("x",)]


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
