"""docs/monitoring.md describes every metric of the program."""

from __future__ import annotations

import re
from pathlib import Path

from hotserve.core.manager import Manager
from hotserve.observability.instruments import Instrument
from hotserve.observability.life_metrics import LifeMetrics
from hotserve.observability.metrics import Metrics
from hotserve.observability.model_gauges import ModelGauges
from hotserve.observability.process_metrics import ProcessMetrics
from hotserve.observability.prometheus import exported_name
from hotserve.observability.worker_gauges import WorkerGauges
from hotserve.server.engine_metrics import EngineMetrics
from hotserve.testing import FakeLoader

PAGE = Path(__file__).parents[1] / "docs" / "monitoring.md"


def all_metrics() -> tuple[Instrument, ...]:
    metrics = Metrics()
    LifeMetrics(metrics)
    ProcessMetrics(metrics)
    WorkerGauges(metrics, wanted=int, listening=int, restarts=int)
    EngineMetrics(metrics)
    manager = Manager(lambda _: FakeLoader())
    ModelGauges(metrics, manager, is_ready=bool, names=tuple, problems=dict, last_looks=dict)
    manager.close()
    return metrics.all()


def described() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Metric -> its type and its labels, as the page says."""
    rows = re.findall(r"^\| `([\w:]+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_described_with_its_type_and_its_labels() -> None:
    page = described()
    program = {exported_name(metric.name): (metric.kind, metric.labels) for metric in all_metrics()}
    assert len(program) > 40
    assert {name: page.get(name) for name in program} == program


def test_names_follow_the_conventions() -> None:
    for metric in all_metrics():
        if metric.name.startswith("hotserve_"):
            assert re.fullmatch(r"[a-z_]+", metric.name)
            assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
            assert (metric.kind == "histogram") <= metric.name.endswith(("_microseconds", "_rows")), metric.name
        else:
            assert metric.name.startswith("/tensorflow/")


def test_no_two_metrics_have_one_name() -> None:
    names = [metric.name for metric in all_metrics()]
    assert len(set(names)) == len(names)
