from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from support.embedded import predict, write_table
from support.server_process import ServerProcess, wait_until


def write_config(file: Path, *entries: str) -> None:
    """Replaces a config file as editors and Kubernetes do, in one step."""
    new = file.with_suffix(".new")
    new.write_text("model_config_list {\n" + "".join(f"  config {{ {entry} }}\n" for entry in entries) + "}\n")
    os.replace(new, file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Models `english` and `german`."""
    write_table(tmp_path / "english" / "1", one="one")
    write_table(tmp_path / "german" / "1", one="eins")
    write_table(tmp_path / "german" / "2", one="EINS")
    write_config(tmp_path / "models.config", 'name: "english" base_path: "english"')
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        f"--model_config_file={folder / 'models.config'}",
        "--model_config_file_poll_wait_seconds=0.05",
        "--file_system_poll_wait_seconds=0.05",
        cwd=folder,
    ) as running:
        yield running


def request_of(config: model_server_config_pb2.ModelServerConfig) -> model_management_pb2.ReloadConfigRequest:
    return model_management_pb2.ReloadConfigRequest(config=config)


def listing(folder: Path, *names: str) -> model_server_config_pb2.ModelServerConfig:
    config = model_server_config_pb2.ModelServerConfig()
    for name in names:
        config.model_config_list.config.add(name=name, base_path=str(folder / name), model_platform="tensorflow")
    return config


def test_the_rpc_of_tensorflow_serving_replaces_the_list_of_models(server: ServerProcess, folder: Path) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        request = request_of(listing(folder, "english", "german"))
        request.metric_names.append("/tensorflow/serving/request_count")
        response = stub.HandleReloadConfigRequest(request, timeout=30)
        assert (response.status.error_code, response.status.error_message) == (0, "")
        assert [metric.name for metric in response.metric] == ["/tensorflow/serving/request_count"]
        assert predict(server.rest_port, "german", "one") == ["EINS"]

        response = stub.HandleReloadConfigRequest(request_of(listing(folder, "german", "later")), timeout=30)
        assert "model later: Could not find base path" in response.status.error_message
        server.wait_state("english", 1, "END")
        assert server.get("/readyz")[0] == 503

        mistaken = listing(folder, "german")
        mistaken.model_config_list.config.add(name="e", base_path=str(folder / "english"), model_platform="onnx")
        with pytest.raises(grpc.RpcError) as failed:
            stub.HandleReloadConfigRequest(request_of(mistaken), timeout=30)
        assert failed.value.code() is grpc.StatusCode.UNKNOWN
        assert failed.value.details().startswith(
            "1 model(s) did not become available: {{{name: e version: 1} due to error: INVALID_ARGUMENT: "
        )

        with pytest.raises(grpc.RpcError) as refused:
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=30)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

        stub.HandleReloadConfigRequest(request_of(listing(folder, "german")), timeout=30)
        assert server.get("/readyz")[0] == 200
        # Nobody has edited the file, so that it undoes nothing of this.
        assert predict(server.rest_port, "german", "one") == ["EINS"]


def test_an_edited_config_file_takes_effect_and_a_mistake_in_it_none(server: ServerProcess, folder: Path) -> None:
    file = folder / "models.config"
    german = 'name: "german" base_path: "german" model_version_policy { all {} }'
    write_config(file, 'name: "english" base_path: "english"', german)
    server.wait_state("german", 1, "AVAILABLE")
    server.wait_state("german", 2, "AVAILABLE")

    write_config(file, 'nme: "english"')
    wait_until(lambda: "Failed to read ModelServerConfig file" in server.log(), what="the mistake is in the log")
    assert predict(server.rest_port, "english", "one") == ["one"]

    write_config(file, german + ' version_labels { key: "stable" value: 1 }')
    server.wait_state("english", 1, "END")
    assert predict(server.rest_port, "german/labels/stable", "one") == ["eins"]
