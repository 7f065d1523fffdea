"""Contract 3.6: version labels and reloads. The server does not allow labels for unavailable versions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support.contract import Publish, Reloadable, post


@pytest.fixture
def entry(publish: Publish) -> Callable[..., str]:
    """An entry for versions 1 and 2 of `labelled`, and the labels given."""
    found = publish("labelled", {"1": 1, "2": 2}, "model_version_policy { all {} }")

    def with_labels(labels: Mapping[str, int]) -> str:
        return found + "".join(f" version_labels {{ key: '{key}' value: {value} }}" for key, value in labels.items())

    return with_labels


def label_error(reloadable: Reloadable, label: str) -> str:
    return post(reloadable.server, f"labelled/labels/{label}:predict", '{"inputs": 1.0}').error


def test_labels_of_a_new_model_take_effect_with_their_versions_which_is_better_than_two_reloads(
    reloadable: Reloadable, entry: Callable[..., str]
) -> None:
    reloadable.reload(entry({"stable": 1, "canary": 2}))
    reloadable.wait_available("labelled", 1, 2)
    assert reloadable.answer("labelled/labels/stable") == 1.0
    assert reloadable.answer("labelled/labels/canary") == 2.0


def test_a_label_moves_between_versions_that_are_available(reloadable: Reloadable, entry: Callable[..., str]) -> None:
    reloadable.reload(entry({"stable": 1}))
    reloadable.wait_available("labelled", 1, 2)
    reloadable.reload(entry({"stable": 2}))
    assert reloadable.answer("labelled/labels/stable") == 2.0


def test_a_label_does_not_move_to_a_version_that_is_not_available(
    reloadable: Reloadable, entry: Callable[..., str]
) -> None:
    reloadable.reload(entry({"stable": 1}))
    reloadable.wait_available("labelled", 1, 2)
    code, text = reloadable.refusal(entry({"stable": 9}))
    assert code == "FAILED_PRECONDITION"
    assert text.startswith(
        "Request to assign label to version 9 of model labelled, which is not currently available for inference"
    )
    assert reloadable.answer("labelled/labels/stable") == 1.0


def test_labels_absent_from_the_new_config_disappear(reloadable: Reloadable, entry: Callable[..., str]) -> None:
    reloadable.reload(entry({"stable": 1, "canary": 2}))
    reloadable.wait_available("labelled", 1, 2)
    reloadable.reload(entry({"canary": 2}))
    assert label_error(reloadable, "stable").startswith("Unrecognized servable version label: stable")


def test_no_label_is_built_in(reloadable: Reloadable, entry: Callable[..., str]) -> None:
    reloadable.reload(entry({}))
    reloadable.wait_available("labelled", 1, 2)
    for label in ("stable", "canary", "latest"):
        assert label_error(reloadable, label).startswith(f"Unrecognized servable version label: {label}")


def test_an_unchanged_label_whose_version_is_gone_refuses_no_reload_which_is_better(
    reloadable: Reloadable, entry: Callable[..., str], tmp_path: Path
) -> None:
    reloadable.reload(entry({"stable": 1}))
    reloadable.wait_available("labelled", 1, 2)
    shutil.rmtree(tmp_path / "labelled" / "1")
    reloadable.wait_available("labelled", 2)
    reloadable.reload(entry({"stable": 1, "canary": 2}))
    assert reloadable.answer("labelled/labels/canary") == 2.0
    assert label_error(reloadable, "stable").startswith("Servable not found for request: Specific(labelled, 1)")
