from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_reload import GrpcReload
from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.observability.metrics import Metrics
from hotserve.protos import messages
from support.reloading import Reloading

TYPE_NOT_SUPPORTED = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)


class Stage:
    """A server of model `a`, and the RPC."""

    def __init__(self, served: Reloading) -> None:
        self.served = served
        self.metrics = Metrics()
        self.rpc = GrpcReload(served.reloader, self.metrics)

    def call(self, message: messages.ReloadConfigRequest, timeout_seconds: float | None = 30.0) -> Any:
        request = GrpcRequest("", message.SerializeToString(), timeout_seconds)
        return messages.ReloadConfigResponse.FromString(asyncio.run(self.rpc.reload_config(request)))

    def request(self, *names: str) -> messages.ReloadConfigRequest:
        message = messages.ReloadConfigRequest()
        message.config.model_config_list.SetInParent()
        for name in names:
            message.config.model_config_list.config.add(name=name, base_path=str(self.served.folder / name))
        return message

    def refusal(self, message: messages.ReloadConfigRequest) -> ServingError:
        with pytest.raises(ServingError) as refused:
            self.call(message)
        return refused.value


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Reloading(tmp_path) as served:
        served.add("a", 1)
        served.reload(served.config("a"))
        yield Stage(served)


def test_new_models_answer_when_the_call_returns(stage: Stage) -> None:
    stage.served.add("b", 1)
    response = stage.call(stage.request("a", "b"))
    assert response.HasField("status")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert stage.served.available("b") == {1}


def test_an_empty_list_serves_no_model(stage: Stage) -> None:
    stage.call(stage.request())
    assert stage.served.reloader.models == ()


@pytest.mark.parametrize("custom", [True, False])
def test_a_config_that_is_no_list_of_models_is_refused(stage: Stage, custom: bool) -> None:
    message = messages.ReloadConfigRequest()
    if custom:
        message.config.custom_model_config.type_url = "type.googleapis.com/x"
    refused = stage.refusal(message)
    assert (refused.code, refused.message) == (Code.INVALID_ARGUMENT, TYPE_NOT_SUPPORTED)


def _twice(entries: Any) -> None:
    entries.add(name="a", base_path="/a")


def _no_path(entries: Any) -> None:
    entries.add(name="c")


def _no_such_platform(entries: Any) -> None:
    entries.add(name="c", base_path="/c", model_platform="cobol")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_twice, "Illegal to list model a multiple times in config list"),
        (_no_path, "Expected model c to have an absolute path or URI; got base_path()="),
        (_no_such_platform, "Model c requests unsupported platform cobol"),
    ],
)
def test_a_list_that_is_wrong_is_refused_as_a_whole(stage: Stage, spoil: Callable[[Any], None], text: str) -> None:
    message = stage.request("a")
    spoil(message.config.model_config_list.config)
    refused = stage.refusal(message)
    assert isinstance(refused, InvalidArgument)
    assert refused.message.startswith(text)
    assert [model.name for model in stage.served.reloader.models] == ["a"]


def test_new_models_that_fail_fail_the_call_and_stay_configured(stage: Stage) -> None:
    for name in "bc":
        stage.served.loader.fail(stage.served.add(name, 2), InvalidArgument(f"broken {name}"))
    stage.served.add("d", 1)
    refused = stage.refusal(stage.request("d", "c", "b", "a"))
    assert (refused.code, refused.message) == (
        Code.UNKNOWN,
        "2 model(s) did not become available: {{{name: b version: 2} due to error: INVALID_ARGUMENT: broken b},"
        " {{name: c version: 2} due to error: INVALID_ARGUMENT: broken c}, }",
    )
    assert stage.served.available("d") == {1}
    assert {model.name for model in stage.served.reloader.models} == set("abcd")


def test_a_model_that_waits_for_its_folder_is_named_in_a_status_that_is_ok(stage: Stage) -> None:
    response = stage.call(stage.request("a", "later"))
    assert response.status.error_code == 0
    assert response.status.error_message.startswith(
        "The new config is applied. Not AVAILABLE yet: model later: Could not find base path"
    )


def test_the_answer_comes_before_the_deadline_of_the_client(tmp_path: Path) -> None:
    with Reloading(tmp_path, hold=True) as served:
        folder = served.add("slow", 1)
        stage = Stage(served)
        response = asyncio.run(asyncio.wait_for(_call(stage, stage.request("slow"), 0.5), 0.5))
        assert response.status.error_message == (
            "The new config is applied. Not AVAILABLE yet: model slow: version 1 is LOADING."
        )
        served.loader.finish(folder)


async def _call(stage: Stage, message: messages.ReloadConfigRequest, timeout_seconds: float) -> Any:
    answer = await stage.rpc.reload_config(GrpcRequest("", message.SerializeToString(), timeout_seconds))
    return messages.ReloadConfigResponse.FromString(answer)


def test_a_relative_base_path_is_meant_from_the_working_directory(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stage.served.folder)
    stage.served.add("b", 1)
    message = messages.ReloadConfigRequest()
    message.config.model_config_list.config.add(name="b", base_path="b")
    stage.call(message)
    assert stage.served.available("b") == {1}


def test_the_increase_of_metrics_is_that_of_their_first_cell_during_the_call(stage: Stage) -> None:
    stage.metrics.request_count.add("a", "OK", amount=5)
    message = stage.request("a", "late")
    counted, unknown = "/tensorflow/serving/request_count", "/no/such/metric"
    message.metric_names.extend([counted, unknown, "/tensorflow/serving/request_latency"])

    async def call() -> Any:
        stage.served.add("late", 1, complete=False)
        answer = asyncio.ensure_future(_call(stage, message, 0.5))
        await asyncio.sleep(0)  # it has begun, and waits for the model
        stage.metrics.request_count.add("a", "OK", amount=3)
        stage.metrics.request_count.add("b", "OK", amount=4)
        return await answer

    response = asyncio.run(call())
    assert {metric.name: metric.int64_value_increase for metric in response.metric} == {
        counted: 3,
        unknown: 0,
        "/tensorflow/serving/request_latency": 0,
    }
    assert all(metric.WhichOneof("value_increase") == "int64_value_increase" for metric in response.metric)
