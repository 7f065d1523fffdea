"""Contract 3.2: what a list of models must be, at the start and at every reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.protos import messages
from support.contract import Publish, Reloadable, lines, reload_request

TF = "model_platform: 'tensorflow'"


@lines(
    "entries, code, text",
    {
        "unique names": [
            [f"name: 'm' base_path: '/a' {TF}", f"name: 'm' base_path: '/b' {TF}"],
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ],
        "base_path empty": [
            [f"name: 'm' {TF}"],
            "INVALID_ARGUMENT",
            "Expected model m to have an absolute path or URI; got base_path()=",
        ],
        "platform and model_type": [
            [f"name: 'm' base_path: '/a' model_type: TENSORFLOW {TF}"],
            "INVALID_ARGUMENT",
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform,"
            " model name is m",
        ],
        "model_type is TENSORFLOW if used": [
            ["name: 'm' base_path: '/a' model_type: OTHER"],
            "INVALID_ARGUMENT",
            "ModelServerConfig::model_type choice 2 not supported.",
        ],
        "platform known": [
            ["name: 'm' base_path: '/a' model_platform: 'caffe'"],
            "INVALID_ARGUMENT",
            "Model m requests unsupported platform caffe",
        ],
        "the names, before the platforms": [
            ["name: 'm' base_path: '/a' model_platform: 'caffe'", f"name: 'm' base_path: '/b' {TF}"],
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ],
        "better: a model without a name is refused, too": [
            [f"base_path: '/a' {TF}"],
            "INVALID_ARGUMENT",
            "Illegal to list a model without a name in config list",
        ],
        "a log collector that there is not": [
            [f"name: 'm' base_path: '/a' {TF} logging_config {{ log_collector_config {{ type: 'zzz' }} }}"],
            "NOT_FOUND",
            "Cannot find LogCollector::Factory for type: zzz",
        ],
    },
)
def test_a_list_that_is_refused(reloadable: Reloadable, entries: list[str], code: str, text: str) -> None:
    found = reloadable.refusal(*entries)
    assert found[0] == code
    assert found[1].startswith(text)


def test_a_list_that_is_refused_changes_nothing(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("kept", {"1": 1})
    reloadable.reload(entry)
    reloadable.refusal(publish("other", {"1": 1}), "name: 'm' base_path: '/a' model_platform: 'caffe'")
    assert reloadable.answer("kept") == 1.0
    assert reloadable.server.states("other") == {}


def test_the_platform_of_a_model_that_is_kept_must_not_change(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("same_platform", {"1": 1})
    reloadable.reload(entry)
    code, text = reloadable.refusal(entry.replace("'tensorflow'", "'onnx'"))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(
        "Illegal to change a model's platform. For model same_platform platform was tensorflow and new platform"
        " requested is onnx"
    )


def test_model_type_tensorflow_is_a_platform(reloadable: Reloadable, publish: Publish) -> None:
    entry = publish("by_type", {"1": 1}).replace("model_platform: 'tensorflow'", "model_type: TENSORFLOW")
    reloadable.reload(entry)
    assert reloadable.answer("by_type") == 1.0


def test_without_a_platform_the_content_tells_which_is_better_than_an_error(
    reloadable: Reloadable, publish: Publish
) -> None:
    reloadable.reload(publish("by_content", {"1": 1}).replace("model_platform: 'tensorflow'", ""))
    assert reloadable.answer("by_content") == 1.0


def test_a_relative_base_path_is_meant_from_the_servers_folder_which_is_better_than_an_error(
    reloadable: Reloadable, publish: Publish
) -> None:
    entry = publish("relative", {"1": 1})
    here = Path.cwd()
    absolute = entry.split("base_path: '")[1].split("'")[0]
    up = "../" * (len(here.parts) - 1)
    reloadable.reload(entry.replace(absolute, up + absolute.lstrip("/")))
    assert reloadable.answer("relative") == 1.0


@pytest.mark.parametrize(
    "request_",
    [
        messages.ReloadConfigRequest(),
        messages.ReloadConfigRequest(config=messages.ModelServerConfig()),
        messages.ReloadConfigRequest(
            config=messages.ModelServerConfig(custom_model_config=messages.AnyMessage(type_url="x/y"))
        ),
    ],
)
def test_a_reload_takes_a_list_of_models_only(reloadable: Reloadable, request_: messages.ReloadConfigRequest) -> None:
    code, text = reloadable.client.refusal("HandleReloadConfigRequest", request_)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )


def test_an_empty_list_is_a_list(reloadable: Reloadable, publish: Publish) -> None:
    reloadable.reload(publish("to_go", {"1": 1}))
    answer = reloadable.client.call("HandleReloadConfigRequest", reload_request())
    assert (answer.HasField("status"), answer.status.error_code, answer.status.error_message) == (True, 0, "")
    reloadable.wait_available("to_go")
