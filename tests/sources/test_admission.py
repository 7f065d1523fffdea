from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.sources.admission import OLD_ENOUGH_SECONDS, VersionAdmission
from hotserve.sources.local import LocalStorage
from hotserve.sources.storage import FileStamp, Snapshot
from hotserve.testing import FakeClock

COPYING = "its files are still changing, or have only just appeared"
PATH = Path("/models/m/1")


class Folder:
    """A version folder in memory: a storage, and what a platform says about it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.files: dict[str, FileStamp] = {}
        self.needed = {"graph", "weights"}
        self.unreadable: OSError | None = None
        self.unreadable_parts: OSError | None = None
        self.admission = VersionAdmission(PATH, self, self.missing_parts, self.clock)

    def write(self, name: str, size: int = 1, age_seconds: float = 0.0, modified_ns: int | None = None) -> None:
        changed_ns = int((self.clock.now - age_seconds) * 1e9)
        self.files[name] = FileStamp(size, changed_ns if modified_ns is None else modified_ns, changed_ns)

    def write_all(self, age_seconds: float = 0.0) -> None:
        for name in self.needed:
            self.write(name, age_seconds=age_seconds)

    def look(self) -> VersionAdmission:
        """One look, a second after the last one."""
        self.admission.look()
        self.clock.advance(1.0)
        return self.admission

    def children(self, path: Path) -> Sequence[str]:
        raise NotImplementedError

    def snapshot(self, path: Path) -> Snapshot:
        assert path == PATH
        if self.unreadable is not None:
            raise self.unreadable
        return dict(self.files)

    def missing_parts(self, path: Path) -> str | None:
        assert path == PATH
        if self.unreadable_parts is not None:
            raise self.unreadable_parts
        missing = sorted(self.needed - self.files.keys())
        return f"{missing[0]} is not there yet" if missing else None


@pytest.fixture
def folder() -> Folder:
    return Folder()


def test_a_version_waits_for_its_first_check(folder: Folder) -> None:
    assert folder.admission.waiting_for == "it has not been looked at yet"
    assert folder.admission.fingerprint == ""
    assert folder.admission.is_pending


def test_a_new_folder_is_admitted_at_the_second_look_that_finds_it_the_same(folder: Folder) -> None:
    folder.write_all()
    assert folder.look().waiting_for == COPYING
    assert folder.admission.is_pending
    assert folder.look().waiting_for == ""
    assert folder.admission.fingerprint != ""
    assert not folder.admission.is_pending


def test_an_old_folder_is_admitted_at_the_first_look(folder: Folder) -> None:
    folder.write_all(age_seconds=OLD_ENOUGH_SECONDS)
    assert folder.look().waiting_for == ""


@pytest.mark.parametrize("newest", ["graph", "weights"])
def test_a_folder_is_as_old_as_its_newest_file(folder: Folder, newest: str) -> None:
    folder.write_all(age_seconds=3600)
    folder.write(newest, age_seconds=OLD_ENOUGH_SECONDS - 1)
    assert folder.look().waiting_for == COPYING


def test_a_modification_time_that_a_copy_has_brought_along_makes_a_folder_no_older(folder: Folder) -> None:
    for name in folder.needed:
        folder.write(name, modified_ns=0)
    assert folder.look().waiting_for == COPYING


def test_a_folder_from_the_future_is_not_old(folder: Folder) -> None:
    folder.write_all(age_seconds=-3600)
    assert folder.look().waiting_for == COPYING
    assert folder.look().waiting_for == ""


def test_a_folder_that_grows_waits_until_it_is_quiet(folder: Folder) -> None:
    folder.write("graph")
    for size in range(1, 6):
        folder.write("weights", size)
        assert folder.look().waiting_for == COPYING
    assert folder.look().waiting_for == ""


def test_a_file_that_is_rewritten_in_place_keeps_a_folder_from_being_quiet(folder: Folder) -> None:
    for _ in range(5):
        folder.write_all()
        assert folder.look().waiting_for == COPYING


def test_a_quiet_folder_that_lacks_a_part_says_which(folder: Folder) -> None:
    folder.write("graph")
    folder.look()
    for _ in range(3):
        assert folder.look().waiting_for == "weights is not there yet"
        assert folder.admission.is_pending
    folder.write("weights")
    assert folder.look().waiting_for == COPYING
    assert folder.look().waiting_for == ""


def test_an_old_folder_that_lacks_a_part_is_not_admitted(folder: Folder) -> None:
    folder.write("graph", age_seconds=3600)
    assert folder.look().waiting_for == "weights is not there yet"


def test_an_empty_folder_waits_for_files(folder: Folder) -> None:
    folder.needed = set()
    for _ in range(3):
        assert folder.look().waiting_for == "the folder is empty"
        assert folder.admission.is_pending


# After it was admitted.


@pytest.fixture
def admitted(folder: Folder) -> Folder:
    folder.write_all()
    folder.look()
    assert folder.look().waiting_for == ""
    return folder


def test_an_untouched_folder_keeps_its_fingerprint(admitted: Folder) -> None:
    fingerprint = admitted.admission.fingerprint
    for _ in range(3):
        assert admitted.look().fingerprint == fingerprint
        assert not admitted.admission.is_pending


def test_changed_content_gets_a_new_fingerprint_once_it_is_quiet_again(admitted: Folder) -> None:
    fingerprint = admitted.admission.fingerprint
    for size in range(2, 5):
        admitted.write("weights", size)
        assert admitted.look().fingerprint == fingerprint
        assert admitted.admission.waiting_for == ""
        assert admitted.admission.is_pending
    assert admitted.look().fingerprint != fingerprint
    assert not admitted.admission.is_pending


def test_changed_content_gets_a_new_fingerprint_only_when_it_is_complete_again(admitted: Folder) -> None:
    fingerprint = admitted.admission.fingerprint
    del admitted.files["weights"]
    for _ in range(3):
        assert admitted.look().fingerprint == fingerprint
        assert admitted.admission.waiting_for == ""
        assert admitted.admission.is_pending
    admitted.write("weights", 2)
    assert admitted.look().fingerprint == fingerprint
    assert admitted.look().fingerprint != fingerprint


@pytest.mark.parametrize("name", ["graph", "assets.extra/warmup"])
def test_every_file_counts_for_the_fingerprint(admitted: Folder, name: str) -> None:
    fingerprint = admitted.admission.fingerprint
    admitted.write(name, 7)
    admitted.look()
    assert admitted.look().fingerprint != fingerprint


def test_the_same_content_written_anew_counts_as_new(admitted: Folder) -> None:
    fingerprint = admitted.admission.fingerprint
    admitted.write_all()
    admitted.look()
    assert admitted.look().fingerprint != fingerprint


def test_an_admitted_version_stays_admitted_while_its_folder_is_empty_or_unreadable(admitted: Folder) -> None:
    fingerprint = admitted.admission.fingerprint
    admitted.unreadable = PermissionError(13, "Permission denied")
    assert admitted.look().waiting_for == ""
    admitted.unreadable = None
    admitted.files.clear()
    admitted.look()
    assert admitted.look().waiting_for == ""
    assert admitted.admission.fingerprint == fingerprint


# A folder that cannot be read.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "the folder cannot be read: Permission denied"),
        (TimeoutError("the share is away"), "the folder cannot be read: the share is away"),
    ],
)
def test_an_unreadable_folder_waits_and_says_why(folder: Folder, error: OSError, reason: str) -> None:
    folder.write_all()
    folder.unreadable = error
    for _ in range(3):
        assert folder.look().waiting_for == reason
        assert folder.admission.is_pending
    folder.unreadable = None
    folder.look()
    assert folder.look().waiting_for == ""


def test_a_part_that_cannot_be_read_is_waited_for(folder: Folder) -> None:
    folder.write_all(age_seconds=3600)
    folder.unreadable_parts = PermissionError(13, "Permission denied")
    assert folder.look().waiting_for == "the folder cannot be read: Permission denied"
    folder.unreadable_parts = None
    assert folder.look().waiting_for == ""


def test_a_missing_folder_waits(tmp_path: Path) -> None:
    admission = VersionAdmission(tmp_path / "1", LocalStorage(), lambda path: None, FakeClock())
    admission.look()
    assert admission.waiting_for == "the folder cannot be read: No such file or directory"


# Any copy.

Step = Callable[[Folder], object]


def writing(name: str, size: int) -> Step:
    return lambda folder: folder.write(name, size)


looking = st.just(Folder.look)
copying = st.builds(writing, st.sampled_from(["graph", "weights", "extra"]), st.integers(1, 3))


@given(st.lists(st.one_of(looking, copying), max_size=30))
def test_no_version_is_admitted_unless_it_was_complete_and_the_same_at_the_look_before(steps: list[Step]) -> None:
    folder = Folder()
    looks: list[Snapshot] = []
    for step in steps:
        if step is Folder.look:
            before = folder.admission.fingerprint
            looks.append(dict(folder.files))
            folder.look()
            if folder.admission.fingerprint != before:
                assert len(looks) > 1
                assert looks[-1] == looks[-2]
                assert folder.needed <= folder.files.keys()
        else:
            step(folder)
    folder.write_all()
    folder.look()
    assert folder.look().waiting_for == ""
    assert not folder.admission.is_pending
