from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotserve.platforms.engines.fingerprint import content_of, key_of


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "model" / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_the_same_bytes_elsewhere_have_the_same_fingerprint(version: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "2"
    (copy / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (copy / name).write_bytes((version / name).read_bytes())
    assert content_of(version, tmp_path / "seen") == content_of(copy, tmp_path / "seen")


def test_other_bytes_have_another(version: Path, tmp_path: Path) -> None:
    before = content_of(version, tmp_path / "seen")
    (version / "variables" / "variables.index").write_bytes(b"INDEX!")
    assert content_of(version, tmp_path / "seen") != before


def test_what_is_beside_the_model_does_not_count(version: Path, tmp_path: Path) -> None:
    before = content_of(version, tmp_path / "seen")
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "anything").write_bytes(b"x")
    assert content_of(version, tmp_path / "seen") == before


def test_the_bytes_are_not_read_again_while_sizes_and_times_are_the_same(version: Path, tmp_path: Path) -> None:
    file = version / "saved_model.pb"
    before, status = content_of(version, tmp_path / "seen"), file.stat()
    with file.open("r+b") as opened:
        opened.write(b"GRAPH")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_of(version, tmp_path / "seen") == before
    assert content_of(version, tmp_path / "elsewhere") != before


def test_a_memory_that_cannot_be_read_or_written_is_done_without(version: Path, tmp_path: Path) -> None:
    before = content_of(version, tmp_path / "seen")
    for remembered in (tmp_path / "seen").iterdir():
        remembered.write_text("{")
    assert content_of(version, tmp_path / "seen") == before
    (tmp_path / "file").write_text("")
    assert content_of(version, tmp_path / "file") == before


def test_the_key_depends_on_tags_and_threads_and_not_on_the_order_of_tags(version: Path, tmp_path: Path) -> None:
    keys = {key_of(version, tags, threads, tmp_path) for tags, threads in [(["a", "b"], 0), (["a"], 0), (["a"], 2)]}
    assert len(keys) == 3
    assert key_of(version, ["b", "a"], 0, tmp_path) in keys
