from __future__ import annotations

from hotserve.observability.batch_metrics import BatchMetrics
from hotserve.observability.metrics import Metrics

LABELS = ("m", "1", "s")


def test_batches_are_counted_by_version_and_reason() -> None:
    metrics = BatchMetrics()
    for reason, rows, padding in [("full", 4, 0), ("idle", 1, 3), ("idle", 2, 2)]:
        metrics.count_batch(*LABELS, reason, rows, padding, is_session=False)
    assert metrics.closed.cells() == [((*LABELS, "full"), 1), ((*LABELS, "idle"), 2)]
    assert metrics.padding.cells() == [(LABELS, 5)]
    assert [(labels, sum(cell.counts), cell.total) for labels, cell in metrics.rows.cells()] == [(LABELS, 3, 7)]
    assert metrics.wrapped_run_count.cells() == []


def test_where_batching_is_configured_the_originals_metrics_count_as_well() -> None:
    metrics = BatchMetrics()
    metrics.count_request(rows=3, inputs=2)
    metrics.count_queuing(150.0)
    metrics.count_batch(*LABELS, "full", 3, 1, is_session=True)
    histograms = (
        metrics.input_batch_size,
        metrics.queuing_latency,
        metrics.padding_size,
        metrics.processed_batch_size,
    )
    found = {
        histogram.name.rpartition("/")[2]: [(key, sum(cell.counts), cell.total) for key, cell in histogram.cells()]
        for histogram in histograms
    }
    assert found == {
        "input_batch_size": [((), 2, 6)],
        "queuing_latency": [(("",), 1, 150.0)],
        "padding_size": [(("4",), 1, 1)],
        "processed_batch_size": [((), 1, 4)],
    }
    assert metrics.wrapped_run_count.cells() == [((), 1)]


def test_a_version_that_comes_back_is_counted_anew() -> None:
    metrics = Metrics()
    for forget in (lambda: metrics.forget_version("m", "1", ""), lambda: metrics.forget_model("m")):
        metrics.batching.count_batch(*LABELS, "full", 4, 0, is_session=False)
        forget()
        assert metrics.batching.closed.cells() == []
        metrics.batching.count_batch(*LABELS, "full", 4, 0, is_session=False)
        assert metrics.batching.closed.cells() == [((*LABELS, "full"), 1)]
        forget()
