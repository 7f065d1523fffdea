from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from hotserve.observability.instruments import Counter, Histogram
from hotserve.observability.metrics import Metrics
from hotserve.observability.prometheus import exported_name, label_name, label_value, render
from hotserve.observability.request_record import RequestRecord


def counter(name: str = "/tensorflow/serving/x", *labels: str) -> Counter:
    return Counter(name, labels)


def test_a_counter_is_a_type_and_a_line_for_each_cell() -> None:
    requests = counter("/tensorflow/serving/request_count", "model_name", "status")
    requests.add("m", "OK", amount=7)
    requests.add("m", "NOT_FOUND")
    assert render([requests]).decode() == (
        "# TYPE :tensorflow:serving:request_count counter\n"
        ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n'
        ':tensorflow:serving:request_count{model_name="m",status="OK"} 7\n'
    )


def test_a_histogram_is_cumulative_and_ends_with_sum_and_count() -> None:
    latency = Histogram("/tensorflow/serving/request_latency", ("model_name", "API", "entrypoint"), (10, 18, 32.4))
    for value in (9.9, 10, 17, 18, 1234567):
        latency.observe(value, "m", "predict", "REST")
    labels = 'model_name="m",API="predict",entrypoint="REST"'
    assert render([latency]).decode() == (
        "# TYPE :tensorflow:serving:request_latency histogram\n"
        f':tensorflow:serving:request_latency_bucket{{{labels},le="10"}} 1\n'
        f':tensorflow:serving:request_latency_bucket{{{labels},le="18"}} 3\n'
        f':tensorflow:serving:request_latency_bucket{{{labels},le="32.4"}} 4\n'
        f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} 5\n'
        f":tensorflow:serving:request_latency_sum{{{labels}}} 1.23462e+06\n"
        f":tensorflow:serving:request_latency_count{{{labels}}} 5\n"
    )


def test_braces_stand_even_around_no_labels() -> None:
    plain = counter("/a")
    plain.add()
    spread = Histogram("/b", (), (1,))
    spread.observe(0.5)
    assert render([plain, spread]).decode().splitlines() == [
        "# TYPE :a counter",
        ":a{} 1",
        "# TYPE :b histogram",
        ':b_bucket{le="1"} 1',
        ':b_bucket{le="+Inf"} 1',
        ":b_sum{} 0.5",
        ":b_count{} 1",
    ]


def test_a_metric_without_cells_is_its_type_alone() -> None:
    assert render([counter("/a", "label"), Histogram("/b", (), (1,))]) == b"# TYPE :a counter\n# TYPE :b histogram\n"


def test_metrics_come_sorted_by_their_internal_names() -> None:
    page = render([counter("b"), counter("/b"), counter("/a/c"), counter("/a")]).decode()
    assert page.splitlines() == [f"# TYPE {name} counter" for name in (":a", ":a:c", ":b", "b")]


@pytest.mark.parametrize(
    ("internal", "exported"),
    [
        ("/tensorflow/serving/request_count", ":tensorflow:serving:request_count"),
        ("hotserve_requests_total", "hotserve_requests_total"),
        ("a-b.c d", "a:b:c:d"),
        ("9lives", "_9lives"),
        ("naïve", "na:ve"),
    ],
)
def test_a_name_is_exported_as_by_the_original(internal: str, exported: str) -> None:
    assert exported_name(internal) == exported


@pytest.mark.parametrize(
    ("internal", "exported"), [("model_name", "model_name"), ("API", "API"), ("a-b/c", "a_b_c"), ("9x", "_9x")]
)
def test_a_label_is_exported_as_by_the_original(internal: str, exported: str) -> None:
    assert label_name(internal) == exported


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("plain", "plain"),
        ('a "quoted" one', r"a \"quoted\" one"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines", r"two\nlines"),
        ("\\n", r"\\n"),
        ("größer", "größer"),
    ],
)
def test_a_value_is_escaped(value: str, escaped: str) -> None:
    assert label_value(value) == escaped


def test_a_name_that_is_no_text_does_not_spoil_the_page() -> None:
    requests = counter("/a", "model")
    requests.add("b\udcff")
    assert render([requests]) == b'# TYPE :a counter\n:a{model="b?"} 1\n'


def parsed(page: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name of a sample -> sorted labels -> value, as Prometheus's own Python parser reads them.

    It gives every counter the ending `_total`.
    """
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def test_the_page_of_a_server_is_read_by_a_prometheus_parser() -> None:
    metrics = Metrics()
    for model, version, api, entrypoint, status, seconds in (
        ("m", "1", "predict", "REST", "OK", 100e-6),
        ("m", "1", "Predict", "GRPC", "OK", 0.05),
        ('we"ird\\ \n', "", "", "REST", "NOT_FOUND", 1e-6),
    ):
        record = RequestRecord(entrypoint, received_bytes=1, start=0.0)
        record.model, record.version, record.api = model, version, api
        metrics.begin_request(record)
        metrics.count_request(record, status, end=seconds)
    samples = parsed(render(metrics.all()))
    assert samples[":tensorflow:serving:request_count_total"] == {
        (("model_name", "m"), ("status", "OK")): 2,
        (("model_name", 'we"ird\\ \n'), ("status", "NOT_FOUND")): 1,
    }
    over_rest = (("API", "predict"), ("entrypoint", "REST"), ("model_name", "m"))
    assert samples[":tensorflow:serving:request_latency_count"][over_rest] == 1
    assert samples[":tensorflow:serving:request_latency_sum"][over_rest] == 100
    buckets = samples[":tensorflow:serving:request_latency_bucket"]
    assert len(buckets) == 2 * 34
    assert buckets[*over_rest[:2], ("le", "58.32"), over_rest[2]] == 0
    assert buckets[*over_rest[:2], ("le", "104.976"), over_rest[2]] == 1
    assert len(samples["hotserve_requests_total"]) == 3


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(st.dictionaries(st.tuples(TEXTS, TEXTS), st.integers(1, 1000), max_size=10))
def test_whatever_clients_call_their_models_the_page_can_be_read(cells: dict[tuple[str, str], int]) -> None:
    requests = counter("/a", "model", "status")
    for (model, status), number in cells.items():
        requests.add(model, status, amount=number)
    read = parsed(render([requests])).get(":a_total", {})
    assert read == {(("model", model), ("status", status)): number for (model, status), number in cells.items()}
