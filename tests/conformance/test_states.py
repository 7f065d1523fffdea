"""Contract 3.4, 3.5 and 4.6: the life of a version, and the errors it can end with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.contract import Publish, Reloadable, ask, base_path_of, spoil
from support.server_process import wait_until


def test_a_version_without_the_tags_ends_with_an_error_and_a_new_model_fails_the_reload(
    reloadable: Reloadable, publish: Publish
) -> None:
    entry = publish("no_tags", {"1": 1})
    spoil(base_path_of(entry) / "1")
    code, text = reloadable.refusal(entry)
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: no_tags version: 1} due to error: NOT_FOUND: Could not find meta"
        " graph def matching supplied tags: { serve }"
    )
    assert text.rstrip().endswith("}, }")
    found = reloadable.end("no_tags", 1)
    assert found[0] == "NOT_FOUND"
    assert found[1].startswith(
        "Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets in the"
        " SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def test_a_failed_version_is_answered_with_200_in_the_status_and_is_not_found_for_requests(
    reloadable: Reloadable, publish: Publish
) -> None:
    entry = publish("failed", {"1": 1})
    spoil(base_path_of(entry) / "1")
    reloadable.refusal(entry)
    status = ask(reloadable.server, "GET", "/v1/models/failed")
    assert status.status == 200
    ((entry_of_1,),) = json.loads(status.body).values()
    assert (entry_of_1["version"], entry_of_1["state"]) == ("1", "END")
    assert entry_of_1["status"]["error_code"] == "NOT_FOUND"
    assert entry_of_1["status"]["error_message"].startswith("Could not find meta graph def matching supplied tags")
    answer = ask(reloadable.server, "POST", "/v1/models/failed:predict", '{"inputs": 1.0}')
    assert answer.status == 404
    assert answer.error.startswith("Servable not found for request: Latest(failed)")


def test_the_old_version_keeps_serving_when_the_new_one_fails(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("survivor", {"1": 1})
    reloadable.reload(entry)
    publish("survivor", {"tmp": 2})
    spoil(base_path_of(entry) / "tmp")
    (base_path_of(entry) / "tmp").rename(base_path_of(entry) / "2")
    assert reloadable.end("survivor", 2)[0] == "NOT_FOUND"
    assert reloadable.answer("survivor") == 1.0
    assert reloadable.server.states("survivor") == {2: "END", 1: "AVAILABLE"}


def test_a_version_that_comes_back_is_loaded_anew(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("back", {"1": 1, "2": 2})
    reloadable.reload(entry)
    shutil.rmtree(base_path_of(entry) / "2")
    reloadable.wait_available("back", 1)
    publish("back", {"2": 3})
    reloadable.wait_available("back", 2)
    assert reloadable.answer("back") == 3.0


def test_removed_models_stay_listed_as_end(reloadable: Reloadable, publish: Publish) -> None:
    reloadable.reload(publish("removed_from_list", {"1": 1}))
    reloadable.reload()
    assert reloadable.end("removed_from_list", 1) == ("OK", "")
    answer = ask(reloadable.server, "POST", "/v1/models/removed_from_list:predict", '{"inputs": 1.0}')
    assert answer.error.startswith("Servable not found for request: Latest(removed_from_list)")


def test_a_folder_without_a_saved_model_waits_and_says_why_which_is_better_than_an_error(
    reloadable: Reloadable, publish: Publish
) -> None:
    entry = publish("empty_folder", {"1": 1})
    folder = base_path_of(entry) / "2"
    folder.mkdir()
    (folder / "README").write_text("The model follows.")
    text = (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
        " `saved_model.pb`)"
    )
    reloadable.reload(entry)
    assert reloadable.answer("empty_folder") == 1.0
    wait_until(lambda: text in reloadable.server.status_texts("empty_folder").get(2, ""))
    assert reloadable.server.states("empty_folder") == {2: "START", 1: "AVAILABLE"}
    # And it is loaded once it is whole.
    publish("empty_folder", {"tmp": 2})
    shutil.copytree(base_path_of(entry) / "tmp", folder, dirs_exist_ok=True)
    reloadable.wait_available("empty_folder", 2)


def test_the_graph_may_be_in_text_form(reloadable: Reloadable, models: Path) -> None:
    reloadable.reload(f"name: 'text_form' base_path: '{models / 'plus_as_text'}' model_platform: 'tensorflow'")
    assert reloadable.answer("text_form") == 1.0


def test_a_session_bundle_is_refused_in_words(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("bundle", {"1": 1})
    folder = base_path_of(entry) / "2"
    folder.mkdir()
    (folder / "export.meta").write_bytes(b"x")
    reloadable.reload(entry)
    text = "Session Bundle is deprecated and removed."
    wait_until(lambda: text in reloadable.server.status_texts("bundle").get(2, ""))
    assert reloadable.answer("bundle") == 1.0


def test_a_plain_file_with_the_name_of_a_version_holds_nothing_up(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("plain_file", {"1": 1})
    (base_path_of(entry) / "2").write_text("no folder")
    reloadable.reload(entry)
    assert reloadable.answer("plain_file") == 1.0
    assert reloadable.server.states("plain_file")[2] != "AVAILABLE"
