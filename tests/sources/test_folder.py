from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import All, Latest, Specific, VersionPolicy
from hotserve.sources.folder import ModelFolder, WatchedModel
from hotserve.sources.local import LocalStorage
from hotserve.sources.storage import FileStamp, Snapshot
from hotserve.testing import FakeClock

BASE = Path("/models/m")
LONG_AGO = FileStamp(1, 0, 0)


class Disk:
    """A base path in memory. A version is complete when it has the file `model`."""

    def __init__(self) -> None:
        self.exists = True
        self.folders: dict[str, dict[str, FileStamp]] = {}
        self.looked_at: list[str] = []
        self.platforms: set[str] = set()

    def add(self, *names: str, complete: bool = True) -> None:
        for name in names:
            self.folders[name] = {"model" if complete else "part": LONG_AGO}

    def children(self, path: Path) -> Sequence[str]:
        assert path == BASE
        if not self.exists:
            raise FileNotFoundError(2, "No such file or directory")
        return list(self.folders)

    def snapshot(self, path: Path) -> Snapshot:
        self.looked_at.append(path.name)
        return dict(self.folders[path.name])

    def missing_parts(self, path: Path, platform: str) -> str | None:
        self.platforms.add(platform)
        files = self.folders if path == BASE else self.folders[path.name]
        return None if "model" in files else "model is not there yet"


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def watch(disk: Disk, policy: VersionPolicy, clock: FakeClock | None = None) -> ModelFolder:
    return ModelFolder(WatchedModel("m", BASE, policy, "caffe"), disk, disk.missing_parts, clock or FakeClock())


def look(folder: ModelFolder) -> dict[int, str]:
    """Finds, and returns the aspired versions with what they wait for, or `ready`."""
    assert folder.find()
    return {version.id.version: version.waiting_for or "ready" for version in folder.aspired()}


WAITING = "model is not there yet"
COPYING = "its files are still changing, or have only just appeared"


# Policies.


@pytest.mark.parametrize(
    ("policy", "complete", "incomplete", "aspired"),
    [
        (Latest(), "1 2 10", "", {10: "ready"}),
        (Latest(0), "1 2", "", {2: "ready"}),
        (Latest(2), "1 2 3", "", {2: "ready", 3: "ready"}),
        (Latest(5), "1 2", "", {1: "ready", 2: "ready"}),
        (Latest(), "1 2", "3", {2: "ready", 3: WAITING}),
        (Latest(), "1 2", "3 4", {2: "ready", 3: WAITING, 4: WAITING}),
        (Latest(2), "1 2 4", "3 5", {2: "ready", 3: WAITING, 4: "ready", 5: WAITING}),
        (Latest(), "2 3", "1", {3: "ready"}),
        (Latest(), "", "1 2", {1: WAITING, 2: WAITING}),
        (All(), "1 3", "2", {1: "ready", 2: WAITING, 3: "ready"}),
        (Specific((1, 3)), "1 2 3", "", {1: "ready", 3: "ready"}),
        (Specific((1, 2)), "1 3", "2", {1: "ready", 2: WAITING}),
        (Specific((1, 9)), "1 2", "", {1: "ready"}),
        (Specific((9,)), "1 2", "", {}),
        (Specific(()), "1 2", "", {}),
    ],
)
def test_the_policy_picks_and_complete_versions_serve_beside_those_that_wait(
    disk: Disk, policy: VersionPolicy, complete: str, incomplete: str, aspired: dict[int, str]
) -> None:
    disk.add(*complete.split())
    disk.add(*incomplete.split(), complete=False)
    folder = watch(disk, policy)
    assert look(folder) == aspired
    assert folder.is_pending == (WAITING in aspired.values())


@pytest.mark.parametrize("policy", [Latest(), Specific((3,))])
def test_versions_that_are_not_wanted_are_not_looked_into(disk: Disk, policy: VersionPolicy) -> None:
    disk.add("1", "2", "3")
    look(watch(disk, policy))
    assert disk.looked_at == ["3"]


def test_the_configured_platform_reaches_what_looks_for_missing_parts(disk: Disk) -> None:
    disk.add("1")
    look(watch(disk, Latest()))
    assert disk.platforms == {"caffe"}


def test_an_aspired_version_names_its_model_its_folder_and_its_content(disk: Disk) -> None:
    disk.add("0007")
    folder = watch(disk, Latest())
    assert folder.find()
    (version,) = folder.aspired()
    assert (version.id.name, version.id.version, version.path) == ("m", 7, BASE / "0007")
    assert version.fingerprint != ""


def test_versions_come_in_ascending_order(disk: Disk) -> None:
    disk.add("10", "9", "100")
    folder = watch(disk, All())
    assert folder.find()
    assert [version.id.version for version in folder.aspired()] == [9, 10, 100]


# From look to look.


def test_a_new_version_waits_beside_the_old_one_and_then_takes_its_place(disk: Disk, clock: FakeClock) -> None:
    disk.add("1")
    folder = watch(disk, Latest(), clock)
    assert look(folder) == {1: "ready"}
    disk.folders["2"] = {"part": _now(clock)}
    assert look(folder) == {1: "ready", 2: COPYING}
    assert look(folder) == {1: "ready", 2: WAITING}
    disk.folders["2"]["model"] = _now(clock)
    assert look(folder) == {1: "ready", 2: COPYING}
    assert look(folder) == {2: "ready"}
    assert not folder.is_pending


def test_when_the_newest_version_is_deleted_the_next_one_takes_its_place(disk: Disk) -> None:
    disk.add("1", "2")
    folder = watch(disk, Latest())
    assert look(folder) == {2: "ready"}
    del disk.folders["2"]
    assert look(folder) == {1: "ready"}


def test_the_fingerprint_follows_the_content(disk: Disk) -> None:
    disk.add("1")
    folder = watch(disk, Latest())

    def fingerprint() -> str:
        assert folder.find()
        (version,) = folder.aspired()
        return version.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    disk.folders["1"]["model"] = FileStamp(2, 0, 0)
    assert fingerprint() != before


def test_a_version_whose_folder_is_renamed_to_a_twin_is_looked_at_anew(disk: Disk, clock: FakeClock) -> None:
    disk.add("001")
    folder = watch(disk, Latest(), clock)
    assert look(folder) == {1: "ready"}
    del disk.folders["001"]
    disk.folders["1"] = {"part": LONG_AGO}
    assert look(folder) == {1: WAITING}


def test_a_version_that_was_deleted_and_comes_back_is_looked_at_anew(disk: Disk) -> None:
    disk.add("1")
    folder = watch(disk, Latest())
    assert look(folder) == {1: "ready"}
    disk.folders.clear()
    assert look(folder) == {}
    disk.add("1", complete=False)
    assert look(folder) == {1: WAITING}


def test_what_one_look_has_listed_the_next_aspired_still_describes(disk: Disk) -> None:
    # The poller that looks once lists once, and then follows what it has found.
    disk.add("1", complete=False)
    folder = watch(disk, Latest())
    assert look(folder) == {1: WAITING}
    disk.add("1", "2")
    assert [_short(version) for version in folder.aspired()] == [(1, "")]


def test_lower_versions_that_have_only_just_appeared_are_not_told_beside_the_newest(
    disk: Disk, clock: FakeClock
) -> None:
    for name in ("1", "2", "3"):
        disk.folders[name] = {"model": _now(clock)}
    folder = watch(disk, Latest(), clock)
    assert look(folder) == {3: COPYING}
    assert folder.is_pending
    clock.advance(1.0)
    assert look(folder) == {3: "ready"}


def test_a_lower_version_stands_in_as_soon_as_it_is_whole(disk: Disk, clock: FakeClock) -> None:
    for name in ("1", "2"):
        disk.folders[name] = {"model": _now(clock)}
    disk.folders["3"] = {"part": _now(clock)}
    folder = watch(disk, Latest(), clock)
    assert look(folder) == {3: COPYING}
    clock.advance(1.0)
    assert look(folder) == {2: "ready", 3: WAITING}


def test_a_version_that_was_told_stays_told_when_its_folder_is_renamed(disk: Disk, clock: FakeClock) -> None:
    disk.add("002")
    disk.add("3", complete=False)
    folder = watch(disk, Latest(), clock)
    assert look(folder) == {2: "ready", 3: WAITING}
    del disk.folders["002"]
    disk.folders["2"] = {"model": _now(clock)}
    assert look(folder) == {2: COPYING, 3: WAITING}


# A base path that cannot be used.


def test_a_missing_base_path_is_a_problem_and_concludes_nothing(disk: Disk) -> None:
    disk.exists = False
    folder = watch(disk, Latest())
    assert not folder.find()
    assert folder.problem == (
        "Could not find base path /models/m for servable m: No such file or directory. It is served when it appears."
    )


def test_a_base_path_that_is_no_folder_is_a_problem_until_it_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    folder = ModelFolder(WatchedModel("m", tmp_path / "m", Latest()), LocalStorage(), lambda *_: None, FakeClock())
    assert not folder.find()
    assert folder.problem.endswith("Not a directory. It is served when it can be read.")


def test_a_base_path_that_appears_later_is_served_then(disk: Disk) -> None:
    disk.exists = False
    folder = watch(disk, Latest())
    assert not folder.find()
    disk.exists = True
    disk.add("1")
    assert look(folder) == {1: "ready"}
    assert folder.problem == ""


def test_nothing_is_forgotten_of_a_base_path_that_was_away_for_a_while(disk: Disk) -> None:
    disk.add("1")
    folder = watch(disk, Latest())
    assert folder.find()
    before = folder.aspired()
    disk.exists = False
    assert not folder.find()
    assert folder.problem != ""
    disk.exists = True
    assert folder.find()
    assert folder.aspired() == before
    assert folder.problem == ""


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ((), ""),
        (("v1", "model.onnx", "-1"), " There is: -1, model.onnx, v1."),
        (("a", "b", "c", "d", "e", "f"), " There is: a, b, c, d, e, and 1 more."),
        (("model", "assets"), " The folder holds a model itself: move that into a folder of its version, /models/m/1."),
    ],
)
def test_a_base_path_without_versions_is_a_problem_and_aspires_nothing(
    disk: Disk, names: tuple[str, ...], hint: str
) -> None:
    disk.add(*names)
    folder = watch(disk, Latest())
    assert look(folder) == {}
    assert folder.problem == (
        "No versions of servable m found under base path /models/m."
        f" Did you forget to name your leaf directory as a number (eg. '/1/')?{hint}"
    )
    disk.add("1")
    assert look(folder) == {1: "ready"}
    assert folder.problem == ""


def test_a_version_that_is_given_as_the_base_path_is_told_from_one(tmp_path: Path) -> None:
    version = tmp_path / "m" / "3"
    version.mkdir(parents=True)
    (version / "model").touch()
    folder = ModelFolder(WatchedModel("m", version, Latest()), LocalStorage(), lambda *_: None, FakeClock())
    assert look(folder) == {}
    assert folder.problem.endswith(f"The folder is a version itself: give {tmp_path / 'm'} as the base path.")


def test_a_problem_follows_what_is_put_into_the_base_path(disk: Disk) -> None:
    folder = watch(disk, Latest())
    look(folder)
    disk.add("v1")
    look(folder)
    assert folder.problem.endswith("There is: v1.")


def test_a_policy_that_none_of_the_versions_fits_is_a_problem(disk: Disk) -> None:
    disk.add("1", "2")
    folder = watch(disk, Specific((7,)))
    assert look(folder) == {}
    assert folder.problem.startswith(
        "Version 7 of servable m, which was requested to be served as a 'specific' version"
    )
    assert folder.problem.endswith("was not found in the file system. Versions in /models/m: 1, 2.")
    disk.add("7")
    assert look(folder) == {7: "ready"}
    assert folder.problem == ""


def test_a_problem_is_logged_once_and_again_when_it_comes_back(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    folder = watch(disk, Latest())

    def warnings() -> int:
        return sum("Could not find base path" in record.getMessage() for record in caplog.records)

    with caplog.at_level(logging.WARNING):
        disk.exists = False
        folder.find()
        folder.find()
        assert warnings() == 1
        disk.exists = True
        disk.add("1")
        folder.find()
        disk.exists = False
        folder.find()
        assert warnings() == 2


# What users should hear of.


def test_two_folders_for_one_version_are_told_once_with_the_one_that_is_used(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add("1", "001")
    folder = watch(disk, Latest())
    look(folder)
    look(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "Version 1 of servable m has several folders (001, 1); using 1."
    ]
    assert disk.looked_at == ["1", "1"]


def test_a_specific_version_that_is_not_there_is_told_once_in_the_words_of_the_original(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add("1")
    folder = watch(disk, Specific((1, 4)))
    look(folder)
    look(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "Version 4 of servable m, which was requested to be served as a 'specific' version in the servable's version"
        " policy, was not found in the file system"
    ]


def test_a_version_that_is_stuck_is_told_once(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.add("1", complete=False)
    folder = watch(disk, Latest())
    look(folder)
    assert caplog.records == []
    look(folder)
    look(folder)
    assert [record.getMessage() for record in caplog.records] == [
        f"Version 1 of servable m is not loaded, because it is not complete: {WAITING}."
        " It is looked at again and again."
    ]


def test_a_version_whose_model_is_replaced_is_told_once(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.add("1")
    folder = watch(disk, Latest())
    look(folder)
    disk.folders["1"]["model"] = FileStamp(2, 0, 0)
    assert look(folder) == {1: "ready"}
    look(folder)
    disk.folders["1"]["model"] = FileStamp(3, 0, 0)
    look(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "The files of version 1 of servable m have changed. A version that serves is not loaded again: give another"
        " model a number of its own."
    ]


def test_what_is_put_beside_a_model_and_other_permissions_make_it_no_other(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add("1")
    folder = watch(disk, Latest())
    look(folder)
    disk.folders["1"]["assets.extra/tf_serving_warmup_requests"] = LONG_AGO
    look(folder)
    disk.folders["1"]["model"] = FileStamp(LONG_AGO.size, LONG_AGO.modified_ns, LONG_AGO.changed_ns + 1)
    look(folder)
    assert caplog.records == []


def test_a_version_that_is_being_copied_is_not_told_as_stuck(
    disk: Disk, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = watch(disk, Latest(), clock)
    for _ in range(5):
        disk.folders["1"] = {"part": _now(clock)}
        assert look(folder) == {1: COPYING}
        clock.advance(1.0)
    assert caplog.records == []


def _now(clock: FakeClock) -> FileStamp:
    return FileStamp(1, 0, int(clock.now * 1e9))


def _short(version: AspiredVersion) -> tuple[int, str]:
    return version.id.version, version.waiting_for
