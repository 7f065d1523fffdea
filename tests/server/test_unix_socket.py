from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from hotserve import Server
from hotserve.errors import ConfigError
from hotserve.server.unix_socket import bind_unix
from support.embedded import toy_server
from support.in_process import PATIENCE, adder

FLAG = "grpc_socket_path"


def state_over(path: str) -> int:
    """The state of the one version of `m`, asked for over a Unix socket."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    with grpc.insecure_channel(f"unix:{path}") as channel:
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=PATIENCE)
    (version,) = response.model_version_status
    return int(version.state)


def server(path: Path | str) -> Server:
    return toy_server({"m": {1: adder(1)}}, port=0, rest_api_port=0, grpc_socket_path=str(path))


AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


def test_grpc_answers_on_a_unix_socket_without_any_port(tmp_path: Path) -> None:
    with server(tmp_path / "grpc.sock"):
        assert state_over(str(tmp_path / "grpc.sock")) == AVAILABLE


def test_a_relative_path_is_one_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with server("grpc.sock"):
        assert state_over("grpc.sock") == AVAILABLE


def test_the_file_is_gone_after_the_stop(tmp_path: Path) -> None:
    with server(tmp_path / "grpc.sock"):
        assert (tmp_path / "grpc.sock").is_socket()
    assert not (tmp_path / "grpc.sock").exists()


def test_the_stop_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    with server(tmp_path / "grpc.sock"):
        (tmp_path / "grpc.sock").unlink()
        successor, file = bind_unix(tmp_path / "grpc.sock", FLAG)
    assert (tmp_path / "grpc.sock").is_socket()
    successor.close()
    file.remove()


def test_a_file_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    left, _ = bind_unix(tmp_path / "grpc.sock", FLAG)
    left.listen()
    left.close()
    assert (tmp_path / "grpc.sock").is_socket()
    with server(tmp_path / "grpc.sock"):
        assert state_over(str(tmp_path / "grpc.sock")) == AVAILABLE


def test_a_second_server_takes_the_path_over_once_it_answers_and_keeps_it_when_the_first_stops(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    first, second = server(path), server(path)
    first.start()
    bound, file = bind_unix(path, FLAG)  # as a server does that has not loaded its models yet
    try:
        assert state_over(str(path)) == AVAILABLE
    finally:
        bound.close()
        file.remove()
    with second:
        first.stop()
        assert state_over(str(path)) == AVAILABLE
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "grpc.sock").write_text("precious")
    with pytest.raises(ConfigError, match="something that is no socket is there"):
        server(tmp_path / "grpc.sock").start()
    assert (tmp_path / "grpc.sock").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"), [("no/such/folder", "No such file or directory"), ("x" * 200, "path too long")]
)
def test_a_path_that_cannot_be_used_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        server(tmp_path / name).start()


def test_nobody_can_connect_before_the_server_answers(tmp_path: Path) -> None:
    bound, file = bind_unix(tmp_path / "grpc.sock", FLAG)
    with bound, socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(tmp_path / "grpc.sock"))
    file.remove()
