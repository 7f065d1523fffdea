from __future__ import annotations

import http.client
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from hotserve import Server
from support.certificates import Authority, Identity, ssl_config
from support.embedded import predict, toy_server
from support.in_process import PATIENCE, adder
from support.server_process import COMMAND, ServerProcess

AUTHORITY = Authority("authority of the server")
CLIENTS = Authority("authority of its clients")
STRANGERS = Authority("authority that nobody trusts")
SERVER = AUTHORITY.sign()


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a TLS file; its path."""

    def write(name: str, client_authority: Authority | None = None, identity: Identity = SERVER) -> str:
        (tmp_path / name).write_text(ssl_config(identity, client_authority))
        return str(tmp_path / name)

    return write


def server(**options: Any) -> Server:
    return toy_server({"m": {1: adder(1)}}, **options)


def status(port: int, credentials: grpc.ChannelCredentials | None) -> str:
    """How a call for the status of `m` ends: OK, or the name of the code."""
    return status_over(f"localhost:{port}", credentials)


def status_over(
    target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, str]] = ()
) -> str:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    channel = grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target)
    with channel:
        try:
            model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def trusting(authority: Authority, identity: Identity | None = None) -> grpc.ChannelCredentials:
    key, certificate = (identity.key.encode(), identity.certificate.encode()) if identity else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.encode(), key, certificate)


# gRPC.


def test_grpc_is_served_over_tls_alone_and_rest_as_before(config_file: Callable[..., str]) -> None:
    with server(ssl_config_file=config_file("grpc.cfg")) as running:
        assert status(running.options.port, trusting(AUTHORITY)) == "OK"
        assert status(running.options.port, None) == "UNAVAILABLE"
        assert predict(running.options.rest_api_port, "m", 1.0) == [2.0]


def test_a_client_that_trusts_another_authority_does_not_connect(config_file: Callable[..., str]) -> None:
    with server(ssl_config_file=config_file("grpc.cfg")) as running:
        assert status(running.options.port, trusting(STRANGERS)) == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("identity", "outcome"),
    [(CLIENTS.sign("a client"), "OK"), (STRANGERS.sign("a client"), "UNAVAILABLE"), (None, "UNAVAILABLE")],
    ids=["signed by the authority", "signed by another", "none"],
)
def test_a_client_has_to_show_a_certificate_where_that_is_asked_for(
    config_file: Callable[..., str], identity: Identity | None, outcome: str
) -> None:
    with server(ssl_config_file=config_file("grpc.cfg", CLIENTS)) as running:
        assert status(running.options.port, trusting(AUTHORITY, identity)) == outcome


# REST.


def test_rest_is_served_over_https_alone_and_grpc_as_before(config_file: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(AUTHORITY.certificate)
    (tmp_path / "other.pem").write_text(STRANGERS.certificate)
    with server(rest_ssl_config_file=config_file("rest.cfg")) as running:
        port = running.options.rest_api_port
        url = f"https://localhost:{port}/v1/models/m:predict"
        answer = requests.post(url, json={"instances": [1.0]}, verify=str(tmp_path / "ca.pem"), timeout=PATIENCE)
        assert answer.json() == {"predictions": [2.0]}
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, verify=str(tmp_path / "other.pem"), timeout=PATIENCE)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"http://localhost:{port}/healthz", timeout=PATIENCE)
        assert status(running.options.port, None) == "OK"


def test_rest_asks_for_certificates_of_clients_as_well(config_file: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(AUTHORITY.certificate)
    certificate = CLIENTS.sign("a client").write(tmp_path / "client")
    with server(rest_ssl_config_file=config_file("rest.cfg", CLIENTS)) as running:
        url = f"https://localhost:{running.options.rest_api_port}/healthz"
        ca = str(tmp_path / "ca.pem")
        assert requests.get(url, verify=ca, cert=certificate, timeout=PATIENCE).status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, verify=ca, timeout=PATIENCE)


# One port is no way around the other.


def test_calls_do_not_come_in_through_a_rest_port_that_is_less_secure(config_file: Callable[..., str]) -> None:
    with server(ssl_config_file=config_file("grpc.cfg", CLIENTS)) as running:
        assert status(running.options.rest_api_port, None) != "OK"


def test_rest_does_not_come_in_through_a_grpc_port_that_is_less_secure(config_file: Callable[..., str]) -> None:
    with server(rest_ssl_config_file=config_file("rest.cfg", CLIENTS)) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.options.port, timeout=PATIENCE)
        connection.request("GET", "/v1/models/m")
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
    assert response.status == 421
    assert "This port answers gRPC calls only" in text


def test_both_ports_answer_both_apis_where_they_are_equally_secure(config_file: Callable[..., str]) -> None:
    with server(ssl_config_file=config_file("a.cfg"), rest_ssl_config_file=config_file("b.cfg")) as running:
        assert status(running.options.rest_api_port, trusting(AUTHORITY)) == "OK"
        context = ssl.create_default_context(cadata=AUTHORITY.certificate)
        connection = http.client.HTTPSConnection("localhost", running.options.port, timeout=PATIENCE, context=context)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


# Mistakes, and what stays behind.


def test_a_key_that_does_not_match_ends_the_command_before_anything_is_loaded(
    config_file: Callable[..., str], tmp_path: Path
) -> None:
    key = AUTHORITY.sign().key
    file = config_file("grpc.cfg", identity=Identity(SERVER.certificate, key))
    with ServerProcess(
        f"--ssl_config_file={file}", f"--model_base_path={tmp_path}", command=(COMMAND, "serve"), wait_ready=False
    ) as process:
        assert process.wait_exit() == 255
        log = process.log()
    assert (
        f"Failed to start server. Error: INVALID_ARGUMENT: --ssl_config_file={file}: server_key is not the key" in log
    )
    assert key.splitlines()[1] not in log


def test_a_unix_socket_is_as_secure_as_the_port(config_file: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with server(ssl_config_file=config_file("grpc.cfg"), grpc_socket_path=str(path)):
        # The name that the certificate is for: a path is none.
        named = (("grpc.ssl_target_name_override", "localhost"),)
        assert status_over(f"unix:{path}", trusting(AUTHORITY), named) == "OK"
        assert status_over(f"unix:{path}", None) == "UNAVAILABLE"


def test_no_key_is_on_disk_or_in_the_log_while_the_server_runs(
    config_file: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    caplog.set_level("DEBUG")
    with server(ssl_config_file=config_file("grpc.cfg"), rest_ssl_config_file=config_file("rest.cfg")):
        assert list(folder.iterdir()) == []
    assert SERVER.key.splitlines()[1] not in caplog.text
