from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.served_versions import ModelSpec
from hotserve.core.version_policy import All, Latest, Specific
from hotserve.errors import InvalidArgument, ServingError
from hotserve.handlers.reload_config import ModelOutcome, Outcome
from support.reloading import MODEL_FILE, PATIENCE, Reloading
from support.server_process import wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Reloading]:
    """Models `a` and `b`, both of version 1."""
    with Reloading(tmp_path) as made:
        made.add("a", 1)
        made.add("b", 1)
        made.reload(made.config("a"), made.config("b"))
        made.told.clear()
        yield made


def label_of(served: Reloading, name: str, label: str) -> int:
    with served.manager.lease(ModelSpec(name, label=label)) as lease:
        return lease.id.version


def test_a_new_model_answers_when_the_wait_is_over(served: Reloading) -> None:
    served.add("c", 4)
    outcomes = served.reload(served.config("a"), served.config("b"), served.config("c"))
    assert outcomes == {"c": ModelOutcome("c", Outcome.AVAILABLE)}
    assert served.available("c") == {4}


def test_a_model_that_is_left_out_is_unloaded_and_not_counted_for_readiness(served: Reloading) -> None:
    served.reload(served.config("b"))
    wait_until(lambda: not served.available("a"), PATIENCE)
    readiness = served.health.readiness()
    assert (readiness.ready, dict(readiness.models)) == (True, {"b": "AVAILABLE"})
    assert served.available("b") == {1}


def test_a_model_that_was_left_out_can_come_back(served: Reloading) -> None:
    served.reload(served.config("b"))
    served.reload(served.config("a"), served.config("b"))
    # It may have been on its way out: then it loads anew once it is gone.
    wait_until(lambda: served.available("a") == {1}, PATIENCE)


def test_the_same_list_again_changes_nothing_and_tells_nobody(served: Reloading) -> None:
    change = served.reloader.apply([served.config("b"), served.config("a")])
    assert change.is_empty
    assert served.told == []


def test_the_new_list_is_handed_on(served: Reloading) -> None:
    served.reload(served.config("a"))
    assert served.told == [(served.config("a"),)]


@pytest.mark.parametrize(
    ("names", "platform", "text"),
    [
        ("aa", "", "INVALID_ARGUMENT: Illegal to list model a multiple times in config list"),
        ("ac", "cobol", "INVALID_ARGUMENT: Model c requests unsupported platform cobol"),
        ("a", "onnx", "INVALID_ARGUMENT: Illegal to change a model's platform. For model a platform was any"),
    ],
)
def test_a_list_with_one_bad_entry_is_refused_as_a_whole(
    served: Reloading, names: str, platform: str, text: str
) -> None:
    entries = [served.config(name, platform=platform if name == names[-1] else "") for name in names]
    assert served.refusal(*entries).startswith(text)
    assert served.available("a") == served.available("b") == {1}


def test_a_new_model_that_fails_says_why_and_holds_back_nobody(served: Reloading) -> None:
    served.add("good", 1)
    served.loader.fail(served.add("bad", 3), InvalidArgument("broken"))
    outcomes = served.reload(*map(served.config, ("a", "b", "bad", "good")))
    assert outcomes["good"].outcome is Outcome.AVAILABLE
    assert outcomes["bad"].outcome is Outcome.FAILED
    assert outcomes["bad"].id == ServableId("bad", 3)
    assert str(outcomes["bad"].error) == "INVALID_ARGUMENT: broken"
    assert served.available("a") == {1}


def test_a_new_model_counts_as_failed_only_if_none_of_its_versions_answers(served: Reloading) -> None:
    served.add("c", 1)
    served.loader.fail(served.add("c", 2), InvalidArgument("broken"))
    outcomes = served.reload(served.config("a"), served.config("c", version_policy=Latest(2)))
    assert outcomes["c"].outcome is Outcome.AVAILABLE


def test_a_base_path_that_is_missing_is_told_at_once_and_holds_back_nobody(served: Reloading) -> None:
    served.add("c", 1)
    outcomes = served.reload(*map(served.config, ("a", "b", "missing", "c")))
    assert outcomes["c"].outcome is Outcome.AVAILABLE
    assert outcomes["missing"].outcome is Outcome.WAITING
    assert "Could not find base path" in outcomes["missing"].detail
    served.add("missing", 1)
    wait_until(lambda: served.available("missing") == {1}, PATIENCE)


def test_a_version_that_is_incomplete_is_waited_for_a_while(served: Reloading) -> None:
    folder = served.add("c", 1, complete=False)
    finished = threading.Timer(0.2, lambda: (folder / MODEL_FILE).write_bytes(b"1"))
    finished.start()
    assert served.reload(served.config("a"), served.config("c"))["c"].outcome is Outcome.AVAILABLE
    finished.join()


def test_a_wait_that_is_over_says_what_the_model_lacks(served: Reloading) -> None:
    served.add("c", 1, complete=False)
    outcome = served.reload(served.config("c"), timeout_seconds=0.2)["c"]
    assert (outcome.outcome, outcome.detail) == (
        Outcome.WAITING,
        f"version 1 is START, waiting: {MODEL_FILE} is not there yet",
    )


def test_a_load_that_takes_longer_than_the_wait_goes_on(tmp_path: Path) -> None:
    with Reloading(tmp_path, hold=True) as served:
        folder = served.add("slow", 1)
        outcome = served.reload(served.config("slow"), timeout_seconds=0.2)["slow"]
        assert (outcome.outcome, outcome.detail) == (Outcome.WAITING, "version 1 is LOADING")
        served.loader.finish(folder)
        assert served.outcomes("slow")["slow"].outcome is Outcome.AVAILABLE


def test_a_model_that_a_later_reload_removes_is_not_waited_for(tmp_path: Path) -> None:
    with Reloading(tmp_path, hold=True) as served:
        folder = served.add("slow", 1)
        served.reloader.apply([served.config("slow")])
        served.reloader.apply([])
        assert served.outcomes("slow")["slow"].outcome is Outcome.REMOVED
        served.loader.finish(folder)


def test_a_model_that_failed_in_an_earlier_life_is_judged_by_this_one(served: Reloading) -> None:
    served.loader.fail(served.add("c", 1), InvalidArgument("broken"))
    served.reload(served.config("c"))
    served.reload()
    (served.folder / "c").rename(served.folder / "away")
    assert served.reload(served.config("c"))["c"].outcome is Outcome.WAITING


def test_a_kept_model_answers_from_its_new_base_path_once_that_is_there(served: Reloading) -> None:
    outcomes = served.reload(served.config("b"), ModelConfig("a", served.folder / "elsewhere"))
    assert outcomes["a"].outcome is Outcome.WAITING
    assert outcomes["a"].detail.endswith("Until then it goes on as it is")
    assert served.available("a") == {1}
    served.add("elsewhere", 2)
    wait_until(lambda: served.available("a") == {2}, PATIENCE)


def test_another_policy_serves_other_versions(served: Reloading) -> None:
    served.add("a", 2)
    wait_until(lambda: served.available("a") == {2}, PATIENCE)
    served.reload(served.config("a", version_policy=All()))
    wait_until(lambda: served.available("a") == {1, 2}, PATIENCE)
    served.reload(served.config("a", version_policy=Specific((1,))))
    wait_until(lambda: served.available("a") == {1}, PATIENCE)


def test_a_label_and_its_version_may_come_in_one_reload(served: Reloading) -> None:
    served.add("c", 7)
    served.reload(served.config("c", version_labels={"canary": 7}))
    assert label_of(served, "c", "canary") == 7


def test_a_version_that_a_label_stands_for_is_waited_for_beside_others_that_answer(tmp_path: Path) -> None:
    with Reloading(tmp_path, hold=True) as served:
        first, second = served.add("a", 1), served.add("a", 2)
        served.loader.finish(second)
        both = served.config("a", version_policy=All(), version_labels={"stable": 1})
        served.reload(both, timeout_seconds=0)
        wait_until(lambda: served.available("a") == {2}, PATIENCE)
        assert served.outcomes("a", timeout_seconds=0.2) == {
            "a": ModelOutcome("a", Outcome.WAITING, "its label stable takes effect when version 1 is AVAILABLE")
        }
        served.loader.finish(first)
        assert served.outcomes("a") == {"a": ModelOutcome("a", Outcome.AVAILABLE)}
        assert label_of(served, "a", "stable") == 1


@pytest.mark.parametrize("labelled", [1, 3], ids=["incomplete", "absent"])
def test_a_label_of_a_version_that_does_not_come_holds_back_nobody(served: Reloading, labelled: int) -> None:
    served.add("c", 1, complete=False)
    served.add("c", 2)
    config = served.config("c", version_policy=All(), version_labels={"stable": labelled})
    assert served.reload(config) == {"c": ModelOutcome("c", Outcome.AVAILABLE)}
    assert served.available("c") == {2}


def test_a_label_in_use_moves_only_to_a_version_that_answers(served: Reloading) -> None:
    both = Specific((1, 2))
    served.reload(served.config("a", version_policy=both, version_labels={"stable": 1}))
    assert label_of(served, "a", "stable") == 1
    moved = served.config("a", version_policy=both, version_labels={"stable": 2})
    assert served.refusal(moved).startswith(
        "FAILED_PRECONDITION: Request to assign label to version 2 of model a, which is not currently available for"
        " inference"
    )
    assert label_of(served, "a", "stable") == 1
    served.add("a", 2)
    wait_until(lambda: served.available("a") == {1, 2}, PATIENCE)
    served.reload(moved)
    assert label_of(served, "a", "stable") == 2


def test_labels_that_are_left_out_disappear_also_those_of_a_model_that_is_left_out(served: Reloading) -> None:
    labelled = [served.config(name, version_labels={"stable": 1}) for name in "ab"]
    served.reload(*labelled)
    served.reload(served.config("a"))
    for name in "ab":
        with pytest.raises(ServingError, match="Unrecognized servable version label: stable"):
            label_of(served, name, "stable")
