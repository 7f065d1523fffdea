from __future__ import annotations

import pickle

from hotserve.observability import prometheus
from hotserve.observability.instruments import CommonGauge, Counter, Gauge, Histogram, Instrument, ReadCounter
from hotserve.observability.merged_metrics import MergedMetrics, lasting, take


def process(requests: int, in_flight: int, latencies: list[float], seconds: float) -> list[Instrument]:
    """The metrics of one process."""
    counter = Counter("requests_total", ("model",))
    counter.add("m", amount=requests)
    gauge = Gauge("in_flight", ())
    gauge.set(in_flight)
    histogram = Histogram("latency", ("model",), (1.0, 10.0))
    for latency in latencies:
        histogram.observe(latency, "m")
    cpu = ReadCounter("cpu_seconds_total", ("process",))
    cpu.set(seconds, f"process {requests}")
    return [counter, gauge, histogram, cpu]


def page(merged: MergedMetrics) -> str:
    return prometheus.render(merged.instruments()).decode()


def test_what_several_processes_have_counted_is_added_up() -> None:
    merged = MergedMetrics()
    merged.add(take(process(3, 1, [0.5, 5.0], 1.5)))
    merged.add(take(process(4, 2, [5.0, 50.0], 2.5)))
    assert (
        page(merged)
        == prometheus.render(
            [
                *process(7, 3, [0.5, 5.0, 5.0, 50.0], 0)[:3],
                _cpu({"process 3": 1.5, "process 4": 2.5}),
            ]
        ).decode()
    )


def _cpu(seconds: dict[str, float]) -> ReadCounter:
    cpu = ReadCounter("cpu_seconds_total", ("process",))
    for name, number in seconds.items():
        cpu.set(number, name)
    return cpu


def test_one_process_merged_is_that_process() -> None:
    merged = MergedMetrics()
    merged.add(take(process(3, 1, [0.5, 5.0], 1.5)))
    assert page(merged) == prometheus.render(process(3, 1, [0.5, 5.0], 1.5)).decode()


def test_a_snapshot_can_be_sent_and_does_not_change_with_what_it_was_taken_of() -> None:
    instruments = process(3, 1, [0.5], 1.5)
    snapshot = pickle.loads(pickle.dumps(take(instruments)))
    assert snapshot == take(instruments)
    before = take(instruments)
    histogram = instruments[2]
    assert isinstance(histogram, Histogram)
    histogram.observe(0.5, "m")
    assert before == snapshot


def test_of_a_process_that_has_ended_the_counts_last_and_how_things_stood_does_not() -> None:
    kinds = {snapshot.kind for snapshot in lasting(take(process(3, 1, [0.5], 1.5)))}
    assert kinds == {"Counter", "Histogram"}


def test_what_is_forgotten_is_left_out_and_may_be_counted_anew() -> None:
    merged = MergedMetrics()
    merged.add(take(process(3, 1, [0.5], 1.5)))
    merged.forget({"model": "m"})
    assert 'requests_total{model="m"}' not in page(merged)
    merged.add(take(process(1, 1, [0.5], 1.5)))
    assert 'requests_total{model="m"} 1' in page(merged)


def test_what_is_common_to_all_processes_is_not_added_up() -> None:
    merged = MergedMetrics()
    for number in (0.5, 0.5, 0.25):
        gauge = CommonGauge("g", ("a",))
        gauge.set(number, "x")
        merged.add(take([gauge]))
    (common,) = merged.instruments()
    assert common.cells() == [(("x",), 0.5)]
    assert isinstance(common, CommonGauge)
