from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.config.flags import WITHOUT_EFFECT
from hotserve.protos import messages
from hotserve.tensors import DType
from support.embedded import accepts_connections, write_table
from support.server_process import ServerProcess, free_port, wait_until
from support.versioned_models import onnx_version

SIGNALS = [signal.SIGTERM, signal.SIGINT]

# Serves as `hotserve serve` does, and tells at each line of its input what has been imported until then.
TELLING_IMPORTS = """
import sys
from hotserve import Server, ServerOptions
from hotserve.cli.serve import serve

rest, grpc, path = sys.argv[1:]
options = ServerOptions(host="127.0.0.1", port=int(grpc), rest_api_port=int(rest), model_name="m", model_base_path=path)
with Server(options):
    print(*sys.modules, flush=True)
    for line in sys.stdin:
        print(*sys.modules, flush=True)
"""


def test_flags_without_an_effect_are_lines_in_the_log_in_words_that_fit(tmp_path: Path) -> None:
    write_table(tmp_path / "1", one="eins")
    names = ["enable_grpc_healthcheck_service", "grpc_max_threads", "rest_api_num_threads"]
    flags = [f"--{name}=1" for name in names]
    with ServerProcess(f"--model_base_path={tmp_path}", *flags) as server:
        assert server.stop() == 0
        log = server.log()
    for name in names:
        assert f"--{name} has no effect here: {WITHOUT_EFFECT[name].why}" in log


# Signals.


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_an_idle_server_in_order(tmp_path: Path, number: signal.Signals) -> None:
    write_table(tmp_path / "1", one="eins")
    with ServerProcess(f"--model_base_path={tmp_path}") as server:
        server.send_signal(number)
        assert server.wait_exit() == 0, server.log()
        log = server.log()
    assert f"Received {number.name}; a second signal ends the server at once" in log
    assert "Done unloading servable version {name: default version: 1}" in log
    assert "Traceback" not in log


class SlowServer:
    """The program `slow_server.py`; a context manager."""

    def __init__(self, mode: str) -> None:
        self.port = free_port()
        program = Path(__file__).parent.parent / "support" / "slow_server.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program), mode, str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed: list[str] = []

    def wait_line(self, wanted: str) -> None:
        """Waits until a line with these words has been printed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if wanted in line:
                return
        raise AssertionError(f"never printed {wanted!r}: {''.join(self.printed)}")

    def predict(self, seconds: float) -> tuple[int, Any]:
        """Asks for a run that takes so long."""
        url = f"http://127.0.0.1:{self.port}/v1/models/slow:predict"
        body = json.dumps({"instances": [seconds]}).encode()
        with urllib.request.urlopen(url, body, timeout=120) as answer:
            return answer.status, json.loads(answer.read())

    def __enter__(self) -> SlowServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def client() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("number", SIGNALS)
def test_a_request_in_flight_is_answered_before_the_process_ends(
    client: ThreadPoolExecutor, number: signal.Signals
) -> None:
    with SlowServer("run") as server:
        server.wait_line("ready")
        answer: Future[tuple[int, Any]] = client.submit(server.predict, 2.0)
        server.wait_line("running")
        server.process.send_signal(number)
        wait_until(lambda: not accepts_connections(server.port))
        assert server.process.poll() is None
        assert answer.result(60) == (200, {"predictions": [3.0]})
        assert server.process.wait(60) == 0


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (SIGNALS[0], SIGNALS[1])]
)
def test_a_second_signal_ends_the_process_at_once(
    client: ThreadPoolExecutor, first: signal.Signals, second: signal.Signals
) -> None:
    with SlowServer("run") as server:
        server.wait_line("ready")
        answer: Future[tuple[int, Any]] = client.submit(server.predict, 3600.0)
        server.wait_line("running")
        server.process.send_signal(first)
        server.wait_line("Stopping: requests in flight may take up to 30 s")
        server.process.send_signal(second)
        assert server.process.wait(20) == 128 + second  # the drain alone would take longer
        assert isinstance(answer.exception(60), OSError)


def test_a_signal_ends_a_server_whose_model_never_finishes_loading() -> None:
    with SlowServer("load") as server:
        server.wait_line("loading")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        server.wait_line("Leaving behind what still runs: hotserve-load")


# Imports.


def test_a_server_of_onnx_models_imports_only_what_it_serves_with_and_the_first_requests_import_nothing(
    tmp_path: Path,
) -> None:
    onnx_version(tmp_path / "1", 1)
    rest, grpc_port = free_port(), free_port()
    words = [sys.executable, "-c", TELLING_IMPORTS, str(rest), str(grpc_port), str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = set(process.stdout.readline().split())
        body = json.dumps({"instances": [[1.0] * 32]}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{rest}/v1/models/m:predict", body, 60) as answer:
            assert json.load(answer) == {"predictions": [[2.0] * 32]}
        request = messages.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(encode_tensor(np.ones((1, 32), np.float32), DType.FLOAT))
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            assert predict(request.SerializeToString(), timeout=60)
        process.stdin.write("\n")
        process.stdin.flush()
        after = set(process.stdout.readline().split())
        process.stdin.close()
        assert process.wait(60) == 0
    assert after - before == set()
    own = {name for name in before if name.startswith("hotserve.")}
    assert "hotserve.platforms.onnx" in own
    assert {name for name in own if name.startswith(("hotserve.workers", "hotserve.loadgen"))} == set()
    assert {name for name in own if name.startswith("hotserve.platforms.engines.")} == {
        "hotserve.platforms.engines.engine",
        "hotserve.platforms.engines.observer",
    }
    assert {name for name in own if name.startswith("hotserve.cli.")} == {"hotserve.cli.serve"}
