from __future__ import annotations

from hotserve.observability.metrics import Metrics
from hotserve.observability.worker_gauges import WorkerGauges


def test_the_numbers_are_those_of_the_moment_at_which_somebody_asks() -> None:
    metrics = Metrics()
    numbers = {"wanted": 2, "listening": 1, "restarts": 0}
    gauges = WorkerGauges(
        metrics,
        wanted=lambda: numbers["wanted"],
        listening=lambda: numbers["listening"],
        restarts=lambda: numbers["restarts"],
    )
    numbers.update(listening=2, restarts=1)
    metrics.refresh()
    read = [gauge.cells() for gauge in (gauges.wanted, gauges.listening, gauges.restarts)]
    assert read == [[((), 2)], [((), 2)], [((), 1)]]
    assert gauges.restarts in metrics.all()
