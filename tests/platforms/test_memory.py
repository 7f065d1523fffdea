from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hotserve.platforms.memory import release_memory

CYCLES = """
import json, os, pathlib, sys
from hotserve.platforms.registry import loader_for
from hotserve.platforms.warmup import warm_up

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

sizes = []
for _ in range(50):
    servable = loader_for(sys.argv[1]).load(pathlib.Path(sys.argv[2]))
    warm_up(servable)
    loaded = resident_bytes()
    servable.unload()
    sizes.append((loaded, resident_bytes()))
print(json.dumps({"sizes": sizes, "tensorflow": "tensorflow" in sys.modules}))
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")


def cycle(platform: str, folder: Path) -> tuple[list[tuple[int, int]], bool]:
    """Loads and unloads a folder 50 times in a process of its own.

    Returns:
        Resident bytes while loaded and after unloading, each time; and whether TensorFlow's Python package came in.
    """
    answer = subprocess.run(
        [sys.executable, "-c", CYCLES, platform, str(folder)], capture_output=True, text=True, check=True
    )
    document = json.loads(answer.stdout)
    return document["sizes"], document["tensorflow"]


@pytest.mark.slow
@needs_proc
def test_fifty_saved_models_come_and_go_in_the_memory_of_five(large_saved_model: Path) -> None:
    sizes, imported = cycle("tensorflow", large_saved_model)
    assert sizes[-1][1] <= 1.1 * sizes[4][1]
    assert not imported


@pytest.mark.slow
@needs_proc
def test_fifty_onnx_models_come_and_go_in_the_memory_of_five(large_onnx_model: Path) -> None:
    sizes, _ = cycle("onnx", large_onnx_model)
    assert sizes[-1][1] <= 1.1 * sizes[4][1]
    # Each gives its weights back, in place of keeping them for the next.
    assert sizes[-1][0] - sizes[-1][1] > 0.8 * 16e6


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_releasing_memory_works_at_any_time() -> None:
    release_memory()
    release_memory()


def test_a_c_library_without_malloc_trim_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    release_memory()
