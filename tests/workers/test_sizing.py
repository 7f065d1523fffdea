from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hotserve.errors import InvalidArgument
from hotserve.tensors import Array
from hotserve.testing import FakeServable
from hotserve.workers.sizing import choose, folder_bytes, memory_limit, slowest_run_seconds

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("cpus", "run_seconds", "workers", "threads"),
    [
        (16, 0.0001, 16, 1),
        (16, None, 16, 1),
        (16, 0.005, 16, 1),
        (16, 0.0051, 4, 4),
        (2, 1.0, 1, 2),
        (1, 1.0, 1, 1),
        (6, 1.0, 1, 6),
    ],
)
def test_short_runs_get_a_worker_for_each_processor_and_long_ones_fewer_with_more_threads(
    cpus: int, run_seconds: float | None, workers: int, threads: int
) -> None:
    sizing = choose(cpus, run_seconds, 100 * MIB, MIB, 64 * GIB)
    assert (sizing.workers, sizing.cpus) == (workers, threads)


def test_no_more_workers_than_the_memory_holds_with_a_version_more_in_each() -> None:
    sizing = choose(16, 0.0001, 1 * GIB, 1 * GIB, 10 * GIB)
    assert (sizing.workers, sizing.cpus) == (3, 5)  # 70% of 10 GiB at 2 GiB each
    assert "only so many fit in 70% of 10240 MiB, at 1024 MiB each and 1024 MiB for a version to come" in sizing.reason


def test_there_is_always_one_worker() -> None:
    assert choose(16, 0.0001, 100 * GIB, GIB, GIB).workers == 1


def test_the_reason_says_what_was_measured() -> None:
    reason = choose(4, 0.0123, MIB, MIB, GIB).reason
    assert "4 processors" in reason
    assert "the slowest run takes 12.3 ms (long)" in reason


def test_a_run_is_measured_on_the_servable_itself() -> None:
    servable = FakeServable(Path("1"))
    seconds = slowest_run_seconds(servable)
    assert seconds is not None
    assert seconds >= 0
    assert servable.runs > 1


def test_a_servable_that_refuses_made_up_values_tells_nothing() -> None:
    class Refusing(FakeServable):
        def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
            raise InvalidArgument("not these")

    assert slowest_run_seconds(Refusing(Path("1"))) is None


def test_the_size_of_a_version_is_that_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(bytes(1000))
    (tmp_path / "saved_model.pb").write_bytes(bytes(24))
    assert folder_bytes(tmp_path) == 1024
    assert folder_bytes(tmp_path / "nowhere") == 0


def test_the_memory_is_the_least_that_any_group_of_the_process_allows(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/pods/mine\n")
    mine = tmp_path / "pods" / "mine"
    mine.mkdir(parents=True)
    (mine / "memory.max").write_text("max\n")
    (tmp_path / "pods" / "memory.max").write_text(f"{64 * MIB}\n")
    assert memory_limit(tmp_path, own) == 64 * MIB


def test_the_memory_of_an_old_kernels_group_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/mine\n0::/\n")
    (tmp_path / "memory" / "mine").mkdir(parents=True)
    (tmp_path / "memory" / "mine" / "memory.limit_in_bytes").write_text(f"{32 * MIB}\n")
    assert memory_limit(tmp_path, own) == 32 * MIB


def test_without_groups_it_is_that_of_the_machine(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "nowhere") > 0
