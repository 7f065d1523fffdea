"""Contract 3.3: which versions are found."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.contract import Publish, Reloadable, base_path_of
from support.server_process import wait_until

POLICIES = {
    "unset": ("", {4}),
    "latest": ("latest {}", {4}),
    "latest_0": ("latest { num_versions: 0 }", {4}),
    "latest_2": ("latest { num_versions: 2 }", {3, 4}),
    "latest_9": ("latest { num_versions: 9 }", {1, 2, 3, 4}),
    "all": ("all {}", {1, 2, 3, 4}),
    "specific": ("specific { versions: 1 versions: 3 }", {1, 3}),
    "specific_missing": ("specific { versions: 2 versions: 9 }", {2}),
    "specific_none": ("specific {}", set[int]()),
}


def test_the_policy_says_which_versions_are_aspired(reloadable: Reloadable, publish: Publish) -> None:
    base = base_path_of(publish("shared", {str(version): version for version in (1, 2, 3, 4)}))
    reloadable.reload(
        *(
            f"name: '{name}' base_path: '{base}' model_platform: 'tensorflow' model_version_policy {{ {policy} }}"
            for name, (policy, _) in POLICIES.items()
        )
    )
    for name, (_, versions) in POLICIES.items():
        reloadable.wait_available(name, *versions)
    assert (
        "Version 9 of servable specific_missing, which was requested to be served as a 'specific' version in the"
        " servable's version policy, was not found in the file system"
    ) in reloadable.server.log()


def test_a_version_is_a_decimal_number_and_everything_else_is_ignored(reloadable: Reloadable, publish: Publish) -> None:
    versions = dict.fromkeys(["00000123", "5", "+6", " 7 "], 1)
    ignored = dict.fromkeys(["8x", "tmp-9", "1e1", "0x10", "1.0", "latest", "１２", "99999999999999999999"], 1)
    reloadable.reload(publish("names", versions | ignored, "model_version_policy { all {} }"))
    reloadable.wait_available("names", 123, 5, 6, 7)
    assert set(reloadable.server.states("names")) == {123, 5, 6, 7}


def test_of_two_names_for_one_number_the_lexicographically_last_is_used(
    reloadable: Reloadable, publish: Publish
) -> None:
    reloadable.reload(publish("twins", {"001": 1, "01": 2, "1": 3}))
    assert reloadable.answer("twins") == 3.0


def test_specific_versions_use_the_plain_name_beside_a_padded_twin(reloadable: Reloadable, publish: Publish) -> None:
    policy = "model_version_policy { specific { versions: 1 } }"
    reloadable.reload(publish("specific_twins", {"1": 3, "001": 1}, policy))
    assert reloadable.answer("specific_twins") == 3.0


def test_a_base_path_that_is_missing_holds_back_no_other_model_which_is_better_than_a_poll_abandoned(
    reloadable: Reloadable, publish: Publish, tmp_path: Path
) -> None:
    entry = publish("beside", {"1": 1})
    missing = tmp_path / "missing"
    reloadable.reload(f"name: 'missing' base_path: '{missing}' model_platform: 'tensorflow'", entry)
    assert reloadable.answer("beside") == 1.0
    assert f"Could not find base path {missing} for servable missing" in reloadable.server.log()
    publish("beside", {"2": 2})
    reloadable.wait_available("beside", 2)


def test_a_base_path_without_versions_is_told(reloadable: Reloadable, tmp_path: Path) -> None:
    base = tmp_path / "none"
    base.mkdir()
    answer = reloadable.reload(f"name: 'none' base_path: '{base}' model_platform: 'tensorflow'")
    text = (
        f"No versions of servable none found under base path {base}."
        " Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )
    assert text in reloadable.server.log()
    assert text in answer.status.error_message


def test_the_next_highest_takes_over_when_the_newest_disappears(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("rollback", {"1": 1, "2": 2})
    reloadable.reload(entry)
    assert reloadable.answer("rollback") == 2.0
    shutil.rmtree(base_path_of(entry) / "2")
    reloadable.wait_available("rollback", 1)
    assert reloadable.answer("rollback") == 1.0
    assert reloadable.end("rollback", 2) == ("OK", "")


def test_a_higher_number_upgrades_and_the_old_one_serves_until_then(reloadable: Reloadable, publish: Publish) -> None:
    reloadable.reload(publish("upgrade", {"1": 1}))
    publish("upgrade", {"2": 2})
    wait_until(lambda: reloadable.answer("upgrade") == 2.0)
    reloadable.wait_available("upgrade", 2)


def test_all_versions_gone_unloads_the_model_and_the_base_path_gone_does_not(
    reloadable: Reloadable, publish: Publish
) -> None:
    emptied, removed = publish("emptied", {"1": 1}), publish("removed", {"1": 1})
    reloadable.reload(emptied, removed)
    shutil.rmtree(base_path_of(removed))
    shutil.rmtree(base_path_of(emptied) / "1")
    reloadable.wait_available("emptied")
    assert reloadable.answer("removed") == 1.0


def test_new_files_in_a_version_that_serves_are_not_noticed(reloadable: Reloadable, publish: Publish) -> None:
    entry, watched = publish("replaced", {"1": 1}), publish("watched", {"1": 1})
    reloadable.reload(entry, watched)
    shutil.rmtree(base_path_of(entry) / "1")
    publish("replaced", {"1": 2})
    # Another poll has passed when this one is there.
    publish("watched", {"2": 2})
    reloadable.wait_available("watched", 2)
    reloadable.wait_available("replaced", 1)
