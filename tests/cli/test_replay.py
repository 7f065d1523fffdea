from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from hotserve.cli.main import main
from hotserve.cli.replay import DIFFERENT, FAILED, SAME
from support.certificates import Authority
from support.prediction_logs import predict_log, write_records


class Doubler(BaseHTTPRequestHandler):
    """Answers predict requests with `y`, twice `x`; those of more than three values with an error."""

    protocol_version = "HTTP/1.1"
    paths: list[str]

    def do_POST(self) -> None:
        self.paths.append(self.path)
        x = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]["x"]
        status, answer = (400, {"error": "too many"}) if len(x) > 3 else (200, {"outputs": [2 * v for v in x]})
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def doubler() -> Iterator[ThreadingHTTPServer]:
    Doubler.paths = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Doubler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def logged(x: list[float], y: list[float] | None) -> prediction_log_pb2.PredictionLog:
    log = predict_log({"x": x})
    log.log_metadata.model_spec.name = "doubler"
    if y is not None:
        log.predict_log.response.outputs["y"].CopyFrom(tf.make_tensor_proto(np.float32(y)))
    return log


def replay(server: ThreadingHTTPServer, log: Path, *arguments: str) -> int:
    return main(["replay", str(log), "--to", f"127.0.0.1:{server.server_port}", *arguments])


def test_answers_that_are_the_same_end_with_success(
    doubler: ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "log", [logged([1, 0.1], [2, 0.2]), logged([3], [6])])

    assert replay(doubler, tmp_path / "log") == SAME
    assert capsys.readouterr().out == "2 records: 2 the same, 0 different, 0 answered with an error, 0 left out\n"
    assert Doubler.paths == ["/v1/models/doubler:predict"] * 2


def test_model_and_version_may_be_others_than_those_that_were_recorded(
    doubler: ThreadingHTTPServer, tmp_path: Path
) -> None:
    write_records(tmp_path / "log", [logged([1], [2])])

    replay(doubler, tmp_path / "log", "--model_name=a/b", "--version=3")

    assert Doubler.paths == ["/v1/models/a%2Fb/versions/3:predict"]


def test_differences_errors_and_what_was_left_out_are_told(
    doubler: ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    multi_inference = prediction_log_pb2.PredictionLog()
    multi_inference.multi_inference_log.SetInParent()
    records = [
        logged([1], [2]),
        logged([1, 2], [2, 4.5]),
        logged([1, 2], [2, 5]),
        logged([1, 2, 3, 4], [0]),
        logged([1], None),
        multi_inference,
    ]
    write_records(tmp_path / "log", records)

    assert replay(doubler, tmp_path / "log") == DIFFERENT
    assert capsys.readouterr().out.splitlines() == [
        "6 records: 1 the same, 2 different, 1 answered with an error, 2 left out",
        "  left out: 1 x no answer was recorded",
        "  left out: 1 x multi_inference_log cannot be sent over REST",
        "  output y: different in 2 answers, by 1 at most",
        "  record 2: y[1] is 4.0, recorded was 4.5",
        "  record 3: y[1] is 4.0, recorded was 5.0",
        "  record 4: 400: too many",
    ]


def test_the_tolerance_and_the_limits_count(
    doubler: ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "log", [logged([1], [2.1]), logged([1], [2.1]), logged([1], [7])])

    assert replay(doubler, tmp_path / "log", "--rtol=0.1", "--limit=2") == SAME
    assert replay(doubler, tmp_path / "log", "--atol=0.01", "--examples=1") == DIFFERENT
    assert sum("record " in line for line in capsys.readouterr().out.splitlines()) == 1


def test_a_server_that_asks_for_a_certificate_is_shown_one(
    doubler: ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority("of everybody here")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate)
    context.load_cert_chain(*authority.sign().write(tmp_path / "server"))
    context.verify_mode = ssl.CERT_REQUIRED
    doubler.socket = context.wrap_socket(doubler.socket, server_side=True)
    (tmp_path / "ca.pem").write_text(authority.certificate)
    certificate, key = authority.sign("a client").write(tmp_path / "client")
    log = tmp_path / "log"
    write_records(log, [logged([1], [2])])
    words = ["replay", str(log), "--to", f"https://localhost:{doubler.server_port}"]

    assert main([*words, "--ca", str(tmp_path / "ca.pem"), "--cert", certificate, "--key", key]) == SAME
    assert main([*words, "--insecure", "--cert", certificate, "--key", key]) == SAME
    capsys.readouterr()
    assert main([*words, "--cert", certificate, "--key", key]) == FAILED
    assert "certificate verify failed" in capsys.readouterr().err
    assert main([*words, "--ca", str(log)]) == FAILED
    assert "Expected PEM files of certificates and keys." in capsys.readouterr().err


def test_a_url_that_cannot_be_reached_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(tmp_path / "log", [logged([1], [2])])
    assert main(["replay", str(tmp_path / "log"), "--to", "ftp://localhost:1"]) == FAILED
    assert capsys.readouterr().err.startswith("hotserve replay: ftp://localhost:1 is no URL of a REST API.")


def test_a_log_of_nothing_that_can_be_compared_is_no_success(doubler: ThreadingHTTPServer, tmp_path: Path) -> None:
    write_records(tmp_path / "log", [logged([1], None)])

    assert replay(doubler, tmp_path / "log") == FAILED


@pytest.mark.parametrize(
    ("name", "words"), [("none", "none: No such file or directory"), ("text", "truncated record at 0")]
)
def test_a_log_that_cannot_be_read_is_an_error_in_a_line(
    doubler: ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    (tmp_path / "text").write_text("text")

    assert replay(doubler, tmp_path / name) == FAILED
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--limit=0", "--examples=-1", "--version=-5", "--rtol=-1", "--atol=nan"])
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tmp_path / "log"), "--to=127.0.0.1:9", flag])
    assert ended.value.code == 2
    assert f"argument {flag.partition('=')[0]}" in capsys.readouterr().err
