"""A real hotserve process on real sockets, for tests of what users and clients see."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

COMMAND = str(Path(sys.executable).with_name("hotserve"))
TFS_COMMAND = str(Path(sys.executable).with_name("tensorflow_model_server"))

WORKERS_VARIABLE = "HOTSERVE_TEST_WORKERS"
"""The environment variable that has every server here serve with so many workers, unless its flags say how many."""

START_SECONDS = 120.0
"""How long a start may take: TensorFlow alone needs ten seconds on a busy machine."""


def free_port() -> int:
    """A TCP port that nobody listens on, and that the system gives to nobody for a minute.

    A connection that has been closed keeps its port from whoever asks for any (TIME_WAIT of RFC 9293); a server that
    names the port, and sets SO_REUSEADDR, may have it. So tests that run at the same time get different ports.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        with socket.create_connection(listening.getsockname()) as client:
            accepted, _ = listening.accept()
            accepted.close()  # first: TIME_WAIT is the state of the end that does
            client.recv(1)
        return int(listening.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> Any:
    """Polls until the condition holds, and returns its value.

    Raises:
        AssertionError: It did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)


def _workers(command: Sequence[str], flags: Sequence[str]) -> Sequence[str]:
    count = os.environ.get(WORKERS_VARIABLE, "")
    serves = tuple(command) in {(COMMAND, "serve"), (TFS_COMMAND,)}
    return [f"--workers={count}"] if count and serves and not any("workers" in flag for flag in flags) else []


class ServerProcess:
    """The `hotserve` command with the given flags, on 127.0.0.1 and ports of its own; a context manager.

    Attributes:
        grpc_port: Where gRPC answers.
        rest_port: Where REST answers.
        log_path: What the process has printed, standard output and standard error together.
    """

    def __init__(
        self,
        *flags: str,
        command: Sequence[str] = (COMMAND, "serve"),
        wait_ready: bool = True,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.grpc_port = free_port()
        self.rest_port = free_port()
        # Examinations of engines would take the processors from the test, minutes for a few models; tests of those ask
        # for them, with a later flag.
        engine = ["--engine=tensorflow"] if tuple(command) == (COMMAND, "serve") else []
        self._arguments = [
            *command,
            *engine,
            "--host=127.0.0.1",
            f"--port={self.grpc_port}",
            f"--rest_api_port={self.rest_port}",
            *flags,
            *_workers(command, flags),
        ]
        self._wait_ready = wait_ready
        self._environment = {**os.environ, **(environment or {})}
        self._cwd = cwd
        self._log = tempfile.NamedTemporaryFile(prefix="hotserve-", suffix=".log", delete=False)  # noqa: SIM115
        self.log_path = Path(self._log.name)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self) -> ServerProcess:
        self.process = subprocess.Popen(
            self._arguments, stdout=self._log, stderr=subprocess.STDOUT, env=self._environment, cwd=self._cwd
        )
        if self._wait_ready:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        self._wait(lambda: self.get("/readyz")[0] == 200, seconds, "the server is ready")

    def wait_listening(self, seconds: float = START_SECONDS) -> None:
        self._wait(lambda: self.get("/healthz")[0] == 200, seconds, "the server answers")

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, f"the server has ended with {self.process.returncode}:\n{self.log()}"
            with contextlib.suppress(OSError):
                return condition()
            return False

        try:
            wait_until(holds, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def get(self, path: str) -> tuple[int, bytes]:
        return self.request("GET", path)

    def post(self, path: str, document: Any) -> tuple[int, Any]:
        status, body = self.request("POST", path, json.dumps(document).encode())
        return status, json.loads(body)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def states(self, model: str) -> dict[int, str]:
        """Version -> name of its state, as REST shows it; empty for a model that is not known."""
        status, body = self.get(f"/v1/models/{model}")
        if status != 200:
            return {}
        return {int(entry["version"]): entry["state"] for entry in json.loads(body)["model_version_status"]}

    def status_texts(self, model: str) -> dict[int, str]:
        """Version -> its error message, as REST shows it."""
        _, body = self.get(f"/v1/models/{model}")
        entries = json.loads(body)["model_version_status"]
        return {int(entry["version"]): entry["status"]["error_message"] for entry in entries}

    def wait_state(self, model: str, version: int, state: str, seconds: float = 60.0) -> None:
        self._wait(lambda: self.states(model).get(version) == state, seconds, f"{model} {version} is {state}")

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_exit(self, seconds: float = 60.0) -> int:
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ends the process in order; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._log.close()
            self.log_path.unlink(missing_ok=True)
