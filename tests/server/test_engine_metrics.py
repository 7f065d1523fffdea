from __future__ import annotations

from pathlib import Path

from hotserve.observability.metrics import Metrics
from hotserve.observability.prometheus import render
from hotserve.platforms.engines.choice import Choice
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.findings import EngineFinding, Examination, SignatureFindings
from hotserve.platforms.engines.observer import UNVERIFIED
from hotserve.server.engine_metrics import EngineMetrics

PATH = Path("/models/somewhere/00000007")
FOUND = Examination(
    {
        "s": SignatureFindings(
            0, "", {1: 0.002}, {"openvino": EngineFinding(domain=Domain({}), absolute=0.5, seconds={1: 0.001})}
        )
    }
)


def lines(metrics: Metrics) -> set[str]:
    return {line for line in render(metrics.all()).decode().splitlines() if line.startswith("hotserve_engine")}


def test_what_serves_is_told_with_what_was_found_out() -> None:
    metrics = Metrics()
    observer = EngineMetrics(metrics).of_model("m")
    observer.examined(PATH, "done", 3.0)
    observer.chosen(PATH, {"s": Choice("openvino", "2.0 times as fast as TensorFlow")}, FOUND)
    observer.fell_back(PATH, "s", "outside")
    of_engine = 'model_name="m",version="7",signature="s",engine="openvino"'
    assert lines(metrics) == {
        f"hotserve_engine_info{{{of_engine}}} 1",
        f"hotserve_engine_verified{{{of_engine}}} 1",
        f'hotserve_engine_run_seconds{{{of_engine},rows="1"}} 0.001',
        'hotserve_engine_run_seconds{model_name="m",version="7",signature="s",engine="tensorflow",rows="1"} 0.002',
        f"hotserve_engine_largest_difference{{{of_engine}}} 0.5",
        'hotserve_engine_examinations_total{model_name="m",result="done"} 1',
        f'hotserve_engine_fall_backs_total{{{of_engine},reason="outside"}} 1',
    }


def test_a_version_that_was_compared_with_nothing_is_not_verified_and_one_that_is_gone_is_not_told_of() -> None:
    metrics = Metrics()
    observer = EngineMetrics(metrics).of_model("m")
    observer.chosen(PATH, {"s": Choice("openvino", UNVERIFIED)}, Examination())
    assert 'hotserve_engine_verified{model_name="m",version="7",signature="s",engine="openvino"} 0' in lines(metrics)
    observer.unloaded(PATH)
    assert lines(metrics) == set()
