from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server_process import COMMAND, ServerProcess, free_port

HEALTHCHECK = Path(__file__).parents[2] / "deploy" / "docker" / "healthcheck.py"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(command=(COMMAND, "demo")) as running:
        yield running


def check(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(HEALTHCHECK)],
        env={**os.environ, "HEALTHCHECK_URL": url, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_server_that_answers_is_healthy(server: ServerProcess) -> None:
    done = check(f"{server.url}/healthz")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_proxy_for_the_world_outside_is_not_asked_for_the_container_itself(server: ServerProcess) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    done = check(f"{server.url}/healthz", http_proxy=proxy, HTTP_PROXY=proxy)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_answer_that_is_an_error_is_not_healthy(server: ServerProcess) -> None:
    done = check(f"{server.url}/v1/models/absent")

    assert done.returncode == 1
    assert "404" in done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/healthz", "127.0.0.1:{port}", "nonsense"])
def test_no_answer_is_told_in_one_line_with_what_to_do(url: str) -> None:
    url = url.format(port=free_port())
    done = check(url)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{url}: ")
    assert "HEALTHCHECK_URL" in line
