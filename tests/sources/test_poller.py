from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import All, Latest, VersionPolicy
from hotserve.sources.folder import WatchedModel
from hotserve.sources.local import LocalStorage
from hotserve.sources.poller import Poller
from hotserve.sources.storage import Snapshot, Storage

PATIENCE = 30.0
"""Seconds until a test gives up; nothing here takes that long unless it fails."""

POLL_SECONDS = 0.02

Lists = Mapping[str, list[str]]


class Target:
    """Records what it is told: model -> its last list, each version as `3`, or as `3?` while it waits."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self._changed = threading.Condition()

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        with self._changed:
            self.calls.append((name, [f"{v.id.version}{'?' if v.waiting_for else ''}" for v in versions]))
            self._changed.notify_all()

    @property
    def last(self) -> Lists:
        return dict(self.calls)

    def wait_for(self, lists: Lists) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.last == lists, PATIENCE), self.last

    def wait_for_more(self, calls: int) -> None:
        """Waits until it was told so many times more."""
        with self._changed:
            total = len(self.calls) + calls
            assert self._changed.wait_for(lambda: len(self.calls) >= total, PATIENCE)


class FlakyStorage(LocalStorage):
    """Some folders cannot be listed or read, or listing them goes wrong in ways that no storage should."""

    def __init__(self) -> None:
        self.errors: dict[Path, Exception] = {}

    def children(self, path: Path) -> Sequence[str]:
        if path in self.errors:
            raise self.errors[path]
        return super().children(path)

    def snapshot(self, path: Path) -> Snapshot:
        if path in self.errors:
            raise self.errors[path]
        return super().snapshot(path)


def missing_parts(path: Path, platform: str) -> str | None:
    return None if (path / "model").exists() else "model is not there yet"


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


MakePoller = Callable[..., Poller]


@pytest.fixture
def poller_of(tmp_path: Path, target: Target, storage: Storage) -> Iterator[MakePoller]:
    """Makes pollers of models under `tmp_path`, and stops them in the end."""
    made: list[Poller] = []

    def make(
        *names: str,
        policy: VersionPolicy | None = None,
        poll_wait_seconds: float = POLL_SECONDS,
        parts: Callable[[Path, str], str | None] = missing_parts,
        clock: Callable[[], float] = lambda: time.time() + 3600,  # whatever is there counts as old
    ) -> Poller:
        models = [WatchedModel(name, tmp_path / name, policy or Latest()) for name in names]
        made.append(Poller(models, target, storage, parts, poll_wait_seconds, clock))
        return made[-1]

    yield make
    for poller in made:
        poller.stop()


def add(base_path: Path, version: str, *, complete: bool = True) -> Path:
    folder = base_path / version
    folder.mkdir(parents=True)
    (folder / ("model" if complete else "part")).write_bytes(b"1")
    return folder


# One look.


def test_a_look_tells_the_aspired_versions_of_every_model(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    add(tmp_path / "a", "1")
    add(tmp_path / "a", "2", complete=False)
    add(tmp_path / "b", "7")
    poller_of("a", "b").look()
    assert target.calls == [("a", ["1", "2?"]), ("b", ["7"])]


def test_a_base_path_without_versions_is_told_as_an_empty_list(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    (tmp_path / "a").mkdir()
    poller = poller_of("a")
    poller.look()
    assert target.calls == [("a", [])]
    assert "No versions of servable a found" in poller.problems["a"]


def test_a_missing_base_path_holds_back_no_other_model_and_is_named_as_a_problem(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    add(tmp_path / "b", "1")
    poller = poller_of("a", "b")
    poller.look()
    assert target.calls == [("b", ["1"])]
    assert list(poller.problems) == ["a"]
    assert poller.problems["a"].startswith(f"Could not find base path {tmp_path / 'a'} for servable a:")


def test_a_base_path_that_goes_away_unloads_nothing(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    add(tmp_path / "a", "1")
    poller = poller_of("a")
    poller.look()
    (tmp_path / "a").rename(tmp_path / "away")
    poller.look()
    assert target.calls == [("a", ["1"])]
    assert list(poller.problems) == ["a"]
    (tmp_path / "away").rename(tmp_path / "a")
    poller.look()
    assert target.calls == [("a", ["1"])] * 2
    assert poller.problems == {}


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error"), RuntimeError("a bug")]
)
def test_a_storage_that_fails_is_silence_about_its_model_only(
    tmp_path: Path, target: Target, storage: FlakyStorage, poller_of: MakePoller, error: Exception
) -> None:
    add(tmp_path / "a", "1")
    add(tmp_path / "b", "1")
    poller = poller_of("a", "b")
    poller.look()
    storage.errors[tmp_path / "a"] = error
    poller.look()
    assert target.calls[2:] == [("b", ["1"])]
    storage.errors.clear()
    poller.look()
    assert target.calls[3:] == [("a", ["1"]), ("b", ["1"])]


def test_a_version_folder_that_cannot_be_read_waits_and_holds_back_no_other(
    tmp_path: Path, target: Target, storage: FlakyStorage, poller_of: MakePoller
) -> None:
    add(tmp_path / "a", "1")
    storage.errors[add(tmp_path / "a", "2")] = PermissionError(13, "Permission denied")
    poller_of("a").look()
    assert target.last == {"a": ["1", "2?"]}


def test_a_check_of_the_parts_that_goes_wrong_is_logged_and_concerns_its_model_only(
    tmp_path: Path, target: Target, poller_of: MakePoller, caplog: pytest.LogCaptureFixture
) -> None:
    add(tmp_path / "a", "1")
    add(tmp_path / "b", "1")

    def parts(path: Path, platform: str) -> str | None:
        if path.parent.name == "a":
            raise ValueError("a bug")
        return None

    poller_of("a", "b", parts=parts).look()
    assert target.calls == [("b", ["1"])]
    assert "Looking for versions of a failed; trying again" in caplog.text
    assert "ValueError: a bug" in caplog.text


# The thread.


def test_the_first_look_is_immediate_and_can_be_waited_for(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    add(tmp_path / "a", "1")
    poller = poller_of("a", "missing", poll_wait_seconds=3600)
    assert not poller.wait_first_look(0)
    poller.start()
    assert poller.wait_first_look(PATIENCE)
    assert target.calls == [("a", ["1"])]


def test_versions_are_followed_as_they_come_and_go(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    poller_of("a").start()
    first = add(tmp_path / "a", "1")
    target.wait_for({"a": ["1"]})
    second = add(tmp_path / "a", "2", complete=False)
    target.wait_for({"a": ["1", "2?"]})
    (second / "model").write_bytes(b"1")
    target.wait_for({"a": ["2"]})
    (second / "model").unlink()
    (second / "part").unlink()
    second.rmdir()
    target.wait_for({"a": ["1"]})
    first.rename(tmp_path / "gone")
    target.wait_for({"a": []})


def test_a_base_path_that_appears_later_is_found(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    add(tmp_path / "b", "1")
    poller_of("a", "b").start()
    target.wait_for({"b": ["1"]})
    add(tmp_path / "elsewhere", "1")
    (tmp_path / "elsewhere").rename(tmp_path / "a")
    target.wait_for({"a": ["1"], "b": ["1"]})


def test_a_new_folder_is_looked_at_again_soon_however_long_the_pause(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    add(tmp_path / "a", "1")
    poller_of("a", poll_wait_seconds=3600, clock=time.time).start()
    target.wait_for({"a": ["1"]})
    assert target.calls == [("a", ["1?"]), ("a", ["1"])]


def test_stop_ends_the_thread_in_the_middle_of_a_pause(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    before = set(threading.enumerate())
    poller = poller_of("a", poll_wait_seconds=3600)
    poller.start()
    assert poller.wait_first_look(PATIENCE)
    (thread,) = set(threading.enumerate()) - before
    poller.stop()
    assert not thread.is_alive()
    poller.stop()


def test_nothing_is_told_after_stop(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    add(tmp_path / "a", "1")
    poller = poller_of("a", poll_wait_seconds=0.001)
    poller.start()
    target.wait_for_more(2)
    poller.stop()
    told = len(target.calls)
    poller.look()
    assert len(target.calls) == told


def test_a_poller_that_was_never_started_can_be_stopped(poller_of: MakePoller) -> None:
    poller_of("a").stop()


# Pauses that mean something.


def test_a_pause_of_zero_lists_the_versions_once(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    add(tmp_path / "a", "1")
    poller = poller_of("a", poll_wait_seconds=0)
    poller.start()
    assert poller.wait_first_look(PATIENCE)
    add(tmp_path / "a", "2")
    poller.look()
    assert target.calls == [("a", ["1"])]


def test_a_pause_of_zero_follows_what_it_has_found_until_that_is_complete(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    folder = add(tmp_path / "a", "1", complete=False)
    poller = poller_of("a", poll_wait_seconds=0)
    poller.start()
    target.wait_for({"a": ["1?"]})
    add(tmp_path / "a", "2")
    (folder / "model").write_bytes(b"1")
    target.wait_for({"a": ["1"]})


def test_a_pause_of_zero_waits_for_a_base_path_that_is_missing(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    poller = poller_of("a", poll_wait_seconds=0)
    poller.start()
    assert poller.wait_first_look(PATIENCE)
    add(tmp_path / "elsewhere", "1")
    (tmp_path / "elsewhere").rename(tmp_path / "a")
    target.wait_for({"a": ["1"]})


def test_a_pause_of_zero_looks_again_after_a_look_that_went_wrong(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    add(tmp_path / "a", "1")
    went_wrong: list[Path] = []

    def parts(path: Path, platform: str) -> str | None:
        if not went_wrong:
            went_wrong.append(path)
            raise ValueError("a bug that goes away")
        return None

    poller_of("a", poll_wait_seconds=0, parts=parts).start()
    target.wait_for({"a": ["1"]})


def test_a_negative_pause_never_looks_and_says_so(
    tmp_path: Path, target: Target, poller_of: MakePoller, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    add(tmp_path / "a", "1")
    poller = poller_of("a", poll_wait_seconds=-1)
    poller.start()
    assert poller.wait_first_look(0)
    assert set(threading.enumerate()) <= before
    poller.stop()
    assert target.calls == []
    assert "--file_system_poll_wait_seconds=-1: the file system is never polled" in caplog.text


# Real file systems.


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_waits(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    folder = add(tmp_path / "a", "1")
    folder.chmod(0)
    poller = poller_of("a")
    poller.look()
    folder.chmod(0o700)
    assert target.calls == [("a", ["1?"])]
    poller.look()
    assert target.last == {"a": ["1"]}


def test_all_versions_of_many_models_are_found_in_one_look(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    names = [f"model-{number:02}" for number in range(30)]
    for name in names:
        for version in ("1", "2", "3"):
            add(tmp_path / name, version)
    poller_of(*names, policy=All()).look()
    assert target.last == {name: ["1", "2", "3"] for name in names}


# Another list of models.


def watched(tmp_path: Path, *names: str, policy: VersionPolicy | None = None) -> list[WatchedModel]:
    return [WatchedModel(name, tmp_path / name, policy or Latest()) for name in names]


def test_another_list_of_models_is_looked_at_at_once(tmp_path: Path, target: Target, poller_of: MakePoller) -> None:
    for name in "ab":
        add(tmp_path / name, "1")
    poller = poller_of("a", poll_wait_seconds=1e6)
    poller.start()
    assert poller.wait_first_look(PATIENCE)
    poller.set_models(watched(tmp_path, "a", "b"))
    assert poller.wait_first_look(PATIENCE)
    assert target.last == {"a": ["1"], "b": ["1"]}


def test_a_model_left_out_is_no_longer_aspired_and_not_looked_at_again(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    for name in "ab":
        add(tmp_path / name, "1")
    poller = poller_of("a", "b")
    poller.look()
    poller.set_models(watched(tmp_path, "b"))
    target.calls.clear()
    poller.look()
    poller.look()
    assert target.calls == [("a", []), ("b", ["1"]), ("b", ["1"])]


@pytest.mark.parametrize("stays_away", [True, False])
def test_a_model_whose_new_base_path_is_missing_keeps_its_versions_until_that_appears(
    tmp_path: Path, target: Target, poller_of: MakePoller, stays_away: bool
) -> None:
    add(tmp_path / "a", "1")
    poller = poller_of("a")
    poller.look()
    target.calls.clear()
    poller.set_models([WatchedModel("a", tmp_path / "elsewhere", Latest())])
    poller.look()
    assert target.calls == []
    assert "Could not find base path" in poller.problems["a"]
    if not stays_away:
        add(tmp_path / "elsewhere", "2")
        poller.look()
        assert target.calls == [("a", ["2"])]


def test_what_is_known_of_a_model_is_kept_when_only_its_policy_changes(
    tmp_path: Path, target: Target, poller_of: MakePoller
) -> None:
    for version in "12":
        add(tmp_path / "a", version)
    poller = poller_of("a", clock=time.time)  # what has just been written has to be seen twice
    poller.look()
    poller.look()
    assert target.last == {"a": ["2"]}
    poller.set_models(watched(tmp_path, "a", policy=Latest(2)))
    poller.look()
    assert target.last == {"a": ["1?", "2"]}


@pytest.mark.parametrize("poll_wait_seconds", [0, 1e6])
def test_a_poller_that_rests_wakes_up_for_another_list(
    tmp_path: Path, target: Target, poller_of: MakePoller, poll_wait_seconds: float
) -> None:
    for version in "12":
        add(tmp_path / "a", version)
    poller = poller_of("a", poll_wait_seconds=poll_wait_seconds)
    poller.start()
    target.wait_for({"a": ["2"]})
    poller.set_models(watched(tmp_path, "a", policy=All()))
    target.wait_for({"a": ["1", "2"]})
    poller.set_models([])
    target.wait_for({"a": []})


def test_a_poller_that_never_looks_ignores_another_list_and_says_so(
    tmp_path: Path, target: Target, poller_of: MakePoller, caplog: pytest.LogCaptureFixture
) -> None:
    poller = poller_of("a", poll_wait_seconds=-1)
    poller.start()
    poller.set_models(watched(tmp_path, "b"))
    assert poller.wait_first_look(0)
    assert "never polled" in caplog.text
    assert target.calls == []
