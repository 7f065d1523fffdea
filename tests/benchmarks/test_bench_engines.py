from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotserve.platforms.engines.installed import convertible, installed_versions

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.skipif(
    not convertible(installed_versions()), reason="no engine is installed that a SavedModel can be converted for"
)
def test_the_engine_that_is_chosen_and_tensorflow_have_turns_with_the_same_model(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            *(sys.executable, str(BENCHMARKS / "bench_engines.py"), "--quick", "--models=half_plus_two"),
            *("--wires=rest", f"--json={result}"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "HOTSERVE_BENCHMARK_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(result.read_text())["models"]
    assert [turn["contestant"] for turn in model["turns"]] == ["--engine=tensorflow, REST", "--engine=auto, REST"]
    assert all(turn["answers"] > 0 for turn in model["turns"])
    assert f"--engine=auto has chosen {model['chosen']}." in done.stdout
    assert (tmp_path / "cache").is_dir()
