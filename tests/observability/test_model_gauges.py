from __future__ import annotations

from hotserve.core.manager import Manager
from hotserve.observability.metrics import Metrics
from hotserve.observability.model_gauges import ModelGauges
from hotserve.testing import FakeLoader, FakeSource


def test_every_configured_model_is_told_of_and_no_other() -> None:
    metrics = Metrics()
    loader = FakeLoader()
    manager = Manager(lambda _: loader)
    source = FakeSource(manager)
    names = ["m", "missing"]
    problems = {"missing": "no such folder", "gone": "no such folder"}
    gauges = ModelGauges(
        metrics,
        manager,
        is_ready=lambda: False,
        names=lambda: names,
        problems=lambda: problems,
        last_looks=lambda: {"m": 1_700_000_000.5, "gone": 1.0},
    )
    try:
        for name in ("m", "gone"):
            source.aspire(name, 1, 2)
        assert manager.wait_settled(["m", "gone"], 10)
        metrics.refresh()
        assert gauges.ready.cells() == [((), 0)]
        assert gauges.available.cells() == [(("m",), 2), (("missing",), 0)]
        assert gauges.source_problem.cells() == [(("m",), 0), (("missing",), 1)]
        assert gauges.last_look.cells() == [(("m",), 1_700_000_000.5)]
        names.remove("m")
        metrics.refresh()
        assert gauges.available.cells() == [(("missing",), 0)]
    finally:
        manager.close()
