"""Contract 3.7 and the reload of 1.14."""

from __future__ import annotations

import os
from pathlib import Path

from support.contract import Publish, Reloadable, config, post, tfs
from support.server_process import wait_until

COUNT = "/tensorflow/serving/request_count"


def test_the_new_list_replaces_the_old_one(reloadable: Reloadable, publish: Publish) -> None:
    reloadable.reload(publish("first", {"1": 1}))
    reloadable.reload(publish("second", {"1": 2}))
    assert reloadable.answer("second") == 2.0
    reloadable.wait_available("first")


def test_the_call_answers_when_new_models_are_available(reloadable: Reloadable, publish: Publish) -> None:
    answer = reloadable.reload(publish("one", {"1": 1}), publish("other", {"3": 3}))
    assert answer.HasField("status")
    assert (answer.status.error_code, answer.status.error_message) == (0, "")
    assert (reloadable.answer("one"), reloadable.answer("other")) == (1.0, 3.0)


def test_a_new_model_with_a_missing_base_path_is_named_in_the_answer_which_is_better_than_a_call_without_end(
    reloadable: Reloadable, publish: Publish, tmp_path: Path
) -> None:
    missing = f"name: 'not_there' base_path: '{tmp_path / 'not_there'}' model_platform: 'tensorflow'"
    answer = reloadable.reload(missing)
    assert answer.status.error_code == 0
    assert "model not_there: Could not find base path" in answer.status.error_message
    # And no later reload waits for it.
    reloadable.reload(missing, publish("later", {"1": 1}))
    assert reloadable.answer("later") == 1.0


def test_versions_are_compared_by_number_when_the_base_path_changes(
    reloadable: Reloadable, publish: Publish, tmp_path: Path
) -> None:
    reloadable.reload(publish("moved", {"1": 1}))
    elsewhere = publish("elsewhere", {"1": 3, "2": 2}).replace("name: 'elsewhere'", "name: 'moved'")
    reloadable.reload(elsewhere + " model_version_policy { specific { versions: 1 } }")
    assert reloadable.answer("moved") == 1.0
    reloadable.reload(elsewhere)
    reloadable.wait_available("moved", 2)
    assert reloadable.answer("moved") == 2.0


def test_a_model_that_is_kept_goes_on_without_a_gap(reloadable: Reloadable, publish: Publish) -> None:
    kept = publish("kept_on", {"1": 1})
    reloadable.reload(kept)
    reloadable.reload(kept, publish("joined", {"1": 1}))
    reloadable.reload(kept)
    assert reloadable.answer("kept_on") == 1.0


def test_a_metric_is_told_by_its_increase_during_the_reload_and_unknown_names_by_0(
    reloadable: Reloadable, publish: Publish
) -> None:
    entry = publish("counted", {"1": 1})
    reloadable.reload(entry)
    post(reloadable.server, "counted:predict", '{"inputs": 1.0}')
    answer = reloadable.reload(entry, metric_names=[COUNT, "/tensorflow/serving/zzz", "zzz"])
    assert sorted((metric.name, metric.int64_value_increase) for metric in answer.metric) == [
        (COUNT, 0),
        ("/tensorflow/serving/zzz", 0),
        ("zzz", 0),
    ]


def test_without_metric_names_none_is_told(reloadable: Reloadable) -> None:
    assert not reloadable.reload().metric


def test_the_config_file_is_read_again_and_a_mistake_in_it_leaves_the_old_list(
    publish: Publish, tmp_path: Path
) -> None:
    file = tmp_path / "models.config"

    def write(text: str) -> None:
        # At once, as deployments do.
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", file)

    write(config(publish("first", {"1": 1})))
    flags = ("--model_config_file_poll_wait_seconds=0.2", "--file_system_poll_wait_seconds=0.1")
    with tfs(f"--model_config_file={file}", *flags) as server:
        write("model_config_list { oops }")
        wait_until(lambda: "Failed to read ModelServerConfig file: " in server.log(), what="the mistake is logged")
        assert server.states("first") == {1: "AVAILABLE"}
        write(config(publish("second", {"1": 2})))
        server.wait_state("second", 1, "AVAILABLE")
        server.wait_state("first", 1, "END")
        write(config(publish("third", {"1": 2}).replace("'tensorflow'", "'caffe'")))
        wait_until(
            lambda: "PollFilesystemAndReloadConfig failed to ReloadConfig: " in server.log(),
            what="the refusal is logged",
        )
        assert server.states("second") == {1: "AVAILABLE"}
