from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hotserve.platforms.engines.cache import BESIDE_MODEL, EngineCache, default_folder
from hotserve.platforms.engines.examination import RESULT_FILE
from hotserve.platforms.engines.findings import Examination
from hotserve.platforms.engines.fingerprint import content_of

VERSIONS = {"onnxruntime": "1.0"}
FOUND = Examination(versions={"onnxruntime": "1.0", "openvino": "2.0"})


def make(folder: Path) -> Examination:
    (folder / "0.onnx").write_bytes(b"model")
    return FOUND


def key(word: str) -> str:
    """A key, which has 32 hexadecimal digits."""
    return word.encode().hex().ljust(32, "0")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def test_what_was_put_is_found_with_its_files(cache: EngineCache) -> None:
    assert cache.find(key("k"), VERSIONS) is None
    cache.put(key("k"), make)
    entry = cache.find(key("k"), VERSIONS)
    assert entry is not None
    assert entry.examination == FOUND
    assert (entry.folder / "0.onnx").read_bytes() == b"model"


def test_an_entry_counts_for_the_engines_of_the_versions_that_it_tells_of(cache: EngineCache) -> None:
    cache.put(key("k"), make)
    assert cache.find(key("k"), {}) is not None
    assert cache.find(key("k"), {"onnxruntime": "1.1"}) is None
    assert cache.find(key("k"), {"another": "1.0"}) is None


def test_an_entry_is_replaced_as_a_whole(cache: EngineCache) -> None:
    cache.put(key("k"), make)
    cache.put(key("k"), lambda _: FOUND)
    entry = cache.find(key("k"), VERSIONS)
    assert entry is not None
    assert [file.name for file in entry.folder.iterdir()] == [RESULT_FILE]


def test_an_entry_that_could_not_be_made_leaves_nothing(cache: EngineCache, tmp_path: Path) -> None:
    def fail(folder: Path) -> Examination:
        (folder / "half").write_bytes(b"")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.put(key("k"), fail)
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_there_can_be_no_entry_there_is_none_and_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert EngineCache(tmp_path / "file" / "cache").find(key("k"), VERSIONS, tmp_path / "file") is None
    assert caplog.text == ""


def test_what_was_unused_for_longest_goes_where_there_are_too_many_bytes(tmp_path: Path) -> None:
    def large(folder: Path) -> Examination:
        (folder / "0.onnx").write_bytes(bytes(10_000))
        return FOUND

    cache = EngineCache(tmp_path / "cache", max_bytes=25_000)
    for age, name in ((30, "old"), (20, "used"), (10, "young")):
        entry = cache.put(key(name), large)
        os.utime(entry.folder, (time.time() - age, time.time() - age))
    assert cache.find(key("old"), {}) is None
    assert cache.find(key("used"), {}) is not None  # and is the youngest now
    cache.put(key("new"), large)
    kept = [name for name in ("old", "used", "young", "new") if cache.find(key(name), {}) is not None]
    assert kept == ["used", "new"]


def test_the_newest_entry_stays_however_large_it_is(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", max_bytes=0)
    cache.put(key("first"), make)
    cache.put(key("second"), make)
    assert cache.find(key("first"), {}) is None
    assert cache.find(key("second"), {}) is not None


def test_an_entry_that_cannot_be_read_is_none(cache: EngineCache) -> None:
    entry = cache.put(key("k"), make)
    (entry.folder / RESULT_FILE).write_text("{")
    assert cache.find(key("k"), VERSIONS) is None


def test_an_entry_beside_the_model_is_found_first_and_stays_when_it_is_dropped(
    cache: EngineCache, tmp_path: Path
) -> None:
    cache.put(key("k"), make)
    beside = cache.put(key("k"), make, beside=tmp_path / "1")
    assert beside.folder == tmp_path / "1" / BESIDE_MODEL / key("k")
    entry = cache.find(key("k"), VERSIONS, tmp_path / "1")
    assert entry == beside
    cache.drop(beside)
    assert cache.find(key("k"), VERSIONS, tmp_path / "1") == beside


def test_a_failure_counts_for_a_day(cache: EngineCache) -> None:
    cache.put(key("k"), lambda _: replace(FOUND, failure="killed", made=time.time()))
    assert cache.find(key("k"), VERSIONS) is not None
    cache.put(key("k"), lambda _: replace(FOUND, failure="killed", made=time.time() - 25 * 3600))
    assert cache.find(key("k"), VERSIONS) is None


def test_processes_take_turns_and_the_end_of_one_is_the_turn_of_the_next(cache: EngineCache, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hotserve.platforms.engines.cache import EngineCache\n"
        "with EngineCache(Path(sys.argv[1])).turn(sys.argv[2], lambda: False) as ours:\n"
        "    print(ours, flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "cache"), key("k")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        looks = iter([False, True])
        with cache.turn(key("k"), lambda: next(looks)) as ours:
            assert not ours
        other.kill()
        other.wait()
        with cache.turn(key("k"), lambda: False) as ours:
            assert ours


def test_what_a_process_that_was_ended_has_left_is_removed_and_what_another_one_is_making_is_not(
    cache: EngineCache, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from hotserve.platforms.engines.cache import EngineCache\n"
        "cache = EngineCache(Path(sys.argv[1]))\n"
        "cache.put(sys.argv[2], lambda folder: (print(folder, flush=True), sys.stdin.read()))\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "cache"), key("k")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        made = Path(other.stdout.readline().strip()).parent
        hours_ago = time.time() - 3600
        os.utime(made, (hours_ago, hours_ago))
        cache.put(key("another"), make)
        assert made.is_dir()
        other.kill()
        other.wait()
        cache.put(key("another"), make)
        assert not made.exists()


def test_what_is_not_used_for_long_is_dropped_fingerprints_too(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    for version in ("1", "2"):
        content_of(tmp_path / version, cache.memory)
    long_ago = time.time() - 100 * 24 * 3600
    for place in (cache.put(key("old"), make).folder, *cache.memory.iterdir(), cache.memory):
        os.utime(place, (long_ago, long_ago))
    content_of(tmp_path / "2", cache.memory)  # this one is in use
    cache.put(key("new"), make)
    assert cache.find(key("old"), VERSIONS) is None
    assert cache.find(key("new"), VERSIONS) is not None
    assert len(list(cache.memory.iterdir())) == 1


def test_nothing_else_in_the_folder_is_ever_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".ssh", "models", "notes", f"{key('k')[:-1]}", ".cache.d", "seen/other")]
    for other in others:
        other.mkdir(parents=True)
        (other / "file").write_bytes(bytes(1000))
    (tmp_path / "file.lock").touch()
    long_ago = time.time() - 100 * 24 * 3600
    for place in (*others, tmp_path / "file.lock"):
        os.utime(place, (long_ago, long_ago))
    cache = EngineCache(tmp_path, max_bytes=0)
    cache.put(key("k"), make)
    cache.put(key("new"), make)
    assert all((other / "file").exists() for other in others)
    assert (tmp_path / "file.lock").exists()


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "hotserve"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "hotserve"
