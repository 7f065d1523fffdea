from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from support.benchmark_process import run_benchmark
from support.server_process import COMMAND

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"

LINES = [
    "hotserve, REST",
    "hotserve, gRPC",
    "FastAPI, plain JSON",
    "FastAPI, pydantic",
    "TensorFlow Serving, REST",
    "TensorFlow Serving, gRPC",
]


@pytest.mark.skipif(shutil.which("taskset") is None, reason="Linux alone gives servers processors of their own")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the load needs a processor beside the server's")
def test_every_server_is_started_asked_and_loaded_and_page_and_plots_show_what_came_out(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    # Our own program under TensorFlow Serving's name takes the same flags as the original.
    done = run_benchmark(
        "bench_peers.py",
        *("--quick", "--here", "--cores=one", "--models=half_plus_two", f"--json={result}"),
        *("--peers", "hotserve", "fastapi", "tensorflow_model_server"),
        f"--tensorflow-model-server={Path(COMMAND).parent / 'tensorflow_model_server'}",
        *("--rates=40", "--rates-model=half_plus_two", "--rate-seconds=0.4"),
        HOTSERVE_BENCHMARK_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr

    document: dict[str, Any] = json.loads(result.read_text())
    assert [item["turn"]["contestant"] for item in document["turns"]] == LINES
    assert [item["contestant"] for item in document["rates"]] == LINES
    assert all(item["turn"]["answers"] > 0 < item["turn"]["server_cpu_us"] for item in document["turns"])
    assert all(item["memory_peak"] >= item["memory_ready"] > 0 < item["ready_seconds"] for item in document["starts"])
    assert [server["title"] for server in document["servers"]] == ["hotserve", "FastAPI", "TensorFlow Serving"]

    page = tmp_path / "page.md"
    page.write_text("By hand.\n\n<!-- figures: one/half_plus_two -->\nold\n<!-- end of figures -->\n")
    done = run_benchmark("render_performance.py", str(result), f"--page={page}", f"--images={tmp_path / 'images'}")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("By hand.\n")
    assert "old" not in text
    assert [line.split(" | ")[0][2:] for line in text.splitlines() if line.startswith("| ")][2:] == LINES
    plots = sorted(path.name for path in (tmp_path / "images").iterdir())
    names = ("latency", "start", "throughput")
    assert plots == sorted(f"peers-{name}{theme}.svg" for name in names for theme in ("", "-dark"))
    throughput = ElementTree.parse(tmp_path / "images" / "peers-throughput.svg")
    assert "hotserve, REST" in "".join(throughput.getroot().itertext())


def test_a_peer_that_is_not_known_is_answered_with_those_that_are() -> None:
    done = run_benchmark("bench_peers.py", "--peers", "hotserve", "nobody")
    assert done.returncode == 1
    assert "Expected peers among hotserve, fastapi, flask, mosec" in done.stderr
    assert done.stderr.rstrip().endswith("got nobody.")


def test_a_page_that_asks_for_figures_that_there_are_not_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: one/nothing -->\n<!-- end of figures -->\n")
    done = run_benchmark("render_performance.py", f"--page={page}", f"--images={tmp_path / 'images'}")
    assert done.returncode == 1
    assert "asks for the figures 'one/nothing'" in done.stderr
    assert page.read_text() == "<!-- figures: one/nothing -->\n<!-- end of figures -->\n"


def test_the_tables_of_the_page_are_those_of_the_results_that_are_kept(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    shutil.copy(PAGE, page)
    done = run_benchmark("render_performance.py", f"--page={page}", f"--images={tmp_path / 'images'}")
    assert done.returncode == 0, done.stderr
    assert page.read_text() == PAGE.read_text()
    for image in (tmp_path / "images").iterdir():
        assert (PAGE.parent / "images" / image.name).is_file()
