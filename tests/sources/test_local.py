from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hotserve.sources.local import LocalStorage

storage = LocalStorage()


def test_the_children_of_a_folder_are_its_direct_entries(tmp_path: Path) -> None:
    (tmp_path / "1" / "variables").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    assert sorted(storage.children(tmp_path)) == ["1", "notes.txt"]


def test_a_snapshot_has_a_stamp_for_every_file_below(tmp_path: Path) -> None:
    (tmp_path / "variables" / "empty").mkdir(parents=True)
    (tmp_path / "saved_model.pb").write_bytes(b"12345")
    (tmp_path / "variables" / "variables.index").write_bytes(b"123")
    snapshot = storage.snapshot(tmp_path)
    assert {name: stamp.size for name, stamp in snapshot.items()} == {
        "saved_model.pb": 5,
        "variables/variables.index": 3,
    }
    stat = (tmp_path / "saved_model.pb").stat()
    stamp = snapshot["saved_model.pb"]
    assert (stamp.modified_ns, stamp.changed_ns) == (stat.st_mtime_ns, stat.st_ctime_ns)


def test_the_snapshot_of_an_empty_folder_is_empty(tmp_path: Path) -> None:
    assert storage.snapshot(tmp_path) == {}


def test_the_snapshot_of_a_file_is_the_file_itself(tmp_path: Path) -> None:
    file = tmp_path / "5"
    file.write_bytes(b"123")
    snapshot = storage.snapshot(file)
    assert {name: stamp.size for name, stamp in snapshot.items()} == {"": 3}


def test_two_snapshots_of_an_untouched_folder_are_equal(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert storage.snapshot(tmp_path) == storage.snapshot(tmp_path)


def grow(folder: Path) -> None:
    with (folder / "a").open("ab") as file:
        file.write(b"more")


def replace(folder: Path) -> None:
    (folder / "b").write_bytes(b"23")
    os.replace(folder / "b", folder / "a")


def add(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b").touch()


def remove(folder: Path) -> None:
    (folder / "a").unlink()


def rename(folder: Path) -> None:
    (folder / "a").rename(folder / "b")


@pytest.mark.parametrize("change", [grow, replace, add, remove, rename])
def test_a_snapshot_tells_every_kind_of_change(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = storage.snapshot(tmp_path)
    change(tmp_path)
    assert storage.snapshot(tmp_path) != before


def test_a_file_that_is_replaced_under_its_old_size_and_time_is_told_by_its_change_time(tmp_path: Path) -> None:
    # As `cp -p` and `rsync -a` do: the modification time comes from elsewhere.
    file = tmp_path / "a"
    file.write_bytes(b"1")
    stat = file.stat()
    before = storage.snapshot(tmp_path)["a"]
    while file.stat().st_ctime_ns == stat.st_ctime_ns:  # until the file system's clock has moved on
        file.write_bytes(b"2")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = storage.snapshot(tmp_path)["a"]
    assert (after.size, after.modified_ns) == (before.size, before.modified_ns)
    assert after != before


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "a").write_bytes(b"12")
    version = tmp_path / "1"
    version.mkdir()
    (version / "file").symlink_to(real / "a")
    (version / "folder").symlink_to(real)
    linked = tmp_path / "2"
    linked.symlink_to(version)
    for folder in (version, linked):
        assert {name: stamp.size for name, stamp in storage.snapshot(folder).items()} == {"file": 2, "folder/a": 2}


def test_a_link_that_leads_nowhere_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "gone")
    assert storage.snapshot(tmp_path) == {}


def test_a_link_that_leads_in_circles_is_an_error_and_no_endless_walk(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        storage.snapshot(tmp_path)


@pytest.mark.parametrize("look", [storage.children, storage.snapshot])
def test_a_missing_folder_is_an_error(tmp_path: Path, look: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "missing")


def test_the_children_of_a_file_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        storage.children(tmp_path / "file")


def test_names_that_are_no_text_are_taken_as_they_are(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.bin", "wb") as file:
        file.write(b"1")
    assert [os.fsencode(name) for name in storage.snapshot(tmp_path)] == [b"\xff.bin"]
