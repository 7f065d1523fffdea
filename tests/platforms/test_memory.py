from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hotserve.platforms import memory
from hotserve.platforms.memory import in_huge_pages, release_memory

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

SETTLING = """
import json, os, pathlib, sys
import numpy as np
from hotserve.core.servable import settle
from hotserve.platforms.registry import loader_for

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

servable = loader_for("onnx").load(pathlib.Path(sys.argv[1]))
sizes = []
for rows in (1, 10_000):
    servable.run("serving_default", {"x": np.ones((rows, 1024), np.float32)}, ["y"])
    sizes.append(resident_bytes())
settle(servable)
sizes.append(resident_bytes())
answer = servable.run("serving_default", {"x": np.ones((3, 1024), np.float32)}, ["y"])["y"]
print(json.dumps({"sizes": sizes, "answer": [list(answer.shape), float(answer.min())]}))
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


@needs_proc
def test_an_onnx_model_gives_back_what_only_its_warm_up_has_needed(onnx_folder: Callable[..., Path]) -> None:
    # The sum of 10,000 rows takes 40 MB, the answer itself nothing.
    nodes = [
        helper.make_node("Add", ["x", "x"], ["sum"]),
        helper.make_node("ReduceMean", ["sum", "axes"], ["y"], keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1024])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    folder = onnx_folder(nodes, [x], [y], [numpy_helper.from_array(np.array([1]), "axes")])
    words = [sys.executable, "-c", SETTLING, str(folder)]
    document = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    small, large, settled = document["sizes"]
    assert large - small > 35e6
    assert settled - small < 10e6
    assert document["answer"] == [[3], 2.0]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_releasing_memory_works_at_any_time() -> None:
    release_memory()
    release_memory()


def test_a_c_library_without_malloc_trim_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    release_memory()


def huge_bytes() -> int:
    """How much of this process lies in huge pages."""
    found = re.search(r"AnonHugePages:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    return int(found[1]) << 10 if found else 0


@needs_proc
def test_what_is_allocated_in_large_pieces_lies_in_huge_pages_where_the_system_has_them() -> None:
    before = huge_bytes()
    with in_huge_pages(64 << 20):
        weights = np.ones(64 << 20, np.uint8)
    if huge_bytes() - before < 48 << 20:
        pytest.skip("the system has no huge pages, or none left")
    assert weights.min() == 1


@pytest.mark.parametrize(("model_bytes", "looks"), [(1 << 20, 0), (64 << 20, 2)])
def test_a_small_model_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch, model_bytes: int, looks: int) -> None:
    looked: list[None] = []

    def large_mappings() -> frozenset[tuple[int, int]]:
        looked.append(None)
        return frozenset()

    monkeypatch.setattr(memory, "_large_mappings", large_mappings)
    monkeypatch.setattr(sys, "platform", "linux")
    with in_huge_pages(model_bytes):
        pass
    assert len(looked) == looks


def test_a_system_that_does_not_show_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_MAPPINGS", tmp_path / "there is none")
    monkeypatch.setattr(sys, "platform", "linux")
    with in_huge_pages(64 << 20):
        weights = np.ones(40 << 20, np.uint8)
    assert weights.min() == 1


def test_the_heaps_of_other_threads_than_the_main_one_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maps = tmp_path / "maps"
    monkeypatch.setattr(memory, "_MAPPINGS", maps)
    heap, piece, pieces = 0x7F22_A400_0000, 0x7F22_B7DF_F000, 0x7F22_C000_0000
    lines = [f"{heap:x}-{heap + (60 << 20):x} rw-p 00000000 00:00 0"]
    lines += [f"{start:x}-{start + (200 << 20):x} rw-p 00000000 00:00 0" for start in (piece, pieces)]
    maps.write_text("\n".join(lines))
    assert memory._large_mappings() == {(start, start + (200 << 20)) for start in (piece, pieces)}


@needs_proc
def test_what_fails_while_it_is_allocated_is_told() -> None:
    with pytest.raises(MemoryError), in_huge_pages(64 << 20):
        raise MemoryError
