from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hotserve.errors import InvalidArgument, NotFound, ServingError, Unavailable
from hotserve.loadgen.address import TlsFiles, resolve
from hotserve.loadgen.exchange import Answer, Request
from hotserve.loadgen.job import Job, run_job
from hotserve.loadgen.model import Model, signatures_of, text_of_error
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.tensors import DType
from support.certificates import Authority, ssl_config
from support.scripted_server import HANG_UP, SILENCE, ScriptedServer, answer
from support.server_process import COMMAND, ServerProcess


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    path = str(tmp_path_factory.mktemp("socket") / "grpc.sock")
    with ServerProcess(f"--grpc_socket_path={path}", command=(COMMAND, "demo")) as server:
        yield server, path


def server(text: str, tls: TlsFiles | None = None, timeout: float = 30.0) -> Server:
    return Server(Access(read_target(text), tls or TlsFiles(), timeout_seconds=timeout))


def test_both_apis_tell_the_same_signatures(digits: tuple[ServerProcess, str]) -> None:
    process, path = digits
    texts = [process.url, process.grpc_target, f"unix:{path}", f"http://localhost:{process.rest_port}"]
    found = [signatures_of(server(text), Model("digits")) for text in texts]
    assert all(signatures == found[0] for signatures in found)
    assert found[0]["serving_default"].inputs["image"].dtype is DType.FLOAT


@pytest.mark.parametrize("model", [Model("digit"), Model("digits", 77), Model("digits", label="none")])
@pytest.mark.parametrize("is_rest", [True, False])
def test_a_model_that_is_not_there_is_an_error_that_says_where_to_look(
    digits: tuple[ServerProcess, str], model: Model, is_rest: bool
) -> None:
    process, _ = digits
    with pytest.raises(ServingError, match=f"to the question for the metadata of model {model}") as error:
        signatures_of(server(process.url if is_rest else process.grpc_target), model)
    if not model.label:
        assert isinstance(error.value, NotFound)
        assert "Look at the name" in error.value.message


def test_a_service_that_is_another_one_is_told_from_a_model_server() -> None:
    with ScriptedServer(lambda number: answer(b"<html>")) as other, pytest.raises(InvalidArgument, match="in no JSON"):
        signatures_of(server(other.url), Model("m"))
    with ScriptedServer(lambda number: answer(b"[1]")) as other, pytest.raises(InvalidArgument, match="not understood"):
        signatures_of(server(other.url), Model("m"))
    with ScriptedServer(lambda number: HANG_UP) as other, pytest.raises(Unavailable, match="closed the connection"):
        signatures_of(server(other.url), Model("m"))


def test_a_server_of_http1_where_grpc_is_expected_is_an_error() -> None:
    with ScriptedServer(lambda number: answer(b"no", "400 Bad Request")) as other, pytest.raises(Unavailable):
        signatures_of(server(f"127.0.0.1:{other.port}", timeout=1), Model("m"))


def test_a_server_that_does_not_answer_is_unavailable_after_the_timeout() -> None:
    with ScriptedServer(lambda number: SILENCE) as other, pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        server(other.url, timeout=0.2).call(Request("/", b""))


def test_the_first_address_that_takes_a_connection_is_the_one_for_the_load() -> None:
    with ScriptedServer(lambda number: answer(b"x")) as other:
        target = read_target(f"http://name:{other.port}")

        def look_up(host: str, port: int, type: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            # Nobody listens on that port of the first address.
            return [(socket.AF_INET, type, 0, "", (where, port)) for where in ("127.9.9.9", "127.0.0.1")]

        assert [address.where[0] for address in resolve(target, look_up)] == ["127.9.9.9", "127.0.0.1"]
        made = server(f"http://127.0.0.1:{other.port}")
        made._addresses = resolve(target, look_up)
        assert made.call(Request("/", b"")).body == b"x"
        assert [address.where[0] for address in made._addresses] == ["127.0.0.1"]
        # The same in another process, or wherever else the access is handed to.
        job = Job(replace(made.access, target=target), [Request("/", b"")], connections=1, seconds=10, max_requests=2)
        assert run_job(job).tally.good.count == 2


def test_a_name_without_an_address_is_unavailable() -> None:
    def look_up(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(Unavailable, match="the name nowhere has no address"):
        resolve(read_target("http://nowhere:1"), look_up)


def test_with_tls_the_certificate_is_looked_at(tmp_path: Path) -> None:
    authority = Authority("authority of the server")
    (tmp_path / "ca.pem").write_text(authority.certificate)
    (tmp_path / "ssl.config").write_text(ssl_config(authority.sign()))
    flag = f"--ssl_config_file={tmp_path / 'ssl.config'}"
    with ServerProcess(flag, command=(COMMAND, "demo")) as process:
        text = f"grpcs://localhost:{process.grpc_port}"
        assert signatures_of(server(text, TlsFiles(ca=tmp_path / "ca.pem")), Model("digits"))
        assert signatures_of(server(text, TlsFiles(is_any_accepted=True)), Model("digits"))
        with pytest.raises(Unavailable, match="its certificate is not accepted"):
            signatures_of(server(text), Model("digits"))
        with pytest.raises(Unavailable):
            signatures_of(server(f"localhost:{process.grpc_port}", timeout=2), Model("digits"))


def test_files_that_are_none_of_their_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("hello")
    for files in (TlsFiles(ca=file), TlsFiles(ca=tmp_path / "none"), TlsFiles(certificate=file)):
        with pytest.raises(InvalidArgument, match="Expected PEM files"):
            server("https://localhost:1", files)


@pytest.mark.parametrize(
    ("body", "text"), [(b'{"error": "no"}', "no"), (b"plain ", "plain"), (b"[1]", "[1]"), (b"\xff", "\ufffd")]
)
def test_the_text_of_an_error_is_what_its_json_says(body: bytes, text: str) -> None:
    assert text_of_error(Answer(body, "400")) == text
