from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hotserve.core.ids import ServableId
from hotserve.core.manager import Manager
from hotserve.core.states import State, VersionStatus
from hotserve.errors import InvalidArgument, NotFound, ServingError
from hotserve.observability import life_metrics
from hotserve.observability.life_metrics import KEPT_VERSIONS, KEPT_VERSIONS_OF_ALL_MODELS, LifeMetrics
from hotserve.observability.metrics import Metrics
from hotserve.observability.prometheus import render
from hotserve.observability.request_record import RequestRecord
from hotserve.testing import FakeClock, FakeLoader, FakeServable, FakeSource


@dataclass
class Bench:
    """Metrics in a world where time passes and memory grows when a test says so."""

    metrics: Metrics = field(default_factory=Metrics)
    clock: FakeClock = field(default_factory=FakeClock)
    memory: int = 1000
    life: LifeMetrics = field(init=False)

    def __post_init__(self) -> None:
        wall_clock = FakeClock(1_700_000_000.0)
        self.life = LifeMetrics(self.metrics, memory=lambda: self.memory, clock=self.clock, wall_clock=wall_clock)

    def load(self, path: Path, seconds: float = 1.0, grown: int = 0, error: Exception | None = None) -> None:
        with self.life.loading(ServableId(path.parent.name, int(path.name)), path):
            self.clock.advance(seconds)
            self.memory += grown
            if error is not None:
                raise error

    def say(self, version: int, state: State, error: ServingError | None = None, model: str = "m") -> None:
        self.life.on_status(VersionStatus(ServableId(model, version), state, error))

    def answer(self, version: int, model: str = "m") -> None:
        record = RequestRecord("REST", received_bytes=1)
        record.model, record.version, record.signature, record.api = model, str(version), "s", "predict"
        self.metrics.begin_request(record)
        self.metrics.count_request(record, "OK")

    @property
    def page(self) -> str:
        return render(self.metrics.all()).decode()


@pytest.fixture
def bench() -> Bench:
    return Bench()


SEVEN = Path("/models/m/7")


def test_a_load_is_counted_as_the_original_does_by_its_folder(bench: Bench) -> None:
    bench.load(SEVEN, seconds=2.0)
    assert bench.life.load_attempt_count.cells() == [(("/models/m/7", "success"), 1)]
    assert bench.life.load_latency.cells() == [(("/models/m/7",), 2_000_000)]
    ((labels, cell),) = bench.life.load_latency_by_stage.cells()
    assert (labels, cell.total) == (("/models/m/7", "restore_graph"), 2e6)


def test_a_load_that_fails_is_counted_with_its_code(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.load(SEVEN, seconds=2.0, error=NotFound("no model here"))
    with pytest.raises(KeyError):
        bench.load(SEVEN, seconds=1.0, error=KeyError("a fault"))
    assert bench.life.load_attempt_count.cells() == [(("/models/m/7", "fail"), 2)]
    assert bench.life.load_latency.cells() == [(("/models/m/7",), 3_000_000)]
    assert bench.life.loads.cells() == [(("m", "INTERNAL"), 1), (("m", "NOT_FOUND"), 1)]
    assert bench.life.load_latency_by_stage.cells() == []
    assert bench.life.load_duration.cells() == []
    assert bench.life.load_memory.cells() == []


def test_the_warm_up_is_told_apart_from_the_rest_of_the_load(bench: Bench) -> None:
    warm_up = bench.life.timed(lambda servable, path: bench.clock.advance(0.5))
    with bench.life.loading(ServableId("m", 7), SEVEN):
        bench.clock.advance(2.0)
        warm_up(FakeServable(SEVEN), SEVEN)
    assert bench.life.load_latency.cells() == [(("/models/m/7",), 2_000_000)]
    stages = {labels: cell.total for labels, cell in bench.life.load_duration.cells()}
    assert stages == {("m", "load"): 2e6, ("m", "warmup"): 5e5}


def test_the_memory_that_a_version_took_and_gave_back_is_told(bench: Bench) -> None:
    bench.load(SEVEN, grown=500)
    with bench.life.unloading(ServableId("m", 7)):
        bench.clock.advance(0.25)
        bench.memory -= 400
    assert bench.life.load_memory.cells() == [(("m", "7"), 500)]
    assert bench.life.unload_memory.cells() == [(("m", "7"), 400)]
    assert bench.life.unloads.cells() == [(("m", "OK"), 1)]
    ((labels, cell),) = bench.life.unload_duration.cells()
    assert (labels, cell.total) == (("m",), 250_000)
    assert bench.life.loaded_at.cells() == [(("m", "7"), 1_700_000_000)]


def test_an_unload_that_fails_is_counted(bench: Bench) -> None:
    with pytest.raises(KeyError), bench.life.unloading(ServableId("m", 7)):
        raise KeyError("a fault")
    assert bench.life.unloads.cells() == [(("m", "INTERNAL"), 1)]


def test_a_version_with_an_entry_in_ml_metadata_has_its_cell(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "7"
    (folder / "assets.extra").mkdir(parents=True)
    bench.load(SEVEN)
    assert bench.life.mlmd_map.cells() == []
    (folder / "assets.extra" / "mlmd_uuid").write_text("some id")
    bench.load(folder)
    assert ':tensorflow:serving:mlmd_map{model_name="m",version="7"} 0\n' in bench.page


def test_the_state_of_a_version_and_its_error_are_those_of_its_status(bench: Bench) -> None:
    bench.say(7, State.LOADING)
    assert bench.life.state.cells() == [(("m", "7"), 20)]
    bench.say(7, State.END, InvalidArgument("no model"))
    assert bench.life.state.cells() == [(("m", "7"), 50)]
    assert bench.life.error.cells() == [(("m", "7", "INVALID_ARGUMENT"), 1)]
    bench.say(7, State.START)
    assert bench.life.state.cells() == [(("m", "7"), 10)]
    assert bench.life.error.cells() == []


def swap(bench: Bench, version: int, model: str = "m") -> None:
    """A version becomes AVAILABLE, answers, and the one before it ends."""
    bench.say(version, State.START, model=model)
    bench.load(Path(f"/models/{model}/{version}"))
    bench.say(version, State.AVAILABLE, model=model)
    bench.answer(version, model)
    bench.metrics.count_run(model, str(version), "s", "Predict", "TF1", 5.0)
    if version > 1:
        with bench.life.unloading(ServableId(model, version - 1)):
            pass
        bench.say(version - 1, State.END, model=model)


def test_a_server_that_swaps_for_years_has_a_page_of_the_same_length(bench: Bench) -> None:
    for version in range(1, KEPT_VERSIONS + 2):
        swap(bench, version)
    lines = len(bench.page.splitlines())
    for version in range(KEPT_VERSIONS + 2, 500):
        swap(bench, version)
    assert len(bench.page.splitlines()) == lines
    kept = [labels[1] for labels, _ in bench.life.state.cells()]
    assert sorted(map(int, kept)) == list(range(499 - KEPT_VERSIONS, 500))
    assert dict(bench.metrics.request_count.cells())["m", "OK"] == 499
    assert dict(bench.life.loads.cells())["m", "OK"] == 499


def test_a_version_that_comes_back_is_not_forgotten_with_the_old_ones(bench: Bench) -> None:
    for version in range(1, 4):
        swap(bench, version)
    bench.say(1, State.START)
    for version in range(4, 20):
        swap(bench, version)
    assert ("m", "1") in dict(bench.life.state.cells())


def test_models_that_come_and_go_leave_nothing_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life_metrics, "KEPT_VERSIONS_OF_ALL_MODELS", 10)
    assert KEPT_VERSIONS_OF_ALL_MODELS > 10
    for number in range(50):
        swap(bench, 1, f"model{number}")
        bench.say(1, State.END, model=f"model{number}")
    assert len(bench.life.state.cells()) == 10
    assert len(bench.metrics.request_count.cells()) == 10
    assert "model39" not in bench.page


def test_the_manager_is_watched_as_it_swaps() -> None:
    metrics = Metrics()
    life = LifeMetrics(metrics)
    loader = FakeLoader()
    manager = Manager(lambda _: loader, observer=life)
    manager.events.subscribe(life.on_status)
    source = FakeSource(manager)
    try:
        loader.fail(source.path("m", 3), InvalidArgument("no model"))
        for version in (1, 2, 3):
            source.aspire("m", version)
            assert manager.wait_settled(["m"], 10)
    finally:
        manager.close()
    assert dict(life.loads.cells()) == {("m", "INVALID_ARGUMENT"): 1, ("m", "OK"): 2}
    assert dict(life.unloads.cells()) == {("m", "OK"): 2}
    assert dict(life.state.cells()) == {("m", "1"): 50, ("m", "2"): 50, ("m", "3"): 50}
    assert [labels for labels, _ in life.error.cells()] == [("m", "3", "INVALID_ARGUMENT")]
