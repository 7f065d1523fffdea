from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotserve.platforms.engines.installed import convertible, installed_versions
from support.benchmark_process import run_benchmark


@pytest.mark.slow
@pytest.mark.skipif(
    not convertible(installed_versions()), reason="no engine is installed that a SavedModel can be converted for"
)
def test_the_engine_that_is_chosen_and_tensorflow_have_turns_with_the_same_model(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = run_benchmark(
        "bench_engines.py",
        *("--quick", "--models=half_plus_two", "--wires=rest", f"--json={result}"),
        HOTSERVE_BENCHMARK_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(result.read_text())["models"]
    assert [turn["contestant"] for turn in model["turns"]] == ["--engine=tensorflow, REST", "--engine=auto, REST"]
    assert all(turn["answers"] > 0 for turn in model["turns"])
    assert f"--engine=auto has chosen {model['chosen']}." in done.stdout
    assert (tmp_path / "cache").is_dir()
